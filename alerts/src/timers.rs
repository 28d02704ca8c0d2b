//! What happens without a reading: escalation steps, crossings, silence, and writing values down.

use std::time::Duration;

use model::Stamp;
use model::time::SECOND;

use crate::AlertError;
use crate::engine::Alerts;
use crate::escalation;
use crate::state::{Change, Core, Next};

/// Values of open incidents are written at most this often.
const VALUES_EVERY: i64 = SECOND;
/// After a start, so much time is given to the journal's replay to bring newer readings.
const REPLAY_TIME: i64 = 30 * SECOND;
/// When readings arrive this much after their receipt, the journal is being caught up with: the
/// observations themselves fire the timers, in their own time.
const BEHIND: i64 = 30 * SECOND;
/// How long to wait before trying again after the ledger failed. Real time.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Alerts {
    /// Fires what is due, for ever.
    pub(crate) async fn run_timers(&self) {
        loop {
            let fired = async {
                self.fire_due().await?;
                self.next_due().await
            };
            match fired.await {
                Ok(Some(due)) => {
                    tokio::select! {
                        () = self.clock().sleep_until(due) => {}
                        () = self.timers_changed().notified() => {}
                    }
                }
                Ok(None) => self.timers_changed().notified().await,
                Err(error) => {
                    tracing::error!(%error, "timers cannot fire, trying again");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    async fn next_due(&self) -> Result<Option<Stamp>, AlertError> {
        let core = self.lock().await?;
        let now = self.clock().now();
        let steps = core.live.values().filter_map(|live| live.next).map(|next| next.due).min();
        let sensors = core.due.first().map(|(due, _)| (*due).max(self.sensors_may_fire_at(&core, now)));
        let values = core.values_since.map(|since| since + VALUES_EVERY);
        Ok([steps, sensors, values].into_iter().flatten().min())
    }

    /// From when on a sensor's timer may fire without waiting for the journal.
    fn sensors_may_fire_at(&self, core: &Core, now: Stamp) -> Stamp {
        let replayed = self.opened_at() + REPLAY_TIME;
        match core.newest {
            Some((received, taken)) if taken.since(received) > BEHIND && now.since(taken) < BEHIND => {
                replayed.max(now + SECOND)
            }
            _ => replayed,
        }
    }

    async fn fire_due(&self) -> Result<(), AlertError> {
        let mut core = self.lock().await?;
        let now = self.clock().now();
        let may_fire = self.sensors_may_fire_at(&core, now) <= now;
        let has_values = core.values_since.is_some_and(|since| since + VALUES_EVERY <= now);
        let mut change = Change::new(&mut core, self.settings().profile);
        while may_fire && let Some((_, sensor)) = change.first_due(now) {
            change.fire(self.registry(), &sensor, now);
        }
        let is_due = |next: Option<Next>| next.is_some_and(|next| next.due <= now);
        let due: Vec<i64> =
            change.core.live.values().filter(|live| is_due(live.next)).map(|live| live.incident.id).collect();
        change.steps.extend(due);
        if change.is_decision() || has_values {
            return self.commit(change).await;
        }
        change.keep();
        Ok(())
    }

    /// After notifications failed for good: takes the next step at once if nothing of this step can
    /// reach anybody any more. The regular repetition is not hurried.
    pub(crate) async fn step_failed(&self, incident: i64, round: i64, step: i64) -> Result<(), AlertError> {
        let mut core = self.lock().await?;
        let now = self.clock().now();
        let is_current = core.live.get(&incident).is_some_and(|live| {
            live.round == round && live.next.is_some_and(|next| next.step == step + 1 && next.due > now)
        });
        if !is_current {
            return Ok(());
        }
        let has_failed = escalation::has_step_failed(self.reader(), incident, round, step).await?;
        let planned = self.plan().await?;
        let mut change = Change::new(&mut core, self.settings().profile);
        let Some(live) = change.live_mut(incident) else { return Ok(()) };
        let level = live.incident.level;
        let is_planned = planned.iter().any(|other| other.level == level && other.number == step);
        if !has_failed || !is_planned {
            return Ok(());
        }
        live.next = Some(Next { step: step + 1, due: now });
        change.steps.insert(incident);
        self.commit(change).await
    }
}
