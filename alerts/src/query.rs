//! What the screens read and do.

use model::Stamp;

use crate::incident::{Incident, Outcome, Via};
use crate::outbox::{Delivery, Notification};
use crate::{AlertError, Alerts};

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

impl Alerts {
    /// Incidents that are not resolved: unacknowledged first, then by level, then oldest first.
    pub async fn open_incidents(&self) -> Result<Vec<Incident>, AlertError> {
        todo!()
    }

    /// The newest resolved incidents.
    pub async fn recent_resolved(&self, most: i64) -> Result<Vec<Incident>, AlertError> {
        let _ = most;
        todo!()
    }

    pub async fn detail(&self, incident: i64) -> Result<Option<Detail>, AlertError> {
        let _ = incident;
        todo!()
    }

    /// Somebody answers: escalation stops. Answering an acknowledged incident again changes nothing.
    pub async fn acknowledge(&self, incident: i64, person: &str, via: Via) -> Result<Incident, AlertError> {
        let _ = (incident, person, via);
        todo!()
    }

    /// Closes an incident. Refused while it is unacknowledged, or without cause and action.
    pub async fn resolve(&self, incident: i64, person: &str, outcome: &Outcome) -> Result<Incident, AlertError> {
        let _ = (incident, person, outcome);
        todo!()
    }

    /// Takes a provider's delivery report. Unknown ids are ignored; a report never takes a delivery
    /// back.
    pub async fn report(&self, notification: i64, delivery: Delivery) -> Result<(), AlertError> {
        let _ = (notification, delivery);
        todo!()
    }
}
