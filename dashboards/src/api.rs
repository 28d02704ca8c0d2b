//! The HTTP API, version 1. An integration sees over HTTP exactly what its filters let it hear over
//! MQTT; people's names and numbers are masked for it.

use std::sync::Arc;

use alerts::incident::{Incident, IncidentState, Via};
use alerts::outbox::{Channel, Notification};
use alerts::query::{Detail, Event};
use axum::Json;
use axum::extract::{Path, Query, State};
use model::rights::Rights;
use model::time::DAY;
use model::topic::{Channel as TopicChannel, PREFIX};
use model::{DeviceId, Reading, Stamp};
use registry::people::{Language, mask_name, mask_phone};
use serde::Serialize;

use crate::Shared;
use crate::fault::Fault;
use crate::routes::{Caller, SignedIn};
use crate::words::{Right, masked_email, may};

const MOST_READINGS: usize = 10_000;
const MOST_SENSORS: usize = 10_000;
const USUAL_SENSORS: usize = 1_000;

impl Caller {
    fn integration(&self) -> Option<&Arc<Rights>> {
        match self {
            Caller::Staff(_) => None,
            Caller::Integration(rights) => Some(rights),
        }
    }

    fn may_read(&self, sensor: &DeviceId) -> bool {
        self.may_hear(&TopicChannel::Readings.topic(sensor))
    }

    fn may_see(&self, incident: &Incident) -> bool {
        let area = incident.area.as_deref().unwrap_or("unknown");
        self.may_hear(&format!("{PREFIX}incidents/{area}/{}", incident.id))
    }

    fn may_hear(&self, topic: &str) -> bool {
        self.integration().is_none_or(|rights| rights.subscribe(topic).is_ok())
    }

    fn sees_contacts(&self) -> bool {
        matches!(self, Caller::Staff(session) if may(session.account.role, Right::Contacts))
    }
}

#[derive(Serialize)]
pub(crate) struct ReadingJson {
    time: String,
    co_ppm: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lel_pct: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature_c: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    humidity_pct: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    battery_pct: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal_dbm: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    state: Option<&'static str>,
    flags: Vec<&'static str>,
}

fn reading(reading: &Reading) -> ReadingJson {
    ReadingJson {
        time: reading.time.to_string(),
        co_ppm: reading.co_ppm,
        lel_pct: reading.lel_pct,
        temperature_c: reading.temperature_c,
        humidity_pct: reading.humidity_pct,
        battery_pct: reading.battery_pct,
        signal_dbm: reading.signal_dbm,
        seq: reading.seq,
        state: reading.state.map(model::SensorState::as_str),
        flags: reading.flags.names(),
    }
}

