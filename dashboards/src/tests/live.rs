//! The stream behind the pages.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use model::time::MINUTE;
use tower::ServiceExt as _;

use super::world::World;
use crate::routes::SESSION_COOKIE;

/// The next event of a stream, as text.
async fn event(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn a_stream_pulses_tells_changes_and_ends_with_the_session() {
    let (world, incident) = World::with_danger().await;
    let browser = world.sign_in("duty").await;
    let token = browser.cookies[0].1.clone();
    let request = Request::builder().uri("/live").header("cookie", format!("{SESSION_COOKIE}={token}; theme=auto"));
    let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut body = response.into_body();
    let pulse = event(&mut body).await.unwrap();
    assert!(pulse.contains("event: pulse") && pulse.contains("id: 1") && pulse.contains("retry: 2000"), "{pulse}");
    assert!(pulse.contains("\"reporting\":1") && pulse.contains("\"clock\":\""), "{pulse}");

    world.shared.alerts.acknowledge(incident, "duty", alerts::incident::Via::Console).await.unwrap();
    let change = event(&mut body).await.unwrap();
    assert!(change.contains("event: incident") && change.contains(&format!("data: {incident}")), "{change}");
    world.problems.send(vec!["disk full".to_owned()]).unwrap();
    let problem = event(&mut body).await.unwrap();
    assert!(problem.contains("event: problems") && problem.contains("disk full"), "{problem}");

    world.shared.registry.sign_out(&token).await.unwrap();
    let ended = event(&mut body).await.unwrap();
    assert!(ended.contains("event: ended"), "{ended}");
    assert_eq!(event(&mut body).await, None);
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops() {
    let (world, _) = World::with_danger().await;
    let browser = world.sign_in("duty").await;
    let cookie = format!("{SESSION_COOKIE}={}", browser.cookies[0].1);
    let request = Request::builder().uri("/live").header("cookie", cookie).body(Body::empty()).unwrap();
    let mut body = world.router.clone().oneshot(request).await.unwrap().into_body();
    event(&mut body).await.unwrap();
    drop(world.problems);
    assert_eq!(event(&mut body).await, None);
}

#[tokio::test]
async fn what_changes_between_two_looks_is_in_the_fragment() {
    let (world, incident) = World::with_danger().await;
    let browser = world.sign_in("duty").await;
    world.clock.advance(MINUTE);
    world.read("S1", world.clock.now(), 505.0).await;
    let fragment = world.get(&browser, "/fragments/alarms").await.body;
    assert!(fragment.contains(&format!("id=\"incident-{incident}\"")) && fragment.contains("<b>505</b>"), "{fragment}");
    assert!(!fragment.contains("<html") && !fragment.contains("<header class=\"top\""));
}
