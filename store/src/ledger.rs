//! The relational handle: one SQL text for SQLite and PostgreSQL, chosen by URL.
//!
//! The text that both understand: types BIGINT, DOUBLE PRECISION and TEXT only, flags 0/1, `$1`
//! placeholders, `ON CONFLICT ... DO UPDATE`, `RETURNING`, `CAST(SUM(..) AS BIGINT)`. The owner of a
//! table is the only crate with SQL for it; writers take the caller's [`Tx`].

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, ConnectOptions, Row};

use crate::error::StoreError;
use crate::journal::Position;

/// A write transaction; dropped without `commit` it rolls back.
pub type Tx = sqlx::Transaction<'static, sqlx::Any>;

#[derive(Clone, Debug)]
pub struct Ledger {
    engine: Engine,
    /// SQLite: the one connection that writes. PostgreSQL: the same pool as `reader`.
    writer: AnyPool,
    reader: AnyPool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// One crate's tables: its name and its migrations, oldest first. A migration that has been
/// released is never changed; a new one is added at the end.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    pub owner: &'static str,
    pub migrations: &'static [&'static [&'static str]],
}

static DRIVERS: Once = Once::new();

impl Ledger {
    /// Opens the ledger at `postgres://...` or `sqlite:...`; a SQLite file is made if missing.
    ///
    /// # Errors
    /// When the database cannot be reached or the URL means neither engine.
    pub async fn open(url: &str) -> Result<Ledger, StoreError> {
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let pool = pool(url, 8, &[]).await?;
            return Ok(Ledger { engine: Engine::Postgres, writer: pool.clone(), reader: pool });
        }
        const PRAGMAS: &[&str] = &[
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "PRAGMA foreign_keys = ON",
            "PRAGMA busy_timeout = 10000",
        ];
        let writer = pool(url, 1, PRAGMAS).await?;
        let reader = pool(url, 4, PRAGMAS).await?;
        Ok(Ledger { engine: Engine::Sqlite, writer, reader })
    }

    /// Opens a SQLite ledger file.
    ///
    /// # Errors
    /// When the file cannot be made or opened.
    pub async fn open_file(path: &Path) -> Result<Ledger, StoreError> {
        let text = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        Ledger::open(&format!("sqlite://{text}?mode=rwc")).await
    }

    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Begins a write transaction. On SQLite it holds the one write lock until it ends, so do no
    /// I/O but SQL inside it.
    ///
    /// # Errors
    /// When the database cannot begin one.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self.engine {
            Engine::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await?,
            Engine::Postgres => self.writer.begin().await?,
        })
    }

    /// For queries outside a transaction; never write through it.
    pub fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// Brings each schema up to date, in the order given, each migration in a transaction.
    ///
    /// # Errors
    /// When a statement fails, or the ledger was written by a newer version.
    pub async fn migrate(&self, schemas: &[Schema]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for statement in [
            "CREATE TABLE IF NOT EXISTS schema_version (owner TEXT PRIMARY KEY, version BIGINT NOT NULL)",
            "CREATE TABLE IF NOT EXISTS applied (consumer TEXT PRIMARY KEY, position BIGINT NOT NULL)",
        ] {
            sqlx::query(statement).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        for schema in schemas {
            self.migrate_one(schema).await?;
        }
        Ok(())
    }

    async fn migrate_one(&self, schema: &Schema) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let row = sqlx::query("SELECT version FROM schema_version WHERE owner = $1")
            .bind(schema.owner)
            .fetch_optional(&mut *tx)
            .await?;
        let done = row.map_or(Ok(0), |row| row.try_get::<i64, _>(0))?;
        let known = schema.migrations.len() as i64;
        if done > known {
            return Err(StoreError::TooNew { place: format!("ledger schema {}", schema.owner), found: done, known });
        }
        for statements in schema.migrations.iter().skip(done as usize) {
            for statement in *statements {
                sqlx::query(*statement).execute(&mut *tx).await?;
            }
        }
        sqlx::query(
            "INSERT INTO schema_version (owner, version) VALUES ($1, $2)
             ON CONFLICT (owner) DO UPDATE SET version = excluded.version",
        )
        .bind(schema.owner)
        .bind(known)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Up to where `consumer` has taken the journal into the ledger; zero at first.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn applied(&self, consumer: &str) -> Result<Position, StoreError> {
        let row = sqlx::query("SELECT position FROM applied WHERE consumer = $1")
            .bind(consumer)
            .fetch_optional(&self.reader)
            .await?;
        Ok(Position(row.map_or(Ok(0), |row| row.try_get::<i64, _>(0))? as u64))
    }

    /// Waits for running statements and closes all connections.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }
}

