//! `latest.db`: the newest reading of every sensor, and up to where the journal is in the files. Its
//! commit is the last of a flush, so what it says of the other files is true.

use std::path::{Path, PathBuf};

use model::{DeviceId, Stamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::memory::LatestTable;
use super::{Latest, file};
use crate::binary::{Cursor, put_reading, take_reading};
use crate::error::StoreError;
use crate::journal::Position;

const TABLES: &str = "
    CREATE TABLE latest (
        sensor TEXT PRIMARY KEY,
        received INTEGER NOT NULL,
        reading BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE applied (
        only INTEGER PRIMARY KEY CHECK (only = 0),
        position INTEGER NOT NULL
    )";

pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("latest.db")
}

pub(super) fn load(folder: &Path) -> Result<(LatestTable, Position), StoreError> {
    let path = path(folder);
    let connection = file::open(&path, TABLES)?;
    let read = || -> rusqlite::Result<(LatestTable, Position)> {
        let position: Option<i64> =
            connection.query_row("SELECT position FROM applied", [], |row| row.get(0)).optional()?;
        let mut latest = LatestTable::default();
        let mut statement = connection.prepare("SELECT sensor, received, reading FROM latest")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let sensor = row.get_ref(0)?.as_str()?;
            let received = Stamp(row.get(1)?);
            let reading = take_reading(&mut Cursor(row.get_ref(2)?.as_blob()?), received);
            match (DeviceId::new(sensor), reading) {
                (Ok(sensor), Some(reading)) => latest.offer(&sensor, received, &reading),
                _ => tracing::error!(file = %path.display(), sensor, "a sensor's newest reading is damaged"),
            }
        }
        Ok((latest, Position(position.unwrap_or(0) as u64)))
    };
    read().map_err(|source| StoreError::File { path: path.clone(), source })
}

/// Writes the given newest readings and `applied` in one transaction.
pub(super) fn write(
    folder: &Path,
    applied: Position,
    pieces: impl Iterator<Item = Vec<Latest>>,
) -> Result<(), StoreError> {
    let path = path(folder);
    let mut connection = file::open(&path, TABLES)?;
    write_all(&mut connection, applied, pieces).map_err(|source| StoreError::File { path: path.clone(), source })?;
    file::checkpoint(&connection, &path);
    Ok(())
}

fn write_all(
    connection: &mut Connection,
    applied: Position,
    pieces: impl Iterator<Item = Vec<Latest>>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let mut encoded = Vec::new();
    for latest in pieces.flatten() {
        encoded.clear();
        put_reading(&mut encoded, latest.received, &latest.reading);
        transaction
            .prepare_cached(
                "INSERT INTO latest (sensor, received, reading) VALUES (?1, ?2, ?3)
                 ON CONFLICT (sensor) DO UPDATE SET received = excluded.received, reading = excluded.reading",
            )?
            .execute(params![latest.sensor.as_str(), latest.received.0, encoded])?;
    }
    transaction.execute(
        "INSERT INTO applied (only, position) VALUES (0, ?1)
         ON CONFLICT (only) DO UPDATE SET position = excluded.position",
        [applied.0 as i64],
    )?;
    transaction.commit()
}
