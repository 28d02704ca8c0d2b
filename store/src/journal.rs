//! Durable intake.
//!
//! # How it works
//!
//! [`Journal::append`] encodes entries into the batch at the end of a queue in memory (`queue`). One
//! thread (`writer`) takes the oldest batch, commits it as one row of a SQLite file (`log`) and then
//! resolves the batch's tickets; meanwhile the next batch fills. So nothing ever waits for company:
//! the busier the journal, the larger its commits. The newest committed batches stay in memory
//! (`ring`) for [`Journal::next`]; older ones are read back from the file.
//!
//! After a failed write or fsync nobody knows what is on disk, so the journal refuses everything from
//! then on ([`Journal::failure`]): the process must restart from what the file holds.

mod log;
mod queue;
mod ring;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use crate::entry::Entry;
use crate::error::StoreError;
use queue::Queue;
use ring::{Found, Ring};

/// Place of an entry in the journal: 1 for the first ever, one more for each. 0 is "before all".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// An entry that is on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub position: Position,
    pub entry: Entry,
}

/// A cheap handle on the one writer. When the last handle is dropped the writer commits what is
/// queued and stops.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Handle>);

/// Resolves when the appended entries are on disk (or cannot be).
#[derive(Debug)]
pub struct Ticket {
    last: Position,
    committed: oneshot::Receiver<()>,
    shared: Arc<Shared>,
}

/// What a journal is doing, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    pub durable: Position,
    /// Group commits since the start.
    pub commits: u64,
    /// Entries committed since the start.
    pub entries: u64,
    pub last_commit: Duration,
    /// Entries that wait for their commit.
    pub queued: usize,
}

/// Bounds of a journal. The defaults are right; tests narrow them.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory that waiting entries may take before `append` waits.
    pub queue_bytes: usize,
    /// Memory for committed entries that readers may still want.
    pub ring_bytes: usize,
    /// A commit takes no more entries than this, unless one append brings more.
    pub batch_entries: usize,
    /// The WAL is checkpointed each time it has grown by this much.
    pub checkpoint_bytes: usize,
    /// Positions start after this one, if the file has not come that far.
    pub floor: Position,
    /// The file may not grow beyond this many pages: a disk that gets full.
    pub most_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            queue_bytes: 32 << 20,
            ring_bytes: 48 << 20,
            batch_entries: 4_000,
            checkpoint_bytes: 8 << 20,
            floor: Position(0),
            most_pages: None,
        }
    }
}

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

/// What the handles, the tickets and the writer have in common.
struct Shared {
    path: PathBuf,
    queue: Queue,
    ring: Mutex<Ring>,
    progress: watch::Sender<Progress>,
    /// Positions after the first, up to and including the second, were lost with an older file.
    gap: Option<(Position, Position)>,
    /// Entries up to here may be deleted.
    truncatable: AtomicU64,
    counters: Counters,
    reader: Mutex<Option<Connection>>,
}

#[derive(Clone, Debug)]
struct Progress {
    durable: Position,
    stopped: Option<Stopped>,
}

#[derive(Clone, Debug)]
struct Stopped {
    failed: bool,
    words: Arc<str>,
}

#[derive(Debug, Default)]
struct Counters {
    durable: AtomicU64,
    commits: AtomicU64,
    entries: AtomicU64,
    last_commit_nanos: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Shared {
    fn closed(&self) -> StoreError {
        let words = self.progress.borrow().stopped.as_ref().map(|stopped| stopped.words.to_string());
        StoreError::Closed(words.unwrap_or_else(|| "the journal is closing".to_owned()))
    }

    async fn stopped(&self) -> Stopped {
        let mut progress = self.progress.subscribe();
        loop {
            if let Some(stopped) = &progress.borrow_and_update().stopped {
                return stopped.clone();
            }
            if progress.changed().await.is_err() {
                return Stopped { failed: true, words: "the journal is gone".into() };
            }
        }
    }

    fn file_error(&self, source: rusqlite::Error) -> StoreError {
        StoreError::File { path: self.path.clone(), source }
    }
}

impl Ticket {
    /// Position of the last appended entry, once it is on disk.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when the entries could not be committed: they must not be acknowledged.
    pub async fn durable(self) -> Result<Position, StoreError> {
        match self.committed.await {
            Ok(()) => Ok(self.last),
            // The writer lets go of a ticket only when it stops, and then says why.
            Err(_) => Err(StoreError::Closed(self.shared.stopped().await.words.to_string())),
        }
    }
}

impl Journal {
    /// Opens the journal file at `path`, or makes one, and starts its writer.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Journal, StoreError> {
        Journal::open_with(path, &Options::default())
    }

