//! The journal's file: one row per group commit.

use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{Position, Record, Shared, lock};
use crate::binary::Cursor;
use crate::entry::Entry;
use crate::error::StoreError;

/// First byte of a row's blob: how its entries are written.
pub(super) const BLOB_FORMAT: u8 = 1;

/// Format of the file, in `user_version`.
const FILE_FORMAT: i64 = 1;

/// Blob bytes one [`read`] goes through before it returns what it has.
const MOST_READ: usize = 8 << 20;

/// Opens the file for writing and finds the last position in it.
pub(super) fn open(path: &Path, most_pages: Option<u32>) -> Result<(Connection, Position), StoreError> {
    let failed = |source| StoreError::File { path: path.to_owned(), source };
    let connection = Connection::open(path).map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if found > FILE_FORMAT {
        return Err(StoreError::TooNew { place: path.display().to_string(), found, known: FILE_FORMAT });
    }
    connection.execute_batch("PRAGMA busy_timeout = 10000; PRAGMA page_size = 8192").map_err(failed)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        let source = io::Error::new(io::ErrorKind::Unsupported, "this file system cannot hold a write-ahead log");
        return Err(StoreError::Io { path: path.to_owned(), source });
    }
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -8000")
        .map_err(failed)?;
    if found == 0 {
        connection
            .execute_batch(
                "BEGIN IMMEDIATE;
                 CREATE TABLE IF NOT EXISTS log (
                     first INTEGER PRIMARY KEY,
                     count INTEGER NOT NULL,
                     checksum INTEGER NOT NULL,
                     entries BLOB NOT NULL
                 );
                 PRAGMA user_version = 1;
                 COMMIT;",
            )
            .map_err(failed)?;
    }
    // A long WAL, left by a kill, would slow down every read.
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(file = %path.display(), %error, "the journal's WAL could not be checkpointed");
    }
    if let Some(pages) = most_pages {
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).map_err(failed)?;
    }
    let last = connection
        .query_row("SELECT first, count FROM log ORDER BY first DESC LIMIT 1", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
        .optional()
        .map_err(failed)?;
    let Some((first, count)) = last else { return Ok((connection, Position(0))) };
    match last_of(first, count) {
        Some(last) => Ok((connection, last)),
        None => {
            Err(StoreError::Damaged { place: path.display().to_string(), what: "the last row's numbers cannot be" })
        }
    }
}

fn last_of(first: i64, count: i64) -> Option<Position> {
    (first >= 1 && count >= 1).then(|| Position((first as u64).saturating_add(count as u64 - 1)))
}

pub(super) fn checksum(first: u64, count: u64, blob: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&first.to_le_bytes());
    hasher.update(&count.to_le_bytes());
    hasher.update(blob);
    hasher.finalize()
}

pub(super) fn insert(connection: &Connection, first: Position, count: usize, blob: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO log (first, count, checksum, entries) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![first.0 as i64, count as i64, checksum(first.0, count as u64, blob), blob])?;
    Ok(())
}

/// Deletes the oldest rows that end at or before `through` and before `keep_from`, at most `most`.
pub(super) fn delete(
    connection: &Connection,
    through: Position,
    keep_from: Position,
    most: usize,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM log WHERE first IN (
                 SELECT first FROM log WHERE first <= ?1 AND first + count - 1 <= ?1 AND first < ?2
                 ORDER BY first LIMIT ?3)",
        )?
        .execute(params![
            i64::try_from(through.0).unwrap_or(i64::MAX),
            i64::try_from(keep_from.0).unwrap_or(i64::MAX),
            most as i64
        ])
}

/// The records after `after` up to `durable`, at least one and about `most`. Blocks.
pub(super) fn read(
    shared: &Shared,
    after: Position,
    durable: Position,
    most: usize,
) -> Result<Vec<Record>, StoreError> {
    let mut reader = lock(&shared.reader);
    let connection = match reader.take() {
        Some(connection) => connection,
        None => open_reader(&shared.path).map_err(|source| shared.file_error(source))?,
    };
    let records = read_rows(shared, &connection, after, durable, most);
    if records.is_ok() {
        *reader = Some(connection);
    }
    records
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.execute_batch("PRAGMA busy_timeout = 10000")?;
    Ok(connection)
}

fn read_rows(
    shared: &Shared,
    connection: &Connection,
    after: Position,
    durable: Position,
    most: usize,
) -> Result<Vec<Record>, StoreError> {
    let failed = |source| shared.file_error(source);
    let mut statement = connection
        .prepare_cached(
            "SELECT first, count, checksum, entries FROM log
             WHERE first >= COALESCE((SELECT MAX(first) FROM log WHERE first <= ?1), 0) AND first <= ?2
             ORDER BY first",
        )
        .map_err(failed)?;
    let mut rows = statement.query(params![after.0 as i64 + 1, durable.0 as i64]).map_err(failed)?;
    let mut records: Vec<Record> = Vec::new();
    let mut bytes = 0;
    while records.len() < most && bytes < MOST_READ {
        let Some(row) = rows.next().map_err(failed)? else { break };
        let first: i64 = row.get(0).map_err(failed)?;
        let count: i64 = row.get(1).map_err(failed)?;
        let expected: i64 = row.get(2).map_err(failed)?;
        let blob = row.get_ref(3).map_err(failed)?.as_blob().map_err(|error| failed(error.into()))?;
        bytes += blob.len();
        match decode_row(first, count, expected, blob, after, most - records.len(), &mut records) {
            Ok(()) => {}
            // The good ones before it first; the next call meets the damage again.
            Err(_) if !records.is_empty() => break,
            Err(what) => {
                let last = last_of(first, count).map_or_else(|| "?".to_owned(), |last| last.0.to_string());
                let place = format!("{}, entries {first} to {last}", shared.path.display());
                return Err(StoreError::Damaged { place, what });
            }
        }
    }
    match records.first() {
        Some(record) => {
            if record.position.0 > after.0 + 1 && after.0 > 0 {
                tracing::warn!(file = %shared.path.display(), after = after.0, next = record.position.0,
                    "the journal has no entries between these: truncated, or lost");
            }
            Ok(records)
        }
        None => Err(StoreError::Damaged {
            place: format!("{}, entries {} to {}", shared.path.display(), after.0 + 1, durable.0),
            what: "the rows are missing",
        }),
    }
}

/// Adds the row's records after `after` to `records`, at most `most`; all or none.
fn decode_row(
    first: i64,
    count: i64,
    expected: i64,
    blob: &[u8],
    after: Position,
    most: usize,
    records: &mut Vec<Record>,
) -> Result<(), &'static str> {
    let last = last_of(first, count).ok_or("the row's numbers cannot be")?;
    if last <= after {
        return Ok(());
    }
    if i64::from(checksum(first as u64, count as u64, blob)) != expected {
        return Err("the checksum does not fit");
    }
    let mut cursor = Cursor(blob);
    if cursor.byte() != Some(BLOB_FORMAT) {
        return Err("the entries are in an unknown format");
    }
    let before = records.len();
    for position in (first as u64..=last.0).map(Position) {
        let entry = if position <= after {
            Entry::skip(&mut cursor).map(|()| None)
        } else if records.len() - before < most {
            Entry::take(&mut cursor).map(Some)
        } else {
            return Ok(());
        };
        match entry {
            Some(Some(entry)) => records.push(Record { position, entry }),
            Some(None) => {}
            None => {
                records.truncate(before);
                return Err("an entry cannot be decoded");
            }
        }
    }
    Ok(())
}
