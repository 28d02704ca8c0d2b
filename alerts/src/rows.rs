//! Incidents, their time lines and sensor states as rows of the ledger.

use model::dose::{Dose, Profile};
use model::{DeviceId, Hazard, Level, Stamp};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, AnyPool, Row};
use store::Tx;

use crate::AlertError;
use crate::incident::{Answer, Decision, Incident, IncidentState, Outcome, Via};
use crate::outbox::{Channel, Delivery, Notification};
use crate::query::{Event, EventKind};
use crate::rules::{Excused, Last, Memory};
use crate::state::{Core, Live, NewEvent, Next, Tracked};

/// Stands for the acknowledge link in stored texts: the ledger and the screens never show one.
pub(crate) const LINK: &str = "{link}";

fn damaged(what: &str, text: &str) -> AlertError {
    AlertError::Invalid(format!("the ledger has an unknown {what} {text:?}"))
}

fn stamp(row: &AnyRow, column: &str) -> Result<Option<Stamp>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Stamp))
}

fn ppm(row: &AnyRow, column: &str) -> Result<Option<f32>, sqlx::Error> {
    Ok(row.try_get::<Option<f64>, _>(column)?.map(|value| value as f32))
}

type Statement<'q> = sqlx::query::Query<'q, Any, AnyArguments>;

