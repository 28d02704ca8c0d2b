//! Who may do what, and what no input can do.

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use axum::http::{Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::rights::Role;

use super::world::{Browser, HOSTILE, PASSWORD, PHONE, World, id};
use crate::routes::{Access, SESSION_COOKIE, table};
use crate::words::Right;

fn concrete(path: &str, incident: i64) -> String {
    path.replace("/sensors/{id}", "/sensors/S1")
        .replace("{id}", &incident.to_string())
        .replace("{token}", "x")
        .replace("{version}", "v")
        .replace("{name}", "live.js")
        .replace("{secret}", "wrong")
}

async fn ask(world: &World, method: &Method, path: &str, headers: &[(&str, &str)]) -> super::world::Answer {
    let mut request = Request::builder().method(method.clone()).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn every_route_is_closed_unless_it_says_otherwise() {
    let (world, incident) = World::with_danger().await;
    let open = [
        "/sign-in",
        "/preferences",
        "/a/{token}",
        "/assets/{version}/{name}",
        "/api/v1/clock",
        "/callbacks/{secret}/kannel",
        "/healthz",
        "/readyz",
        "/metrics",
    ];
    for route in table() {
        assert_eq!(route.access == Access::Open, open.contains(&route.path), "{}", route.path);
        if route.path == "/live" {
            continue; // a stream that is let in does not end; its own tests look at it
        }
        let path = concrete(route.path, incident);
        let name = format!("{} {path}", route.method);
        for cookie in ["", "gaswatch_session=", "gaswatch_session=AAAA"] {
            let answer = ask(&world, &route.method, &path, &[(COOKIE.as_str(), cookie)]).await;
            match route.access {
                Access::Open => assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{name}"),
                Access::Page(_) => {
                    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
                    assert!(answer.location().starts_with("/sign-in"), "{name}: {}", answer.location());
                }
                Access::Part(_) | Access::Data(_) | Access::StaffData(_) => {
                    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
                }
            }
        }
    }
    let stream = ask(&world, &Method::GET, "/live", &[]).await;
    assert_eq!(stream.status, StatusCode::UNAUTHORIZED);
    assert!(world.shared.alerts.detail(incident).await.unwrap().unwrap().incident.acknowledged.is_none());
}

#[tokio::test]
async fn roles_reach_what_they_need_and_no_more() {
    let (world, incident) = World::with_danger().await;
    let inspector = world.sign_in("inspector").await;
    let auditor = world.sign_in("auditor").await;
    for route in table().into_iter().filter(|route| route.path != "/live" && route.path != "/sign-out") {
        let right = match route.access {
            Access::Page(Some(right)) | Access::Part(right) | Access::Data(right) | Access::StaffData(right) => right,
            Access::Page(None) | Access::Open => continue,
        };
        let path = concrete(route.path, incident);
        let of = |browser: &Browser| format!("{SESSION_COOKIE}={}", browser.cookies[0].1);
        let cookie = of(&inspector);
        let answer =
            ask(&world, &route.method, &path, &[(COOKIE.as_str(), &cookie), ("x-csrf-token", &inspector.csrf)]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "inspector: {path}");
        let cookie = of(&auditor);
        let answer =
            ask(&world, &route.method, &path, &[(COOKIE.as_str(), &cookie), ("x-csrf-token", &auditor.csrf)]).await;
        assert_eq!(answer.status == StatusCode::FORBIDDEN, right == Right::Answer, "auditor: {path}");
    }
    let page = world.get(&auditor, &format!("/incidents/{incident}")).await.body;
    assert!(!page.contains(PHONE) && !page.contains("13800138000") && !page.contains("陈丽"), "masked for the auditor");
}

#[tokio::test]
async fn a_session_cookie_is_guarded_and_ends_with_sign_out() {
    let world = World::new().await;
    world.account("duty").await;
    let wrong = world
        .post(&Browser::default().with("language", "en"), "/sign-in", &[("login", "duty"), ("password", "guess")])
        .await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.body.contains("user name or the password is wrong") && wrong.headers.get(SET_COOKIE).is_none());
    let answer = world
        .post(&Browser::default(), "/sign-in", &[("login", "duty"), ("password", PASSWORD), ("to", "/roster")])
        .await;
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(answer.location(), "/roster");
    let browser = world.sign_in("duty").await;
    assert_eq!(world.get(&browser, "/").await.status, StatusCode::OK);
    let out = world.post(&browser, "/sign-out", &[("csrf", &browser.csrf)]).await;
    assert!(out.headers[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(world.get(&browser, "/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn guessing_a_password_is_throttled_and_says_until_when() {
    let world = World::new().await;
    world.account("duty").await;
    let browser = Browser::default().with("language", "en");
    let mut last = None;
    for _ in 0..6 {
        last = Some(world.post(&browser, "/sign-in", &[("login", "duty"), ("password", "guess")]).await);
    }
    let last = last.unwrap();
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(last.body.contains("Too many failed attempts"), "{}", last.body);
    assert!(last.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn a_form_needs_its_sessions_token() {
    let (world, incident) = World::with_danger().await;
    let browser = world.sign_in("duty").await;
    let path = format!("/incidents/{incident}/acknowledge");
    let cut = &browser.csrf[1..];
    for form in [&[][..], &[("csrf", "")], &[("csrf", cut)], &[("csrf", "x"), ("csrf", &browser.csrf)]] {
        let answer = world.post(&browser, &path, form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{form:?}");
        assert!(answer.body.contains("form_expired"), "{}", answer.body);
    }
    let other = world.sign_in("duty").await;
    assert_eq!(world.post(&browser, &path, &[("csrf", &other.csrf)]).await.status, StatusCode::FORBIDDEN);
    let huge = "x".repeat(100_000);
    assert_eq!(world.post(&browser, &path, &[("csrf", &huge)]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(world.shared.alerts.detail(incident).await.unwrap().unwrap().incident.acknowledged.is_none());
}

#[tokio::test]
async fn a_post_from_another_site_is_refused() {
    let world = World::new().await;
    for site in ["cross-site", "same-site"] {
        let answer = ask(
            &world,
            &Method::POST,
            "/sign-in",
            &[("sec-fetch-site", site), ("content-type", "application/x-www-form-urlencoded")],
        )
        .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn nobody_is_led_away_from_the_console() {
    let world = World::new().await;
    world.account("duty").await;
    for to in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "/x\r\nset-cookie: a=b",
        "evil",
    ] {
        let form = [("login", "duty"), ("password", PASSWORD), ("to", to)];
        assert_eq!(world.post(&Browser::default(), "/sign-in", &form).await.location(), "/", "{to:?}");
        assert_eq!(world.post(&Browser::default(), "/preferences", &[("to", to)]).await.location(), "/", "{to:?}");
    }
    let page = world.get(&Browser::default(), "/sign-in?to=//evil.example").await.body;
    assert!(page.contains("name=\"to\" value=\"/\""), "{page}");
    let there = world.get(&Browser::default(), "/sensors?text=a%26b").await;
    assert_eq!(there.location(), "/sign-in?to=/sensors%3Ftext%3Da%2526b");
}

#[tokio::test]
async fn hostile_text_stays_text() {
    let (world, incident) = World::with_danger().await;
    let browser = world.sign_in("duty").await;
    for path in ["/", "/sensors", "/quarantine", &format!("/incidents/{incident}"), "/sensors/S1"] {
        let page = world.get(&browser, path).await.body;
        assert!(page.contains("&#60;script&#62;alert("), "{path} shows the text");
        assert!(!page.contains(HOSTILE) && !page.contains("<img"), "{path}");
    }
    let mirrored = world.get(&browser, "/sensors?text=%22%3E%3Cimg%20src%3Dx%3E&state=%22x&after=%3Cb%3E").await.body;
    assert!(!mirrored.contains("<img"));
    let sign_in = world.post(&Browser::default(), "/sign-in", &[("login", HOSTILE), ("password", "x")]).await.body;
    assert!(!sign_in.contains(HOSTILE));
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let (world, incident) = World::with_danger().await;
    let browser = world.sign_in("duty").await;
    let page = format!("/incidents/{incident}");
    for path in
        ["/", page.as_str(), "/sign-in", "/nothing", "/api/v1/incidents", "/api/v1/nothing", "/healthz", "/incidents/x"]
    {
        let answer = world.get(&browser, path).await;
        assert_eq!(answer.headers["content-security-policy"], crate::frame::POLICY, "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
    }
}

#[tokio::test]
async fn only_integrations_sign_in_with_basic() {
    let (world, _) = World::with_danger().await;
    let credentials = &world.shared.credentials;
    let secret = credentials.enrol(&id("grid"), Role::Integration, &["gas/v1/#".to_owned()]).await.unwrap();
    let device = credentials.enrol(&id("S1"), Role::Sensor, &[]).await.unwrap();
    let basic = |id: &str, secret: &str| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let path = "/api/v1/incidents";
    for (header, status) in [
        (basic("grid", &secret), StatusCode::OK),
        (basic("grid", "guess"), StatusCode::UNAUTHORIZED),
        (basic("S1", &device), StatusCode::UNAUTHORIZED),
        ("Basic !!!".to_owned(), StatusCode::UNAUTHORIZED),
        (format!("Bearer {secret}"), StatusCode::UNAUTHORIZED),
    ] {
        let answer = ask(&world, &Method::GET, path, &[(AUTHORIZATION.as_str(), &header)]).await;
        assert_eq!(answer.status, status, "{header}");
        if status == StatusCode::UNAUTHORIZED {
            assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Basic"));
            assert_eq!(answer.json()["error"]["code"], "unauthorized");
        }
    }
    let header = basic("grid", &secret);
    let page = ask(&world, &Method::GET, "/", &[(AUTHORIZATION.as_str(), &header)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "a credential opens no page");
}
