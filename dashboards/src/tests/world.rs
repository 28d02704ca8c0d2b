//! A small district with one danger, and a browser to look at it with.

use std::collections::HashMap;
use std::sync::Arc;

use alerts::plan::{Post, Shift};
use alerts::{Alerts, Observation};
use axum::Router;
use axum::body::Body;
use axum::extract::Query;
use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use model::time::{HOUR, MINUTE, SECOND};
use model::{DeviceId, Reading, SensorState, Stamp};
use registry::people::{Account, Language, Person, StaffRole, put_people};
use registry::places::{Area, Premises, PremisesClass, put_areas, put_premises};
use registry::secrets::Secrets;
use registry::sensors::{Sensor, put_sensors};
use registry::{Credentials, Registry};
use store::quarantine::{self, Quarantined};
use store::{Clock, Ledger, Position, Readings};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

use crate::routes::SESSION_COOKIE;
use crate::{Console, Settings, Shared, routes};

pub(super) const START: Stamp = Stamp(1_794_956_800_000);
pub(super) const HOSTILE: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>";
pub(super) const PASSWORD: &str = "correct horse battery";
pub(super) const CALLBACK_SECRET: &str = "callback-secret";
pub(super) const PHONE: &str = "13711112222";

pub(super) struct World {
    pub(super) shared: Shared,
    pub(super) router: Router,
    pub(super) clock: Clock,
    pub(super) problems: watch::Sender<Vec<String>>,
    next_position: std::cell::Cell<u64>,
    /// Texts that the SMS gateway has taken.
    messages: tokio::sync::Mutex<mpsc::Receiver<String>>,
    _folder: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A browser's cookies.
#[derive(Clone, Default)]
pub(super) struct Browser {
    pub(super) cookies: Vec<(String, String)>,
    pub(super) csrf: String,
}

impl Browser {
    pub(super) fn with(mut self, name: &str, value: &str) -> Browser {
        self.cookies.push((name.to_owned(), value.to_owned()));
        self
    }

    fn header(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

pub(super) fn id(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

fn person(id: &str, name: &str, language: Language) -> Person {
    Person {
        id: id.to_owned(),
        name: name.to_owned(),
        phone: "13800138000".to_owned(),
        email: format!("{id}@example.org"),
        language,
    }
}

impl World {
    pub(super) async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open_file(&folder.path().join("ledger.db")).await.unwrap();
        ledger.migrate(&[quarantine::SCHEMA, registry::SCHEMA, inspection::SCHEMA, alerts::SCHEMA]).await.unwrap();
        let clock = Clock::manual(START);
        let registry = Registry::new(ledger.clone());
        fill(&ledger).await;
        registry.reload().await.unwrap();
        let secrets = Secrets::generate().unwrap();
        let credentials = Credentials::load(&registry, secrets.fleet.clone()).await.unwrap();
        let settings = alerts::Settings {
            profile: &model::dose::EN50291,
            public_url: "https://gas.example".to_owned(),
            link_key: secrets.links,
            time_zone: "Asia/Shanghai".to_owned(),
        };
        let (gateway, messages) = gateway().await;
        let kannel = alerts::notify::KannelSettings {
            url: gateway,
            username: "user".to_owned(),
            password: "password".to_owned(),
            from: "10086".to_owned(),
            report_url: None,
        };
        let providers = alerts::notify::Providers::new(Some(kannel), None).unwrap();
        let alerts = Alerts::open(registry.clone(), clock.clone(), settings, providers).await.unwrap();
        let readings = Readings::open(&folder.path().join("readings"), clock.clone()).unwrap();
        let (problems, watched) = watch::channel(Vec::new());
        let shared = Shared::new(Console {
            registry,
            alerts,
            readings,
            credentials,
            clock: clock.clone(),
            settings: Settings {
                time_zone: "Asia/Shanghai".to_owned(),
                district: "白云区".to_owned(),
                demo: false,
                callback_secret: CALLBACK_SECRET.to_owned(),
                secure_cookies: false,
            },
            problems: watched,
            metrics: Arc::new(|| "gaswatch_up 1\n".to_owned()),
        });
        World {
            router: routes::build(shared.clone()),
            shared,
            clock,
            problems,
            next_position: std::cell::Cell::new(1),
            messages: tokio::sync::Mutex::new(messages),
            _folder: folder,
        }
    }

    /// One danger at the hostile address, with a curve behind it.
    pub(super) async fn with_danger() -> (World, i64) {
        let world = World::new().await;
        for minute in 0..20 {
            world.read("S1", world.clock.now() - (20 - minute) * MINUTE, 3.0 + minute as f32).await;
        }
        world.read("S1", world.clock.now(), 412.4).await;
        let open = world.shared.alerts.open_incidents().await.unwrap();
        assert_eq!(open.len(), 1);
        let incident = open[0].id;
        (world, incident)
    }

    pub(super) async fn read(&self, sensor: &str, time: Stamp, co_ppm: f32) {
        let position = Position(self.next_position.replace(self.next_position.get() + 1));
        let reading = Reading {
            time,
            co_ppm: Some(co_ppm),
            battery_pct: Some(88.0),
            state: Some(SensorState::Normal),
            ..Reading::default()
        };
        let sensor = id(sensor);
        self.shared.readings.append(&sensor, time, &[reading], position);
        let observation = Observation { position, sensor, received: time, reading };
        self.shared.alerts.observe(&[observation]).await.unwrap();
    }

    /// Sends what is waiting and returns the token of the acknowledge link in the first message.
    pub(super) async fn link(&self) -> String {
        let mut messages = self.messages.lock().await;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let run = self.shared.alerts.run(async { stopped.await.unwrap() });
        let take = async {
            let text = messages.recv().await.unwrap();
            stop.send(()).unwrap();
            text
        };
        let (run, text) = tokio::join!(run, take);
        run.unwrap();
        let token = text.split("https://gas.example/a/").nth(1).unwrap_or_else(|| panic!("{text}"));
        token.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&bytes).into_owned() }
    }

