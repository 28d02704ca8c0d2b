//! Sensors: where they hang, what may be expected of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::{DeviceId, SensorState, Stamp};
use sqlx::Row;
use store::Tx;

use crate::memory::Snapshot;
use crate::version::{self, Group};
use crate::{Registry, RegistryError, check, damaged, places, rows};

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
    pub state: Option<SensorState>,
    /// How far its clock is ahead, milliseconds, when it had to be shifted; 0 once it is right again.
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

const SENSOR_COLUMNS: &[&str] = &["id", "premises", "room", "model", "interval_ms", "range_ppm"];
const HEARD_COLUMNS: &[&str] = &["sensor", "last_seen", "battery_pct", "signal_dbm", "state", "ahead_ms"];
const PRESENCE_COLUMNS: &[&str] = &["device", "at", "online", "detail"];

/// Longest presence detail kept, characters.
const LONGEST_DETAIL: usize = 200;

impl Registry {
    /// The sensor and its place, from memory; `None` when the id is not registered as a sensor.
    pub fn placed(&self, sensor: &DeviceId) -> Option<Arc<Placed>> {
        self.memory.snapshot().get(sensor)
    }

    /// Every registered sensor, ordered by id, from memory.
    pub fn sensors(&self) -> Vec<Arc<Placed>> {
        self.memory.snapshot().all().to_vec()
    }

    /// What was last heard of every sensor, by id, from the ledger.
    pub async fn heard(&self) -> Result<Vec<Heard>, RegistryError> {
        let rows = sqlx::query(
            "SELECT sensor, last_seen, battery_pct, signal_dbm, state, ahead_ms FROM sensor_heard ORDER BY sensor",
        )
        .fetch_all(self.ledger.reader())
        .await?;
        rows.iter()
            .map(|row| {
                let id: &str = row.try_get(0)?;
                let state: Option<String> = row.try_get(4)?;
                Ok(Heard {
                    sensor: DeviceId::new(id).map_err(|_| damaged("sensor_heard", id, "no device id"))?,
                    last_seen: Stamp(row.try_get(1)?),
                    battery_pct: row.try_get::<Option<f64>, _>(2)?.map(|value| value as f32),
                    signal_dbm: row.try_get::<Option<f64>, _>(3)?.map(|value| value as f32),
                    state: state
                        .map(|word| {
                            SensorState::parse(&word).ok_or_else(|| damaged("sensor_heard", id, "unknown state"))
                        })
                        .transpose()?,
                    ahead_ms: row.try_get(5)?,
                })
            })
            .collect()
    }

    /// Presence of every device that has ever connected: the newest event each, by id.
    pub async fn presence(&self) -> Result<Vec<Presence>, RegistryError> {
        let rows = sqlx::query("SELECT device, at, online, detail FROM presence ORDER BY device")
            .fetch_all(self.ledger.reader())
            .await?;
        rows.iter()
            .map(|row| {
                let id: &str = row.try_get(0)?;
                Ok(Presence {
                    device: DeviceId::new(id).map_err(|_| damaged("presence", id, "no device id"))?,
                    at: Stamp(row.try_get(1)?),
                    online: row.try_get::<i64, _>(2)? != 0,
                    detail: row.try_get(3)?,
                })
            })
            .collect()
    }

    /// Writes presence events in one transaction; only the newest of a device is kept, of two at
    /// the same instant the later in order.
    pub async fn put_presence(&self, events: &[Presence]) -> Result<(), RegistryError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut newest: HashMap<&DeviceId, &Presence> = HashMap::with_capacity(events.len());
        for event in events {
            let kept = newest.entry(&event.device).or_insert(event);
            if event.at >= kept.at {
                *kept = event;
            }
        }
        let newest: Vec<(&Presence, String)> =
            newest.into_values().map(|event| (event, printable(&event.detail))).collect();
        let newer_only = format!("{} WHERE excluded.at >= presence.at", rows::replace(PRESENCE_COLUMNS));
        let mut tx = self.ledger.begin().await?;
        rows::insert(&mut tx, "presence", PRESENCE_COLUMNS, &newer_only, &newest, |query, (event, detail)| {
            query.bind(event.device.as_str()).bind(event.at.0).bind(i64::from(event.online)).bind(detail.as_str())
        })
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Reads sensors and places into memory; call after start and after each import.
    pub async fn reload(&self) -> Result<(), RegistryError> {
        self.memory.replace(Snapshot::read(&self.ledger).await?);
        Ok(())
    }

    /// [`Registry::reload`] if sensors or places have changed since the last one, in this process
    /// or another; one small query if not. Returns whether it read them.
    pub async fn reload_if_changed(&self) -> Result<bool, RegistryError> {
        if version::current(&self.ledger, Group::Places).await? == self.memory.snapshot().version() {
            return Ok(false);
        }
        self.reload().await?;
        Ok(true)
    }
}