/// Notes, in the transaction that carries its effects, that `consumer` has taken the journal up to
/// and including `position`.
///
/// # Errors
/// When the statement fails.
pub async fn set_applied(tx: &mut Tx, consumer: &str, position: Position) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO applied (consumer, position) VALUES ($1, $2)
         ON CONFLICT (consumer) DO UPDATE SET position = excluded.position",
    )
    .bind(consumer)
    .bind(position.0 as i64)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn pool(url: &str, size: u32, setup: &'static [&'static str]) -> Result<AnyPool, StoreError> {
    let options = url.parse::<AnyConnectOptions>()?.disable_statement_logging();
    let pool = AnyPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(30))
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for statement in setup {
                    sqlx::query(*statement).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .connect_with(options)
        .await?;
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[&str] = &["CREATE TABLE things (id BIGINT PRIMARY KEY, name TEXT NOT NULL)"];
    const SECOND: &[&str] = &["ALTER TABLE things ADD COLUMN weight DOUBLE PRECISION"];

    async fn ledger() -> (tempfile::TempDir, Ledger) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open_file(&dir.path().join("odd #?% name.db")).await.unwrap();
        (dir, ledger)
    }

    #[tokio::test]
    async fn migrations_run_once_and_in_order() {
        let (_dir, ledger) = ledger().await;
        ledger.migrate(&[Schema { owner: "things", migrations: &[FIRST] }]).await.unwrap();
        let both = Schema { owner: "things", migrations: &[FIRST, SECOND] };
        ledger.migrate(&[both]).await.unwrap();
        ledger.migrate(&[both]).await.unwrap();
        let mut tx = ledger.begin().await.unwrap();
        sqlx::query("INSERT INTO things (id, name, weight) VALUES ($1, $2, $3)")
            .bind(1_i64)
            .bind("kitchen 厨房")
            .bind(14.9)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let row = sqlx::query("SELECT name, weight FROM things").fetch_one(ledger.reader()).await.unwrap();
        assert_eq!(row.get::<String, _>(0), "kitchen 厨房");
        assert_eq!(row.get::<f64, _>(1), 14.9);
    }

    #[tokio::test]
    async fn a_newer_ledger_is_refused() {
        let (_dir, ledger) = ledger().await;
        ledger.migrate(&[Schema { owner: "things", migrations: &[FIRST, SECOND] }]).await.unwrap();
        let error = ledger.migrate(&[Schema { owner: "things", migrations: &[FIRST] }]).await.unwrap_err();
        assert!(matches!(error, StoreError::TooNew { found: 2, known: 1, .. }), "{error}");
    }

    #[tokio::test]
    async fn positions_commit_with_their_transaction() {
        let (_dir, ledger) = ledger().await;
        ledger.migrate(&[]).await.unwrap();
        let mut tx = ledger.begin().await.unwrap();
        set_applied(&mut tx, "alerts", Position(7)).await.unwrap();
        drop(tx);
        assert_eq!(ledger.applied("alerts").await.unwrap(), Position(0));
        let mut tx = ledger.begin().await.unwrap();
        set_applied(&mut tx, "alerts", Position(7)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ledger.applied("alerts").await.unwrap(), Position(7));
    }
}
