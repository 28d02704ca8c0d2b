//! The files, one per UTC month of the readings' time.
//!
//! Each flush adds a run: its chunks, sorted by sensor, behind those of earlier runs, so that a flush
//! writes in sequence however many sensors there are. A reader looks into each run whose times overlap
//! what it wants.

use std::path::{Path, PathBuf};

use model::time::DAY;
use model::{DeviceId, Reading, Stamp};
use rusqlite::{Connection, ErrorCode, Transaction, params};

use super::chunk;
use super::file;
use crate::error::StoreError;
use crate::journal::Position;

const TABLES: &str = "
    CREATE TABLE run (
        id INTEGER PRIMARY KEY,
        written INTEGER NOT NULL,
        through INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL
    );
    CREATE TABLE chunk (
        run INTEGER NOT NULL,
        sensor TEXT NOT NULL,
        part INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        count INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (run, sensor, part)
    ) WITHOUT ROWID";

/// Months since year 0. Times that no device can mean go to the nearest month that one can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Month(i64);

/// Where a run is and what times it has, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) run: i64,
    pub(super) first: Stamp,
    pub(super) last: Stamp,
}

impl Month {
    pub(super) fn of(time: Stamp) -> Month {
        let time = time.clamp(Stamp::EARLIEST, Stamp::LATEST - 1);
        // Days to a civil date by eras of 400 years that begin on the 1st of March.
        let days = time.0.div_euclid(DAY) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let months_since_march = (5 * day_of_year + 2) / 153;
        Month((era * 400 + year_of_era) * 12 + months_since_march + 2)
    }

    pub(super) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("readings-{:04}-{:02}.db", self.0.div_euclid(12), self.0.rem_euclid(12) + 1))
    }

    /// The month of a file of that name.
    pub(super) fn of_file(name: &str) -> Option<Month> {
        let (year, month) = name.strip_prefix("readings-")?.strip_suffix(".db")?.split_once('-')?;
        if year.len() != 4 || month.len() != 2 {
            return None;
        }
        let (year, month): (u16, u8) = (year.parse().ok()?, month.parse().ok()?);
        (1..=12).contains(&month).then(|| Month(i64::from(year) * 12 + i64::from(month) - 1))
    }
}

/// Moves a damaged file out of the way, with its WAL, so that its month can be written again. Returns
/// its new name.
pub(super) fn set_aside(path: &Path, now: Stamp) -> std::io::Result<PathBuf> {
    let with = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(path, &format!(".damaged-{}", now.0));
    std::fs::rename(path, &aside)?;
    let wal = with(path, "-wal");
    if wal.exists() {
        std::fs::rename(wal, with(&aside, "-wal"))?;
    }
    Ok(aside)
}

/// The runs of a file, which is made ready for readers.
pub(super) fn spans(path: &Path) -> Result<Vec<Span>, StoreError> {
    let connection = file::open(path, TABLES)?;
    let read = || -> rusqlite::Result<Vec<Span>> {
        let mut statement = connection.prepare("SELECT id, first, last FROM run ORDER BY id")?;
        let spans = statement
            .query_map([], |row| Ok(Span { run: row.get(0)?, first: Stamp(row.get(1)?), last: Stamp(row.get(2)?) }))?;
        spans.collect()
    };
    read().map_err(|source| StoreError::File { path: path.to_owned(), source })
}

/// Adds one run with the readings of each of `sensors`, given sorted and settled by `readings_of`.
pub(super) fn write<'s>(
    path: &Path,
    written: Stamp,
    through: Position,
    sensors: impl Iterator<Item = &'s DeviceId>,
    readings_of: impl Fn(&DeviceId) -> Vec<Reading>,
) -> Result<Option<Span>, StoreError> {
    let mut connection = file::open(path, TABLES)?;
    let run = |connection: &mut Connection| -> rusqlite::Result<Option<Span>> {
        let transaction = connection.transaction()?;
        let id = transaction.query_row("SELECT COALESCE(MAX(id), 0) + 1 FROM run", [], |row| row.get(0))?;
        let mut span: Option<Span> = None;
        for sensor in sensors {
            let readings = readings_of(sensor);
            for (part, readings) in readings.chunks(chunk::MOST_READINGS).enumerate() {
                let (Some(first), Some(last)) = (readings.first(), readings.last()) else { continue };
                let (first, last) = (first.time, last.time);
                insert(&transaction, id, sensor, part, readings)?;
                let span = span.get_or_insert(Span { run: id, first, last });
                (span.first, span.last) = (span.first.min(first), span.last.max(last));
            }
        }
        if let Some(span) = span {
            transaction.execute(
                "INSERT INTO run (id, written, through, first, last) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![id, written.0, through.0 as i64, span.first.0, span.last.0],
            )?;
        }
        transaction.commit()?;
        Ok(span)
    };
    let span = run(&mut connection).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    file::checkpoint(&connection, path);
    Ok(span)
}

