use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use model::Stamp;
use tokio::net::TcpListener;

use super::*;
use crate::district::District;
use crate::http;
use crate::phones::{Phones, PhonesOptions};
use crate::testing;

const START: Stamp = Stamp(1_795_485_600_000);
/// A simulated minute in 20 milliseconds.
const SCALE: f64 = 3_000.0;

type Fields = BTreeMap<String, String>;

/// A console with one incident.
#[derive(Default)]
struct Console {
    sensor: Mutex<String>,
    is_resolved: Mutex<bool>,
    /// Refuses so many resolutions before it takes one.
    refusals: Mutex<usize>,
    /// What was posted: path and fields.
    posted: Mutex<Vec<(String, Fields)>>,
}

type Shared = State<Arc<Console>>;

fn routes(console: &Arc<Console>) -> Router {
    Router::new()
        .route("/a/{token}", get(show_link).post(press_button))
        .route("/sign-in", get(show_sign_in).post(sign_in))
        .route("/api/v1/incidents", get(list))
        .route("/incidents/{id}", get(show_incident))
        .route("/incidents/{id}/resolve", post(resolve))
        .with_state(console.clone())
}

async fn show_link(Path(token): Path<String>) -> Response {
    match token.as_str() {
        "dead" => (StatusCode::GONE, "expired").into_response(),
        "formless" => Html("<p>nothing to do</p>").into_response(),
        _ => Html(
            r#"<form method="post" action="/language"><button name="l" value="en">EN</button></form>
               <form method="post"><input type="hidden" name="kind" value="ack"><button>OK</button></form>"#,
        )
        .into_response(),
    }
}

async fn press_button(State(console): Shared, Path(token): Path<String>, Form(fields): Form<Fields>) -> Redirect {
    console.posted.lock().unwrap().push((format!("/a/{token}"), fields));
    Redirect::to("/done")
}

async fn show_sign_in() -> Html<&'static str> {
    Html(
        r#"<form method=post action=/sign-in><input name=login><input type=password name=password><input type=hidden name=next value="/"></form>"#,
    )
}

async fn sign_in(State(console): Shared, Form(fields): Form<Fields>) -> Response {
    let is_right = fields["login"] == "deputy" && fields["password"] == "correct horse";
    console.posted.lock().unwrap().push(("/sign-in".into(), fields));
    match is_right {
        true => ([(header::SET_COOKIE, "session=s3; HttpOnly; Path=/")], Redirect::to("/")).into_response(),
        false => (StatusCode::UNAUTHORIZED, "wrong").into_response(),
    }
}

fn is_signed_in(headers: &HeaderMap) -> bool {
    headers.get(header::COOKIE).is_some_and(|cookie| cookie == "session=s3")
}