/// Adds or replaces sensors, in multi-row statements. Call [`Registry::reload`] after the commit.
///
/// # Errors
/// [`RegistryError::Invalid`] for a wrong text, interval or range, or premises that are not
/// registered.
pub async fn put_sensors(tx: &mut Tx, sensors: &[Sensor]) -> Result<(), RegistryError> {
    for sensor in sensors {
        check::text("room", &sensor.room)?;
        check::text("model", &sensor.model)?;
        if sensor.interval_ms <= 0 {
            return Err(RegistryError::Invalid(format!("sensor {}: the interval must be above 0 ms", sensor.id)));
        }
        if !(sensor.range_ppm.is_finite() && sensor.range_ppm > 0.0) {
            return Err(RegistryError::Invalid(format!("sensor {}: the range must be above 0 ppm", sensor.id)));
        }
    }
    version::raise(tx, Group::Places).await?;
    let known = places::known_premises(tx, sensors.iter().filter_map(|sensor| sensor.premises.as_deref())).await?;
    for sensor in sensors {
        if let Some(premises) = sensor.premises.as_ref().filter(|premises| !known.contains(*premises)) {
            return Err(RegistryError::Invalid(format!("sensor {}: there are no premises {premises:?}", sensor.id)));
        }
    }
    let sensors = rows::last_of_each(sensors, |sensor| &sensor.id);
    rows::insert(tx, "sensors", SENSOR_COLUMNS, &rows::replace(SENSOR_COLUMNS), &sensors, |query, sensor| {
        query
            .bind(sensor.id.as_str())
            .bind(sensor.premises.as_deref())
            .bind(sensor.room.as_str())
            .bind(sensor.model.as_str())
            .bind(sensor.interval_ms)
            .bind(f64::from(sensor.range_ppm))
    })
    .await?;
    Ok(())
}

/// Writes what was heard, in multi-row statements; an older `last_seen` never replaces a newer one,
/// and a field that was not heard keeps its old value.
pub async fn put_heard(tx: &mut Tx, heard: &[Heard]) -> Result<(), RegistryError> {
    let merged = one_per_sensor(tx, heard).await?;
    const NEWER_ONLY: &str = "ON CONFLICT (sensor) DO UPDATE SET
            last_seen = excluded.last_seen,
            battery_pct = COALESCE(excluded.battery_pct, sensor_heard.battery_pct),
            signal_dbm = COALESCE(excluded.signal_dbm, sensor_heard.signal_dbm),
            state = COALESCE(excluded.state, sensor_heard.state),
            ahead_ms = COALESCE(excluded.ahead_ms, sensor_heard.ahead_ms)
        WHERE excluded.last_seen >= sensor_heard.last_seen";
    rows::insert(tx, "sensor_heard", HEARD_COLUMNS, NEWER_ONLY, &merged, |query, one| {
        query
            .bind(one.sensor.as_str())
            .bind(one.last_seen.0)
            .bind(finite(one.battery_pct).map(f64::from))
            .bind(finite(one.signal_dbm).map(f64::from))
            .bind(one.state.map(SensorState::as_str))
            .bind(one.ahead_ms)
    })
    .await?;
    Ok(())
}

/// Does to several of a sensor what writing them one after the other would do, because a statement
/// may touch a row only once.
async fn one_per_sensor(tx: &mut Tx, heard: &[Heard]) -> Result<Vec<Heard>, RegistryError> {
    let mut seen = HashSet::with_capacity(heard.len());
    let repeated: HashSet<&str> =
        heard.iter().map(|one| one.sensor.as_str()).filter(|sensor| !seen.insert(*sensor)).collect();
    if repeated.is_empty() {
        return Ok(heard.to_vec());
    }
    let known = last_seen(tx, &repeated.into_iter().collect::<Vec<_>>()).await?;
    let mut merged: HashMap<&DeviceId, Heard> = HashMap::with_capacity(heard.len());
    for one in heard {
        if known.get(one.sensor.as_str()).is_some_and(|last_seen| one.last_seen < *last_seen) {
            continue;
        }
        match merged.get_mut(&one.sensor) {
            Some(kept) => merge(kept, one),
            None => drop(merged.insert(&one.sensor, one.clone())),
        }
    }
    Ok(merged.into_values().collect())
}

async fn last_seen(tx: &mut Tx, sensors: &[&str]) -> Result<HashMap<String, Stamp>, RegistryError> {
    const SELECT: &str = "SELECT sensor, last_seen FROM sensor_heard WHERE sensor";
    let rows = rows::select_in(tx, SELECT, sensors).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, Stamp(row.try_get(1)?)))).collect()
}

fn merge(kept: &mut Heard, next: &Heard) {
    if next.last_seen < kept.last_seen {
        return;
    }
    kept.last_seen = next.last_seen;
    kept.battery_pct = finite(next.battery_pct).or(kept.battery_pct);
    kept.signal_dbm = finite(next.signal_dbm).or(kept.signal_dbm);
    kept.state = next.state.or(kept.state);
    kept.ahead_ms = next.ahead_ms.or(kept.ahead_ms);
}

fn finite(value: Option<f32>) -> Option<f32> {
    value.filter(|value| value.is_finite())
}

/// PostgreSQL refuses a NUL in a text, and one client's odd words must not hold up the batch.
fn printable(detail: &str) -> String {
    detail.chars().take(LONGEST_DETAIL).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
