//! The HTTP API and what machines ask.

use alerts::outbox::Delivery;
use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::rights::Role;
use serde_json::json;

use super::world::{Answer, Browser, CALLBACK_SECRET, PHONE, START, World, id};

#[tokio::test]
async fn readings_have_the_promised_shape() {
    let (world, _) = World::with_danger().await;
    let browser = world.sign_in("duty").await;
    let from = START.0 - 60_000;
    let answer = world.get(&browser, &format!("/api/v1/sensors/S1/readings?from={from}&to={}", START.0 + 1)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains("\"co_ppm\":412.4,"), "shortest form: {}", answer.body);
    let json = answer.json();
    assert_eq!(json["sensor"], "S1");
    assert_eq!(json["next"], json!(null));
    let readings = json["readings"].as_array().unwrap();
    assert_eq!(readings.len(), 2);
    assert_eq!(readings[1]["time"], START.to_string());
    assert_eq!((&readings[1]["state"], &readings[1]["flags"]), (&json!("normal"), &json!([])));
    let by_name = world.get(&browser, &format!("/api/v1/sensors/S1/readings?from={}", START)).await;
    assert_eq!(by_name.json()["readings"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_questions_get_a_stable_code_and_what_to_do() {
    let (world, _) = World::with_danger().await;
    let browser = world.sign_in("duty").await;
    for (path, status, code) in [
        ("/api/v1/sensors/S1/readings?from=yesterday", 400, "bad_time"),
        ("/api/v1/sensors/S1/readings?from=2000&to=1000", 400, "bad_time"),
        ("/api/v1/sensors/nobody/readings", 404, "not_found"),
        ("/api/v1/sensors/a%2Bb/readings", 404, "not_found"),
        ("/api/v1/sensors/latest?limit=0", 400, "bad_limit"),
        ("/api/v1/sensors/latest?limit=1&limit=2", 400, "bad_request"),
        ("/api/v1/incidents/999", 404, "not_found"),
        ("/api/v1/incidents/x", 404, "not_found"),
        ("/api/v1/nothing", 404, "not_found"),
    ] {
        let answer = world.get(&browser, path).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status.as_u16(), error["code"].as_str().unwrap()), (status, code), "{path}");
        assert!(!error["message"].as_str().unwrap().is_empty() && !error["next"].as_str().unwrap().is_empty());
    }
    let answer = world.post(&browser, "/api/v1/incidents", &[("csrf", &browser.csrf)]).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, Some("method_not_allowed"))
    );
    assert_eq!(answer.headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn the_latest_of_every_sensor_comes_in_pages() {
    let (world, _) = World::with_danger().await;
    let browser = world.sign_in("duty").await;
    let first = world.get(&browser, "/api/v1/sensors/latest?limit=1").await.json();
    assert_eq!(first["sensors"][0]["sensor"], "S1");
    assert_eq!(first["sensors"][0]["reading"]["battery_pct"], 88.0);
    assert_eq!(first["next"], "S1");
    let second = world.get(&browser, "/api/v1/sensors/latest?limit=1&after=S1").await.json();
    assert_eq!((&second["sensors"][0]["sensor"], &second["sensors"][0]["reading"]), (&json!("S2"), &json!(null)));
    assert_eq!(second["next"], json!(null));
}

async fn as_integration(world: &World, name: &str, filter: &str, path: &str) -> Answer {
    let secret = world.shared.credentials.enrol(&id(name), Role::Integration, &[filter.to_owned()]).await.unwrap();
    let header = format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")));
    world.send(Request::builder().uri(path).header(AUTHORIZATION, header).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_integration_sees_what_its_filters_say_and_no_personal_data() {
    let (world, incident) = World::with_danger().await;
    let detail = format!("/api/v1/incidents/{incident}");
    let all = as_integration(&world, "all", "gas/v1/#", &detail).await;
    assert_eq!(all.status, StatusCode::OK, "{}", all.body);
    let json = all.json();
    assert_eq!((&json["level"], &json["state"], &json["sensor"]), (&json!("danger"), &json!("open"), &json!("S1")));
    assert_eq!(json["decision"]["code"], "co_immediate");
    assert!(!json["events"].as_array().unwrap().is_empty() && !json["notifications"].as_array().unwrap().is_empty());
    for secret in ["13800138000", "王建国", "duty@example.org", PHONE, "/a/"] {
        assert!(!all.body.contains(secret), "{secret}: {}", all.body);
    }
    let readings = "/api/v1/sensors/S1/readings";
    assert_eq!(
        as_integration(&world, "one", "gas/v1/sensors/S2/readings", readings).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        as_integration(&world, "one", "gas/v1/sensors/S2/readings", &detail).await.status,
        StatusCode::NOT_FOUND
    );
    let latest = as_integration(&world, "one", "gas/v1/sensors/S2/readings", "/api/v1/sensors/latest").await.json();
    assert_eq!(latest["sensors"].as_array().unwrap().len(), 1);
    let none = as_integration(&world, "one", "gas/v1/sensors/S2/readings", "/api/v1/incidents").await.json();
    assert_eq!(none["incidents"], json!([]));
    let mine = as_integration(&world, "area", "gas/v1/incidents/shijing/+", "/api/v1/incidents").await.json();
    assert_eq!(mine["incidents"][0]["id"], incident);
}

#[tokio::test]
async fn only_a_person_acknowledges_over_the_api() {
    let (world, incident) = World::with_danger().await;
    let path = format!("/api/v1/incidents/{incident}/acknowledge");
    let browser = world.sign_in("duty").await;
    let request = |token: &str| {
        Request::builder()
            .method(Method::POST)
            .uri(&path)
            .header("cookie", format!("{}={}", browser.cookies[0].0, browser.cookies[0].1))
            .header("x-csrf-token", token)
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(world.send(request("wrong")).await.status, StatusCode::FORBIDDEN);
    let answer = world.send(request(&browser.csrf)).await;
    assert_eq!(answer.json()["acknowledged"]["via"], "api");
    let secret = world.shared.credentials.enrol(&id("grid"), Role::Integration, &["#".to_owned()]).await.unwrap();
    let header = format!("Basic {}", STANDARD.encode(format!("grid:{secret}")));
    let request = Request::builder().method(Method::POST).uri(&path).header(AUTHORIZATION, header);
    assert_eq!(world.send(request.body(Body::empty()).unwrap()).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn clock_health_and_metrics_need_no_sign_in() {
    let world = World::new().await;
    let nobody = Browser::default();
    assert_eq!(world.get(&nobody, "/api/v1/clock").await.json(), json!({"now": START.0, "scale": 1.0}));
    assert_eq!(world.get(&nobody, "/healthz").await.status, StatusCode::OK);
    assert_eq!(world.get(&nobody, "/metrics").await.body, "gaswatch_up 1\n");
    assert_eq!(world.get(&nobody, "/readyz").await.status, StatusCode::OK);
    world.problems.send(vec!["no SMS provider".to_owned()]).unwrap();
    let answer = world.get(&nobody, "/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["problems"], json!(["no SMS provider"]));
    let browser = world.sign_in("duty").await;
    assert!(world.get(&browser, "/").await.body.contains("no SMS provider"), "the console shows it too");
}

#[tokio::test]
async fn kannels_reports_need_the_secret_and_move_a_delivery_on() {
    let (world, incident) = World::with_danger().await;
    let nobody = Browser::default();
    let notification = world.shared.alerts.detail(incident).await.unwrap().unwrap().notifications[0].id;
    let delivery = async || {
        let detail = world.shared.alerts.detail(incident).await.unwrap().unwrap();
        detail.notifications.iter().find(|n| n.id == notification).unwrap().delivery
    };
    let report = |secret: &str, kind: &str| format!("/callbacks/{secret}/kannel?id={notification}&type={kind}");
    assert_eq!(world.get(&nobody, &report("guess", "1")).await.status, StatusCode::NOT_FOUND);
    assert_ne!(delivery().await, Delivery::Delivered);
    assert_eq!(world.get(&nobody, &report(CALLBACK_SECRET, "7")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.get(&nobody, &report(CALLBACK_SECRET, "8")).await.status, StatusCode::OK);
    assert_eq!(world.get(&nobody, &report(CALLBACK_SECRET, "1")).await.status, StatusCode::OK);
    assert_eq!(delivery().await, Delivery::Delivered);
    assert_eq!(world.get(&nobody, &report(CALLBACK_SECRET, "16")).await.status, StatusCode::OK);
    assert_eq!(delivery().await, Delivery::Delivered, "a report never takes a delivery back");
}