#[derive(Serialize)]
pub(crate) struct ReadingsJson {
    sensor: String,
    readings: Vec<ReadingJson>,
    /// The `from` to ask with for what comes after, RFC 3339; null at the end.
    next: Option<String>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Span {
    from: Option<String>,
    to: Option<String>,
}

/// `GET /api/v1/sensors/{id}/readings?from=&to=`: `from <= time < to`, ascending; RFC 3339 or epoch
/// milliseconds; by default the last 24 hours.
pub(crate) async fn readings(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Query(span): Query<Span>,
) -> Result<Json<ReadingsJson>, Fault> {
    let id = DeviceId::new(&id).map_err(|_| Fault::NotFound)?;
    if !caller.may_read(&id) {
        return Err(Fault::Forbidden);
    }
    let now = shared.clock.now();
    let to = stamp(span.to.as_deref(), "to")?.unwrap_or(now + 1);
    let from = stamp(span.from.as_deref(), "from")?.unwrap_or(to - DAY);
    if from > to {
        return Err(Fault::bad("bad_time", "from must not be after to"));
    }
    let mut found = collect(&shared, &id, from, to).await?;
    if found.is_empty() && shared.registry.placed(&id).is_none() && shared.readings.latest(&id).is_none() {
        return Err(Fault::NotFound);
    }
    let next = cut(&mut found, MOST_READINGS);
    Ok(Json(ReadingsJson {
        sensor: id.to_string(),
        readings: found.iter().map(reading).collect(),
        next: next.map(|at| at.to_string()),
    }))
}

/// The longest span read at once: a month's file at the most.
const MOST_STEP: i64 = 16 * DAY;

/// More than [`MOST_READINGS`] if there are so many, without reading years into memory: the span is
/// walked in steps that grow while little is found.
async fn collect(shared: &Shared, id: &DeviceId, from: Stamp, to: Stamp) -> Result<Vec<Reading>, Fault> {
    let mut found = Vec::new();
    let (mut start, mut step) = (from.max(Stamp::EARLIEST), DAY);
    let to = to.min(Stamp::LATEST);
    while start < to && found.len() <= MOST_READINGS {
        let end = (start + step).min(to);
        let part = shared.readings.range(id, start, end).await?;
        if part.len() < MOST_READINGS / 10 {
            step = (2 * step).min(MOST_STEP);
        }
        found.extend(part);
        start = end;
    }
    Ok(found)
}

/// Keeps at most `most` readings and says from when the rest begins. Readings of one instant are
/// never parted, unless there are more than `most` of them.
fn cut(readings: &mut Vec<Reading>, most: usize) -> Option<Stamp> {
    let next = readings.get(most)?.time;
    let whole = readings.partition_point(|reading| reading.time < next);
    if whole == 0 {
        readings.truncate(most);
        return Some(next + 1);
    }
    readings.truncate(whole);
    Some(next)
}

fn stamp(text: Option<&str>, name: &str) -> Result<Option<Stamp>, Fault> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    // an unescaped + of an offset arrives as a space
    let stamp = text.parse().map(Stamp).ok().or_else(|| Stamp::parse_rfc3339(&text.replace(' ', "+")));
    let expected = || Fault::BadRequest("bad_time", format!("{name} must be RFC 3339 or epoch milliseconds"));
    stamp.map(Some).ok_or_else(expected)
}

#[derive(Serialize)]
pub(crate) struct LatestJson {
    sensors: Vec<LatestRow>,
    /// The `after` to ask with for what comes after; null at the end.
    next: Option<String>,
}

#[derive(Serialize)]
struct LatestRow {
    sensor: String,
    premises: Option<String>,
    area: Option<String>,
    room: Option<String>,
    received: Option<String>,
    reading: Option<ReadingJson>,
}

#[derive(serde::Deserialize)]
pub(crate) struct After {
    after: Option<String>,
    limit: Option<String>,
}

/// `GET /api/v1/sensors/latest?after=&limit=`: the newest reading of every sensor, by id.
pub(crate) async fn latest(
    State(shared): State<Shared>,
    caller: Caller,
    Query(asked): Query<After>,
) -> Result<Json<LatestJson>, Fault> {
    let limit = match asked.limit.as_deref().filter(|limit| !limit.is_empty()) {
        Some(text) => text.parse().ok().filter(|limit| (1..=MOST_SENSORS).contains(limit)),
        None => Some(USUAL_SENSORS),
    };
    let limit = limit.ok_or_else(|| Fault::bad("bad_limit", "limit is a number from 1 to 10000"))?;
    let after = asked.after.unwrap_or_default();
    let book = shared.fleet().book(&shared).await?;
    let sensors = tokio::task::spawn_blocking(move || {
        let start = book.rows.partition_point(|(id, _)| !after.is_empty() && id.as_str() <= after.as_str());
        let allowed = book.rows[start..].iter().filter(|(id, _)| caller.may_read(id));
        let row = |(id, placed): &(DeviceId, Option<Arc<registry::sensors::Placed>>)| {
            let latest = shared.readings.latest(id);
            LatestRow {
                sensor: id.to_string(),
                premises: placed.as_ref().and_then(|placed| placed.sensor.premises.clone()),
                area: placed.as_ref().and_then(|placed| placed.area.clone()),
                room: placed.as_ref().map(|placed| placed.sensor.room.clone()),
                received: latest.as_ref().map(|latest| latest.received.to_string()),
                reading: latest.as_ref().map(|latest| reading(&latest.reading)),
            }
        };
        allowed.take(limit + 1).map(row).collect::<Vec<_>>()
    });
    let mut sensors = sensors.await?;
    let has_more = sensors.len() > limit;
    sensors.truncate(limit);
    let next = sensors.last().filter(|_| has_more).map(|last| last.sensor.clone());
    Ok(Json(LatestJson { sensors, next }))
}

