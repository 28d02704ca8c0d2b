//! Load for any MQTT 3.1.1 broker, closed loop: each connection keeps a window of unacknowledged
//! messages full. Made to cost little, because it often shares its processors with what it measures:
//! own packets, rendered once and patched; one write and one read per batch; no timer per message.

mod connection;
mod deliveries;
pub(crate) mod packet;
mod payload;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use model::Stamp;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use connection::Connection;
pub use deliveries::{Deliveries, DeliveryOptions, DeliveryReport, count_deliveries};
pub use payload::{About, FIRST_SEQ, Payload, PayloadFn};

/// Quality of service of the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Qos {
    /// Never acknowledged: a message counts as acknowledged once the socket took it. At the end each
    /// connection asks for an answer, so that nothing is left in its buffers.
    AtMostOnce,
    #[default]
    AtLeastOnce,
}

impl Qos {
    fn level(self) -> u8 {
        u8::from(self == Qos::AtLeastOnce)
    }
}

/// User name and password by client id.
pub type CredentialsFn = Arc<dyn Fn(&str) -> (String, String) + Send + Sync>;
/// Client id by index of the connection.
pub type IdFn = Arc<dyn Fn(usize) -> String + Send + Sync>;

/// What load to make.
#[derive(Clone)]
pub struct LoadOptions {
    pub address: SocketAddr,
    pub connections: usize,
    /// Unacknowledged messages per connection; at QoS 0 messages per write.
    pub window: u16,
    pub qos: Qos,
    /// `{id}` stands for the client id.
    pub topic: String,
    pub ids: IdFn,
    pub credentials: Option<CredentialsFn>,
    pub payload: Payload,
    /// What time the payloads begin with; tokio's clock counts on from there.
    pub now: Stamp,
    /// Not measured, from the moment that all connections are up.
    pub warm_up: Duration,
    /// Measured time after the warm-up.
    pub duration: Duration,
    /// Ends the run earlier, after so many messages, warm-up included.
    pub messages: Option<u64>,
    /// How long to wait for outstanding acknowledgements at the end.
    pub patience: Duration,
}

impl LoadOptions {
    /// Ten connections with a window of 100 each, readings at QoS 1 for ten seconds after one of
    /// warm-up.
    pub fn new(address: SocketAddr, now: Stamp) -> LoadOptions {
        LoadOptions {
            address,
            connections: 10,
            window: 100,
            qos: Qos::AtLeastOnce,
            topic: "gas/v1/sensors/{id}/readings".to_owned(),
            ids: Arc::new(|index| format!("load-{index:05}")),
            credentials: None,
            payload: Payload::Reading,
            now,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            messages: None,
            patience: Duration::from_secs(30),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadReport {
    /// Time until all connections were up, seconds.
    pub connect_seconds: f64,
    /// Messages handed to a socket, all of the run.
    pub sent: u64,
    /// Messages acknowledged, all of the run.
    pub acknowledged: u64,
    /// Messages acknowledged in the measured time.
    pub measured: u64,
    /// The measured time.
    pub seconds: f64,
    /// `measured` by `seconds`.
    pub per_second: f64,
    /// Of the measured messages, at QoS 1.
    pub latency: Latency,
    /// Connections that failed or were not answered in the end, and acknowledgements nobody waited for.
    pub errors: u64,
    /// The first failure, for people.
    pub first_error: Option<String>,
}

/// From handing a message to the socket to reading its acknowledgement, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("connection {id}: {reason}")]
    Connect { id: String, reason: String },
    #[error("{0}")]
    Options(&'static str),
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("closed by the peer")]
    Closed,
    #[error(transparent)]
    Malformed(#[from] packet::Malformed),
    #[error("refused with code {0}")]
    Refused(u8),
    #[error("answered by a packet of type {0}")]
    Unexpected(u8),
    #[error("no answer in time")]
    Silent,
}

/// A run's shared state.
struct Run {
    start: Instant,
    clock: Stamp,
    warm_up_us: u64,
    end_us: u64,
    /// Messages that may still be sent, when they are limited.
    left: Option<AtomicU64>,
    shards: Vec<Mutex<Shard>>,
}

/// Several connections count together: few enough to be small, many enough not to wait.
struct Shard {
    sent: u64,
    acknowledged: u64,
    measured: u64,
    unexpected: u64,
    last_us: u64,
    latency: Histogram<u64>,
}

const SHARDS: usize = 8;
const CONNECTING_AT_ONCE: usize = 256;
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_LATENCY_US: u64 = 600_000_000;

/// Makes the load and reports.
///
/// # Errors
/// [`LoadError`] when a connection cannot be made or the options make no sense. What fails later is
/// counted in the report.
pub async fn run(options: LoadOptions) -> Result<LoadReport, LoadError> {
    if options.window == 0 || options.connections == 0 {
        return Err(LoadError::Options("at least one connection and a window of at least one are needed"));
    }
    let connecting = Instant::now();
    let connections = connect_all(&options).await?;
    let connect_seconds = connecting.elapsed().as_secs_f64();

    let run = Arc::new(Run::new(&options));
    let mut driving = JoinSet::new();
    for (index, connection) in connections.into_iter().enumerate() {
        driving.spawn(connection.drive(run.clone(), index % SHARDS));
    }
    let mut failures = Failures::default();
    let deadline = run.start + options.warm_up + options.duration + options.patience;
    let all = async {
        while let Some(outcome) = driving.join_next().await {
            failures.note(outcome);
        }
    };
    let is_complete = tokio::time::timeout_at(deadline, all).await.is_ok();
    if !is_complete {
        failures.unanswered(driving.len());
        driving.shutdown().await;
    }
    Ok(run.report(connect_seconds, failures))
}

async fn connect_all(options: &LoadOptions) -> Result<Vec<Connection>, LoadError> {
    let gate = Arc::new(Semaphore::new(CONNECTING_AT_ONCE));
    let mut connecting = JoinSet::new();
    for index in 0..options.connections {
        let (options, gate) = (options.clone(), gate.clone());
        connecting.spawn(async move {
            // the gate is never closed
            let _permit = gate.acquire().await;
            let id = (options.ids)(index);
            let opened = tokio::time::timeout(CONNECT_PATIENCE, Connection::open(&options, id.clone())).await;
            opened
                .unwrap_or(Err(Broken::Silent))
                .map_err(|broken| LoadError::Connect { id, reason: broken.to_string() })
        });
    }
    let mut connections = Vec::with_capacity(options.connections);
    while let Some(outcome) = connecting.join_next().await {
        let outcome = outcome.map_err(|error| LoadError::Connect { id: String::new(), reason: error.to_string() })?;
        connections.push(outcome?);
    }
    Ok(connections)
}

#[derive(Default)]
struct Failures {
    count: u64,
    first: Option<String>,
}

impl Failures {
    fn note(&mut self, outcome: Result<Result<(), Broken>, JoinError>) {
        let reason = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(broken)) => broken.to_string(),
            Err(error) => error.to_string(),
        };
        self.count += 1;
        self.first.get_or_insert(reason);
    }

    fn unanswered(&mut self, connections: usize) {
        self.count += connections as u64;
        self.first.get_or_insert_with(|| format!("{connections} connections were not answered in time"));
    }
}

impl Run {
    fn new(options: &LoadOptions) -> Run {
        let warm_up_us = options.warm_up.as_micros() as u64;
        let shard = || Shard { sent: 0, acknowledged: 0, measured: 0, unexpected: 0, last_us: 0, latency: histogram() };
        Run {
            start: Instant::now(),
            clock: options.now,
            warm_up_us,
            end_us: warm_up_us + options.duration.as_micros() as u64,
            left: options.messages.map(AtomicU64::new),
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
        }
    }

    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn stamp(&self, now_us: u64) -> Stamp {
        self.clock + (now_us / 1_000) as i64
    }

