//! The words and pure rules of Gaswatch: ids, topics, payloads and their decoder, CO dose, the
//! inspection cycle. No I/O and no clock: `now` is always an argument, so every rule can be tested
//! with nothing but values.
//!
//! # Layout
//!
//! * [`time`]: [`Stamp`], the one form of an instant.
//! * [`id`]: [`DeviceId`], the id a sensor, scanner or integration signs in with.
//! * [`topic`], [`rights`]: the MQTT contract, and who may use which part of it.
//! * [`reading`], [`decode`]: what a sensor says, and how its JSON becomes that.
//! * [`dose`]: time-weighted CO exposure against an alarm standard.
//! * [`hazard`]: levels and hazards an incident can have.
//! * [`cycle`]: the four-month inspection windows.

pub mod cycle;
pub mod decode;
pub mod dose;
pub mod hazard;
pub mod id;
pub mod reading;
pub mod rights;
pub mod time;
pub mod topic;

pub use hazard::{Hazard, Level};
pub use id::DeviceId;
pub use reading::{Reading, SensorState};
pub use time::Stamp;