#[derive(Serialize)]
pub(crate) struct IncidentJson {
    id: i64,
    hazard: &'static str,
    level: &'static str,
    state: &'static str,
    premises: Option<String>,
    area: Option<String>,
    address: Option<String>,
    room: String,
    sensor: String,
    decision: DecisionJson,
    opened: String,
    raised: String,
    cleared: Option<String>,
    acknowledged: Option<AnswerJson>,
    resolved: Option<String>,
    outcome: Option<OutcomeJson>,
    late: bool,
    peak_ppm: Option<f32>,
    last_ppm: Option<f32>,
    last_reading: Option<String>,
}

#[derive(Serialize)]
struct DecisionJson {
    code: &'static str,
    words: String,
}

#[derive(Serialize)]
struct AnswerJson {
    name: String,
    at: String,
    via: &'static str,
}

#[derive(Serialize)]
struct OutcomeJson {
    cause: String,
    people_affected: i64,
    action: String,
}

fn incident_json(incident: &Incident, caller: &Caller) -> IncidentJson {
    IncidentJson {
        id: incident.id,
        hazard: incident.hazard.as_str(),
        level: incident.level.as_str(),
        state: match incident.state {
            IncidentState::Open => "open",
            IncidentState::Acknowledged => "acknowledged",
            IncidentState::Resolved => "resolved",
        },
        premises: incident.premises.clone(),
        area: incident.area.clone(),
        // where somebody lives, and what was found there, is not for other systems
        address: incident.address.clone().filter(|_| caller.integration().is_none()),
        room: incident.room.clone(),
        sensor: incident.sensor.to_string(),
        decision: DecisionJson { code: incident.decision.code(), words: incident.decision.words(Language::En) },
        opened: incident.opened.to_string(),
        raised: incident.raised.to_string(),
        cleared: incident.cleared.map(|at| at.to_string()),
        acknowledged: incident.acknowledged.as_ref().map(|answer| AnswerJson {
            name: name(&answer.name, caller),
            at: answer.at.to_string(),
            via: match answer.via {
                Via::Link => "link",
                Via::Console => "console",
                Via::Api => "api",
            },
        }),
        resolved: incident.resolved.map(|at| at.to_string()),
        outcome: incident.outcome.as_ref().filter(|_| caller.integration().is_none()).map(|outcome| OutcomeJson {
            cause: outcome.cause.clone(),
            people_affected: outcome.people_affected,
            action: outcome.action.clone(),
        }),
        late: incident.late,
        peak_ppm: incident.peak_ppm,
        last_ppm: incident.last_ppm,
        last_reading: incident.last_reading.map(|at| at.to_string()),
    }
}

fn name(name: &str, caller: &Caller) -> String {
    if caller.integration().is_some() { mask_name(name) } else { name.to_owned() }
}

#[derive(Serialize)]
pub(crate) struct IncidentsJson {
    incidents: Vec<IncidentJson>,
}

/// `GET /api/v1/incidents`: those not resolved, in the order of the console.
pub(crate) async fn incidents(State(shared): State<Shared>, caller: Caller) -> Result<Json<IncidentsJson>, Fault> {
    let open = shared.alerts.open_incidents().await?;
    let seen = open.iter().filter(|incident| caller.may_see(incident));
    Ok(Json(IncidentsJson { incidents: seen.map(|incident| incident_json(incident, &caller)).collect() }))
}

#[derive(Serialize)]
pub(crate) struct DetailJson {
    #[serde(flatten)]
    incident: IncidentJson,
    next_step: Option<String>,
    events: Vec<EventJson>,
    notifications: Vec<NotificationJson>,
}

#[derive(Serialize)]
struct EventJson {
    at: String,
    kind: &'static str,
    by: String,
    detail: String,
}

#[derive(Serialize)]
struct NotificationJson {
    id: i64,
    step: i64,
    name: String,
    channel: &'static str,
    address: String,
    delivery: &'static str,
    attempts: i64,
    decided: String,
    sent: Option<String>,
    delivered: Option<String>,
    error: Option<String>,
}

