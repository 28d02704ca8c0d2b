//! Readings and timers in, ledger rows out.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::time::MINUTE;
use model::{DeviceId, Reading, Stamp};
use registry::Registry;
use sqlx::AnyPool;
use store::ledger::set_applied;
use store::{Clock, Position};
use tokio::sync::{Mutex, MutexGuard, Notify, broadcast};

use crate::AlertError;
use crate::escalation::Means;
use crate::notify::Providers;
use crate::plan::Roster;
use crate::rows;
use crate::state::{Change, Core};

/// One reading on its way through the rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    pub position: Position,
    pub sensor: DeviceId,
    pub received: Stamp,
    pub reading: Reading,
}

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Dose profile name, for example `en50291`.
    pub profile: &'static model::dose::Profile,
    /// Address of the console as phones reach it, without a slash at the end; acknowledge links
    /// begin with it.
    pub public_url: String,
    /// Signs acknowledge links.
    pub link_key: [u8; 32],
    /// IANA zone that times in messages are told in.
    pub time_zone: String,
}

/// The engine's name among the journal's readers.
const CONSUMER: &str = "alerts";
/// Changes that a slow screen may be behind before it has to read everything anew.
const CHANGES_KEPT: usize = 1_024;
/// After a start, silence counts from the start: who was not listening cannot say that it was quiet.
const REJOIN: i64 = 3 * MINUTE;

/// The alert engine. A cheap handle.
#[derive(Clone)]
pub struct Alerts {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    clock: Clock,
    settings: Settings,
    providers: Providers,
    /// Held across each transaction, so that memory and ledger change in step.
    core: Mutex<Core>,
    applied: AtomicU64,
    opened_at: Stamp,
    changes: broadcast::Sender<i64>,
    /// Something may be due earlier than the timer loop knows.
    timers: Notify,
    /// There may be notifications to send.
    outbox: Notify,
}

impl std::fmt::Debug for Alerts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alerts").field("applied", &self.applied()).finish_non_exhaustive()
    }
}

impl Alerts {
    /// Reads dose states and position from the ledger, which must have been migrated.
    pub async fn open(
        registry: Registry,
        clock: Clock,
        mut settings: Settings,
        providers: Providers,
    ) -> Result<Alerts, AlertError> {
        settings.public_url = settings.public_url.trim_end_matches('/').to_owned();
        let mut core = load(&registry, &settings).await?;
        let opened_at = clock.now();
        postpone_silence(&mut core, settings.profile, opened_at);
        let applied = AtomicU64::new(core.applied.0);
        Ok(Alerts {
            inner: Arc::new(Inner {
                registry,
                clock,
                settings,
                providers,
                core: Mutex::new(core),
                applied,
                opened_at,
                changes: broadcast::Sender::new(CHANGES_KEPT),
                timers: Notify::new(),
                outbox: Notify::new(),
            }),
        })
    }

    /// Takes readings in journal order. Returns when every decision they caused is committed with
    /// its notifications. Observations at or before [`Alerts::applied`] are skipped.
    ///
    /// # Errors
    /// When the ledger cannot commit; then nothing has changed, and the same observations can be
    /// given again.
    pub async fn observe(&self, observations: &[Observation]) -> Result<(), AlertError> {
        let Some(last) = observations.last() else { return Ok(()) };
        let mut core = self.lock().await?;
        let seen = core.seen;
        if last.position <= seen {
            return Ok(());
        }
        let first_due = core.due.first().map(|(due, _)| *due);
        let had_values = core.values_since.is_some();
        let mut change = Change::new(&mut core, self.inner.settings.profile);
        for observation in observations.iter().filter(|observation| observation.position > seen) {
            change.take(&self.inner.registry, observation);
        }
        change.core.seen = last.position;
        if change.is_decision() {
            self.commit(change).await?;
        } else {
            change.keep();
        }
        core.newest = Some((last.received, self.inner.clock.now()));
        let new_values = !had_values && core.values_since.is_some();
        if new_values || core.due.first().map(|(due, _)| *due) != first_due {
            self.inner.timers.notify_one();
        }
        Ok(())
    }

    /// Notes that the journal up to and including `position` needs no replay, and saves changed
    /// dose states in the same transaction.
    pub async fn checkpoint(&self, position: Position) -> Result<(), AlertError> {
        let mut core = self.lock().await?;
        let seen = core.seen.max(position);
        if seen == core.applied && core.dirty_sensors.is_empty() && core.dirty_incidents.is_empty() {
            return Ok(());
        }
        let change = Change::new(&mut core, self.inner.settings.profile);
        change.core.seen = seen;
        self.commit(change).await
    }

