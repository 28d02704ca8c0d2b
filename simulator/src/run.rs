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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::response::{Html, Redirect};
    use axum::routing::get;
    use model::time::MINUTE;
    use model::{SensorState, Stamp, decode};
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::*;
    use crate::phones::PhonesOptions;
    use crate::testing::{self, Acceptor, Manners};

    const START: Stamp = Stamp(1_795_485_600_000);
    /// A simulated minute in 60 milliseconds.
    const SCALE: f64 = 1_000.0;

    /// A system of three lines: the clock, one link, and a message to the deputy for each alarm.
    #[tokio::test]
    async fn a_poisoning_is_published_told_about_and_ended() {
        let clock = SimClock::new(START, SCALE);
        let pressed = Arc::new(Mutex::new(0));
        let (shown, presses) = (clock.clone(), pressed.clone());
        let (press, mut was_pressed) = watch::channel(());
        let routes = Router::new()
            .route(
                "/api/v1/clock",
                get(move || async move { format!(r#"{{"now":{},"scale":{SCALE}}}"#, shown.now().0) }),
            )
            .route(
                "/a/t",
                get(async || Html(r#"<form method="post"><button>OK</button></form>"#)).post(move || async move {
                    *presses.lock().unwrap() += 1;
                    press.send_replace(());
                    Redirect::to("/a/t")
                }),
            );
        let http = testing::serve(routes).await;
        let mut acceptor = Acceptor::start(Manners::default()).await;
        let stop = CancellationToken::new();
        let phones = PhonesOptions { username: "u".into(), password: "p".into(), handset_delay: Duration::ZERO };
        let phones = Phones::new(phones).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = format!("http://{}/cgi-bin/sendsms", listener.local_addr().unwrap());
        let (network, until) = (phones.clone(), stop.clone());
        tokio::spawn(async move { network.serve(listener, until).await });

        let district = District::generate(3, 12);
        let deputy = district.staff[1].clone();
        let secrets = district.homes.iter().map(|home| (home.sensor.id.to_string(), "s".to_owned())).collect();
        let options = Options {
            district,
            secrets,
            mqtt: acceptor.address,
            http: format!("{http}/"),
            phones: phones.clone(),
            logins: HashMap::new(),
            rates: Rates { mean_between_ms: 10_000 * MINUTE, ..Rates::default() },
            seed: 3,
            poisonings: true,
            wills: false,
        };
        let running = tokio::spawn(run(options, stop.clone()));

        let mut reported = async |is_wanted: fn(&model::Reading) -> bool| loop {
            let published = acceptor.published.recv().await.unwrap();
            let readings = decode::readings(&published.payload, clock.now()).readings;
            if published.topic.ends_with("/readings") && readings.iter().any(is_wanted) {
                break published.topic.split('/').nth(3).unwrap().to_owned();
            }
        };
        let sensor = reported(|reading| reading.state == Some(SensorState::Alarm)).await;
        let text = format!("CO 300 ppm, {sensor}: {http}/a/t");
        let query = [("username", "u"), ("password", "p"), ("from", "1"), ("to", &deputy.phone), ("text", &text)];
        let sent = http::client().unwrap().get(&gateway).query(&query).send().await.unwrap();
        assert_eq!(sent.status(), 202);
        was_pressed.changed().await.unwrap();
        while reported(|reading| reading.co_ppm < Some(300.0)).await != sensor {}
        stop.cancel();
        let summary = running.await.unwrap().unwrap();

        assert_eq!(*pressed.lock().unwrap(), 1);
        assert_eq!(summary.poisonings.len(), 1);
        let poisoning = &summary.poisonings[0];
        assert_eq!(poisoning.sensor.as_str(), sensor);
        assert_eq!(poisoning.acknowledged_by.as_deref(), Some("deputy-1"));
        assert!(poisoning.danger.unwrap() < poisoning.acknowledged.unwrap());
        assert!(poisoning.acknowledged.unwrap() < poisoning.ended.unwrap());
        assert_eq!(summary.alarm_latencies_ms, [poisoning.alarm_latency_ms.unwrap()]);
        assert_eq!(summary.messages, 1);
        assert!(summary.readings_acknowledged > 12 && summary.readings_acknowledged <= summary.readings_sent);
        assert_eq!(summary.readings_dropped, 0);
    }

    #[tokio::test]
    async fn stopping_before_the_system_answers_is_no_error() {
        let phones = PhonesOptions { username: "u".into(), password: "p".into(), handset_delay: Duration::ZERO };
        let options = Options {
            district: District::generate(1, 3),
            secrets: HashMap::new(),
            mqtt: "127.0.0.1:1".parse().unwrap(),
            http: testing::serve(Router::new()).await,
            phones: Phones::new(phones).unwrap(),
            logins: HashMap::new(),
            rates: Rates::default(),
            seed: 1,
            poisonings: true,
            wills: false,
        };
        let stop = CancellationToken::new();
        stop.cancel();
        let summary = run(options, stop).await.unwrap();
        assert_eq!((summary.readings_sent, summary.poisonings.len()), (0, 0));
    }
}
