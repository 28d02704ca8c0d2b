//! The stream that keeps pages fresh: `incident` events as they happen, and a `pulse` every five
//! seconds of real time, so that a page notices within twenty that it has been cut off.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::time::Interval;

use crate::Shared;
use crate::chrome::theme;
use crate::frame::{Theme, Visitor};
use crate::routes::{SESSION_COOKIE, session};

const PULSE: Duration = Duration::from_secs(5);
/// What a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);

struct Live {
    shared: Shared,
    visitor: Visitor,
    /// Holds the session cookie, to see when it ends.
    headers: HeaderMap,
    changes: broadcast::Receiver<i64>,
    problems: watch::Receiver<Vec<String>>,
    pulse: Interval,
    sequence: u64,
    is_over: bool,
}

/// `GET /live`
pub(crate) async fn stream(State(shared): State<Shared>, visitor: Visitor, headers: HeaderMap) -> Response {
    let live = Live {
        changes: shared.alerts.changes(),
        problems: shared.problems.clone(),
        pulse: tokio::time::interval(PULSE),
        shared,
        visitor,
        headers: only_cookie(&headers),
        sequence: 0,
        is_over: false,
    };
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (unbuffered, Sse::new(live.events())).into_response()
}

fn only_cookie(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    if let Some(token) = crate::frame::cookie(headers, SESSION_COOKIE)
        && let Ok(value) = format!("{SESSION_COOKIE}={token}").parse()
    {
        kept.insert(axum::http::header::COOKIE, value);
    }
    kept
}

impl Live {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures_util::stream::unfold(self, async |mut live| {
            if live.is_over {
                return None;
            }
            let event = live.next().await?;
            live.sequence += 1;
            Some((Ok(event.id(live.sequence.to_string()).retry(RETRY)), live))
        })
    }

    /// The next event; `None` when the server stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                changed = self.changes.recv() => match changed {
                    Ok(incident) => return Some(Event::default().event("incident").data(incident.to_string())),
                    // some were missed: 0 asks the page to fetch everything
                    Err(RecvError::Lagged(_)) => return Some(Event::default().event("incident").data("0")),
                    Err(RecvError::Closed) => return None,
                },
                changed = self.problems.changed() => match changed {
                    Ok(()) => return Some(Event::default().event("problems").data(self.problems_text())),
                    Err(_) => return None,
                },
                _ = self.pulse.tick() => {
                    if let Some(event) = self.beat().await {
                        return Some(event);
                    }
                }
            }
        }
    }

    fn problems_text(&self) -> String {
        serde_json::json!({"problems": *self.problems.borrow()}).to_string()
    }

    /// A pulse, or that the session has ended. Says nothing when the ledger does not answer: then the
    /// page must not look alive.
    async fn beat(&mut self) -> Option<Event> {
        match session(&self.shared, &self.headers).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.is_over = true;
                return Some(Event::default().event("ended").data("session"));
            }
            Err(_) => return None,
        }
        let pulse = self.shared.fleet().pulse(&self.shared).await.ok()?;
        let words = self.visitor.words(&self.shared);
        let is_auto = self.visitor.theme == Theme::Auto;
        let data = serde_json::json!({
            "now": words.now.0,
            "clock": words.moment(words.now),
            "scale": self.shared.clock.scale(),
            "reporting": pulse.reporting,
            "known": pulse.known,
            "last_reading": pulse.last_reading.map(|at| at.0),
            "theme": is_auto.then(|| theme(&self.shared, Theme::Auto)),
        });
        Some(Event::default().event("pulse").data(data.to_string()))
    }
}
