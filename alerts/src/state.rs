//! What the engine holds in memory, and changes to it that are kept only once they are on disk.

use std::collections::{BTreeSet, HashMap, HashSet};

use model::dose::Profile;
use model::{DeviceId, Stamp};
use store::Position;

use crate::incident::{Incident, IncidentState};
use crate::query::EventKind;
use crate::rules::Memory;

/// A sensor about which something is unusual. All others have no entry.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tracked {
    pub(crate) memory: Memory,
    /// The unresolved incident it is part of.
    pub(crate) incident: Option<i64>,
    /// When a decision is due without a further reading.
    pub(crate) due: Option<Stamp>,
    /// Whether the ledger has a row for it.
    pub(crate) is_stored: bool,
}

/// The next escalation step of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) step: i64,
    pub(crate) due: Stamp,
}

/// An unresolved incident.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Live {
    pub(crate) incident: Incident,
    /// What it is grouped by, see [`scope`].
    pub(crate) scope: String,
    pub(crate) members: Vec<DeviceId>,
    /// The strongest evidence since it opened or returned, see `Decision::rank`.
    pub(crate) severity: i64,
    /// Counts the times escalation began.
    pub(crate) round: i64,
    pub(crate) round_started: Stamp,
    pub(crate) next: Option<Next>,
}

/// One incident exists per premises; a sensor without premises stands for itself.
pub(crate) fn scope(premises: Option<&str>, sensor: &DeviceId) -> String {
    match premises {
        Some(premises) => format!("premises {premises}"),
        None => format!("sensor {sensor}"),
    }
}

#[derive(Debug, Default)]
pub(crate) struct Core {
    pub(crate) sensors: HashMap<DeviceId, Tracked>,
    pub(crate) live: HashMap<i64, Live>,
    /// Unresolved incidents by [`scope`].
    pub(crate) scopes: HashMap<String, i64>,
    /// Sensors by `Tracked::due`.
    pub(crate) due: BTreeSet<(Stamp, DeviceId)>,
    /// What differs from the ledger.
    pub(crate) dirty_sensors: HashSet<DeviceId>,
    pub(crate) dirty_incidents: BTreeSet<i64>,
    /// Since when values wait to be written.
    pub(crate) values_since: Option<Stamp>,
    pub(crate) next_incident: i64,
    /// The newest observation taken.
    pub(crate) seen: Position,
    /// Its time of receipt, and when it was taken.
    pub(crate) newest: Option<(Stamp, Stamp)>,
    /// Up to where the ledger has everything.
    pub(crate) applied: Position,
    /// Number of commits, as the ledger counts them.
    pub(crate) commits: i64,
    /// A commit was begun whose outcome is not known.
    pub(crate) is_doubtful: bool,
}

impl Core {
    pub(crate) fn set_sensor(&mut self, id: &DeviceId, tracked: Option<Tracked>) {
        let old = match tracked {
            Some(tracked) => {
                if let Some(due) = tracked.due {
                    self.due.insert((due, id.clone()));
                }
                self.sensors.insert(id.clone(), tracked)
            }
            None => self.sensors.remove(id),
        };
        if let Some(old) = old.and_then(|old| old.due)
            && tracked.and_then(|tracked| tracked.due) != Some(old)
        {
            self.due.remove(&(old, id.clone()));
        }
    }

    pub(crate) fn set_live(&mut self, id: i64, live: Option<Live>) {
        match live {
            Some(live) => {
                self.scopes.insert(live.scope.clone(), id);
                self.live.insert(id, live);
            }
            None => {
                if let Some(old) = self.live.remove(&id)
                    && self.scopes.get(&old.scope) == Some(&id)
                {
                    self.scopes.remove(&old.scope);
                }
            }
        }
    }
}

/// A line of an incident's time line, to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    pub(crate) incident: i64,
    pub(crate) at: Stamp,
    pub(crate) kind: EventKind,
    pub(crate) by: String,
    pub(crate) detail: String,
    /// Names a decision of the rules, so that it is noted once.
    pub(crate) key: Option<String>,
}

