//! The main path after the journal.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use alerts::{Alerts, Observation};
use model::reading::Flags;
use model::{Reading, SensorState};
use registry::Registry;
use store::ledger::set_applied;
use store::quarantine::{self, Quarantined};
use store::{Entry, Journal, Ledger, Position, Readings};
use tokio::time::MissedTickBehavior;

use crate::IngestError;
use crate::bookkeeping::{Bookkeeping, status_of};
use crate::counters::Counters;
use crate::repeats::Repeats;

/// Name of this consumer's position in the ledger.
const CONSUMER: &str = "ingest";
/// Records taken at once, about.
const BATCH: usize = 4_000;
/// How often bookkeeping and positions are written, real time.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// Waits between tries when a batch cannot be handed on.
const RETRY: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];
/// Readings the time series may hold in memory while it cannot write them.
const MOST_IN_MEMORY: usize = 2_000_000;
/// Batches brought to the time series in one go after it could not take them; alarms wait no longer.
const CATCH_UP_BATCHES: usize = 50;
/// From here on a reading goes to the rules even if it looks like a repeat.
const NEVER_A_REPEAT_PPM: f32 = 30.0;

/// What the pipeline works on.
#[derive(Clone, Debug)]
pub struct Parts {
    pub journal: Journal,
    pub ledger: Ledger,
    pub registry: Registry,
    pub alerts: Alerts,
    pub readings: Readings,
}

/// Takes the journal, record by record, to everybody who must know.
#[derive(Debug)]
pub struct Pipeline {
    parts: Parts,
    counters: Arc<Counters>,
    repeats: Repeats,
    bookkeeping: Bookkeeping,
    /// Everything up to here has been handed on.
    position: Position,
    /// Everything up to here has been handed to the time series; behind `position` only while that
    /// cannot write.
    stored: Position,
    /// Everything up to here is in the ledger.
    saved: Position,
}

/// One batch, sorted by who takes it.
#[derive(Debug, Default)]
struct Sorted {
    observations: Vec<Observation>,
    rejected: Vec<Quarantined>,
    repeats: u64,
    last: Position,
}

