//! From verdicts about sensors to incidents of premises.

use std::sync::Arc;

use model::reading::Flags;
use model::{DeviceId, Hazard, Level, Stamp};
use registry::Registry;
use registry::sensors::Placed;

use crate::engine::Observation;
use crate::incident::{Decision, Incident, IncidentState};
use crate::query::EventKind;
use crate::rules::{self, Expected};
use crate::state::{Change, Live, NewEvent, Next, scope};

/// What a decision came from.
struct Occasion<'a> {
    sensor: &'a DeviceId,
    placed: Option<Arc<Placed>>,
    /// When the decision is made.
    at: Stamp,
    /// When what it is made from was measured.
    measured: Stamp,
    is_late: bool,
    /// Tells this decision from all others of the sensor and rule.
    key: String,
}

impl Change<'_> {
    /// Takes one observation: first the timers that ran out before it came, then its reading.
    pub(crate) fn take(&mut self, registry: &Registry, observation: &Observation) {
        while let Some((due, sensor)) = self.first_due(observation.received) {
            self.fire(registry, &sensor, due);
        }
        let Observation { position, sensor, received, reading } = observation;
        if !self.core.sensors.contains_key(sensor) && !rules::is_remarkable(reading) {
            return;
        }
        let placed = registry.placed(sensor);
        let mut tracked = self.tracked(sensor);
        let expected = Expected::of(placed.as_deref());
        let verdict = rules::judge(&mut tracked.memory, self.profile, reading, *received, expected);
        self.track(sensor, tracked);
        if let Some(decision) = verdict.danger {
            let occasion = Occasion {
                sensor,
                placed,
                at: *received,
                measured: reading.time,
                is_late: reading.flags.has(Flags::LATE),
                key: format!("{}/{}", position.0, reading.time.0),
            };
            self.decide(&occasion, decision);
        }
        if let Some(ppm) = verdict.ppm {
            self.note_value(sensor, ppm, reading.time.min(*received), *received);
        }
        self.clear_if_calm(sensor, *received);
    }

    /// The sensor whose timer ran out first, at `now` or before.
    pub(crate) fn first_due(&self, now: Stamp) -> Option<(Stamp, DeviceId)> {
        self.core.due.first().filter(|(due, _)| *due <= now).cloned()
    }

    /// Makes the decision of a sensor that is due without a reading.
    pub(crate) fn fire(&mut self, registry: &Registry, sensor: &DeviceId, now: Stamp) {
        let mut tracked = self.tracked(sensor);
        let due = tracked.due;
        let decision = tracked.memory.fire(self.profile, now);
        self.track(sensor, tracked);
        let (Some(decision), Some(last)) = (decision, tracked.memory.last) else { return };
        let occasion = Occasion {
            sensor,
            placed: registry.placed(sensor),
            at: now,
            measured: now,
            is_late: false,
            key: format!("timer/{}", due.unwrap_or(now).0),
        };
        self.decide(&occasion, decision);
        self.note_value(sensor, last.ppm, last.time, now);
    }

    /// Opens an incident, or raises the one there is. A second sensor, a return after clearing and
    /// stronger evidence void an acknowledgement; while nobody has answered, escalation runs on.
    fn decide(&mut self, occasion: &Occasion<'_>, decision: Decision) {
        let premises = occasion.placed.as_ref().and_then(|placed| placed.sensor.premises.as_deref());
        let scope = scope(premises, occasion.sensor);
        let mut tracked = self.tracked(occasion.sensor);
        let existing = tracked.incident.or_else(|| self.core.scopes.get(&scope).copied());
        let joins = tracked.incident != existing;
        let Some(id) = existing.filter(|id| self.core.live.contains_key(id)) else {
            let id = self.open_incident(occasion, scope, decision);
            tracked.incident = Some(id);
            self.track(occasion.sensor, tracked);
            return;
        };
        if joins {
            tracked.incident = Some(id);
            self.track(occasion.sensor, tracked);
        }
        let Some(live) = self.core.live.get(&id) else { return };
        let is_old_news = |cleared: &Stamp| occasion.is_late && occasion.measured < *cleared;
        let returns = live.incident.cleared.is_some_and(|cleared| !is_old_news(&cleared));
        if !joins && !returns && decision.rank() <= live.severity {
            return;
        }
        let Some(live) = self.live_mut(id) else { return };
        if joins {
            live.members.push(occasion.sensor.clone());
        }
        live.severity = if returns { decision.rank() } else { live.severity.max(decision.rank()) };
        live.incident.cleared = if returns { None } else { live.incident.cleared };
        live.incident.decision = decision;
        live.incident.raised = occasion.at;
        let is_answered = live.incident.acknowledged.take().is_some();
        if is_answered {
            live.incident.state = IncidentState::Open;
            live.round += 1;
            live.round_started = occasion.at;
            live.next = Some(Next { step: 0, due: occasion.at });
            self.steps.insert(id);
        }
        self.note_decision(id, occasion, decision, if returns { EventKind::Returned } else { EventKind::Raised });
    }

    fn open_incident(&mut self, occasion: &Occasion<'_>, scope: String, decision: Decision) -> i64 {
        let id = self.core.next_incident;
        self.core.next_incident += 1;
        let placed = occasion.placed.as_deref();
        let incident = Incident {
            id,
            hazard: Hazard::Co,
            level: Level::Danger,
            state: IncidentState::Open,
            premises: placed.and_then(|placed| placed.sensor.premises.clone()),
            area: placed.and_then(|placed| placed.area.clone()),
            address: placed.and_then(|placed| placed.address.clone()),
            room: placed.map(|placed| placed.sensor.room.clone()).unwrap_or_default(),
            sensor: occasion.sensor.clone(),
            decision,
            opened: occasion.at,
            raised: occasion.at,
            cleared: None,
            acknowledged: None,
            resolved: None,
            outcome: None,
            late: occasion.is_late,
            peak_ppm: None,
            last_ppm: None,
            last_reading: None,
        };
        self.open(Live {
            incident,
            scope,
            members: vec![occasion.sensor.clone()],
            severity: decision.rank(),
            round: 1,
            round_started: occasion.at,
            next: Some(Next { step: 0, due: occasion.at }),
        });
        self.steps.insert(id);
        self.note_decision(id, occasion, decision, EventKind::Opened);
        id
    }

    fn note_decision(&mut self, incident: i64, occasion: &Occasion<'_>, decision: Decision, kind: EventKind) {
        self.events.push(NewEvent {
            incident,
            at: occasion.at,
            kind,
            by: String::new(),
            detail: format!("{} sensor={}", decision.data(), occasion.sensor),
            key: Some(format!("{}/{}/{}", occasion.sensor, decision.code(), occasion.key)),
        });
    }

    /// Keeps the highest and the newest value of the sensor's incident.
    fn note_value(&mut self, sensor: &DeviceId, ppm: f32, time: Stamp, now: Stamp) {
        let Some(id) = self.core.sensors.get(sensor).and_then(|tracked| tracked.incident) else { return };
        let Some(live) = self.live_mut(id) else { return };
        let incident = &mut live.incident;
        incident.peak_ppm = Some(incident.peak_ppm.map_or(ppm, |peak| peak.max(ppm)));
        if incident.last_reading.is_none_or(|last| time >= last) {
            incident.last_ppm = Some(ppm);
            incident.last_reading = Some(time);
        }
        self.core.values_since.get_or_insert(now);
    }

    /// Marks the sensor's incident as cleared once all its sensors are calm. A person still has to
    /// resolve it.
    fn clear_if_calm(&mut self, sensor: &DeviceId, now: Stamp) {
        let Some(id) = self.core.sensors.get(sensor).and_then(|tracked| tracked.incident) else { return };
        let Some(live) = self.core.live.get(&id) else { return };
        let is_calm = |member: &DeviceId| self.core.sensors.get(member).is_some_and(|t| t.memory.is_calm());
        if live.incident.cleared.is_some() || !live.members.iter().all(is_calm) {
            return;
        }
        if let Some(live) = self.live_mut(id) {
            live.incident.cleared = Some(now);
        }
        self.events.push(NewEvent {
            incident: id,
            at: now,
            kind: EventKind::Cleared,
            by: String::new(),
            detail: String::new(),
            key: None,
        });
    }
}