/// Binds a value that may be missing. sqlx 0.9 takes a missing `f64` to PostgreSQL as a 4-byte float
/// and a missing `f32` as an 8-byte one; prepared with the wrong one, a statement refuses the next
/// value that is not missing.
fn bind_ppm(statement: Statement<'_>, ppm: Option<f32>) -> Statement<'_> {
    match ppm {
        Some(ppm) => statement.bind(f64::from(ppm)),
        None => statement.bind(None::<f32>),
    }
}

fn parsed<T>(row: &AnyRow, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, AlertError> {
    let text: String = row.try_get(column)?;
    parse(&text).ok_or_else(|| damaged(column, &text))
}

pub(crate) fn incident(row: &AnyRow) -> Result<Incident, AlertError> {
    let resolved = stamp(row, "resolved")?;
    let acknowledged = match stamp(row, "ack_at")? {
        Some(at) => Some(Answer {
            person: row.try_get("ack_person")?,
            name: row.try_get("ack_name")?,
            at,
            via: parsed(row, "ack_via", Via::parse)?,
        }),
        None => None,
    };
    let outcome = match row.try_get::<Option<String>, _>("cause")? {
        Some(cause) => {
            Some(Outcome { cause, people_affected: row.try_get("people_affected")?, action: row.try_get("action")? })
        }
        None => None,
    };
    Ok(Incident {
        id: row.try_get("id")?,
        hazard: parsed(row, "hazard", Hazard::parse)?,
        level: parsed(row, "level", Level::parse)?,
        state: match (resolved, &acknowledged) {
            (Some(_), _) => IncidentState::Resolved,
            (None, Some(_)) => IncidentState::Acknowledged,
            (None, None) => IncidentState::Open,
        },
        premises: row.try_get("premises")?,
        area: row.try_get("area")?,
        address: row.try_get("address")?,
        room: row.try_get("room")?,
        sensor: parsed(row, "sensor", |id| DeviceId::new(id).ok())?,
        decision: decision(row)?,
        opened: Stamp(row.try_get("opened")?),
        raised: Stamp(row.try_get("raised")?),
        cleared: stamp(row, "cleared")?,
        acknowledged,
        resolved,
        outcome,
        late: row.try_get::<i64, _>("late")? != 0,
        peak_ppm: ppm(row, "peak_ppm")?,
        last_ppm: ppm(row, "last_ppm")?,
        last_reading: stamp(row, "last_reading")?,
    })
}

fn decision(row: &AnyRow) -> Result<Decision, AlertError> {
    let code: String = row.try_get("code")?;
    let value = ppm(row, "code_ppm")?;
    let ppm_or_zero = value.unwrap_or_default();
    Ok(match code.as_str() {
        "co_immediate" => {
            Decision::Immediate { ppm: ppm_or_zero, limit_ppm: ppm(row, "code_limit_ppm")?.unwrap_or_default() }
        }
        "sensor_alarm" => Decision::SensorAlarm { ppm: value },
        "co_dose" => {
            let name: Option<String> = row.try_get("code_profile")?;
            let profile = name.as_deref().and_then(Profile::by_name).map_or("unknown", |profile| profile.name);
            Decision::Dose { ppm: ppm_or_zero, profile }
        }
        "silent_at_risk" => Decision::SilentAtRisk {
            last_ppm: ppm_or_zero,
            silent_ms: row.try_get::<Option<i64>, _>("code_silent_ms")?.unwrap_or_default(),
        },
        other => return Err(damaged("code", other)),
    })
}

pub(crate) fn event(row: &AnyRow) -> Result<Event, AlertError> {
    Ok(Event {
        at: Stamp(row.try_get("at")?),
        kind: parsed(row, "kind", EventKind::parse)?,
        by: row.try_get("by_name")?,
        detail: row.try_get("detail")?,
    })
}

pub(crate) fn notification(row: &AnyRow, public_url: &str) -> Result<Notification, AlertError> {
    let text: String = row.try_get("body")?;
    Ok(Notification {
        id: row.try_get("id")?,
        incident: row.try_get("incident")?,
        step: row.try_get("step")?,
        person: row.try_get("person")?,
        name: row.try_get("name")?,
        channel: parsed(row, "channel", Channel::parse)?,
        address: row.try_get("address")?,
        text: text.replace(LINK, &format!("{public_url}/a/…")),
        delivery: parsed(row, "delivery", Delivery::parse)?,
        attempts: row.try_get("attempts")?,
        decided: Stamp(row.try_get("decided")?),
        sent: stamp(row, "sent")?,
        delivered: stamp(row, "delivered")?,
        error: row.try_get("error")?,
    })
}

/// Writes an incident as it is in memory.
pub(crate) async fn save_incident(tx: &mut Tx, live: &Live) -> Result<(), AlertError> {
    let incident = &live.incident;
    let (ppm, limit, profile, silent) = match incident.decision {
        Decision::Immediate { ppm, limit_ppm } => (Some(ppm), Some(limit_ppm), None, None),
        Decision::SensorAlarm { ppm } => (ppm, None, None, None),
        Decision::Dose { ppm, profile } => (Some(ppm), None, Some(profile), None),
        Decision::SilentAtRisk { last_ppm, silent_ms } => (Some(last_ppm), None, None, Some(silent_ms)),
    };
    let answer = incident.acknowledged.as_ref();
    let outcome = incident.outcome.as_ref();
    let statement = sqlx::query(
        "INSERT INTO incidents (id, hazard, level, state, scope, premises, area, address, room, sensor, severity,
            code, code_ppm, code_limit_ppm, code_profile, code_silent_ms, opened, raised, cleared,
            ack_person, ack_name, ack_at, ack_via, resolved, cause, people_affected, action,
            late, peak_ppm, last_ppm, last_reading, round, round_started, next_step, next_due)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
            $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35)
         ON CONFLICT (id) DO UPDATE SET level = excluded.level, state = excluded.state, severity = excluded.severity,
            code = excluded.code, code_ppm = excluded.code_ppm, code_limit_ppm = excluded.code_limit_ppm,
            code_profile = excluded.code_profile, code_silent_ms = excluded.code_silent_ms,
            raised = excluded.raised, cleared = excluded.cleared,
            ack_person = excluded.ack_person, ack_name = excluded.ack_name, ack_at = excluded.ack_at,
            ack_via = excluded.ack_via, resolved = excluded.resolved, cause = excluded.cause,
            people_affected = excluded.people_affected, action = excluded.action,
            peak_ppm = excluded.peak_ppm, last_ppm = excluded.last_ppm, last_reading = excluded.last_reading,
            round = excluded.round, round_started = excluded.round_started,
            next_step = excluded.next_step, next_due = excluded.next_due",
    )
    .bind(incident.id)
    .bind(incident.hazard.as_str())
    .bind(incident.level.as_str())
    .bind(incident.state.as_str())
    .bind(live.scope.as_str())
    .bind(incident.premises.as_deref())
    .bind(incident.area.as_deref())
    .bind(incident.address.as_deref())
    .bind(incident.room.as_str())
    .bind(incident.sensor.as_str())
    .bind(live.severity)
    .bind(incident.decision.code());
    let statement = bind_ppm(bind_ppm(statement, ppm), limit)
        .bind(profile)
        .bind(silent)
        .bind(incident.opened.0)
        .bind(incident.raised.0)
        .bind(incident.cleared.map(|at| at.0))
        .bind(answer.map(|answer| answer.person.as_str()))
        .bind(answer.map(|answer| answer.name.as_str()))
        .bind(answer.map(|answer| answer.at.0))
        .bind(answer.map(|answer| answer.via.as_str()))
        .bind(incident.resolved.map(|at| at.0))
        .bind(outcome.map(|outcome| outcome.cause.as_str()))
        .bind(outcome.map(|outcome| outcome.people_affected))
        .bind(outcome.map(|outcome| outcome.action.as_str()))
        .bind(i64::from(incident.late));
    bind_ppm(bind_ppm(statement, incident.peak_ppm), incident.last_ppm)
        .bind(incident.last_reading.map(|at| at.0))
        .bind(live.round)
        .bind(live.round_started.0)
        .bind(live.next.map(|next| next.step))
        .bind(live.next.map(|next| next.due.0))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Writes lines of time lines; a decision that is already noted is not noted twice.
pub(crate) async fn save_events(tx: &mut Tx, events: &[NewEvent]) -> Result<(), AlertError> {
    let mut id = next_id(tx, "SELECT MAX(id) FROM incident_events").await?;
    for event in events {
        sqlx::query(
            "INSERT INTO incident_events (id, incident, at, kind, by_name, detail, decision_key)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(event.incident)
        .bind(event.at.0)
        .bind(event.kind.as_str())
        .bind(event.by.as_str())
        .bind(event.detail.as_str())
        .bind(event.key.as_deref())
        .execute(&mut **tx)
        .await?;
        id += 1;
    }
    Ok(())
}

pub(crate) async fn next_id(tx: &mut Tx, select_newest: &'static str) -> Result<i64, AlertError> {
    let newest: Option<i64> = sqlx::query(select_newest).fetch_one(&mut **tx).await?.try_get(0)?;
    Ok(newest.unwrap_or(0) + 1)
}

/// Cancels what still waits to be sent about an incident.
pub(crate) async fn cancel_waiting(tx: &mut Tx, incident: i64) -> Result<(), AlertError> {
    sqlx::query(
        "UPDATE outbox SET delivery = 'cancelled', error = 'answered before it was sent'
         WHERE incident = $1 AND delivery = 'waiting'",
    )
    .bind(incident)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

const SENSORS_AT_ONCE: usize = 200;
const SENSOR_COLUMNS: usize = 14;

/// Writes sensor states as they are in memory, and deletes those of forgotten sensors.
pub(crate) async fn save_sensors(tx: &mut Tx, core: &Core) -> Result<(), AlertError> {
    let mut dirty: Vec<&DeviceId> = core.dirty_sensors.iter().collect();
    dirty.sort_unstable();
    let (kept, gone): (Vec<&DeviceId>, Vec<&DeviceId>) =
        dirty.into_iter().partition(|sensor| core.sensors.contains_key(*sensor));
    for sensor in gone {
        let delete = sqlx::query("DELETE FROM sensor_states WHERE sensor = $1");
        delete.bind(sensor.as_str()).execute(&mut **tx).await?;
    }
    for sensors in kept.chunks(SENSORS_AT_ONCE) {
        let rows: Vec<String> = (0..sensors.len())
            .map(|row| {
                let first = row * SENSOR_COLUMNS;
                let places: Vec<String> = (1..=SENSOR_COLUMNS).map(|column| format!("${}", first + column)).collect();
                format!("({})", places.join(", "))
            })
            .collect();
        let text = format!(
            "INSERT INTO sensor_states (sensor, exposure, dose_at, held_ppm, held_until, last_ppm, last_time,
                last_received, silent_due, excused_received, excused_time, calm, incident, due)
             VALUES {}
             ON CONFLICT (sensor) DO UPDATE SET exposure = excluded.exposure, dose_at = excluded.dose_at,
                held_ppm = excluded.held_ppm, held_until = excluded.held_until, last_ppm = excluded.last_ppm,
                last_time = excluded.last_time, last_received = excluded.last_received,
                silent_due = excluded.silent_due, excused_received = excluded.excused_received,
                excused_time = excluded.excused_time, calm = excluded.calm, incident = excluded.incident,
                due = excluded.due",
            rows.join(", ")
        );
        let mut insert = sqlx::query(sqlx::AssertSqlSafe(text));
        for sensor in sensors {
            let Some(Tracked { memory, incident, due, .. }) = core.sensors.get(*sensor) else { continue };
            insert = insert
                .bind(sensor.as_str())
                .bind(memory.dose.exposure)
                .bind(memory.dose.at.0)
                .bind(f64::from(memory.dose.held_ppm))
                .bind(memory.dose.held_until.0);
            insert = bind_ppm(insert, memory.last.map(|last| last.ppm))
                .bind(memory.last.map(|last| last.time.0))
                .bind(memory.last.map(|last| last.received.0))
                .bind(memory.silent_due.map(|due| due.0))
                .bind(memory.excused.map(|since| since.received.0))
                .bind(memory.excused.map(|since| since.time.0))
                .bind(memory.calm)
                .bind(*incident)
                .bind(due.map(|due| due.0));
        }
        insert.execute(&mut **tx).await?;
    }
    Ok(())
}

/// Counts commits, so that one whose answer was lost can be told from one that failed.
pub(crate) async fn count_commit(tx: &mut Tx, commits: i64) -> Result<(), AlertError> {
    sqlx::query(
        "INSERT INTO alert_commits (id, commits) VALUES (1, $1)
         ON CONFLICT (id) DO UPDATE SET commits = excluded.commits",
    )
    .bind(commits)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(crate) async fn commits(pool: &AnyPool) -> Result<i64, AlertError> {
    let row = sqlx::query("SELECT commits FROM alert_commits WHERE id = 1").fetch_optional(pool).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
}

/// Reads everything that is not over.
pub(crate) async fn load(pool: &AnyPool, profile: &'static Profile) -> Result<Core, AlertError> {
    let mut core = Core { commits: commits(pool).await?, ..Core::default() };
    let newest = sqlx::query("SELECT MAX(id) FROM incidents").fetch_one(pool).await?;
    core.next_incident = newest.try_get::<Option<i64>, _>(0)?.unwrap_or(0) + 1;
    for row in sqlx::query("SELECT * FROM incidents WHERE state <> 'resolved'").fetch_all(pool).await? {
        let step: Option<i64> = row.try_get("next_step")?;
        let live = Live {
            incident: incident(&row)?,
            scope: row.try_get("scope")?,
            members: Vec::new(),
            severity: row.try_get("severity")?,
            round: row.try_get("round")?,
            round_started: Stamp(row.try_get("round_started")?),
            next: step.zip(stamp(&row, "next_due")?).map(|(step, due)| Next { step, due }),
        };
        core.set_live(live.incident.id, Some(live));
    }
    for row in sqlx::query("SELECT * FROM sensor_states ORDER BY sensor").fetch_all(pool).await? {
        let sensor = parsed(&row, "sensor", |id| DeviceId::new(id).ok())?;
        let mut tracked = tracked(&row)?;
        tracked.due = tracked.memory.due(profile);
        if let Some(live) = tracked.incident.and_then(|id| core.live.get_mut(&id)) {
            live.members.push(sensor.clone());
        }
        core.set_sensor(&sensor, Some(tracked));
    }
    Ok(core)
}

fn tracked(row: &AnyRow) -> Result<Tracked, AlertError> {
    let last = ppm(row, "last_ppm")?.zip(stamp(row, "last_time")?).zip(stamp(row, "last_received")?);
    let excused = stamp(row, "excused_received")?.zip(stamp(row, "excused_time")?);
    Ok(Tracked {
        memory: Memory {
            dose: Dose {
                exposure: row.try_get("exposure")?,
                at: Stamp(row.try_get("dose_at")?),
                held_ppm: ppm(row, "held_ppm")?.unwrap_or_default(),
                held_until: Stamp(row.try_get("held_until")?),
            },
            last: last.map(|((ppm, time), received)| Last { ppm, time, received }),
            silent_due: stamp(row, "silent_due")?,
            excused: excused.map(|(received, time)| Excused { received, time }),
            calm: row.try_get("calm")?,
        },
        incident: row.try_get("incident")?,
        due: None,
        is_stored: true,
    })
}
