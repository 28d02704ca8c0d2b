//! From readings to people: rules open incidents, incidents escalate, notifications go out until a
//! person answers.
//!
//! # Layout
//!
//! * [`rules`]: pure decisions about one sensor's readings.
//! * [`incident`]: what an incident is, and the words of its decisions.
//! * [`plan`]: rosters and escalation plans.
//! * [`engine`]: readings and timers in, ledger rows out, one transaction per decision. Inside it:
//!   `state` (memory, and changes that are undone unless committed), `decide` (verdicts to
//!   incidents), `escalation` (steps to people), `timers`, `rows` (SQL).
//! * [`outbox`], [`notify`]: durable notifications and the providers that carry them; `dispatch`
//!   sends, `message` has the words.
//! * [`links`]: signed acknowledge links.
//! * [`query`]: what the screens read.

pub mod engine;
pub mod incident;
pub mod links;
pub mod notify;
pub mod outbox;
pub mod plan;
pub mod query;
pub mod rules;

mod decide;
mod dispatch;
mod escalation;
mod message;
mod rows;
mod schema;
mod state;
mod timers;

pub use engine::{Alerts, Observation, Settings};
pub use incident::{Incident, IncidentState};
pub use schema::SCHEMA;

#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error(transparent)]
    Registry(#[from] registry::RegistryError),
    #[error("ledger: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("there is no incident {0}")]
    NoIncident(i64),
    /// What was asked does not fit the incident's state, for example acknowledging a resolved one.
    #[error("{0}")]
    NotNow(String),
    #[error("{0}")]
    Invalid(String),
}
