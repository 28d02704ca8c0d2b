//! What exists: areas, premises, sensors, people, sign-ins and device credentials.
//!
//! # Layout
//!
//! * [`places`]: areas and premises.
//! * [`sensors`]: sensors, where they hang and how they are.
//! * [`people`]: people with their phones, and their sign-ins to the console.
//! * [`credentials`]: MQTT and API credentials, derived from a versioned fleet key.
//! * [`secrets`]: the keys of this installation.

pub mod credentials;
pub mod people;
pub mod places;
pub mod secrets;
pub mod sensors;

mod schema;

pub use credentials::Credentials;
pub use schema::SCHEMA;

use store::Ledger;

/// The district's book. A cheap handle.
#[derive(Clone, Debug)]
pub struct Registry {
    ledger: Ledger,
}

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error("ledger: {0}")]
    Sql(#[from] sqlx::Error),
    /// The record asked for does not exist.
    #[error("there is no {what} {id}")]
    Missing { what: &'static str, id: String },
    /// The input breaks a rule of the registry.
    #[error("{0}")]
    Invalid(String),
    #[error("the system's random number source failed: {0}")]
    Random(String),
}

impl Registry {
    /// `ledger` must have been migrated with [`SCHEMA`].
    pub fn new(ledger: Ledger) -> Registry {
        Registry { ledger }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
