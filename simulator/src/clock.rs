//! The simulated district lives on the clock of the system under test, which may run faster than
//! real time. It is read over HTTP and extrapolated between reads.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::Stamp;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::{self, HttpError};

const READ_EVERY: Duration = Duration::from_secs(5);
/// A sleeper looks again at least this often, because the clock may have been corrected meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A cheap handle; clones show the same time.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<RwLock<Anchor>>);

#[derive(Clone, Copy, Debug)]
struct Anchor {
    now: Stamp,
    at: Instant,
    scale: f64,
}

/// What `GET /api/v1/clock` answers.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ClockReading {
    /// Epoch milliseconds.
    pub now: i64,
    /// Seconds of this clock per real second.
    pub scale: f64,
}

impl SimClock {
    /// Shows `now` and runs `scale` times as fast as tokio's clock. A scale that is not a positive
    /// number counts as 1.
    pub fn new(now: Stamp, scale: f64) -> SimClock {
        SimClock(Arc::new(RwLock::new(Anchor { now, at: Instant::now(), scale: usable(scale) })))
    }

    /// Asks the system's clock until it answers, for at most `patience`.
    ///
    /// # Errors
    /// The last [`HttpError`] when `patience` is over.
    pub async fn learn(client: &reqwest::Client, base: &str, patience: Duration) -> Result<SimClock, HttpError> {
        let deadline = Instant::now() + patience;
        let clock = SimClock::new(Stamp::default(), 1.0);
        loop {
            match clock.read(client, base).await {
                Ok(()) => return Ok(clock),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Keeps reading the system's clock until `stop`.
    pub async fn follow(&self, client: &reqwest::Client, base: &str, stop: &CancellationToken) {
        let mut is_known = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(READ_EVERY) => {}
            }
            let outcome = self.read(client, base).await;
            if let (true, Err(error)) = (is_known, &outcome) {
                tracing::warn!(%error, "cannot read the system's clock, extrapolating");
            }
            is_known = outcome.is_ok();
        }
    }

    async fn read(&self, client: &reqwest::Client, base: &str) -> Result<(), HttpError> {
        let asked = Instant::now();
        let text = http::get_text(client, &format!("{base}/api/v1/clock")).await?;
        let reading: ClockReading = serde_json::from_str(&text)
            .map_err(|error| HttpError::Unexpected(format!("/api/v1/clock answered {text:?}: {error}")))?;
        // the answer was made about half way between question and receipt
        let at = asked + asked.elapsed() / 2;
        self.set(Anchor { now: Stamp(reading.now), at, scale: usable(reading.scale) });
        Ok(())
    }

    fn set(&self, anchor: Anchor) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = anchor;
    }

    fn anchor(&self) -> Anchor {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Stamp {
        let anchor = self.anchor();
        anchor.now + (anchor.at.elapsed().as_secs_f64() * 1_000.0 * anchor.scale) as i64
    }

    pub fn scale(&self) -> f64 {
        self.anchor().scale
    }

    /// Returns once this clock shows `due` or later.
    pub async fn sleep_until(&self, due: Stamp) {
        loop {
            let left = due.since(self.now());
            if left <= 0 {
                return;
            }
            let real = Duration::from_secs_f64((left as f64 / 1_000.0 / self.scale()).min(LOOK_AGAIN.as_secs_f64()));
            tokio::time::sleep(real.max(Duration::from_millis(1))).await;
        }
    }

    /// Sleeps so many milliseconds of this clock.
    pub async fn sleep(&self, milliseconds: i64) {
        self.sleep_until(self.now() + milliseconds).await;
    }
}

fn usable(scale: f64) -> f64 {
    if scale.is_finite() && scale > 0.0 { scale } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use axum::Router;
    use axum::routing::get;

    use super::*;
    use crate::testing;

    #[tokio::test(start_paused = true)]
    async fn time_runs_scaled() {
        let clock = SimClock::new(Stamp(1_000), 60.0);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(clock.now(), Stamp(1_000 + 120_000));
        let before = Instant::now();
        clock.sleep(600_000).await;
        assert_eq!(before.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleeper_notices_a_corrected_clock() {
        let clock = SimClock::new(Stamp(0), 1.0);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(Stamp(1_000_000)).await }
        });
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!sleeper.is_finished());
        clock.set(Anchor { now: Stamp(1_000_000), at: Instant::now(), scale: 1.0 });
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(sleeper.is_finished());
    }

    #[tokio::test]
    async fn the_clock_is_learned_over_http() {
        let asked = Arc::new(AtomicI64::new(0));
        let counter = asked.clone();
        let routes = Router::new().route(
            "/api/v1/clock",
            get(move || async move {
                // the first answer is useless, as from a system that is still starting
                match counter.fetch_add(1, Ordering::SeqCst) {
                    0 => "starting".to_owned(),
                    _ => r#"{"now":1795485600000,"scale":0.000001}"#.to_owned(),
                }
            }),
        );
        let base = testing::serve(routes).await;
        let client = http::client().unwrap();
        let clock = SimClock::learn(&client, &base, Duration::from_secs(60)).await.unwrap();
        assert!(clock.now().since(Stamp(1_795_485_600_000)) < 1_000);
        assert!((clock.scale() - 0.000_001).abs() < 1e-12);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_system_that_never_answers_is_an_error() {
        let base = testing::serve(Router::new()).await;
        let client = http::client().unwrap();
        let outcome = SimClock::learn(&client, &base, Duration::ZERO).await;
        assert!(matches!(outcome, Err(HttpError::Status { status: 404, .. })), "{outcome:?}");
    }
}