impl Pipeline {
    /// Starts where the slowest consumer stopped; the others recognise what they already have.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn open(parts: Parts) -> Result<Pipeline, IngestError> {
        let saved = parts.ledger.applied(CONSUMER).await?;
        let position = parts.journal.beyond_gap(saved.min(parts.alerts.applied()).min(parts.readings.applied()));
        tracing::info!(position = position.0, durable = parts.journal.durable().0, "pipeline starts");
        Ok(Pipeline {
            parts,
            counters: Arc::default(),
            repeats: Repeats::default(),
            bookkeeping: Bookkeeping::default(),
            position,
            stored: position,
            saved,
        })
    }

    /// The furthest position that any consumer has taken.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn furthest(ledger: &Ledger, alerts: &Alerts, readings: &Readings) -> Result<Position, IngestError> {
        Ok(ledger.applied(CONSUMER).await?.max(alerts.applied()).max(readings.applied()))
    }

    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Runs until `stop` resolves, then takes what is durable by then and saves.
    ///
    /// # Errors
    /// When the journal cannot be read: it is damaged or its writer has failed. Trouble with the
    /// ledger is waited out instead.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<(), IngestError> {
        let mut stop = std::pin::pin!(stop);
        let mut save = tokio::time::interval(SAVE_EVERY);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                _ = save.tick() => {
                    self.catch_up().await?;
                    self.save_or_log().await;
                }
                batch = self.parts.journal.next(self.position, BATCH) => self.take(&batch?).await,
            }
        }
        while self.position < self.parts.journal.durable() {
            let batch = self.parts.journal.next(self.position, BATCH).await?;
            self.take(&batch).await;
        }
        self.catch_up().await?;
        self.parts.readings.flush().await?;
        self.save().await
    }

    /// The path of what was journalled, step by step. It does not end before everybody has it: what
    /// cannot be handed on now is tried again, never skipped.
    async fn take(&mut self, batch: &[store::journal::Record]) {
        let sorted = self.sort(batch);
        self.alert(&sorted.observations).await; // first: a failing sink never delays an alarm
        self.quarantine(&sorted.rejected).await;
        self.store(&sorted);
        self.counters.readings.add(sorted.observations.len() as u64);
        self.counters.repeats.add(sorted.repeats);
        self.position = self.parts.journal.beyond_gap(sorted.last);
        self.counters.position.set(self.position.0);
    }

    /// Tells readings, messages and rejects apart, and drops repeats.
    fn sort(&mut self, batch: &[store::journal::Record]) -> Sorted {
        let mut sorted = Sorted { last: self.position, ..Sorted::default() };
        for record in batch {
            sorted.last = record.position;
            match &record.entry {
                Entry::Readings { sensor, received, readings } => {
                    for reading in readings {
                        let is_repeat = self.repeats.is_repeat(sensor, reading, *received);
                        self.bookkeeping.reading(sensor, *received, reading);
                        if is_repeat && !is_vital(reading) {
                            sorted.repeats += 1;
                            continue;
                        }
                        sorted.observations.push(Observation {
                            position: record.position,
                            sensor: sensor.clone(),
                            received: *received,
                            reading: *reading,
                        });
                    }
                }
                Entry::Message { client, topic, received, payload } => match status_of(topic) {
                    Some(sensor) => self.bookkeeping.status(&sensor, *received, payload),
                    None => sorted.rejected.push(Quarantined {
                        position: record.position,
                        received: *received,
                        client: client.to_string(),
                        topic: topic.to_string(),
                        code: "channel_not_in_use".to_owned(),
                        detail: "this version takes readings and status; the message is kept".to_owned(),
                        payload: payload.to_vec(),
                    }),
                },
                Entry::Rejected { client, topic, received, payload, code, detail } => {
                    sorted.rejected.push(Quarantined {
                        position: record.position,
                        received: *received,
                        client: client.to_string(),
                        topic: topic.to_string(),
                        code: code.as_str().to_owned(),
                        detail: detail.clone(),
                        payload: payload.to_vec(),
                    });
                }
            }
        }
        sorted
    }

    async fn alert(&self, observations: &[Observation]) {
        let mut tries = 0;
        while let Err(error) = self.parts.alerts.observe(observations).await {
            self.wait_after("alerts", &error, &mut tries).await;
        }
    }

    async fn quarantine(&self, rejected: &[Quarantined]) {
        if rejected.is_empty() {
            return;
        }
        let mut tries = 0;
        while let Err(error) = self.put_quarantine(rejected).await {
            self.wait_after("quarantine", &error, &mut tries).await;
        }
        self.counters.quarantined.add(rejected.len() as u64);
    }

    async fn put_quarantine(&self, rejected: &[Quarantined]) -> Result<(), IngestError> {
        let mut tx = self.parts.ledger.begin().await?;
        quarantine::put(&mut tx, rejected).await?;
        tx.commit().await.map_err(store::StoreError::from)?;
        Ok(())
    }

    async fn wait_after(&self, step: &str, error: &(dyn std::error::Error + Sync), tries: &mut usize) {
        tracing::error!(step, %error, tries, "a batch could not be handed on, trying again");
        self.counters.retries.add(1);
        tokio::time::sleep(RETRY[(*tries).min(RETRY.len() - 1)]).await;
        *tries += 1;
    }

    /// Hands readings to the time series. While that can take no more they stay in the journal, and
    /// [`Pipeline::catch_up`] brings them later: storing never holds up the alarms behind it.
    fn store(&mut self, sorted: &Sorted) {
        if self.stored < self.position || self.time_series_is_full() {
            return;
        }
        // neighbours of one message go in together
        for run in sorted.observations.chunk_by(|a, b| a.position == b.position) {
            let Some(first) = run.first() else { continue };
            let readings: Vec<Reading> = run.iter().map(|observation| observation.reading).collect();
            self.parts.readings.append(&first.sensor, first.received, &readings, first.position);
        }
        self.stored = self.parts.journal.beyond_gap(sorted.last);
        self.parts.readings.advance(self.stored);
    }

    fn time_series_is_full(&self) -> bool {
        self.parts.readings.is_stalled() && self.parts.readings.stats().in_memory >= MOST_IN_MEMORY
    }

    /// Brings the time series what it could not take before, from the journal.
    async fn catch_up(&mut self) -> Result<(), IngestError> {
        for _ in 0..CATCH_UP_BATCHES {
            if self.stored >= self.position || self.time_series_is_full() {
                break;
            }
            for record in self.parts.journal.next(self.stored, BATCH).await?.iter() {
                if record.position > self.position {
                    break;
                }
                if let Entry::Readings { sensor, received, readings } = &record.entry {
                    self.parts.readings.append(sensor, *received, readings, record.position);
                }
                self.stored = self.parts.journal.beyond_gap(record.position);
            }
            self.parts.readings.advance(self.stored);
        }
        Ok(())
    }

    async fn save_or_log(&mut self) {
        if let Err(error) = self.save().await {
            tracing::error!(%error, "bookkeeping could not be saved, trying again later");
        }
    }

    /// Writes bookkeeping and positions, and lets the journal forget what everybody has.
    async fn save(&mut self) -> Result<(), IngestError> {
        if self.position > self.saved {
            let heard = self.bookkeeping.waiting();
            let mut tx = self.parts.ledger.begin().await?;
            registry::sensors::put_heard(&mut tx, &heard).await?;
            set_applied(&mut tx, CONSUMER, self.position).await?;
            tx.commit().await.map_err(store::StoreError::from)?;
            self.bookkeeping.clear();
            self.saved = self.position;
            self.parts.alerts.checkpoint(self.position).await?;
        }
        let everybody_has = self.saved.min(self.parts.alerts.applied()).min(self.parts.readings.applied());
        self.parts.journal.truncate_through(everybody_has);
        Ok(())
    }
}

/// A reading that must reach the rules even if it looks like a repeat.
fn is_vital(reading: &Reading) -> bool {
    reading.co_ppm.is_some_and(|ppm| ppm >= NEVER_A_REPEAT_PPM)
        || reading.state == Some(SensorState::Alarm)
        || reading.flags.has(Flags::CO_SATURATED)
}