    /// Like [`Journal::open`], but if the file has not come as far as `floor` (because it was lost or
    /// replaced), numbering goes on after `floor`. Give it the highest position any consumer has
    /// applied, or consumers would take new entries for old ones.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_after(path: &Path, floor: Position) -> Result<Journal, StoreError> {
        Journal::open_with(path, &Options { floor, ..Options::default() })
    }

    #[doc(hidden)]
    pub fn open_with(path: &Path, options: &Options) -> Result<Journal, StoreError> {
        let (connection, last) = log::open(path, options.most_pages)?;
        let gap = (options.floor > last).then_some((last, options.floor));
        if let Some((from, to)) = gap.filter(|_| options.floor > Position(0)) {
            tracing::error!(file = %path.display(), after = from.0, through = to.0,
                "consumers have come further than the journal: it was lost or replaced, numbering goes on behind them");
        }
        let last = last.max(options.floor);
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            queue: Queue::new(last, options),
            ring: Mutex::new(Ring::new(options.ring_bytes)),
            progress: watch::Sender::new(Progress { durable: last, stopped: None }),
            gap,
            truncatable: AtomicU64::new(0),
            counters: Counters { durable: AtomicU64::new(last.0), ..Counters::default() },
            reader: Mutex::new(None),
        });
        writer::start(shared.clone(), connection, options.checkpoint_bytes)?;
        Ok(Journal(Arc::new(Handle(shared))))
    }

    /// Queues `entries` for the next group commit; waits only while the queue is full
    /// (backpressure). The returned ticket resolves after fsync.
    ///
    /// # Errors
    /// [`StoreError::Closed`] after [`Journal::close`] or a disk error; nothing was queued.
    pub async fn append(&self, mut entries: Vec<Entry>) -> Result<Ticket, StoreError> {
        let shared = &self.0.0;
        entries.iter_mut().for_each(Entry::detach);
        let room = shared.queue.room(&entries).await.ok_or_else(|| shared.closed())?;
        let (last, committed) = shared.queue.push(entries, room).ok_or_else(|| shared.closed())?;
        Ok(Ticket { last, committed, shared: shared.clone() })
    }

    /// The records after `after`, at most `most` of them but at least one: waits until there is one.
    /// Recent ones come from memory, older ones from disk. Fewer than `most` does not mean that there
    /// are no more.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names file and positions of a row that is not as it was written;
    /// [`StoreError::Closed`] when there is no more and there will be none.
    pub async fn next(&self, after: Position, most: usize) -> Result<Arc<Vec<Record>>, StoreError> {
        let shared = &self.0.0;
        let most = most.max(1);
        let after = self.beyond_gap(after);
        let durable = self.wait_beyond(after).await?;
        let found = lock(&shared.ring).find(after, most);
        match found {
            Found::Slices(slices) => Ok(ring::join(slices)),
            Found::Older => {
                let reading = shared.clone();
                tokio::task::spawn_blocking(move || log::read(&reading, after, durable, most))
                    .await
                    .map_err(|error| {
                        StoreError::Closed(format!("reading {} broke off: {error}", shared.path.display()))
                    })?
                    .map(Arc::new)
            }
        }
    }

    async fn wait_beyond(&self, after: Position) -> Result<Position, StoreError> {
        let mut progress = self.0.0.progress.subscribe();
        loop {
            {
                let now = progress.borrow_and_update();
                if now.durable > after {
                    return Ok(now.durable);
                }
                if let Some(stopped) = &now.stopped {
                    return Err(StoreError::Closed(stopped.words.to_string()));
                }
            }
            if progress.changed().await.is_err() {
                return Err(self.0.0.closed());
            }
        }
    }

    /// Where a consumer at `after` stands: behind the gap that a lost journal file left, if it is in
    /// or before one with nothing in between.
    pub fn beyond_gap(&self, after: Position) -> Position {
        match self.0.0.gap {
            Some((from, to)) if (from..to).contains(&after) => to,
            _ => after,
        }
    }

    /// The last position on disk.
    pub fn durable(&self) -> Position {
        Position(self.0.0.counters.durable.load(Ordering::Acquire))
    }

    /// Allows entries up to and including `position` to be removed. The writer does so beside later
    /// commits, whole rows at a time; the row with the last position always stays.
    pub fn truncate_through(&self, position: Position) {
        self.0.0.truncatable.fetch_max(position.0, Ordering::Relaxed);
    }

    /// Commits what is queued, refuses new entries and stops the writer.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when the journal has failed before or fails now.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.0.0.queue.close();
        let stopped = self.0.0.stopped().await;
        if stopped.failed { Err(StoreError::Closed(stopped.words.to_string())) } else { Ok(()) }
    }

    /// Returns when the journal has failed, with the reason, and never otherwise. What the tickets
    /// have not confirmed is not acknowledged; the process should restart.
    pub async fn failure(&self) -> StoreError {
        let stopped = self.0.0.stopped().await;
        if !stopped.failed {
            std::future::pending::<()>().await;
        }
        StoreError::Closed(stopped.words.to_string())
    }

    pub fn stats(&self) -> Stats {
        let counters = &self.0.0.counters;
        Stats {
            durable: self.durable(),
            commits: counters.commits.load(Ordering::Relaxed),
            entries: counters.entries.load(Ordering::Relaxed),
            last_commit: Duration::from_nanos(counters.last_commit_nanos.load(Ordering::Relaxed)),
            queued: self.0.0.queue.length(),
        }
    }
}

/// A panic elsewhere leaves these values whole, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
