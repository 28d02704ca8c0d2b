//! What has been heard of each sensor, gathered in memory and written in batches.

use std::collections::HashMap;

use model::topic::{Channel, Topic};
use model::{DeviceId, Reading, Stamp};
use registry::sensors::Heard;
use serde_json::Value;

#[derive(Debug, Default)]
pub(crate) struct Bookkeeping {
    heard: HashMap<DeviceId, Heard>,
}

impl Bookkeeping {
    pub(crate) fn reading(&mut self, sensor: &DeviceId, received: Stamp, reading: &Reading) {
        let heard = self.entry(sensor, received);
        heard.battery_pct = reading.battery_pct.or(heard.battery_pct);
        heard.signal_dbm = reading.signal_dbm.or(heard.signal_dbm);
        heard.state = reading.state.or(heard.state);
    }

    /// Takes a status message; anything in it that is not understood is passed over.
    pub(crate) fn status(&mut self, sensor: &DeviceId, received: Stamp, payload: &[u8]) {
        let heard = self.entry(sensor, received);
        let Ok(Value::Object(status)) = serde_json::from_slice(payload) else { return };
        let number = |name: &str| status.get(name).and_then(Value::as_f64).map(|value| value as f32);
        heard.battery_pct = number("battery").or(number("battery_pct")).or(heard.battery_pct);
        heard.signal_dbm = number("signal").or(number("signal_dbm")).or(heard.signal_dbm);
    }

    fn entry(&mut self, sensor: &DeviceId, received: Stamp) -> &mut Heard {
        let heard = self.heard.entry(sensor.clone()).or_insert_with(|| Heard {
            sensor: sensor.clone(),
            last_seen: received,
            battery_pct: None,
            signal_dbm: None,
            state: None,
            ahead_ms: None,
        });
        heard.last_seen = heard.last_seen.max(received);
        heard
    }

    /// What is waiting to be written; it stays until [`Bookkeeping::clear`].
    pub(crate) fn waiting(&self) -> Vec<Heard> {
        self.heard.values().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.heard.clear();
    }
}

/// The sensor whose status channel `topic` is, if it is one.
pub(crate) fn status_of(topic: &str) -> Option<DeviceId> {
    let topic = Topic::parse(topic)?;
    if topic.channel == Channel::Status { topic.device().ok() } else { None }
}
