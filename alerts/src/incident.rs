//! What an incident is.

use model::time::MINUTE;
use model::{DeviceId, Hazard, Level, Stamp};
use registry::people::Language;

use crate::rules::DANGER_PPM;

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
        match self {
            Decision::Immediate { .. } => "co_immediate",
            Decision::SensorAlarm { .. } => "sensor_alarm",
            Decision::Dose { .. } => "co_dose",
            Decision::SilentAtRisk { .. } => "silent_at_risk",
        }
    }

    /// Why, in words for people.
    pub fn words(&self, language: Language) -> String {
        let is_zh = language == Language::Zh;
        match *self {
            Decision::Immediate { ppm, limit_ppm } if limit_ppm < DANGER_PPM => {
                if is_zh {
                    format!("一氧化碳至少 {ppm:.0} ppm，已到传感器量程上限")
                } else {
                    format!("CO at least {ppm:.0} ppm, the most this sensor can measure")
                }
            }
            Decision::Immediate { ppm, limit_ppm } => {
                if is_zh {
                    format!("一氧化碳 {ppm:.0} ppm，达到立即危险值 {limit_ppm:.0} ppm")
                } else {
                    format!("CO {ppm:.0} ppm, at or above the immediate danger limit of {limit_ppm:.0} ppm")
                }
            }
            Decision::SensorAlarm { ppm } => match (ppm, is_zh) {
                (Some(ppm), true) => format!("传感器自身报警，一氧化碳 {ppm:.0} ppm"),
                (Some(ppm), false) => format!("The sensor's own alarm, CO {ppm:.0} ppm"),
                (None, true) => "传感器自身报警".to_owned(),
                (None, false) => "The sensor's own alarm".to_owned(),
            },
            Decision::Dose { ppm, profile } => {
                let standard = standard(profile);
                if is_zh {
                    format!("一氧化碳 {ppm:.0} ppm，累积暴露量达到报警值（{standard}）")
                } else {
                    format!("CO {ppm:.0} ppm, exposure over time reached the alarm dose of {standard}")
                }
            }
            Decision::SilentAtRisk { last_ppm, silent_ms } => {
                let minutes = silent_ms.max(0) / MINUTE;
                if is_zh {
                    format!("一氧化碳 {last_ppm:.0} ppm 后传感器失联，已 {minutes} 分钟没有数据")
                } else {
                    format!("The sensor fell silent after CO {last_ppm:.0} ppm, no data for {minutes} min")
                }
            }
        }
    }

    /// How strong the evidence of acute danger is. An incident that gets stronger evidence than the
    /// one it was acknowledged for needs a new answer.
    pub(crate) fn rank(&self) -> i64 {
        match self {
            Decision::SilentAtRisk { .. } => 0,
            Decision::SensorAlarm { .. } | Decision::Dose { .. } => 1,
            Decision::Immediate { .. } => 2,
        }
    }

    /// Code and values, for the time line.
    pub(crate) fn data(&self) -> String {
        let code = self.code();
        match self {
            Decision::Immediate { ppm, limit_ppm } => format!("{code} ppm={ppm} limit_ppm={limit_ppm}"),
            Decision::SensorAlarm { ppm: Some(ppm) } => format!("{code} ppm={ppm}"),
            Decision::SensorAlarm { ppm: None } => code.to_owned(),
            Decision::Dose { ppm, profile } => format!("{code} ppm={ppm} profile={profile}"),
            Decision::SilentAtRisk { last_ppm, silent_ms } => {
                format!("{code} last_ppm={last_ppm} silent_ms={silent_ms}")
            }
        }
    }
}

/// A profile's name as the standard writes it.
fn standard(profile: &str) -> &str {
    match profile {
        "en50291" => "EN 50291",
        "ul2034" => "UL 2034",
        other => other,
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

impl IncidentState {
    pub fn as_str(self) -> &'static str {
        match self {
            IncidentState::Open => "open",
            IncidentState::Acknowledged => "acknowledged",
            IncidentState::Resolved => "resolved",
        }
    }
}

impl Via {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Via::Link => "link",
            Via::Console => "console",
            Via::Api => "api",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Via> {
        [Via::Link, Via::Console, Via::Api].into_iter().find(|via| via.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_speak_both_languages() {
        let immediate = Decision::Immediate { ppm: 412.4, limit_ppm: 300.0 };
        assert_eq!(immediate.words(Language::Zh), "一氧化碳 412 ppm，达到立即危险值 300 ppm");
        assert_eq!(immediate.words(Language::En), "CO 412 ppm, at or above the immediate danger limit of 300 ppm");
        let silent = Decision::SilentAtRisk { last_ppm: 45.0, silent_ms: 3 * MINUTE + 7 };
        assert_eq!(silent.words(Language::Zh), "一氧化碳 45 ppm 后传感器失联，已 3 分钟没有数据");
        let dose = Decision::Dose { ppm: 95.0, profile: "en50291" };
        assert_eq!(dose.words(Language::En), "CO 95 ppm, exposure over time reached the alarm dose of EN 50291");
    }
}