    /// How many of the wanted messages may be sent; 0 once the run is over.
    fn grant(&self, wanted: usize, now_us: u64) -> usize {
        if now_us >= self.end_us {
            return 0;
        }
        let Some(left) = &self.left else { return wanted };
        let take = |left: u64| Some(left - left.min(wanted as u64));
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
        before.min(wanted as u64) as usize
    }

    fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_measured(&self, now_us: u64) -> bool {
        (self.warm_up_us..=self.end_us).contains(&now_us)
    }

    fn report(&self, connect_seconds: f64, failures: Failures) -> LoadReport {
        let mut report = LoadReport {
            connect_seconds,
            errors: failures.count,
            first_error: failures.first,
            ..LoadReport::default()
        };
        let mut latency = histogram();
        let mut last_us = 0;
        for index in 0..self.shards.len() {
            let shard = self.shard(index);
            report.sent += shard.sent;
            report.acknowledged += shard.acknowledged;
            report.measured += shard.measured;
            report.errors += shard.unexpected;
            last_us = last_us.max(shard.last_us);
            // both have the same bounds
            let _ = latency.add(&shard.latency);
        }
        let was_cut_short = self.left.as_ref().is_some_and(|left| left.load(Ordering::Relaxed) == 0);
        let end_us = if was_cut_short { last_us.min(self.end_us) } else { self.end_us };
        report.seconds = end_us.saturating_sub(self.warm_up_us) as f64 / 1e6;
        report.per_second = if report.seconds > 0.0 { report.measured as f64 / report.seconds } else { 0.0 };
        let at = |quantile: f64| latency.value_at_quantile(quantile);
        report.latency = Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: latency.max() };
        report
    }
}

impl Shard {
    fn count(&mut self, messages: u64, now_us: u64, is_measured: bool) {
        self.acknowledged += messages;
        self.last_us = self.last_us.max(now_us);
        if is_measured {
            self.measured += messages;
        }
    }
}

/// Three digits up to ten minutes; longer is recorded as ten minutes.
fn histogram() -> Histogram<u64> {
    // the bounds are constants that hdrhistogram accepts; a failure would only coarsen the figures
    Histogram::new_with_bounds(1, LONGEST_LATENCY_US, 3).unwrap_or_else(|_| coarse())
}

#[expect(clippy::expect_used, reason = "a constant, tested below")]
fn coarse() -> Histogram<u64> {
    Histogram::new(1).expect("one digit is a valid precision")
}

#[cfg(test)]
mod tests;
