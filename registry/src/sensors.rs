//! Sensors: where they hang, what may be expected of them.

use std::sync::Arc;

use model::{DeviceId, Stamp};
use store::Tx;

use crate::{Registry, RegistryError};

/// A sensor as installed.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    pub id: DeviceId,
    /// `None` until it is bound to premises: it is heard all the same.
    pub premises: Option<String>,
    /// Where it hangs, for people: `bathroom`, `厨房`.
    pub room: String,
    pub model: String,
    /// How often it is expected to report, milliseconds.
    pub interval_ms: i64,
    /// The highest CO its model can measure, ppm.
    pub range_ppm: f32,
}

/// A sensor with its place, as the rules and the screens need it, from memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    pub sensor: Sensor,
    /// Area id of its premises.
    pub area: Option<String>,
    pub address: Option<String>,
    pub building: Option<String>,
}

/// What has been heard of a sensor; written in batches, never per message.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    pub sensor: DeviceId,
    pub last_seen: Stamp,
    pub battery_pct: Option<f32>,
    pub signal_dbm: Option<f32>,
    /// The sensor's own last word.
    pub state: Option<model::SensorState>,
    /// How far its clock is ahead, milliseconds, when it had to be shifted.
    pub ahead_ms: Option<i64>,
}

/// A connection or its end, from the front door.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    pub device: DeviceId,
    pub at: Stamp,
    pub online: bool,
    /// Peer address, or why the connection ended.
    pub detail: String,
}

impl Registry {
    /// The sensor and its place, from memory; `None` when the id is not registered as a sensor.
    pub fn placed(&self, sensor: &DeviceId) -> Option<Arc<Placed>> {
        let _ = sensor;
        todo!()
    }

    /// Every registered sensor, ordered by id, from memory.
    pub fn sensors(&self) -> Vec<Arc<Placed>> {
        todo!()
    }

    /// What was last heard of every sensor, by id, from the ledger.
    pub async fn heard(&self) -> Result<Vec<Heard>, RegistryError> {
        todo!()
    }

    /// Presence of every device that has ever connected: the newest event each.
    pub async fn presence(&self) -> Result<Vec<Presence>, RegistryError> {
        todo!()
    }

    /// Writes presence events in one transaction; only the newest of a device is kept.
    pub async fn put_presence(&self, events: &[Presence]) -> Result<(), RegistryError> {
        let _ = events;
        todo!()
    }

    /// Reads sensors and places into memory; call after start and after each import.
    pub async fn reload(&self) -> Result<(), RegistryError> {
        todo!()
    }
}

/// Adds or replaces sensors, in multi-row statements. Call [`Registry::reload`] after the commit.
pub async fn put_sensors(tx: &mut Tx, sensors: &[Sensor]) -> Result<(), RegistryError> {
    let _ = (tx, sensors);
    todo!()
}

/// Writes what was heard, in multi-row statements; an older `last_seen` never replaces a newer one,
/// and a field that was not heard keeps its old value.
pub async fn put_heard(tx: &mut Tx, heard: &[Heard]) -> Result<(), RegistryError> {
    let _ = (tx, heard);
    todo!()
}
