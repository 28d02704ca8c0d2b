//! The time series of readings.

use std::path::Path;

use model::{DeviceId, Reading, Stamp};

use crate::clock::Clock;
use crate::error::StoreError;
use crate::journal::Position;

/// A cheap handle on the time series in a folder, one SQLite file per month (UTC).
#[derive(Clone, Debug)]
pub struct Readings;

/// The newest reading of one sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    pub sensor: DeviceId,
    pub reading: Reading,
    /// When it was received.
    pub received: Stamp,
}

impl Readings {
    pub fn open(folder: &Path, clock: Clock) -> Result<Readings, StoreError> {
        let _ = (folder, clock);
        todo!()
    }

    /// Takes readings in memory; a background flush makes them chunks. `position` is the journal
    /// position they came from. Never blocks on disk.
    pub fn append(&self, sensor: &DeviceId, received: Stamp, readings: &[Reading], position: Position) {
        let _ = (sensor, received, readings, position);
        todo!()
    }

    /// Everything up to here is in the files: the journal may forget it.
    pub fn applied(&self) -> Position {
        todo!()
    }

    /// Readings of one sensor with `from <= time < to`, ascending, flushed or not.
    pub async fn range(&self, sensor: &DeviceId, from: Stamp, to: Stamp) -> Result<Vec<Reading>, StoreError> {
        let _ = (sensor, from, to);
        todo!()
    }

    pub fn latest(&self, sensor: &DeviceId) -> Option<Latest> {
        let _ = sensor;
        todo!()
    }

    /// The newest reading of every sensor, in no order.
    pub fn latest_all(&self) -> Vec<Latest> {
        todo!()
    }

    /// Writes what is in memory and waits until it is on disk.
    pub async fn flush(&self) -> Result<Position, StoreError> {
        todo!()
    }
}
