//! Sensors with their places, in memory, replaced as a whole.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::TryStreamExt;
use model::DeviceId;
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Ledger;

use crate::sensors::{Placed, Sensor};
use crate::version::{self, Group};
use crate::{RegistryError, damaged};

/// The newest snapshot.
#[derive(Default)]
pub(crate) struct Memory(RwLock<Arc<Snapshot>>);

#[derive(Default)]
pub(crate) struct Snapshot {
    /// At least the changes up to this number are in it; 0 means nothing was ever read.
    version: i64,
    by_id: HashMap<DeviceId, Arc<Placed>>,
    ordered: Vec<Arc<Placed>>,
}

impl Memory {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `next` in, unless a newer one came in while it was being read.
    pub(crate) fn replace(&self, next: Snapshot) {
        let next = Arc::new(next);
        let old = {
            let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if next.version < current.version {
                return;
            }
            std::mem::replace(&mut *current, next)
        };
        // Freed here, after the lock: it can be half a million sensors.
        drop(old);
    }
}

impl Snapshot {
    pub(crate) fn get(&self, sensor: &DeviceId) -> Option<Arc<Placed>> {
        self.by_id.get(sensor).cloned()
    }

    /// Ordered by id.
    pub(crate) fn all(&self) -> &[Arc<Placed>] {
        &self.ordered
    }

    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    pub(crate) async fn read(ledger: &Ledger) -> Result<Snapshot, RegistryError> {
        // The number first: a change between the two queries is then read twice, never missed.
        let version = version::current(ledger, Group::Places).await?;
        let mut ordered = Vec::new();
        {
            let mut rows = sqlx::query(
                "SELECT s.id, s.premises, s.room, s.model, s.interval_ms, s.range_ppm, p.area, p.address, p.building
                 FROM sensors s LEFT JOIN premises p ON p.id = s.premises",
            )
            .fetch(ledger.reader());
            while let Some(row) = rows.try_next().await? {
                ordered.push(Arc::new(placed(&row)?));
            }
        }
        ordered.sort_unstable_by(|a, b| a.sensor.id.cmp(&b.sensor.id));
        let by_id = ordered.iter().map(|placed| (placed.sensor.id.clone(), placed.clone())).collect();
        Ok(Snapshot { version, by_id, ordered })
    }
}

fn placed(row: &AnyRow) -> Result<Placed, RegistryError> {
    let id: &str = row.try_get(0)?;
    Ok(Placed {
        sensor: Sensor {
            id: DeviceId::new(id).map_err(|_| damaged("sensors", id, "no device id"))?,
            premises: row.try_get(1)?,
            room: row.try_get(2)?,
            model: row.try_get(3)?,
            interval_ms: row.try_get(4)?,
            range_ppm: row.try_get::<f64, _>(5)? as f32,
        },
        area: row.try_get(6)?,
        address: row.try_get(7)?,
        building: row.try_get(8)?,
    })
}