async fn list(State(console): Shared, headers: HeaderMap) -> Response {
    if !is_signed_in(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let state = if *console.is_resolved.lock().unwrap() { "resolved" } else { "acknowledged" };
    let sensor = console.sensor.lock().unwrap();
    format!(r#"[{{"id":41,"sensor":"S-other","state":"open"}},{{"id":42,"sensor":"{sensor}","state":"{state}"}}]"#)
        .into_response()
}

async fn show_incident(Path(id): Path<u64>, headers: HeaderMap) -> Response {
    if !is_signed_in(&headers) {
        return Redirect::to("/sign-in").into_response();
    }
    Html(format!(
        r#"<form method="post" action="/incidents/{id}/on-the-way"><input type="hidden" name="csrf" value="c&amp;1"></form>
           <form method="post" action="/incidents/{id}/resolve"><input type="hidden" name="csrf" value="c&amp;1">
           <select name="cause"><option value="">?</option><option value="other">other</option><option value="blocked_flue">flue</option></select>
           <input name="people" type="number"><textarea name="action"></textarea><button>Resolve</button></form>"#
    ))
    .into_response()
}

async fn resolve(State(console): Shared, headers: HeaderMap, Form(fields): Form<Fields>) -> Response {
    if !is_signed_in(&headers) || fields["csrf"] != "c&1" || headers.get(header::ORIGIN).is_none() {
        return StatusCode::FORBIDDEN.into_response();
    }
    console.posted.lock().unwrap().push(("/resolve".into(), fields));
    let mut refusals = console.refusals.lock().unwrap();
    if let Some(fewer) = refusals.checked_sub(1) {
        *refusals = fewer;
        return (StatusCode::CONFLICT, "not yet").into_response();
    }
    *console.is_resolved.lock().unwrap() = true;
    Redirect::to("/incidents/42").into_response()
}

/// A district with a poisoning in its first home, and its staff at their phones.
struct Scene {
    console: Arc<Console>,
    base: String,
    people: Arc<People>,
    phones: Phones,
    gateway: String,
    stop: CancellationToken,
}

impl Scene {
    async fn set(rates: Rates) -> Scene {
        let console = Arc::new(Console::default());
        let base = testing::serve(routes(&console)).await;
        let district = District::generate(9, 20);
        console.sensor.lock().unwrap().push_str(district.homes[0].sensor.id.as_str());
        let world = Arc::new(World::new(&district, START, 9));
        let clock = SimClock::new(START, SCALE);
        world.begin(0, FaultKind::BlockedFlue, clock.now());
        let login = Login { login: "deputy".into(), password: "correct horse".into() };
        let logins = HashMap::from([("deputy-1".to_owned(), login)]);
        let client = http::client().unwrap();
        let people = Arc::new(People::new(world, clock, district.staff, logins, client, &base));

        let options = PhonesOptions { username: "u".into(), password: "p".into(), handset_delay: Duration::ZERO };
        let phones = Phones::new(options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = format!("http://{}/cgi-bin/sendsms", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let served = phones.clone();
        let until = stop.clone();
        tokio::spawn(async move { served.serve(listener, until).await });
        tokio::spawn(people.clone().run(phones.subscribe(), rates, 9, stop.clone()));
        Scene { console, base, people, phones, gateway, stop }
    }

    /// Sends what the system would send about the poisoning.
    async fn text(&self, post: Post, token: &str) {
        let person = self.people.staff.iter().find(|person| person.role == post).unwrap();
        let address = &self.people.world.homes()[0].address;
        let text = format!("【一氧化碳】{address} 320 ppm，确认：{}/a/{token} 。", self.base);
        let query = [("username", "u"), ("password", "p"), ("from", "1"), ("to", &person.phone), ("text", &text)];
        let answer = http::client().unwrap().get(&self.gateway).query(&query).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    }

    /// The truth, once `is_so`.
    async fn when(&self, is_so: impl Fn(&crate::events::Poisoning) -> bool) -> crate::events::Poisoning {
        loop {
            let record = self.people.world.poisonings(self.people.clock.now()).remove(0);
            if is_so(&record) {
                return record;
            }
            self.people.clock.sleep(SECOND).await;
        }
    }

    fn posted(&self) -> Vec<(String, Fields)> {
        self.console.posted.lock().unwrap().clone()
    }
}

fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn the_officer_misses_the_first_alarm_and_the_deputy_sees_it_through() {
    let scene = Scene::set(Rates { officer_misses: 0.0, ..Rates::default() }).await;
    *scene.console.refusals.lock().unwrap() = 1;
    scene.text(Post::DutyOfficer, "officer").await;
    scene.text(Post::Deputy, "deputy").await;
    let record = scene.when(|record| record.resolved.is_some()).await;
    assert_eq!(record.acknowledged_by.as_deref(), Some("deputy-1"));
    assert_eq!(record.ended_by.as_deref(), Some("deputy-1"));
    let acknowledged = record.acknowledged.unwrap();
    assert!(record.ended.unwrap().since(acknowledged) >= 3 * MINUTE);
    assert!(record.resolved.unwrap() > record.ended.unwrap());
    assert!(scene.people.world.is_normal(0, scene.people.clock.now()));
    assert_eq!(record.alarm_latency_ms, Some(0));

    let posted = scene.posted();
    let paths: Vec<_> = posted.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/a/deputy", "/sign-in", "/resolve", "/sign-in", "/resolve"]);
    assert_eq!(posted[0].1, fields(&[("kind", "ack")]));
    assert_eq!(posted[1].1, fields(&[("login", "deputy"), ("password", "correct horse"), ("next", "/")]));
    let resolution = &posted[2].1;
    assert_eq!(resolution["cause"], "blocked_flue");
    assert_eq!(resolution["people"], "1");
    assert!(resolution["action"].contains("window open"));
    assert_eq!(scene.phones.received(), 2);
    scene.stop.cancel();
}

#[tokio::test]
async fn a_link_that_leads_nowhere_is_survived() {
    let scene = Scene::set(Rates::default()).await;
    scene.text(Post::Deputy, "dead").await;
    scene.text(Post::Deputy, "formless").await;
    scene.text(Post::Supervisor, "good").await;
    let record = scene.when(|record| record.acknowledged.is_some()).await;
    assert_eq!(record.acknowledged_by.as_deref(), Some("supervisor-1"));
    assert_eq!(scene.posted().len(), 1);
}

#[tokio::test]
async fn a_message_after_the_acknowledgement_is_answered_again_but_nobody_drives_twice() {
    let scene = Scene::set(Rates::default()).await;
    scene.text(Post::Deputy, "first").await;
    scene.when(|record| record.acknowledged.is_some()).await;
    scene.text(Post::Supervisor, "second").await;
    let record = scene.when(|record| record.resolved.is_some()).await;
    assert_eq!(record.acknowledged_by.as_deref(), Some("deputy-1"));
    let posted = scene.posted();
    let acknowledged: Vec<_> =
        posted.iter().filter(|(path, _)| path.starts_with("/a/")).map(|(path, _)| path.as_str()).collect();
    assert_eq!(acknowledged, ["/a/first", "/a/second"]);
    assert_eq!(posted.iter().filter(|(path, _)| path == "/resolve").count(), 1);
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_missing_incident() {
    let scene = Scene::set(Rates::default()).await;
    let outcome = Outcome { cause: "x", cause_words: &[], people_affected: "0", action: "x" };
    let browser = Browser::new(http::client().unwrap(), &scene.base);
    let good = Login { login: "deputy".into(), password: "correct horse".into() };
    let wrong = Login { password: "guess".into(), ..good.clone() };
    let sensor = scene.people.world.homes()[0].sensor.id.clone();
    let error = browser.resolve(&wrong, &sensor, "H", &outcome).await.unwrap_err();
    assert!(matches!(error, HttpError::Status { status: 401, .. }), "{error}");
    let other = model::DeviceId::new("S-none").unwrap();
    let error = browser.resolve(&good, &other, "H", &outcome).await.unwrap_err();
    assert!(error.to_string().contains("no open incident of S-none"), "{error}");
    browser.resolve(&good, &sensor, "H", &outcome).await.unwrap();
}

#[test]
fn the_first_alarm_is_certainly_missed_and_others_by_chance() {
    let mut never = Attention::new(0.0, Random::new(1));
    assert!(never.is_missed(Some(0), 0));
    assert!(never.is_missed(Some(0), AWAY - 1));
    assert!(!never.is_missed(Some(0), AWAY));
    assert!(!never.is_missed(Some(1), AWAY));
    let mut always = Attention::new(1.0, Random::new(1));
    assert!(!always.is_missed(None, 0));
    assert!((0..5).all(|id| always.is_missed(Some(id), id as i64 * AWAY)));
}

#[test]
fn reactions_are_seeded_and_the_deputy_is_faster_than_the_lead() {
    let draw = |role, seed| Answer::draw(role, &mut Random::new(seed)).after;
    assert_eq!(draw(Post::Deputy, 5), draw(Post::Deputy, 5));
    assert!((0..100).all(|seed| draw(Post::Deputy, seed) < draw(Post::DistrictLead, seed)));
}