    pub(super) async fn get(&self, browser: &Browser, path: &str) -> Answer {
        let request = Request::builder().uri(path).header(COOKIE, browser.header());
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, browser: &Browser, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(COOKIE, browser.header())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(encoded(form))).unwrap()).await
    }

    /// Makes the account `login`, whose name says its role; slow, as password hashes must be.
    pub(super) async fn account(&self, login: &str) {
        let role = match login {
            "duty" => StaffRole::DutyOfficer,
            "auditor" => StaffRole::Auditor,
            _ => StaffRole::Inspector,
        };
        let accounts = self.shared.registry.accounts().await.unwrap();
        if accounts.iter().all(|account| account.login != login) {
            let account = Account { login: login.to_owned(), person: login.to_owned(), role };
            self.shared.registry.put_account(&account, PASSWORD).await.unwrap();
        }
    }

    /// Signs in through the form, as a person does.
    pub(super) async fn sign_in(&self, login: &str) -> Browser {
        self.account(login).await;
        let answer =
            self.post(&Browser::default(), "/sign-in", &[("login", login), ("password", PASSWORD), ("to", "/")]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        let cookie = answer.headers.get(SET_COOKIE).unwrap().to_str().unwrap();
        let token = cookie.split(';').next().unwrap().split_once('=').unwrap().1;
        let session = self.shared.registry.session(token, self.clock.now()).await.unwrap().unwrap();
        Browser { csrf: session.csrf, ..Browser::default().with(SESSION_COOKIE, token) }
    }
}

pub(super) fn encoded(form: &[(&str, &str)]) -> String {
    let one = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    form.iter().map(|(name, value)| format!("{}={}", one(name), one(value))).collect::<Vec<_>>().join("&")
}

/// An SMS gateway that takes everything, and the texts it takes.
async fn gateway() -> (String, mpsc::Receiver<String>) {
    let (sender, texts) = mpsc::channel(16);
    let take = async move |Query(query): Query<HashMap<String, String>>| {
        sender.send(query["text"].clone()).await.unwrap();
        (StatusCode::ACCEPTED, "0: Accepted for delivery")
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/cgi-bin/sendsms", listener.local_addr().unwrap());
    let router = Router::new().route("/cgi-bin/sendsms", axum::routing::get(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, texts)
}

pub(super) fn sensor(id: &str, premises: &str) -> Sensor {
    Sensor {
        id: DeviceId::new(id).unwrap(),
        premises: Some(premises.to_owned()),
        room: "浴室".to_owned(),
        model: "CO-1".to_owned(),
        interval_ms: MINUTE,
        range_ppm: 1_000.0,
    }
}

/// A message at `position` that says `text` everywhere.
pub(super) fn quarantined(position: u64, text: &str) -> Quarantined {
    Quarantined {
        position: Position(position),
        received: START - SECOND,
        client: text.to_owned(),
        topic: format!("{text}/{position}"),
        code: "not_json".to_owned(),
        detail: text.to_owned(),
        payload: text.as_bytes().to_vec(),
    }
}

async fn fill(ledger: &Ledger) {
    let area = Area { id: "shijing".to_owned(), name_zh: "石井街道".to_owned(), name_en: "Shijing".to_owned() };
    let premises = |id: &str, address: &str| Premises {
        id: id.to_owned(),
        area: "shijing".to_owned(),
        class: PremisesClass::Home,
        address: address.to_owned(),
        building: "b1".to_owned(),
        contact_name: "陈丽".to_owned(),
        contact_phone: PHONE.to_owned(),
        vulnerable: true,
    };
    let people = [
        person("duty", "王建国", Language::Zh),
        person("deputy", "Li Min", Language::En),
        person("auditor", "Auditor", Language::En),
        person("inspector", "Inspector", Language::Zh),
    ];
    let shift =
        |post: Post, person: &str| Shift { post, person: person.to_owned(), from: START - HOUR, to: START + 8 * HOUR };
    let item = Quarantined { topic: HOSTILE.to_owned(), ..quarantined(7, HOSTILE) };
    let mut tx = ledger.begin().await.unwrap();
    put_areas(&mut tx, &[area]).await.unwrap();
    put_premises(&mut tx, &[premises("P1", HOSTILE), premises("P2", "庆丰南路 18 号")]).await.unwrap();
    put_sensors(&mut tx, &[sensor("S1", "P1"), sensor("S2", "P2")]).await.unwrap();
    put_people(&mut tx, &people).await.unwrap();
    alerts::plan::put_plan(&mut tx, &alerts::plan::default_plan()).await.unwrap();
    let shifts = [shift(Post::DutyOfficer, "duty"), shift(Post::Deputy, "deputy")];
    alerts::plan::put_shifts(&mut tx, &shifts).await.unwrap();
    quarantine::put(&mut tx, &[item]).await.unwrap();
    tx.commit().await.unwrap();
}