/// `GET /api/v1/incidents/{id}`: with its events and notifications.
pub(crate) async fn incident(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<DetailJson>, Fault> {
    let id = id.parse().map_err(|_| Fault::NotFound)?;
    let detail = shared.alerts.detail(id).await?.ok_or(Fault::NotFound)?;
    if !caller.may_see(&detail.incident) {
        return Err(Fault::NotFound);
    }
    Ok(Json(detail_json(&detail, &caller)))
}

fn detail_json(detail: &Detail, caller: &Caller) -> DetailJson {
    DetailJson {
        incident: incident_json(&detail.incident, caller),
        next_step: detail.next_step.map(|at| at.to_string()),
        events: detail.events.iter().map(|event| event_json(event, caller)).collect(),
        notifications: detail.notifications.iter().map(|n| notification_json(n, caller)).collect(),
    }
}

fn event_json(event: &Event, caller: &Caller) -> EventJson {
    EventJson {
        at: event.at.to_string(),
        kind: event.kind.as_str(),
        by: name(&event.by, caller),
        detail: match event.detail.split_once(" people=") {
            Some((data, _names)) if caller.integration().is_some() => data.to_owned(),
            _ => event.detail.clone(),
        },
    }
}

fn notification_json(notification: &Notification, caller: &Caller) -> NotificationJson {
    let (channel, masked) = match notification.channel {
        Channel::Sms => ("sms", mask_phone(&notification.address)),
        Channel::Email => ("email", masked_email(&notification.address)),
    };
    NotificationJson {
        id: notification.id,
        step: notification.step,
        name: name(&notification.name, caller),
        channel,
        address: if caller.sees_contacts() { notification.address.clone() } else { masked },
        delivery: notification.delivery.as_str(),
        attempts: notification.attempts,
        decided: notification.decided.to_string(),
        sent: notification.sent.map(|at| at.to_string()),
        delivered: notification.delivered.map(|at| at.to_string()),
        error: notification.error.clone(),
    }
}

/// `POST /api/v1/incidents/{id}/acknowledge`, by a person signed in, with `x-csrf-token`.
pub(crate) async fn acknowledge(
    State(shared): State<Shared>,
    signed_in: SignedIn,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<IncidentJson>, Fault> {
    let id = id.parse().map_err(|_| Fault::NotFound)?;
    let incident = shared.alerts.acknowledge(id, &signed_in.0.account.person, Via::Api).await?;
    Ok(Json(incident_json(&incident, &caller)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_printed_as_short_as_they_are() {
        let shown = reading(&Reading { co_ppm: Some(0.3), temperature_c: Some(21.5), ..Reading::default() });
        let text = serde_json::to_string(&shown).unwrap();
        assert!(text.contains("\"co_ppm\":0.3,") && text.contains("\"temperature_c\":21.5"), "{text}");
    }

    #[test]
    fn times_are_taken_in_both_forms() {
        let at = Stamp(1_780_000_000_000);
        assert_eq!(stamp(Some("1780000000000"), "from").unwrap(), Some(at));
        assert_eq!(stamp(Some(&at.to_string()), "from").unwrap(), Some(at));
        assert_eq!(stamp(Some("2026-05-29T04:26:40 08:00"), "from").unwrap(), Some(at));
        assert!(matches!(stamp(Some("yesterday"), "from"), Err(Fault::BadRequest("bad_time", _))));
    }

    proptest! {
        /// Following `next` to its end shows every reading exactly once.
        #[test]
        fn pages_lose_and_repeat_nothing(mut times in prop::collection::vec(0i64..40, 0..120), most in 5usize..20) {
            times.sort_unstable();
            // no instant has more readings than a page
            let mut all: Vec<i64> = Vec::new();
            for time in times {
                if all.iter().filter(|other| **other == time).count() < most {
                    all.push(time);
                }
            }
            let (mut seen, mut from) = (Vec::new(), Some(Stamp(0)));
            while let Some(start) = from {
                let rest = all.iter().filter(|time| **time >= start.0);
                let mut page: Vec<_> = rest.map(|time| Reading { time: Stamp(*time), ..Reading::default() }).collect();
                from = cut(&mut page, most);
                prop_assert!(page.len() <= most);
                seen.extend(page.iter().map(|reading| reading.time.0));
            }
            prop_assert_eq!(seen, all);
        }
    }
}
