//! What the store's SQLite files have in common.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;

/// Format of every file of the readings, in `user_version`.
const FORMAT: i64 = 1;

/// Opens the file for writing, or makes it with `tables`.
pub(super) fn open(path: &Path, tables: &str) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::File { path: path.to_owned(), source };
    let connection = Connection::open(path).map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if found > FORMAT {
        return Err(StoreError::TooNew { place: path.display().to_string(), found, known: FORMAT });
    }
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(failed)?;
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA busy_timeout = 10000")
        .map_err(failed)?;
    if found == 0 {
        let make = format!("BEGIN IMMEDIATE; {tables}; PRAGMA user_version = {FORMAT}; COMMIT;");
        connection.execute_batch(&make).map_err(failed)?;
    }
    Ok(connection)
}

pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA busy_timeout = 10000")?;
    Ok(connection)
}

/// Moves the WAL into the file. A failure loses nothing: the WAL keeps its content.
pub(super) fn checkpoint(connection: &Connection, path: &Path) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::warn!(file = %path.display(), %error, "the WAL could not be checkpointed");
    }
}
