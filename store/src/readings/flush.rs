//! The thread that brings readings from memory into the files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use model::{DeviceId, Reading};
use tokio::sync::oneshot;

use super::memory::{Memtable, settle};
use super::month::{self, Month};
use super::{Shared, lock, snapshot};
use crate::error::StoreError;
use crate::journal::Position;

/// After a failed flush the next attempt comes this much later.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Newest readings copied under one hold of the lock.
pub(super) const PIECE: usize = 4_096;

pub(super) type Answer = oneshot::Sender<Result<Position, StoreError>>;

/// How others ask the flusher.
#[derive(Debug, Default)]
pub(super) struct Requests {
    wanted: Mutex<Wanted>,
    asked: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    is_full: bool,
    answers: Vec<Answer>,
    is_over: bool,
}

impl Requests {
    pub(super) fn memory_is_full(&self) {
        lock(&self.wanted).is_full = true;
        self.asked.notify_one();
    }

    /// Drops `answer` when the flusher has stopped.
    pub(super) fn ask(&self, answer: Answer) {
        let mut wanted = lock(&self.wanted);
        if !wanted.is_over {
            wanted.answers.push(answer);
            self.asked.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        let dropped = {
            let mut wanted = lock(&self.wanted);
            wanted.is_over = true;
            std::mem::take(&mut wanted.answers)
        };
        drop(dropped);
        self.asked.notify_one();
    }

    /// Waits for a request or until `most` has passed; `None` when it is time to stop.
    fn wait(&self, most: Duration, heed_full: bool) -> Option<Vec<Answer>> {
        let is_idle =
            |wanted: &mut Wanted| !wanted.is_over && wanted.answers.is_empty() && !(wanted.is_full && heed_full);
        let (mut wanted, _) =
            self.asked.wait_timeout_while(lock(&self.wanted), most, is_idle).unwrap_or_else(PoisonError::into_inner);
        wanted.is_full = false;
        (!wanted.is_over).then(|| std::mem::take(&mut wanted.answers))
    }
}

pub(super) struct Flusher {
    pub(super) shared: Arc<Shared>,
    /// Months of the frozen table that are in their files, though the flush as a whole failed.
    pub(super) written: BTreeSet<Month>,
}

/// However the thread ends, nobody waits for it in vain.
struct StopMark(Arc<Shared>);

impl Drop for StopMark {
    fn drop(&mut self) {
        self.0.is_stalled.store(true, Ordering::Relaxed);
        self.0.requests.stop();
    }
}

impl Flusher {
    pub(super) fn run(mut self) {
        let _mark = StopMark(self.shared.clone());
        let mut is_stalled = false;
        loop {
            let most = if is_stalled { RETRY_AFTER } else { self.shared.flush_every };
            let Some(answers) = self.shared.requests.wait(most, !is_stalled) else { return };
            let outcome = self.flush();
            is_stalled = outcome.is_err();
            self.shared.is_stalled.store(is_stalled, Ordering::Relaxed);
            if let Err(error) = &outcome {
                tracing::error!(%error, "readings stay in memory and in the journal, their files cannot be written");
            }
            for answer in answers {
                let words = outcome.as_ref().map_err(ToString::to_string);
                // Who asked may have gone.
                let _ = answer.send(words.copied().map_err(StoreError::Closed));
            }
        }
    }

    fn flush(&mut self) -> Result<Position, StoreError> {
        // What an earlier flush could not finish comes first.
        let left = lock(&self.shared.memory).frozen.clone();
        if let Some(left) = left {
            self.write(&left)?;
        }
        let frozen = {
            let mut memory = lock(&self.shared.memory);
            if memory.active.len() == 0 && memory.active.through <= memory.applied {
                return Ok(memory.applied);
            }
            let through = memory.active.through;
            let frozen = Arc::new(std::mem::take(&mut memory.active));
            memory.active.through = through;
            memory.frozen = Some(frozen.clone());
            frozen
        };
        self.write(&frozen)?;
        Ok(frozen.through)
    }

    fn write(&mut self, table: &Memtable) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let mut sensors: Vec<&DeviceId> = table.sensors().collect();
        sensors.sort_unstable();
        for (month, sensors) in by_month(table, &sensors) {
            if self.written.contains(&month) {
                continue;
            }
            let readings_of = |sensor: &DeviceId| -> Vec<Reading> {
                let mut readings = table.of(sensor);
                readings.retain(|reading| Month::of(reading.time) == month);
                settle(&mut readings);
                readings
            };
            let path = month.path(&shared.folder);
            let now = shared.clock.now();
            let span = month::write(&path, now, table.through, sensors.into_iter(), readings_of)?;
            lock(&shared.memory).spans.entry(month).or_default().extend(span);
            self.written.insert(month);
        }
        let pieces = sensors.chunks(PIECE).map(|sensors| {
            let memory = lock(&shared.memory);
            sensors.iter().filter_map(|sensor| memory.latest.get(sensor).cloned()).collect()
        });
        snapshot::write(&shared.folder, table.through, pieces)?;
        let mut memory = lock(&shared.memory);
        memory.applied = table.through;
        memory.frozen = None;
        self.written.clear();
        Ok(())
    }
}

/// The sensors that have readings in each month.
fn by_month<'s>(table: &Memtable, sensors: &[&'s DeviceId]) -> BTreeMap<Month, Vec<&'s DeviceId>> {
    let mut months: BTreeMap<Month, Vec<&DeviceId>> = BTreeMap::new();
    for sensor in sensors {
        for reading in table.backwards(sensor) {
            let listed = months.entry(Month::of(reading.time)).or_default();
            if listed.last() != Some(sensor) {
                listed.push(sensor);
            }
        }
    }
    months
}
