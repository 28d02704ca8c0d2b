//! The change numbers of what processes keep in memory, so that one process notices what another
//! one changed, at the price of one small query when nothing did.

use sqlx::Row;
use store::{Ledger, Tx};

use crate::RegistryError;

/// What is numbered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Group {
    Places,
    Credentials,
}

impl Group {
    fn as_str(self) -> &'static str {
        match self {
            Group::Places => "places",
            Group::Credentials => "credentials",
        }
    }
}

/// Raises the group's number and returns it. Until `tx` ends, nobody else changes the group.
pub(crate) async fn raise(tx: &mut Tx, group: Group) -> Result<i64, RegistryError> {
    let row = sqlx::query("UPDATE registry_version SET changed = changed + 1 WHERE name = $1 RETURNING changed")
        .bind(group.as_str())
        .fetch_one(&mut **tx)
        .await?;
    Ok(row.try_get(0)?)
}

pub(crate) async fn current(ledger: &Ledger, group: Group) -> Result<i64, RegistryError> {
    let row = sqlx::query("SELECT changed FROM registry_version WHERE name = $1")
        .bind(group.as_str())
        .fetch_one(ledger.reader())
        .await?;
    Ok(row.try_get(0)?)
}
