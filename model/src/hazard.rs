//! What an incident is about, and how bad it is.

use serde::{Deserialize, Serialize};

/// How much an incident matters. Order is severity. "No data" is a state of its own, not a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Work for office hours; pages nobody.
    Notice,
    /// A person must look soon.
    Urgent,
    /// Life at risk now.
    Danger,
}

impl Level {
    pub const ALL: [Level; 3] = [Level::Notice, Level::Urgent, Level::Danger];

    pub fn as_str(self) -> &'static str {
        match self {
            Level::Notice => "notice",
            Level::Urgent => "urgent",
            Level::Danger => "danger",
        }
    }

    pub fn parse(text: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

/// What threatens. One open incident exists per premises and hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hazard {
    /// Carbon monoxide.
    Co,
    /// Leaking LPG.
    Gas,
}

impl Hazard {
    pub const ALL: [Hazard; 2] = [Hazard::Co, Hazard::Gas];

    pub fn as_str(self) -> &'static str {
        match self {
            Hazard::Co => "co",
            Hazard::Gas => "gas",
        }
    }

    pub fn parse(text: &str) -> Option<Hazard> {
        Hazard::ALL.into_iter().find(|hazard| hazard.as_str() == text)
    }
}
