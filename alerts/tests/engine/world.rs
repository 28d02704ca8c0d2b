//! What the tests share: a small district, its duty people and a gateway that remembers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alerts::notify::{EmailSettings, KannelSettings, Providers};
use alerts::plan::{Post, Shift, put_shifts};
use alerts::query::{Detail, EventKind};
use alerts::{Alerts, Observation, Settings};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use model::time::{DAY, MINUTE};
use model::{DeviceId, Reading, SensorState, Stamp};
use registry::Registry;
use registry::people::{Language, Person, put_people};
use registry::places::{Area, Premises, PremisesClass, put_areas, put_premises};
use registry::sensors::{Sensor, put_sensors};
use store::{Clock, Ledger, Position};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) const START: Stamp = Stamp(1_795_457_647_000); // 2026-11-24 02:14:07 in Shanghai

/// A test that waits longer than this has found a bug; a passing one never waits so long.
const TOO_LONG: Duration = Duration::from_secs(60);

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TOO_LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} never came"),
    }
}

/// An SMS gateway that answers as told.
pub(crate) struct Gateway {
    url: String,
    requests: tokio::sync::Mutex<mpsc::Receiver<Sms>>,
    behaviour: Arc<Behaviour>,
}

/// The query of one request.
pub(crate) type Sms = HashMap<String, String>;

struct Behaviour {
    taken: mpsc::Sender<Sms>,
    /// Answers by number; others are accepted.
    answers: Mutex<HashMap<String, (u16, &'static str)>>,
    /// Requests are answered only while there are permits.
    gate: Semaphore,
}

impl Gateway {
    async fn start() -> Gateway {
        let (taken, requests) = mpsc::channel(1_000);
        let behaviour =
            Arc::new(Behaviour { taken, answers: Mutex::default(), gate: Semaphore::new(Semaphore::MAX_PERMITS) });
        let app = Router::new().route("/cgi-bin/sendsms", get(take)).with_state(Arc::clone(&behaviour));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/cgi-bin/sendsms", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Gateway { url, requests: tokio::sync::Mutex::new(requests), behaviour }
    }

    /// The next request.
    pub(crate) async fn next(&self) -> Sms {
        in_time("a text message", async { self.requests.lock().await.recv().await }).await.unwrap()
    }

    /// The numbers of the next requests, sorted.
    pub(crate) async fn next_numbers(&self, count: usize) -> Vec<String> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(self.next().await["to"].clone());
        }
        numbers.sort();
        numbers
    }

    /// Whether no request waits to be looked at.
    pub(crate) async fn is_quiet(&self) -> bool {
        self.requests.lock().await.is_empty()
    }

    pub(crate) fn answer(&self, number: &str, status: u16, body: &'static str) {
        self.behaviour.answers.lock().unwrap().insert(number.to_owned(), (status, body));
    }

    pub(crate) fn accept(&self, number: &str) {
        self.behaviour.answers.lock().unwrap().remove(number);
    }

    /// Takes requests, but answers none until [`Gateway::answer_again`].
    pub(crate) fn hang(&self) {
        self.behaviour.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn answer_again(&self) {
        self.behaviour.gate.add_permits(1_000);
    }
}

async fn take(State(behaviour): State<Arc<Behaviour>>, Query(sms): Query<Sms>) -> (StatusCode, &'static str) {
    let answer = behaviour.answers.lock().unwrap().get(&sms["to"]).copied();
    behaviour.taken.send(sms).await.unwrap();
    let _permit = behaviour.gate.acquire().await.unwrap();
    let (status, body) = answer.unwrap_or((202, "0: Accepted for delivery"));
    (StatusCode::from_u16(status).unwrap(), body)
}

pub(crate) const OFFICER: &str = "13800000001";
pub(crate) const DEPUTY: &str = "13800000002";
pub(crate) const SUPERVISOR: &str = "13800000003";

