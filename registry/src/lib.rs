//! What exists: areas, premises, sensors, people, sign-ins and device credentials.
//!
//! # Layout
//!
//! * [`places`]: areas and premises.
//! * [`sensors`]: sensors, where they hang and how they are.
//! * [`people`]: people with their phones, and their sign-ins to the console.
//! * [`credentials`]: MQTT and API credentials, derived from a versioned fleet key.
//! * [`secrets`]: the keys of this installation.
//! * [`rows`]: multi-row statements, for this crate and those above it.
//!
//! Every `put_*` function writes in the caller's transaction, replaces what has the same id, and
//! refuses the whole call with [`RegistryError::Invalid`] when one element breaks a rule.

pub mod credentials;
pub mod people;
pub mod places;
pub mod rows;
pub mod secrets;
pub mod sensors;

mod check;
mod memory;
mod password;
mod schema;
mod sign_in;
mod throttle;
mod version;

#[cfg(test)]
mod testing;

pub use credentials::Credentials;
pub use schema::SCHEMA;

use std::sync::Arc;

use store::{Ledger, StoreError};

/// The district's book. A cheap handle.
#[derive(Clone)]
pub struct Registry {
    ledger: Ledger,
    memory: Arc<memory::Memory>,
    door: Arc<sign_in::Door>,
}

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// A password could not be hashed, for example for want of memory.
    #[error("the password could not be hashed: {0}")]
    Password(String),
}

impl Registry {
    /// `ledger` must have been migrated with [`SCHEMA`]. Nothing is read yet: see
    /// [`Registry::reload`].
    pub fn new(ledger: Ledger) -> Registry {
        Registry { ledger, memory: Arc::default(), door: Arc::default() }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// The error for a row that no version of this crate writes.
fn damaged(table: &str, id: &str, what: &'static str) -> RegistryError {
    RegistryError::Store(StoreError::Damaged { place: format!("ledger table {table}, row {id}"), what })
}

/// `count` random bytes as base64url.
fn random_text<const COUNT: usize>() -> Result<String, RegistryError> {
    Ok(base64url(&random_bytes::<COUNT>()?))
}

fn random_bytes<const COUNT: usize>() -> Result<[u8; COUNT], RegistryError> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).map_err(|error| RegistryError::Random(error.to_string()))?;
    Ok(bytes)
}

/// Base64url without padding, as in every text form of a key, token or secret.
fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
