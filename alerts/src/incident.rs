//! What an incident is.

use model::{DeviceId, Hazard, Level, Stamp};
use registry::people::Language;

/// Where the people's side of an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncidentState {
    /// Nobody has answered: escalation is running.
    Open,
    /// Somebody has it.
    Acknowledged,
    /// Closed by a person, with an outcome.
    Resolved,
}

/// Why the rules opened or raised an incident.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// CO at or above 300 ppm at one reading.
    Immediate { ppm: f32, limit_ppm: f32 },
    /// The sensor's own alarm; CO if it sent one.
    SensorAlarm { ppm: Option<f32> },
    /// Time-weighted exposure reached the profile's alarm.
    Dose { ppm: f32, profile: &'static str },
    /// The sensor went silent while CO was at 30 ppm or more.
    SilentAtRisk { last_ppm: f32, silent_ms: i64 },
}

impl Decision {
    /// Stable code, as stored and as shown in the API.
    pub fn code(&self) -> &'static str {
        todo!()
    }

    /// Why, in words for people.
    pub fn words(&self, language: Language) -> String {
        let _ = language;
        todo!()
    }
}

/// One incident per premises (or unbound sensor) and hazard.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    pub id: i64,
    pub hazard: Hazard,
    pub level: Level,
    pub state: IncidentState,
    pub premises: Option<String>,
    pub area: Option<String>,
    /// Address a driver can use; `None` = place unknown.
    pub address: Option<String>,
    pub room: String,
    /// The sensor that opened it.
    pub sensor: DeviceId,
    /// The newest decision.
    pub decision: Decision,
    pub opened: Stamp,
    /// When the newest decision was made: opening, a rise, a second sensor or a return.
    pub raised: Stamp,
    /// When values fell back below every rule, if they have. The incident stays until a person
    /// resolves it.
    pub cleared: Option<Stamp>,
    pub acknowledged: Option<Answer>,
    pub resolved: Option<Stamp>,
    pub outcome: Option<Outcome>,
    /// Opened by readings that came more than 10 minutes late.
    pub late: bool,
    /// Highest and newest CO, ppm.
    pub peak_ppm: Option<f32>,
    pub last_ppm: Option<f32>,
    pub last_reading: Option<Stamp>,
}

/// Who answered, when and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub person: String,
    pub name: String,
    pub at: Stamp,
    pub via: Via,
}

/// How somebody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Link,
    Console,
    Api,
}

/// What was found, as told when resolving. `cause` and `action` must not be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub cause: String,
    pub people_affected: i64,
    pub action: String,
}
