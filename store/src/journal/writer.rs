//! The one thread that writes the journal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::time::Instant;

use super::queue::Batch;
use super::{Position, Shared, Stopped, lock, log};
use crate::error::StoreError;

/// Old rows are deleted in one of so many commits, and no more than that many at once.
const COMMITS_PER_DELETE: u64 = 8;
const ROWS_PER_DELETE: usize = 16;

/// Pages a commit writes beside its blob: the leaf, its parent, the part-filled last page.
const BYTES_PER_COMMIT: usize = 3 * 8_192;

struct Writer {
    shared: Arc<Shared>,
    connection: Connection,
    checkpointer: Checkpointer,
    checkpoint_bytes: usize,
    /// Bytes written to the WAL since the last checkpoint was asked for.
    wal_bytes: usize,
    commits: u64,
}

/// Starts the writer's thread and the one that checkpoints for it.
pub(super) fn start(shared: Arc<Shared>, connection: Connection, checkpoint_bytes: usize) -> Result<(), StoreError> {
    let path = shared.path.clone();
    let io = |source| StoreError::Io { path: path.clone(), source };
    let checkpointer = Checkpointer::start(&shared.path)?;
    let writer = Writer { shared, connection, checkpointer, checkpoint_bytes, wal_bytes: 0, commits: 0 };
    std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run()).map_err(io)?;
    Ok(())
}

/// Marks the journal as stopped however the thread ends; a panic counts as a failure.
struct StopMark {
    shared: Arc<Shared>,
    stopped: Stopped,
}

impl Drop for StopMark {
    fn drop(&mut self) {
        // Whoever hears of the end must find the door shut already.
        self.shared.queue.close();
        let stopped = self.stopped.clone();
        self.shared.progress.send_modify(|progress| progress.stopped = Some(stopped));
        self.shared.queue.abandon();
    }
}

impl Writer {
    fn run(mut self) {
        let died = Stopped { failed: true, words: "the journal's writer died".into() };
        let mut mark = StopMark { shared: self.shared.clone(), stopped: died };
        mark.stopped = match self.write_all() {
            Ok(()) => Stopped { failed: false, words: "closed".into() },
            Err(error) => {
                let error = self.shared.file_error(error);
                tracing::error!(%error, "the journal has failed and accepts nothing more");
                Stopped { failed: true, words: error.to_string().into() }
            }
        };
        // Whoever waited for the end may delete or reopen the file at once.
        drop(lock(&self.shared.reader).take());
        drop(self);
    }

    fn write_all(&mut self) -> rusqlite::Result<()> {
        while let Some(batch) = self.shared.queue.take() {
            let started = Instant::now();
            self.commit(&batch)?;
            self.shared.counters.last_commit_nanos.store(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
            self.publish(batch);
            self.checkpoint();
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        let Some(first) = batch.records.first().map(|record| record.position) else { return Ok(()) };
        self.commits += 1;
        self.wal_bytes += batch.encoded.len() + BYTES_PER_COMMIT;
        let through = Position(self.shared.truncatable.load(Ordering::Relaxed));
        if through.0 == 0 || !self.commits.is_multiple_of(COMMITS_PER_DELETE) {
            return log::insert(&self.connection, first, batch.records.len(), &batch.encoded);
        }
        let transaction = self.connection.transaction()?;
        log::insert(&transaction, first, batch.records.len(), &batch.encoded)?;
        log::delete(&transaction, through, first, ROWS_PER_DELETE)?;
        transaction.commit()
    }

    /// The batch is on disk: shows it to readers, then tells those who wait.
    fn publish(&self, mut batch: Batch) {
        let Shared { queue, ring, progress, counters, .. } = &*self.shared;
        let room = batch.room();
        if let Some(last) = batch.records.last().map(|record| record.position) {
            counters.commits.fetch_add(1, Ordering::Relaxed);
            counters.entries.fetch_add(batch.records.len() as u64, Ordering::Relaxed);
            lock(ring).push(std::mem::take(&mut batch.records), batch.weight);
            counters.durable.store(last.0, Ordering::Release);
            progress.send_modify(|progress| progress.durable = last);
        }
        for waiter in batch.waiters {
            // Nobody waits for an answer whose connection has gone.
            let _ = waiter.send(());
        }
        queue.give_back(room, batch.encoded);
    }

    /// The thread beside does the long part of a checkpoint. Only when it is through does the writer
    /// copy the rest, which is short and lets the next commit start the WAL from its beginning.
    fn checkpoint(&mut self) {
        if self.checkpointer.done.swap(false, Ordering::AcqRel) {
            run_checkpoint(&self.connection, &self.shared.path);
        }
        if self.wal_bytes >= self.checkpoint_bytes && self.checkpointer.wanted.try_send(()).is_ok() {
            self.wal_bytes = 0;
        }
    }
}

struct Checkpointer {
    wanted: SyncSender<()>,
    done: Arc<AtomicBool>,
    _thread: JoinOnDrop,
}

/// Field order matters: the channel closes first, then the thread is waited for.
struct JoinOnDrop(Option<JoinHandle<()>>);

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // Its panic has been reported by the panic hook; the WAL just stays long.
            let _ = thread.join();
        }
    }
}

impl Checkpointer {
    fn start(path: &Path) -> Result<Checkpointer, StoreError> {
        let failed = |source| StoreError::File { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed)?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0").map_err(failed)?;
        let (wanted, requests): (_, Receiver<()>) = sync_channel(1);
        let done = Arc::new(AtomicBool::new(false));
        let (file, finished) = (path.to_owned(), done.clone());
        let thread = std::thread::Builder::new()
            .name("journal-checkpoint".to_owned())
            .spawn(move || {
                while requests.recv().is_ok() {
                    run_checkpoint(&connection, &file);
                    finished.store(true, Ordering::Release);
                }
            })
            .map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        Ok(Checkpointer { wanted, done, _thread: JoinOnDrop(Some(thread)) })
    }
}

/// Copies from the WAL to the file what can be copied without making anyone wait. A failure loses
/// nothing, for the WAL keeps its content and the next checkpoint copies it again.
fn run_checkpoint(connection: &Connection, path: &Path) {
    let outcome = connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
        .and_then(|mut statement| statement.query_row([], |_| Ok(())));
    if let Err(error) = outcome {
        tracing::warn!(file = %path.display(), %error, "the journal's WAL could not be checkpointed");
    }
}
