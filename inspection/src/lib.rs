//! The four-month inspection cycle: visits to homes, and how much of the district they cover.
//!
//! # Layout
//!
//! * [`visit`]: visits, their outcomes, and how they are written.
//! * [`coverage`]: who was inspected in a window, per area.
//!
//! Only a completed visit covers a home. No access, refusal and the like are recorded and counted
//! as visits, apart, and never reset the cycle.

pub mod coverage;
pub mod visit;

mod schema;

pub use coverage::Coverage;
pub use schema::SCHEMA;
pub use visit::{LastVisits, Outcome, Receipt, Rejection, Visit, record_visits};

use registry::{Registry, RegistryError};
use store::StoreError;

/// The inspection book. A cheap handle.
#[derive(Clone, Debug)]
pub struct Inspection {
    registry: Registry,
}

#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("ledger: {0}")]
    Sql(#[from] sqlx::Error),
    /// A window at the edge of representable time.
    #[error("the window {first} to {last} has no instants in this time zone")]
    Window { first: jiff::civil::Date, last: jiff::civil::Date },
}

impl Inspection {
    /// The registry's ledger must have been migrated with [`registry::SCHEMA`] and [`SCHEMA`].
    pub fn new(registry: Registry) -> Inspection {
        Inspection { registry }
    }
}

#[cfg(test)]
mod tests;