    /// The position of the last committed checkpoint or decision.
    pub fn applied(&self) -> Position {
        Position(self.inner.applied.load(Ordering::Acquire))
    }

    /// Fires timers and sends notifications until `stop` resolves. Attempts under way are finished
    /// first.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) -> Result<(), AlertError> {
        let stopping = Notify::new();
        let stop = async {
            tokio::select! {
                () = stop => {}
                () = self.run_timers() => {}
            }
            stopping.notify_one();
        };
        tokio::join!(stop, self.run_outbox(&stopping));
        Ok(())
    }

    /// Ids of incidents, each time something about them changed.
    pub fn changes(&self) -> broadcast::Receiver<i64> {
        self.inner.changes.subscribe()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    pub(crate) fn reader(&self) -> &AnyPool {
        self.inner.registry.ledger().reader()
    }

    pub(crate) fn providers(&self) -> &Providers {
        &self.inner.providers
    }

    pub(crate) fn opened_at(&self) -> Stamp {
        self.inner.opened_at
    }

    pub(crate) fn timers_changed(&self) -> &Notify {
        &self.inner.timers
    }

    pub(crate) fn outbox_changed(&self) -> &Notify {
        &self.inner.outbox
    }

    /// Tells the screens that an incident changed.
    pub(crate) fn tell(&self, incident: i64) {
        // an error means that nobody looks
        let _ = self.inner.changes.send(incident);
    }

    /// Memory, known to agree with the ledger.
    pub(crate) async fn lock(&self) -> Result<MutexGuard<'_, Core>, AlertError> {
        let mut core = self.inner.core.lock().await;
        if core.is_doubtful {
            if rows::commits(self.reader()).await? == core.commits {
                core.is_doubtful = false;
            } else {
                tracing::warn!("the ledger has a commit whose answer was lost, reading it again");
                *core = load(&self.inner.registry, &self.inner.settings).await?;
                self.inner.applied.store(core.applied.0, Ordering::Release);
                self.inner.outbox.notify_one();
            }
        }
        Ok(core)
    }

    /// Writes a change, and with it everything else that differs from the ledger, in one
    /// transaction; then tells those who wait for it. On an error memory is as it was.
    pub(crate) async fn commit(&self, mut change: Change<'_>) -> Result<(), AlertError> {
        let mut tx = self.inner.registry.ledger().begin().await?;
        let has_steps = !change.steps.is_empty();
        if has_steps {
            let now = self.inner.clock.now();
            let roster = Roster::read(&mut tx, &self.inner.registry, now).await?;
            let (providers, settings) = (&self.inner.providers, &self.inner.settings);
            let means = Means { roster: &roster, providers, settings, now };
            change.take_steps(&mut tx, &means).await?;
        }
        let changed: BTreeSet<i64> = change.core.dirty_incidents.clone();
        for live in changed.iter().filter_map(|id| change.core.live.get(id)) {
            rows::save_incident(&mut tx, live).await?;
        }
        for incident in &change.cancelled {
            rows::cancel_waiting(&mut tx, *incident).await?;
        }
        rows::save_events(&mut tx, &change.events).await?;
        rows::save_sensors(&mut tx, change.core).await?;
        let applied = change.core.seen;
        set_applied(&mut tx, CONSUMER, applied).await?;
        rows::count_commit(&mut tx, change.core.commits + 1).await?;
        change.core.is_doubtful = true;
        tx.commit().await?;
        change.keep_saved(applied);
        self.inner.applied.store(applied.0, Ordering::Release);
        if has_steps {
            self.inner.outbox.notify_one();
        }
        self.inner.timers.notify_one();
        for id in changed {
            self.tell(id);
        }
        Ok(())
    }
}

async fn load(registry: &Registry, settings: &Settings) -> Result<Core, AlertError> {
    let ledger = registry.ledger();
    let mut core = rows::load(ledger.reader(), settings.profile).await?;
    core.applied = ledger.applied(CONSUMER).await?;
    core.seen = core.applied;
    Ok(core)
}

/// Lets sensors that became due for silence while nobody listened report first.
fn postpone_silence(core: &mut Core, profile: &'static model::dose::Profile, now: Stamp) {
    for (sensor, mut tracked) in core.sensors.clone() {
        let (Some(due), Some(last)) = (tracked.memory.silent_due, tracked.memory.last) else { continue };
        let hold = due.since(last.received).clamp(0, REJOIN);
        tracked.memory.silent_due = Some(due.max(now + hold));
        tracked.due = tracked.memory.due(profile);
        core.set_sensor(&sensor, Some(tracked));
    }
}
