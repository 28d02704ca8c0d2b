//! From journal to meaning: what was taken durably is checked, handed to the rules first, and stored.
//!
//! # Layout
//!
//! * [`pipeline`]: the main path after the journal, `Pipeline::take` names its steps.
//! * [`repeats`]: recognises what a device sent again.
//! * [`counters`]: what went through, for metrics.

pub mod counters;
pub mod pipeline;
pub mod repeats;

mod bookkeeping;

pub use counters::Counters;
pub use pipeline::{Parts, Pipeline};

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error(transparent)]
    Alerts(#[from] alerts::AlertError),
    #[error(transparent)]
    Registry(#[from] registry::RegistryError),
}
