//! Everything together: sensors, events, phones and people against a running system.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::SimClock;
use crate::district::District;
use crate::events::{self, Poisoning, Rates, Script};
use crate::fleet::{Fleet, Tally};
use crate::http::{self, HttpError};
use crate::people::{Login, People};
use crate::phones::Phones;
use crate::world::World;

/// What to run against what.
pub struct Options {
    pub district: District,
    /// MQTT passwords by sensor id; a sensor without one stays off.
    pub secrets: HashMap<String, String>,
    /// The front door of the system under test.
    pub mqtt: SocketAddr,
    /// Base URL of its console and API, for example `http://127.0.0.1:8080`.
    pub http: String,
    /// The mobile network the system sends to; whoever made it also serves it.
    pub phones: Phones,
    /// Console sign-ins by person id.
    pub logins: HashMap<String, Login>,
    pub rates: Rates,
    pub seed: u64,
    /// Whether anything goes wrong at all.
    pub poisonings: bool,
    /// Whether sensors leave a will with the broker.
    pub wills: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Readings handed to a connection, repeats included.
    pub readings_sent: u64,
    /// Readings whose message was acknowledged, each once.
    pub readings_acknowledged: u64,
    /// Readings sensors gave up because too many were waiting.
    pub readings_dropped: u64,
    /// Messages that reached a handset.
    pub messages: u64,
    pub poisonings: Vec<Poisoning>,
    /// Of the poisonings that anybody was told about: real milliseconds from the first reading of
    /// 300 ppm or more to the first message on a handset.
    pub alarm_latencies_ms: Vec<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    #[error("the system's clock cannot be read: {0}")]
    Clock(#[source] HttpError),
    #[error("HTTP client: {0}")]
    Client(#[source] HttpError),
}

const CLOCK_PATIENCE: Duration = Duration::from_secs(30);

/// Runs the district until `stop`.
///
/// # Errors
/// When the system's clock cannot be read within 30 seconds. Everything later (refused connections,
/// dead links, a console that is down) is reported by tracing and survived.
pub async fn run(options: Options, stop: CancellationToken) -> Result<Summary, SimulatorError> {
    let Options { district, secrets, mqtt, http, phones, logins, rates, seed, poisonings, wills } = options;
    let base = http.trim_end_matches('/').to_owned();
    let client = http::client().map_err(SimulatorError::Client)?;
    let clock = tokio::select! {
        learned = SimClock::learn(&client, &base, CLOCK_PATIENCE) => learned.map_err(SimulatorError::Clock)?,
        () = stop.cancelled() => return Ok(Summary::of(&Tally::default(), &phones, Vec::new())),
    };
    let start = clock.now();
    let world = Arc::new(World::new(&district, start, seed));
    tracing::info!(homes = district.homes.len(), scale = clock.scale(), at = %start, "the district lives");

    let fleet = Arc::new(Fleet {
        world: world.clone(),
        clock: clock.clone(),
        mqtt,
        secrets,
        wills,
        seed,
        tally: Tally::default(),
    });
    let script = poisonings.then(|| Script::new(&district, rates, seed, start)).flatten();
    let people = People::new(world.clone(), clock.clone(), district.staff, logins, client.clone(), &base);

    let mut parts = JoinSet::new();
    parts.spawn(fleet.clone().run(stop.clone()));
    parts.spawn(Arc::new(people).run(phones.subscribe(), rates, seed, stop.clone()));
    if let Some(script) = script {
        let (world, clock, stop) = (world.clone(), clock.clone(), stop.clone());
        parts.spawn(async move { events::play(&world, &clock, script, &stop).await });
    }
    parts.spawn({
        let (clock, stop) = (clock.clone(), stop.clone());
        async move { clock.follow(&client, &base, &stop).await }
    });
    parts.join_all().await;
    Ok(Summary::of(&fleet.tally, &phones, world.poisonings(clock.now())))
}

impl Summary {
    fn of(tally: &Tally, phones: &Phones, poisonings: Vec<Poisoning>) -> Summary {
        Summary {
            readings_sent: tally.sent.load(Ordering::Relaxed),
            readings_acknowledged: tally.acknowledged.load(Ordering::Relaxed),
            readings_dropped: tally.dropped.load(Ordering::Relaxed),
            messages: phones.received(),
            alarm_latencies_ms: poisonings.iter().filter_map(|poisoning| poisoning.alarm_latency_ms).collect(),
            poisonings,
        }
    }
}
