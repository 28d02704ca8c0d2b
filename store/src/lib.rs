//! Where things are kept.
//!
//! # Layout
//!
//! * [`clock`]: the one place that reads the wall clock.
//! * [`entry`]: what the journal holds, and its binary form.
//! * [`journal`]: durable intake. An append is answered after fsync, never before.
//! * [`readings`]: the time series, compressed chunks in one SQLite file per month.
//! * [`quarantine`]: what could not be understood.
//! * [`ledger`]: the relational handle (SQLite or PostgreSQL), migrations and transactions.

mod binary;
pub mod clock;
pub mod entry;
pub mod error;
pub mod journal;
pub mod ledger;
pub mod quarantine;
pub mod readings;

pub use clock::Clock;
pub use entry::Entry;
pub use error::StoreError;
pub use journal::{Journal, Position};
pub use ledger::{Ledger, Tx};
pub use readings::Readings;
