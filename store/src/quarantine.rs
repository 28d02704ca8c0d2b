//! What could not be understood, with reason and source, kept for a person to look at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Stamp;
use sqlx::Row;

use crate::error::StoreError;
use crate::journal::Position;
use crate::ledger::{Ledger, Schema, Tx};

pub const SCHEMA: Schema = Schema {
    owner: "quarantine",
    migrations: &[&["CREATE TABLE quarantine (
            position BIGINT PRIMARY KEY,
            received BIGINT NOT NULL,
            client TEXT NOT NULL,
            topic TEXT NOT NULL,
            code TEXT NOT NULL,
            detail TEXT NOT NULL,
            payload TEXT NOT NULL
        )"]],
};

/// One message, or the part of one, that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its place in the journal, which makes writing it twice harmless.
    pub position: Position,
    pub received: Stamp,
    pub client: String,
    pub topic: String,
    /// Stable code, see [`model::decode::RejectCode`].
    pub code: String,
    pub detail: String,
    /// As received.
    pub payload: Vec<u8>,
}

/// Writes `items`; those already there stay as they are.
///
/// # Errors
/// When a statement fails.
pub async fn put(tx: &mut Tx, items: &[Quarantined]) -> Result<(), StoreError> {
    for item in items {
        sqlx::query(
            "INSERT INTO quarantine (position, received, client, topic, code, detail, payload)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (position) DO NOTHING",
        )
        .bind(item.position.0 as i64)
        .bind(item.received.0)
        .bind(&item.client)
        .bind(&item.topic)
        .bind(&item.code)
        .bind(&item.detail)
        .bind(STANDARD.encode(&item.payload))
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

impl Ledger {
    /// The newest `most` items before `before` (exclusive; `None` = from the newest on).
    ///
    /// # Errors
    /// When the query fails or a stored payload is damaged.
    pub async fn quarantined(&self, before: Option<Position>, most: i64) -> Result<Vec<Quarantined>, StoreError> {
        let rows = sqlx::query(
            "SELECT position, received, client, topic, code, detail, payload FROM quarantine
             WHERE position < $1 ORDER BY position DESC LIMIT $2",
        )
        .bind(before.map_or(i64::MAX, |position| position.0 as i64))
        .bind(most)
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|row| {
                let position = Position(row.try_get::<i64, _>(0)? as u64);
                let payload = STANDARD.decode(row.try_get::<String, _>(6)?).map_err(|_| StoreError::Damaged {
                    place: format!("quarantine {}", position.0),
                    what: "payload is not base64",
                })?;
                Ok(Quarantined {
                    position,
                    received: Stamp(row.try_get(1)?),
                    client: row.try_get(2)?,
                    topic: row.try_get(3)?,
                    code: row.try_get(4)?,
                    detail: row.try_get(5)?,
                    payload,
                })
            })
            .collect()
    }

    /// How many items are in quarantine.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn quarantine_count(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query("SELECT COUNT(*) FROM quarantine").fetch_one(self.reader()).await?.try_get(0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(position: u64) -> Quarantined {
        Quarantined {
            position: Position(position),
            received: Stamp(1_780_000_000_000),
            client: "S1".to_owned(),
            topic: "gas/v1/sensors/S1/readings".to_owned(),
            code: "not_json".to_owned(),
            detail: "expected value at line 1 column 1".to_owned(),
            payload: vec![0, 255, b'{'],
        }
    }

    #[tokio::test]
    async fn items_come_back_newest_first_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open_file(&dir.path().join("ledger.db")).await.unwrap();
        ledger.migrate(&[SCHEMA]).await.unwrap();
        for _ in 0..2 {
            let mut tx = ledger.begin().await.unwrap();
            put(&mut tx, &[item(1), item(2), item(3)]).await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(ledger.quarantine_count().await.unwrap(), 3);
        assert_eq!(ledger.quarantined(None, 2).await.unwrap(), [item(3), item(2)]);
        assert_eq!(ledger.quarantined(Some(Position(2)), 9).await.unwrap(), [item(1)]);
    }
}