fn insert(
    transaction: &Transaction<'_>,
    run: i64,
    sensor: &DeviceId,
    part: usize,
    readings: &[Reading],
) -> rusqlite::Result<()> {
    let (Some(first), Some(last)) = (readings.first(), readings.last()) else { return Ok(()) };
    let row = Row {
        run,
        part: part as i64,
        first: first.time.0,
        last: last.time.0,
        count: readings.len() as i64,
        data: &chunk::encode(readings),
    };
    transaction
        .prepare_cached(
            "INSERT INTO chunk (run, sensor, part, first, last, count, checksum, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            run,
            sensor.as_str(),
            row.part,
            row.first,
            row.last,
            row.count,
            row.checksum(sensor),
            row.data
        ])?;
    Ok(())
}

struct Row<'d> {
    run: i64,
    part: i64,
    first: i64,
    last: i64,
    count: i64,
    data: &'d [u8],
}

impl Row<'_> {
    fn checksum(&self, sensor: &DeviceId) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(sensor.as_str().as_bytes());
        for number in [self.run, self.part, self.first, self.last, self.count] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(self.data);
        hasher.finalize()
    }
}

/// What a read found wrong; the rest has been read.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) run: i64,
    pub(super) what: String,
}

/// Adds the sensor's readings in `runs` to `found`, run by run. Damaged chunks are left out and told.
pub(super) fn read(
    connection: &Connection,
    runs: &[Span],
    sensor: &DeviceId,
    found: &mut Vec<Reading>,
) -> rusqlite::Result<Vec<Damage>> {
    let mut damages = Vec::new();
    for span in runs {
        match read_run(connection, span.run, sensor, found) {
            Ok(run_damages) => damages.extend(run_damages),
            Err(error) if is_damage(&error) => damages.push(Damage { run: span.run, what: error.to_string() }),
            Err(error) => return Err(error),
        }
    }
    Ok(damages)
}

/// Whether SQLite found the file's pages or values not to be what it wrote.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase),
        None => true,
    }
}

fn read_run(
    connection: &Connection,
    run: i64,
    sensor: &DeviceId,
    found: &mut Vec<Reading>,
) -> rusqlite::Result<Vec<Damage>> {
    let mut statement = connection.prepare_cached(
        "SELECT part, first, last, count, checksum, data FROM chunk WHERE run = ?1 AND sensor = ?2 ORDER BY part",
    )?;
    let mut rows = statement.query(params![run, sensor.as_str()])?;
    let mut damages = Vec::new();
    while let Some(row) = rows.next()? {
        let data = row.get_ref(5)?.as_blob()?;
        let head = Row { run, part: row.get(0)?, first: row.get(1)?, last: row.get(2)?, count: row.get(3)?, data };
        let readings =
            (i64::from(head.checksum(sensor)) == row.get::<_, i64>(4)?).then(|| chunk::decode(data)).flatten();
        match readings {
            Some(readings) => found.extend(readings),
            None => {
                let times = format!("{} to {}", Stamp(head.first), Stamp(head.last));
                damages.push(Damage { run, what: format!("the checksum does not fit in the chunk of {times}") });
            }
        }
    }
    Ok(damages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(time: &str) -> String {
        let path = Month::of(Stamp::parse_rfc3339(time).unwrap()).path(Path::new(""));
        path.to_string_lossy().into_owned()
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        assert_eq!(name("2026-11-30T23:59:59.999Z"), "readings-2026-11.db");
        assert_eq!(name("2026-12-01T00:00:00Z"), "readings-2026-12.db");
        assert_eq!(name("2027-01-01T07:59:59+08:00"), "readings-2026-12.db");
        assert_eq!(name("2028-02-29T12:00:00Z"), "readings-2028-02.db");
        assert_eq!(name("2028-03-01T00:00:00Z"), "readings-2028-03.db");
    }

    #[test]
    fn times_that_cannot_be_go_to_the_nearest_month_that_can() {
        assert_eq!(Month::of(Stamp(i64::MIN)), Month::of(Stamp::EARLIEST));
        assert_eq!(Month::of(Stamp(i64::MAX)).path(Path::new("")), Path::new("readings-2099-12.db"));
    }

    #[test]
    fn other_files_are_no_months() {
        for name in
            ["readings-2026-13.db", "readings-2026-1.db", "readings-2026-11.db-wal", "latest.db", "readings-.db"]
        {
            assert_eq!(Month::of_file(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn names_say_the_month_that_the_calendar_says(time in Stamp::EARLIEST.0..Stamp::LATEST.0) {
            let month = Month::of(Stamp(time));
            let name = month.path(Path::new("")).to_string_lossy().into_owned();
            let calendar = Stamp(time).to_rfc3339().unwrap();
            prop_assert_eq!(&name[9..16], &calendar[..7]);
            prop_assert_eq!(Month::of_file(&name), Some(month));
        }
    }
}
