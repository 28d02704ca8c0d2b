//! Entries on their way to disk.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use super::{Options, Position, Record, lock, log};
use crate::entry::Entry;

/// What one group commit takes: records, their encoded form, and who waits for them.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    pub(super) encoded: Vec<u8>,
    pub(super) waiters: Vec<oneshot::Sender<()>>,
    /// Memory of the records, bytes.
    pub(super) weight: usize,
    room: usize,
}

/// Batches in order; positions are given at the door.
#[derive(Debug)]
pub(super) struct Queue {
    pending: Mutex<Pending>,
    filled: Condvar,
    /// Bytes still free, so that memory is bounded when the disk is slower than the senders.
    room: Semaphore,
    bytes: usize,
    batch_entries: usize,
}

#[derive(Debug)]
struct Pending {
    batches: VecDeque<Batch>,
    entries: usize,
    last: Position,
    is_closed: bool,
    writer_sleeps: bool,
    /// A buffer the writer has finished with.
    spare: Vec<u8>,
}

/// Bytes of the queue, held for entries not yet pushed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    held: usize,
    weight: usize,
}

impl Queue {
    pub(super) fn new(last: Position, options: &Options) -> Queue {
        let bytes = options.queue_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let pending = Pending {
            batches: VecDeque::new(),
            entries: 0,
            last,
            is_closed: false,
            writer_sleeps: false,
            spare: Vec::new(),
        };
        Queue {
            pending: Mutex::new(pending),
            filled: Condvar::new(),
            room: Semaphore::new(bytes),
            bytes,
            batch_entries: options.batch_entries.max(1),
        }
    }

    /// Waits until `entries` fit; what is larger than the whole queue waits until it is empty. `None`
    /// after the journal has stopped.
    pub(super) async fn room(&self, entries: &[Entry]) -> Option<Room> {
        let weight =
            size_of::<Batch>() + entries.iter().map(|entry| size_of::<Position>() + entry.weight()).sum::<usize>();
        let held = weight.min(self.bytes);
        self.room.acquire_many(held as u32).await.ok()?.forget();
        Some(Room { held, weight })
    }

    /// Adds `entries` to the last batch and gives the position of the last of them. `None` when closed.
    pub(super) fn push(&self, entries: Vec<Entry>, room: Room) -> Option<(Position, oneshot::Receiver<()>)> {
        let mut guard = lock(&self.pending);
        let pending = &mut *guard;
        if pending.is_closed {
            drop(guard);
            self.room.add_permits(room.held);
            return None;
        }
        if pending.batches.back().is_none_or(|batch| batch.records.len() + entries.len() > self.batch_entries) {
            let batch = Batch::new(std::mem::take(&mut pending.spare));
            pending.batches.push_back(batch);
        }
        let batch = pending.batches.back_mut()?;
        pending.entries += entries.len();
        for entry in entries {
            pending.last.0 += 1;
            entry.put(&mut batch.encoded);
            batch.records.push(Record { position: pending.last, entry });
        }
        batch.weight += room.weight;
        batch.room += room.held;
        let (sender, receiver) = oneshot::channel();
        batch.waiters.push(sender);
        if std::mem::take(&mut pending.writer_sleeps) {
            self.filled.notify_one();
        }
        Some((pending.last, receiver))
    }

    /// The oldest batch; waits for one. `None` when closed and empty. For the writer only.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut pending = lock(&self.pending);
        loop {
            if let Some(batch) = pending.batches.pop_front() {
                pending.entries -= batch.records.len();
                return Some(batch);
            }
            if pending.is_closed {
                return None;
            }
            pending.writer_sleeps = true;
            pending = self.filled.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Frees a committed batch's room and keeps its buffer for a later one.
    pub(super) fn give_back(&self, room: usize, buffer: Vec<u8>) {
        const LARGEST_KEPT: usize = 4 << 20;
        if buffer.capacity() <= LARGEST_KEPT {
            lock(&self.pending).spare = buffer;
        }
        self.room.add_permits(room);
    }

    /// Refuses further entries; those queued are still committed.
    pub(super) fn close(&self) {
        let mut pending = lock(&self.pending);
        pending.is_closed = true;
        pending.writer_sleeps = false;
        self.filled.notify_one();
        drop(pending);
        self.room.close();
    }

    /// Refuses further entries and drops those queued, which fails their tickets.
    pub(super) fn abandon(&self) {
        self.close();
        let dropped = {
            let mut pending = lock(&self.pending);
            pending.entries = 0;
            std::mem::take(&mut pending.batches)
        };
        drop(dropped);
    }

    pub(super) fn length(&self) -> usize {
        lock(&self.pending).entries
    }
}

impl Batch {
    fn new(mut encoded: Vec<u8>) -> Batch {
        encoded.clear();
        encoded.push(log::BLOB_FORMAT);
        Batch { records: Vec::new(), encoded, waiters: Vec::new(), weight: 0, room: 0 }
    }

    pub(super) fn room(&self) -> usize {
        self.room
    }
}
