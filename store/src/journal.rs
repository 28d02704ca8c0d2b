//! Durable intake.

use std::path::Path;
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::StoreError;

/// Place of an entry in the journal: 1 for the first ever, one more for each. 0 is "before all".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// An entry that is on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub position: Position,
    pub entry: Entry,
}

/// A cheap handle on the one writer.
#[derive(Clone, Debug)]
pub struct Journal;

/// Resolves when the appended entries are on disk (or cannot be).
#[derive(Debug)]
pub struct Ticket;

impl Ticket {
    /// Position of the last appended entry, once it is on disk.
    pub async fn durable(self) -> Result<Position, StoreError> {
        todo!()
    }
}

impl Journal {
    pub fn open(path: &Path) -> Result<Journal, StoreError> {
        let _ = path;
        todo!()
    }

    /// Queues `entries` for the next group commit; waits only while the queue is full
    /// (backpressure). The returned ticket resolves after fsync.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Ticket, StoreError> {
        let _ = entries;
        todo!()
    }

    /// The records after `after`, at most `most` of them but at least one: waits until there is one.
    /// Recent ones come from memory, older ones from disk.
    pub async fn next(&self, after: Position, most: usize) -> Result<Arc<Vec<Record>>, StoreError> {
        let _ = (after, most);
        todo!()
    }

    /// The last position on disk.
    pub fn durable(&self) -> Position {
        todo!()
    }

    /// Allows entries up to and including `position` to be removed.
    pub fn truncate_through(&self, position: Position) {
        let _ = position;
        todo!()
    }

    /// Commits what is queued, refuses new entries and stops the writer.
    pub async fn close(&self) -> Result<(), StoreError> {
        todo!()
    }
}