/// The engine and everything around it.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) registry: Registry,
    pub(crate) clock: Clock,
    pub(crate) gateway: Gateway,
    pub(crate) alerts: Alerts,
    email: Option<EmailSettings>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl World {
    /// Three people on duty, premises `H1` with sensors `S1` and `S2`, `H2` with `S3`; `S4` hangs
    /// nowhere.
    pub(crate) async fn new() -> World {
        World::with(None).await
    }

    /// As [`World::new`], with mail into the folder `mail`.
    pub(crate) async fn with_mail() -> World {
        World::with(Some(())).await
    }

    async fn with(mail: Option<()>) -> World {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open_file(&dir.path().join("ledger.db")).await.unwrap();
        ledger.migrate(&[registry::SCHEMA, alerts::SCHEMA]).await.unwrap();
        let registry = Registry::new(ledger);
        fill(&registry).await;
        let gateway = Gateway::start().await;
        let clock = Clock::manual(START);
        let email = mail.map(|()| EmailSettings {
            url: format!("file:{}", dir.path().join("mail").display()),
            from: "Gaswatch <gaswatch@example.org>".to_owned(),
            ca_file: None,
        });
        let alerts = open(&registry, &clock, &gateway, email.clone()).await;
        World { dir, registry, clock, gateway, alerts, email, running: None }
    }

    pub(crate) fn run(&mut self) {
        let (stop, stopped) = oneshot::channel();
        let alerts = self.alerts.clone();
        let task = tokio::spawn(async move {
            alerts.run(async { drop(stopped.await) }).await.unwrap();
        });
        self.running = Some((stop, task));
    }

    /// Stops the engine as a shutdown does.
    pub(crate) async fn stop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.send(()).unwrap();
            in_time("the end of run", task).await.unwrap();
        }
    }

    /// Ends the engine wherever it is, and opens it anew from the ledger.
    pub(crate) async fn crash(&mut self) {
        if let Some((_, task)) = self.running.take() {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        self.alerts = open(&self.registry, &self.clock, &self.gateway, self.email.clone()).await;
    }

    pub(crate) async fn observe(&self, observations: &[Observation]) {
        self.alerts.observe(observations).await.unwrap();
    }

    /// The only incident that is not resolved.
    pub(crate) async fn the_incident(&self) -> i64 {
        let incidents = self.alerts.open_incidents().await.unwrap();
        assert_eq!(incidents.len(), 1, "{incidents:?}");
        incidents[0].id
    }

    pub(crate) async fn detail(&self, incident: i64) -> Detail {
        self.alerts.detail(incident).await.unwrap().unwrap()
    }

    pub(crate) async fn kinds(&self, incident: i64) -> Vec<EventKind> {
        self.detail(incident).await.events.iter().map(|event| event.kind).collect()
    }

    /// Waits until an incident is as wished.
    pub(crate) async fn until(&self, incident: i64, what: &str, wish: impl Fn(&Detail) -> bool) -> Detail {
        let mut changes = self.alerts.changes();
        in_time(what, async {
            loop {
                let detail = self.detail(incident).await;
                if wish(&detail) {
                    return detail;
                }
                changes.recv().await.unwrap();
            }
        })
        .await
    }

    /// Waits until everything that was decided has been sent and noted.
    pub(crate) async fn until_all_sent(&self, incident: i64, count: usize) -> Detail {
        use alerts::outbox::Delivery::Waiting;
        self.until(incident, "the last notification", |detail| {
            detail.notifications.len() == count && detail.notifications.iter().all(|n| n.delivery != Waiting)
        })
        .await
    }

    pub(crate) async fn sql(&self, statement: &'static str) {
        let mut tx = self.registry.ledger().begin().await.unwrap();
        sqlx::query(statement).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn open(registry: &Registry, clock: &Clock, gateway: &Gateway, email: Option<EmailSettings>) -> Alerts {
    let kannel = KannelSettings {
        url: gateway.url.clone(),
        username: "gas".to_owned(),
        password: "s3cret-word".to_owned(),
        from: "10690000".to_owned(),
        report_url: Some("http://127.0.0.1:8080/callbacks/sms".to_owned()),
    };
    let settings = Settings {
        profile: &model::dose::EN50291,
        public_url: "http://10.0.0.5:8080/".to_owned(),
        link_key: [9; 32],
        time_zone: "Asia/Shanghai".to_owned(),
    };
    let providers = Providers::new(Some(kannel), email).unwrap();
    Alerts::open(registry.clone(), clock.clone(), settings, providers).await.unwrap()
}

fn person(id: &str, name: &str, phone: &str, language: Language) -> Person {
    Person {
        id: id.to_owned(),
        name: name.to_owned(),
        phone: phone.to_owned(),
        email: format!("{id}@example.org"),
        language,
    }
}

fn premises(id: &str, address: &str) -> Premises {
    Premises {
        id: id.to_owned(),
        area: "shijing".to_owned(),
        class: PremisesClass::Home,
        address: address.to_owned(),
        building: "B1".to_owned(),
        contact_name: "刘一".to_owned(),
        contact_phone: "13900000000".to_owned(),
        vulnerable: false,
    }
}

fn sensor(id: &str, premises: Option<&str>, room: &str) -> Sensor {
    Sensor {
        id: DeviceId::new(id).unwrap(),
        premises: premises.map(str::to_owned),
        room: room.to_owned(),
        model: "M1".to_owned(),
        interval_ms: MINUTE,
        range_ppm: 1_000.0,
    }
}

async fn fill(registry: &Registry) {
    let mut tx = registry.ledger().begin().await.unwrap();
    let area = Area { id: "shijing".to_owned(), name_zh: "石井街".to_owned(), name_en: "Shijing".to_owned() };
    put_areas(&mut tx, &[area]).await.unwrap();
    let homes = [premises("H1", "石井街石沙路18号402室"), premises("H2", "石井街石沙路20号101室")];
    put_premises(&mut tx, &homes).await.unwrap();
    let sensors = [
        sensor("S1", Some("H1"), "浴室"),
        sensor("S2", Some("H1"), "厨房"),
        sensor("S3", Some("H2"), "浴室"),
        sensor("S4", None, ""),
    ];
    put_sensors(&mut tx, &sensors).await.unwrap();
    let people = [
        person("p1", "陈一", OFFICER, Language::Zh),
        person("p2", "Li Er", DEPUTY, Language::En),
        person("p3", "王三", SUPERVISOR, Language::Zh),
    ];
    put_people(&mut tx, &people).await.unwrap();
    let shift = |post, person: &str| Shift { post, person: person.to_owned(), from: START - DAY, to: START + DAY };
    let shifts = [shift(Post::DutyOfficer, "p1"), shift(Post::Deputy, "p2"), shift(Post::Supervisor, "p3")];
    put_shifts(&mut tx, &shifts).await.unwrap();
    tx.commit().await.unwrap();
    registry.reload().await.unwrap();
}

/// A reading as it comes, at its own time.
pub(crate) fn co(position: u64, sensor: &str, at: Stamp, ppm: f32) -> Observation {
    Observation {
        position: Position(position),
        sensor: DeviceId::new(sensor).unwrap(),
        received: at,
        reading: Reading { time: at, co_ppm: Some(ppm), state: Some(SensorState::Normal), ..Reading::default() },
    }
}