/// Changes to the [`Core`], undone when dropped before [`Change::keep`].
pub(crate) struct Change<'c> {
    pub(crate) core: &'c mut Core,
    pub(crate) profile: &'static Profile,
    pub(crate) events: Vec<NewEvent>,
    /// Incidents whose next step is to be taken now.
    pub(crate) steps: BTreeSet<i64>,
    /// Incidents whose waiting notifications are not needed any more.
    pub(crate) cancelled: Vec<i64>,
    sensors_before: HashMap<DeviceId, Option<Tracked>>,
    live_before: HashMap<i64, Option<Live>>,
    next_incident_before: i64,
    seen_before: Position,
    is_kept: bool,
}

impl<'c> Change<'c> {
    pub(crate) fn new(core: &'c mut Core, profile: &'static Profile) -> Change<'c> {
        Change {
            next_incident_before: core.next_incident,
            seen_before: core.seen,
            core,
            profile,
            events: Vec::new(),
            steps: BTreeSet::new(),
            cancelled: Vec::new(),
            sensors_before: HashMap::new(),
            live_before: HashMap::new(),
            is_kept: false,
        }
    }

    /// Whether anything was decided that must be on disk before it counts.
    pub(crate) fn is_decision(&self) -> bool {
        !self.events.is_empty() || !self.steps.is_empty()
    }

    pub(crate) fn tracked(&self, sensor: &DeviceId) -> Tracked {
        // forgotten, but the row that says otherwise is still to be deleted
        let is_stored = self.core.dirty_sensors.contains(sensor);
        self.core.sensors.get(sensor).copied().unwrap_or(Tracked { is_stored, ..Tracked::default() })
    }

    /// Remembers a sensor, or forgets it when nothing about it is unusual any more.
    pub(crate) fn track(&mut self, sensor: &DeviceId, mut tracked: Tracked) {
        let before = self.core.sensors.get(sensor).copied();
        self.sensors_before.entry(sensor.clone()).or_insert(before);
        tracked.due = tracked.memory.due(self.profile);
        let is_idle = tracked.incident.is_none() && tracked.memory.is_idle();
        if !is_idle || tracked.is_stored {
            self.core.dirty_sensors.insert(sensor.clone());
        } else {
            self.core.dirty_sensors.remove(sensor);
        }
        self.core.set_sensor(sensor, (!is_idle).then_some(tracked));
    }

    /// An unresolved incident, to be changed.
    pub(crate) fn live_mut(&mut self, id: i64) -> Option<&mut Live> {
        let live = self.core.live.get_mut(&id)?;
        self.live_before.entry(id).or_insert_with(|| Some(live.clone()));
        self.core.dirty_incidents.insert(id);
        Some(live)
    }

    pub(crate) fn open(&mut self, live: Live) {
        let id = live.incident.id;
        self.live_before.entry(id).or_insert(None);
        self.core.dirty_incidents.insert(id);
        self.core.set_live(id, Some(live));
    }

    /// Makes the changes stay in memory.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }

    /// As [`Change::keep`], after a commit that wrote everything that was dirty.
    pub(crate) fn keep_saved(mut self, applied: Position) {
        self.is_kept = true;
        let core = &mut *self.core;
        for sensor in core.dirty_sensors.drain() {
            if let Some(tracked) = core.sensors.get_mut(&sensor) {
                tracked.is_stored = true;
            }
        }
        core.dirty_incidents.clear();
        core.values_since = None;
        core.applied = applied;
        core.commits += 1;
        core.is_doubtful = false;
        let resolved = |live: &Live| live.incident.state == IncidentState::Resolved;
        for id in self.live_before.keys().copied().collect::<Vec<i64>>() {
            if core.live.get(&id).is_some_and(resolved) {
                core.set_live(id, None);
            }
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        for (sensor, before) in self.sensors_before.drain() {
            self.core.set_sensor(&sensor, before);
            // whatever it is now, the ledger may have something else
            self.core.dirty_sensors.insert(sensor);
        }
        for (id, before) in self.live_before.drain() {
            if before.is_none() {
                self.core.dirty_incidents.remove(&id);
            }
            self.core.set_live(id, before);
        }
        self.core.next_incident = self.next_incident_before;
        self.core.seen = self.seen_before;
    }
}
