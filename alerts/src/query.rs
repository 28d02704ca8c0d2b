//! What the screens read and do.

use model::Stamp;
use sqlx::Row;

use crate::incident::{Answer, Incident, IncidentState, Outcome, Via};
use crate::outbox::{Delivery, Notification};
use crate::state::{Change, NewEvent};
use crate::{AlertError, Alerts, rows};

/// Something that happened to an incident, for its time line.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub at: Stamp,
    pub kind: EventKind,
    /// Name of the person who did it; empty for the system.
    pub by: String,
    /// Further words, data only: a rule's code and values, a step number.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    Opened,
    Raised,
    Cleared,
    Returned,
    StepTaken,
    /// A step found nobody to tell.
    NobodyToTell,
    Acknowledged,
    Resolved,
}

/// An incident with everything its page shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    pub incident: Incident,
    pub events: Vec<Event>,
    pub notifications: Vec<Notification>,
    /// When the next escalation step is due, if one is.
    pub next_step: Option<Stamp>,
}

impl EventKind {
    const ALL: [EventKind; 8] = [
        EventKind::Opened,
        EventKind::Raised,
        EventKind::Cleared,
        EventKind::Returned,
        EventKind::StepTaken,
        EventKind::NobodyToTell,
        EventKind::Acknowledged,
        EventKind::Resolved,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Opened => "opened",
            EventKind::Raised => "raised",
            EventKind::Cleared => "cleared",
            EventKind::Returned => "returned",
            EventKind::StepTaken => "step_taken",
            EventKind::NobodyToTell => "nobody_to_tell",
            EventKind::Acknowledged => "acknowledged",
            EventKind::Resolved => "resolved",
        }
    }

    pub fn parse(text: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Alerts {
    /// Incidents that are not resolved: unacknowledged first, then by level, then oldest first.
    pub async fn open_incidents(&self) -> Result<Vec<Incident>, AlertError> {
        let rows = sqlx::query("SELECT * FROM incidents WHERE state <> 'resolved'").fetch_all(self.reader()).await?;
        let mut incidents = rows.iter().map(rows::incident).collect::<Result<Vec<Incident>, AlertError>>()?;
        incidents.sort_by_key(|incident| {
            (incident.acknowledged.is_some(), std::cmp::Reverse(incident.level), incident.opened, incident.id)
        });
        Ok(incidents)
    }

    /// The newest resolved incidents.
    pub async fn recent_resolved(&self, most: i64) -> Result<Vec<Incident>, AlertError> {
        let rows =
            sqlx::query("SELECT * FROM incidents WHERE resolved IS NOT NULL ORDER BY resolved DESC, id DESC LIMIT $1")
                .bind(most.max(0))
                .fetch_all(self.reader())
                .await?;
        rows.iter().map(rows::incident).collect()
    }

    pub async fn detail(&self, incident: i64) -> Result<Option<Detail>, AlertError> {
        let row =
            sqlx::query("SELECT * FROM incidents WHERE id = $1").bind(incident).fetch_optional(self.reader()).await?;
        let Some(row) = row else { return Ok(None) };
        let next_step: Option<i64> = row.try_get("next_due")?;
        let events = sqlx::query("SELECT * FROM incident_events WHERE incident = $1 ORDER BY id")
            .bind(incident)
            .fetch_all(self.reader())
            .await?;
        let notifications = sqlx::query("SELECT * FROM outbox WHERE incident = $1 ORDER BY id")
            .bind(incident)
            .fetch_all(self.reader())
            .await?;
        Ok(Some(Detail {
            incident: rows::incident(&row)?,
            events: events.iter().map(rows::event).collect::<Result<_, _>>()?,
            notifications: notifications
                .iter()
                .map(|row| rows::notification(row, &self.settings().public_url))
                .collect::<Result<_, _>>()?,
            next_step: next_step.map(Stamp),
        }))
    }

    /// Somebody answers: escalation stops. Answering an acknowledged incident again changes nothing.
    pub async fn acknowledge(&self, incident: i64, person: &str, via: Via) -> Result<Incident, AlertError> {
        let name = self.name_of(person).await?;
        let mut core = self.lock().await?;
        let mut change = Change::new(&mut core, self.settings().profile);
        let Some(live) = change.core.live.get(&incident) else { return Err(self.not_live(incident).await) };
        if live.incident.acknowledged.is_some() {
            return Ok(live.incident.clone());
        }
        let at = self.clock().now();
        let answer = Answer { person: person.to_owned(), name: name.clone(), at, via };
        let Some(live) = change.live_mut(incident) else { return Err(AlertError::NoIncident(incident)) };
        live.incident.state = IncidentState::Acknowledged;
        live.incident.acknowledged = Some(answer);
        live.next = None;
        let answered = live.incident.clone();
        change.cancelled.push(incident);
        let detail = format!("via={}", via.as_str());
        change.events.push(NewEvent { incident, at, kind: EventKind::Acknowledged, by: name, detail, key: None });
        self.commit(change).await?;
        Ok(answered)
    }

    /// Closes an incident. Refused while it is unacknowledged, or without cause and action.
    pub async fn resolve(&self, incident: i64, person: &str, outcome: &Outcome) -> Result<Incident, AlertError> {
        if outcome.cause.trim().is_empty() || outcome.action.trim().is_empty() {
            return Err(AlertError::Invalid("say what the cause was and what was done".to_owned()));
        }
        if outcome.people_affected < 0 {
            return Err(AlertError::Invalid("the number of people affected cannot be negative".to_owned()));
        }
        let name = self.name_of(person).await?;
        let mut core = self.lock().await?;
        let mut change = Change::new(&mut core, self.settings().profile);
        let at = self.clock().now();
        let Some(live) = change.live_mut(incident) else {
            drop(change);
            return Err(self.not_live(incident).await);
        };
        if live.incident.acknowledged.is_none() {
            return Err(AlertError::NotNow("acknowledge the incident before resolving it".to_owned()));
        }
        live.incident.state = IncidentState::Resolved;
        live.incident.resolved = Some(at);
        live.incident.outcome = Some(outcome.clone());
        live.next = None;
        let (resolved, members) = (live.incident.clone(), live.members.clone());
        for sensor in members {
            let mut tracked = change.tracked(&sensor);
            tracked.incident = None;
            change.track(&sensor, tracked);
        }
        let detail = format!("people_affected={}", outcome.people_affected);
        change.events.push(NewEvent { incident, at, kind: EventKind::Resolved, by: name, detail, key: None });
        self.commit(change).await?;
        Ok(resolved)
    }

    /// Takes a provider's delivery report. Unknown ids are ignored; a report never takes a delivery
    /// back.
    pub async fn report(&self, notification: i64, delivery: Delivery) -> Result<(), AlertError> {
        let now = self.clock().now();
        let mut tx = self.registry().ledger().begin().await?;
        // a failure counts only for what a provider has taken: what waits is tried again anyway
        let lower: &[Delivery] = match delivery {
            Delivery::Queued => &[Delivery::Waiting],
            Delivery::Sent => &[Delivery::Waiting, Delivery::Queued, Delivery::Cancelled],
            Delivery::Failed => &[Delivery::Queued, Delivery::Sent],
            Delivery::Delivered => {
                &[Delivery::Waiting, Delivery::Queued, Delivery::Cancelled, Delivery::Sent, Delivery::Failed]
            }
            Delivery::Waiting | Delivery::Cancelled => &[],
        };
        let mut changed = None;
        for old in lower {
            let row = sqlx::query(
                "UPDATE outbox SET delivery = $1,
                    sent = CASE WHEN $1 IN ('sent', 'delivered') THEN COALESCE(sent, $2) ELSE sent END,
                    delivered = CASE WHEN $1 = 'delivered' THEN $2 ELSE delivered END,
                    error = CASE WHEN $1 = 'failed' THEN 'the network could not deliver it' ELSE NULL END
                 WHERE id = $3 AND delivery = $4
                 RETURNING incident, round, step",
            )
            .bind(delivery.as_str())
            .bind(now.0)
            .bind(notification)
            .bind(old.as_str())
            .fetch_optional(&mut *tx)
            .await?;
            if let Some(row) = row {
                changed = Some((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
                break;
            }
        }
        tx.commit().await?;
        let Some((incident, round, step)) = changed else { return Ok(()) };
        if delivery == Delivery::Failed {
            self.step_failed(incident, round, step).await?;
        }
        self.tell(incident);
        Ok(())
    }

    /// The name of whoever answers; an answer counts even if the book does not know the person.
    async fn name_of(&self, person: &str) -> Result<String, AlertError> {
        Ok(self.registry().person(person).await?.map_or_else(|| person.to_owned(), |person| person.name))
    }

    /// Why an incident that is not live can be neither answered nor closed.
    async fn not_live(&self, incident: i64) -> AlertError {
        match self.detail(incident).await {
            Ok(Some(_)) => AlertError::NotNow("the incident is already resolved".to_owned()),
            Ok(None) => AlertError::NoIncident(incident),
            Err(error) => error,
        }
    }
}
