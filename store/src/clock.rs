//! The process's clock: the wall clock, a scaled one for the demo, or one that a test turns by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::Stamp;
use tokio::sync::watch;
use tokio::time::Instant;

/// A cheap handle; clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Wall,
    Scaled { start: Stamp, origin: Instant, scale: f64 },
    Manual { now: AtomicI64, turned: watch::Sender<()> },
}

/// A sleeper looks at the wall clock at least this often, so that a clock that was set does not
/// leave it asleep.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Clock {
    /// The machine's clock.
    pub fn wall() -> Clock {
        Clock(Arc::new(Kind::Wall))
    }

    /// Starts at `start` and runs `scale` times as fast as real time. For the demo and tests only.
    pub fn scaled(start: Stamp, scale: f64) -> Clock {
        let scale = if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
        Clock(Arc::new(Kind::Scaled { start, origin: Instant::now(), scale }))
    }

    /// Stands at `start` until [`Clock::set`] or [`Clock::advance`]. For tests only.
    pub fn manual(start: Stamp) -> Clock {
        Clock(Arc::new(Kind::Manual { now: AtomicI64::new(start.0), turned: watch::Sender::new(()) }))
    }

    pub fn now(&self) -> Stamp {
        match &*self.0 {
            Kind::Wall => wall_now(),
            Kind::Scaled { start, origin, scale } => *start + (origin.elapsed().as_secs_f64() * 1_000.0 * scale) as i64,
            Kind::Manual { now, .. } => Stamp(now.load(Ordering::SeqCst)),
        }
    }

    /// How many of this clock's seconds pass in one real second.
    pub fn scale(&self) -> f64 {
        match &*self.0 {
            Kind::Scaled { scale, .. } => *scale,
            Kind::Wall | Kind::Manual { .. } => 1.0,
        }
    }

    /// Returns once this clock shows `due` or later.
    pub async fn sleep_until(&self, due: Stamp) {
        if let Kind::Manual { turned, .. } = &*self.0 {
            let mut turns = turned.subscribe();
            while self.now() < due {
                if turns.changed().await.is_err() {
                    return;
                }
            }
            return;
        }
        loop {
            let left = due.since(self.now());
            if left <= 0 {
                return;
            }
            let real = Duration::from_secs_f64(left as f64 / 1_000.0 / self.scale());
            tokio::time::sleep(real.min(LOOK_AGAIN).max(Duration::from_millis(1))).await;
        }
    }

    /// Sleeps `milliseconds` of this clock.
    pub async fn sleep(&self, milliseconds: i64) {
        self.sleep_until(self.now() + milliseconds).await;
    }

    /// Turns a manual clock to `now`; other clocks stay as they are.
    pub fn set(&self, now: Stamp) {
        if let Kind::Manual { now: shown, turned } = &*self.0 {
            shown.store(now.0, Ordering::SeqCst);
            turned.send_replace(());
        }
    }

    /// Turns a manual clock forward by `milliseconds`.
    pub fn advance(&self, milliseconds: i64) {
        self.set(self.now() + milliseconds);
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall_now() -> Stamp {
    match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => Stamp(since.as_millis() as i64),
        Err(before) => Stamp(-(before.duration().as_millis() as i64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Stamp = Stamp(1_780_000_000_000);

    #[tokio::test(start_paused = true)]
    async fn a_scaled_clock_runs_faster_and_sleeps_shorter() {
        let clock = Clock::scaled(START, 60.0);
        let before = Instant::now();
        clock.sleep(60_000).await;
        assert!(before.elapsed() <= Duration::from_millis(1_100), "{:?}", before.elapsed());
        assert!(clock.now().since(START) >= 60_000);
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_its_sleepers_when_turned() {
        let clock = Clock::manual(START);
        let sleeper = {
            let clock = clock.clone();
            tokio::spawn(async move { clock.sleep(1_000).await })
        };
        tokio::task::yield_now().await;
        clock.advance(999);
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(1);
        sleeper.await.unwrap();
    }
}
