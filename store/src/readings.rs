//! The time series of readings.
//!
//! # How it works
//!
//! [`Readings::append`] puts readings into a table in memory (`memory`). A thread of its own (`flush`)
//! writes that table, when it is full or old enough, as compressed chunks (`chunk`, `integers`) into
//! one SQLite file per UTC month (`month`), then the newest reading of every sensor and the journal
//! position into `latest.db` (`snapshot`). Only then [`Readings::applied`] moves.
//!
//! A crash in between leaves readings in the files that the journal will bring again; they are
//! recognised by (time, seq) and [`Readings::range`] returns them once.
//!
//! While the files cannot be written, readings stay in memory and the flush is tried again;
//! [`Readings::is_stalled`] says so. `append` takes more even then, so its caller should hold back:
//! what it has not handed on is safe in the journal.

mod chunk;
mod file;
mod flush;
mod integers;
mod memory;
mod month;
mod snapshot;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{DeviceId, Reading, Stamp};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::error::StoreError;
use crate::journal::Position;
use flush::{Flusher, Requests};
use memory::Memory;
use month::{Month, Span};

/// Idle connections for reading, over all months.
const MOST_READERS: usize = 8;

/// A cheap handle on the time series in a folder, one SQLite file per month (UTC). When the last
/// handle is dropped the background flush stops; what is only in memory then is not written.
#[derive(Clone, Debug)]
pub struct Readings(Arc<Handle>);

/// The newest reading of one sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    pub sensor: DeviceId,
    pub reading: Reading,
    /// When it was received.
    pub received: Stamp,
}

/// What the store is doing, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    pub applied: Position,
    /// Readings that are not in the files yet.
    pub in_memory: usize,
    pub sensors: usize,
    /// Damaged chunks met by reads since the start, and files that could not be opened.
    pub damaged: u64,
    pub is_stalled: bool,
}

/// When memory is flushed. The defaults are right; tests change them.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Options {
    pub flush_samples: usize,
    /// Real time, whatever the clock says.
    pub flush_every: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { flush_samples: 1_000_000, flush_every: Duration::from_secs(120) }
    }
}

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.requests.stop();
    }
}

struct Shared {
    folder: PathBuf,
    clock: Clock,
    flush_samples: usize,
    flush_every: Duration,
    applied_at_open: Position,
    memory: Mutex<Memory>,
    requests: Requests,
    readers: Mutex<Vec<(Month, Connection)>>,
    damaged: AtomicU64,
    is_stalled: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readings").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Readings {
    /// Opens the time series in `folder`, which is made if missing, and starts the background flush.
    /// A month's file that is damaged as a whole is renamed, logged and counted; the others answer.
    ///
    /// # Errors
    /// When the folder or `latest.db` cannot be opened, or a file was written by a newer version.
    pub fn open(folder: &Path, clock: Clock) -> Result<Readings, StoreError> {
        Readings::open_with(folder, clock, &Options::default())
    }

