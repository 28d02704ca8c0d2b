//! What machines ask: the clock, health, metrics, and providers' delivery reports.

use alerts::outbox::Delivery;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::Shared;
use crate::fault::Fault;
use crate::routes::is_same;

/// `GET /api/v1/clock`: epoch milliseconds, and how many of its seconds pass in a real one.
pub(crate) async fn clock(State(shared): State<Shared>) -> Json<serde_json::Value> {
    Json(serde_json::json!({"now": shared.clock.now().0, "scale": shared.clock.scale()}))
}

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> Json<serde_json::Value> {
    Json(serde_json::json!({"status": "ok"}))
}

/// `GET /readyz`: 503 with the problems while there are any.
pub(crate) async fn readyz(State(shared): State<Shared>) -> Response {
    let problems = shared.problems.borrow().clone();
    let (status, word) =
        if problems.is_empty() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    (status, Json(serde_json::json!({"status": word, "problems": problems}))).into_response()
}

/// `GET /metrics`, Prometheus text.
pub(crate) async fn metrics(State(shared): State<Shared>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (shared.metrics)()).into_response()
}

#[derive(serde::Deserialize)]
pub(crate) struct Report {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// `GET /callbacks/{secret}/kannel?id=&type=`: a delivery report of Kannel. `type` is one of its
/// bits: 1 delivered, 2 not delivered, 4 queued at the centre, 8 taken, 16 refused.
pub(crate) async fn kannel(
    State(shared): State<Shared>,
    Path(secret): Path<String>,
    Query(report): Query<Report>,
) -> Result<Response, Fault> {
    if !is_same(secret.as_bytes(), shared.settings.callback_secret.as_bytes()) {
        return Err(Fault::NotFound);
    }
    let id = report.id.and_then(|id| id.parse::<i64>().ok()).ok_or_else(|| Fault::bad("bad_id", "id=<number>"))?;
    let delivery = match report.kind.as_deref() {
        Some("1") => Delivery::Delivered,
        Some("2" | "16") => Delivery::Failed,
        Some("4") => Delivery::Queued,
        Some("8") => Delivery::Sent,
        _ => return Err(Fault::bad("bad_type", "type is 1, 2, 4, 8 or 16")),
    };
    shared.alerts.report(id, delivery).await?;
    Ok(Json(serde_json::json!({"status": "ok"})).into_response())
}