    #[doc(hidden)]
    pub fn open_with(folder: &Path, clock: Clock, options: &Options) -> Result<Readings, StoreError> {
        let io = |source| StoreError::Io { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        let (latest, applied) = snapshot::load(folder)?;
        let mut memory = Memory { latest, applied, ..Memory::default() };
        memory.active.through = applied;
        let mut damaged = 0;
        for item in std::fs::read_dir(folder).map_err(io)? {
            let name = item.map_err(io)?.file_name();
            let Some(month) = name.to_str().and_then(Month::of_file) else { continue };
            match month::spans(&month.path(folder)) {
                Ok(spans) => {
                    memory.spans.insert(month, spans);
                }
                Err(StoreError::File { path, source }) if month::is_damage(&source) => {
                    let aside = month::set_aside(&path, clock.now()).map_err(io)?;
                    tracing::error!(error = %source, file = %path.display(), aside = %aside.display(),
                        "the readings of a month are damaged as a whole and have been set aside");
                    damaged += 1;
                }
                Err(error) => return Err(error),
            }
        }
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            clock,
            flush_samples: options.flush_samples.max(1),
            flush_every: options.flush_every,
            applied_at_open: applied,
            memory: Mutex::new(memory),
            requests: Requests::default(),
            readers: Mutex::new(Vec::new()),
            damaged: AtomicU64::new(damaged),
            is_stalled: AtomicBool::new(false),
        });
        let flusher = Flusher { shared: shared.clone(), written: Default::default() };
        std::thread::Builder::new().name("readings-flush".to_owned()).spawn(move || flusher.run()).map_err(io)?;
        Ok(Readings(Arc::new(Handle(shared))))
    }

    /// Takes readings in memory; a background flush makes them chunks. `position` is the journal
    /// position they came from; positions must not go down. What was in the files when the store was
    /// opened is passed over. Never blocks on disk.
    pub fn append(&self, sensor: &DeviceId, received: Stamp, readings: &[Reading], position: Position) {
        let shared = &self.0.0;
        if position <= shared.applied_at_open {
            return;
        }
        let mut memory = lock(&shared.memory);
        memory.active.through = memory.active.through.max(position);
        for reading in readings {
            memory.latest.offer(sensor, received, reading);
        }
        let before = memory.active.len();
        memory.active.push(sensor, readings);
        let is_full = (before..memory.active.len()).contains(&(shared.flush_samples - 1));
        drop(memory);
        if is_full {
            shared.requests.memory_is_full();
        }
    }

    /// Notes that the journal has no readings up to and including `position` that were not appended,
    /// so that `applied` also moves while no readings come.
    pub fn advance(&self, position: Position) {
        let mut memory = lock(&self.0.0.memory);
        memory.active.through = memory.active.through.max(position);
    }

    /// Everything up to here is in the files: the journal may forget it.
    pub fn applied(&self) -> Position {
        lock(&self.0.0.memory).applied
    }

    /// Readings of one sensor with `from <= time < to`, ascending, flushed or not. Of readings with
    /// the same time and seq there is one, the one with the highest CO. Damaged chunks are left out,
    /// logged and counted in [`Stats::damaged`].
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn range(&self, sensor: &DeviceId, from: Stamp, to: Stamp) -> Result<Vec<Reading>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let wanted = from..to;
        // Memory first: what is flushed after this look is found twice, and settled, but not missed.
        let (spans, unflushed) = {
            let memory = lock(&self.0.0.memory);
            let months = memory.spans.range(Month::of(from)..=Month::of(to - 1));
            let overlapping = |spans: &Vec<Span>| -> Vec<Span> {
                spans.iter().copied().filter(|span| span.first < to && span.last >= from).collect()
            };
            let spans: Vec<_> = months.map(|(month, spans)| (*month, overlapping(spans))).collect();
            let mut unflushed = memory.frozen.as_ref().map_or_else(Vec::new, |frozen| frozen.of(sensor));
            unflushed.extend(memory.active.of(sensor));
            (spans, unflushed)
        };
        let shared = self.0.0.clone();
        let id = sensor.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            for (month, spans) in spans {
                shared.read_month(month, &spans, &id, &mut found)?;
            }
            found.extend(unflushed);
            found.retain(|reading: &Reading| wanted.contains(&reading.time));
            memory::settle(&mut found);
            Ok(found)
        });
        reading.await.map_err(|error| StoreError::Closed(format!("reading readings broke off: {error}")))?
    }

    pub fn latest(&self, sensor: &DeviceId) -> Option<Latest> {
        lock(&self.0.0.memory).latest.get(sensor).cloned()
    }

    /// The newest reading of every sensor, in no order.
    pub fn latest_all(&self) -> Vec<Latest> {
        let mut all = Vec::new();
        loop {
            let memory = lock(&self.0.0.memory);
            let piece = memory.latest.piece(all.len(), flush::PIECE);
            if piece.is_empty() {
                return all;
            }
            all.reserve(memory.latest.len() - all.len());
            all.extend_from_slice(piece);
        }
    }

    /// Writes what is in memory and waits until it is on disk.
    ///
    /// # Errors
    /// [`StoreError::Closed`] says why the files could not be written; the readings stay in memory.
    pub async fn flush(&self) -> Result<Position, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.0.0.requests.ask(answer);
        answered.await.unwrap_or_else(|_| Err(StoreError::Closed("the readings' flush has stopped".to_owned())))
    }

    /// Whether the last flush failed. Memory grows until one succeeds, so hold back further readings.
    pub fn is_stalled(&self) -> bool {
        self.0.0.is_stalled.load(Ordering::Relaxed)
    }

    pub fn stats(&self) -> Stats {
        let memory = lock(&self.0.0.memory);
        Stats {
            applied: memory.applied,
            in_memory: memory.active.len() + memory.frozen.as_ref().map_or(0, |frozen| frozen.len()),
            sensors: memory.latest.len(),
            damaged: self.0.0.damaged.load(Ordering::Relaxed),
            is_stalled: self.is_stalled(),
        }
    }
}

impl Shared {
    fn read_month(
        &self,
        month: Month,
        spans: &[Span],
        sensor: &DeviceId,
        found: &mut Vec<Reading>,
    ) -> Result<(), StoreError> {
        if spans.is_empty() {
            return Ok(());
        }
        let path = month.path(&self.folder);
        let failed = |source| StoreError::File { path: path.clone(), source };
        let idle = {
            let mut readers = lock(&self.readers);
            let index = readers.iter().position(|(of, _)| *of == month);
            index.map(|index| readers.remove(index).1)
        };
        let connection = match idle {
            Some(connection) => connection,
            None => file::open_reader(&path).map_err(failed)?,
        };
        let damages = month::read(&connection, spans, sensor, found).map_err(failed)?;
        for damage in damages {
            self.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::error!(file = %path.display(), run = damage.run, %sensor, what = damage.what, "readings are damaged");
        }
        let mut readers = lock(&self.readers);
        readers.push((month, connection));
        let surplus = (readers.len() > MOST_READERS).then(|| readers.remove(0));
        drop(readers);
        drop(surplus);
        Ok(())
    }
}

/// A panic elsewhere leaves these values whole, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
