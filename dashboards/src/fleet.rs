//! What the screens ask about all sensors at once. With half a million of them each answer costs
//! something, so it is remembered for a while, however many consoles are open.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::time::MINUTE;
use model::{DeviceId, Reading, SensorState, Stamp};
use registry::sensors::{Heard, Placed, Presence};
use store::readings::Latest;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::Shared;
use crate::fault::Fault;
use crate::texts::Texts;

/// Expected of a sensor that nobody has registered.
pub(crate) const USUAL_INTERVAL: i64 = 5 * MINUTE;
const PULSE_AGE: Duration = Duration::from_secs(2);
const BOOK_AGE: Duration = Duration::from_secs(5);
/// Reading the book takes at most this share of the time: 1 / 20.
const BOOK_SHARE: u32 = 20;

#[derive(Default)]
pub(crate) struct Fleet {
    pulse: Mutex<Option<(Instant, Stamp, Arc<Pulse>)>>,
    book: Mutex<Option<(Instant, Arc<Book>)>>,
}

/// How the fleet as a whole is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// Sensors heard within three of their intervals.
    pub(crate) reporting: usize,
    /// Registered sensors.
    pub(crate) known: usize,
    /// When the newest reading of all was received.
    pub(crate) last_reading: Option<Stamp>,
}

/// Every sensor there is, registered or only heard, by id.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) rows: Vec<(DeviceId, Option<Arc<Placed>>)>,
    pub(crate) heard: HashMap<DeviceId, Heard>,
    pub(crate) presence: HashMap<DeviceId, Presence>,
    keep_for: Duration,
}

impl Fleet {
    pub(crate) async fn pulse(&self, shared: &Shared) -> Result<Arc<Pulse>, Fault> {
        let mut kept = self.pulse.lock().await;
        let now = shared.clock.now();
        let most_ms = (PULSE_AGE.as_millis() as f64 * shared.clock.scale().max(1.0)) as i64;
        if let Some((taken, at, pulse)) = &*kept
            && taken.elapsed() < PULSE_AGE
            && (0..most_ms).contains(&now.since(*at))
        {
            return Ok(pulse.clone());
        }
        let shared = shared.clone();
        let pulse = Arc::new(tokio::task::spawn_blocking(move || take_pulse(&shared, now)).await?);
        *kept = Some((Instant::now(), now, pulse.clone()));
        Ok(pulse)
    }

    pub(crate) async fn book(&self, shared: &Shared) -> Result<Arc<Book>, Fault> {
        let mut kept = self.book.lock().await;
        if let Some((taken, book)) = &*kept
            && taken.elapsed() < book.keep_for
        {
            return Ok(book.clone());
        }
        let started = Instant::now();
        let heard = shared.registry.heard().await?;
        let presence = shared.registry.presence().await?;
        let its_shared = shared.clone();
        let mut book = tokio::task::spawn_blocking(move || Book {
            rows: all_sensors(&its_shared),
            heard: heard.into_iter().map(|heard| (heard.sensor.clone(), heard)).collect(),
            presence: presence.into_iter().map(|presence| (presence.device.clone(), presence)).collect(),
            keep_for: BOOK_AGE,
        })
        .await?;
        book.keep_for = BOOK_AGE.max(started.elapsed().saturating_mul(BOOK_SHARE));
        let book = Arc::new(book);
        *kept = Some((Instant::now(), book.clone()));
        Ok(book)
    }
}

fn take_pulse(shared: &Shared, now: Stamp) -> Pulse {
    let mut pulse = Pulse { known: shared.registry.sensors().len(), ..Pulse::default() };
    for latest in shared.readings.latest_all() {
        let interval = shared.registry.placed(&latest.sensor).map_or(USUAL_INTERVAL, |p| p.sensor.interval_ms);
        if !is_silent(now, latest.received, interval) {
            pulse.reporting += 1;
        }
        pulse.last_reading = pulse.last_reading.max(Some(latest.received));
    }
    pulse
}

fn all_sensors(shared: &Shared) -> Vec<(DeviceId, Option<Arc<Placed>>)> {
    let mut rows: Vec<_> =
        shared.registry.sensors().into_iter().map(|placed| (placed.sensor.id.clone(), Some(placed))).collect();
    let unknown = shared.readings.latest_all().into_iter().filter(|l| shared.registry.placed(&l.sensor).is_none());
    rows.extend(unknown.map(|latest| (latest.sensor, None)));
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

/// True when nothing has come for more than three expected intervals.
pub(crate) fn is_silent(now: Stamp, received: Stamp, interval_ms: i64) -> bool {
    now.since(received) > interval_ms.max(1).saturating_mul(model::dose::HELD_INTERVALS)
}

/// How a sensor is, worst first. "No data" is never "normal".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Danger,
    NoData,
    Never,
    Raised,
    Fault,
    EndOfLife,
    Test,
    Warmup,
    Normal,
}

impl Condition {
    pub(crate) const ALL: [Condition; 9] = [
        Condition::Danger,
        Condition::NoData,
        Condition::Never,
        Condition::Raised,
        Condition::Fault,
        Condition::EndOfLife,
        Condition::Test,
        Condition::Warmup,
        Condition::Normal,
    ];

    pub(crate) fn of(now: Stamp, interval_ms: i64, latest: Option<&Latest>, heard: Option<&Heard>) -> Condition {
        let last_seen = latest.map(|latest| latest.received).max(heard.map(|heard| heard.last_seen));
        let Some(last_seen) = last_seen else { return Condition::Never };
        if is_silent(now, last_seen, interval_ms) {
            return Condition::NoData;
        }
        // a reading without a state of its own leaves the last word standing
        let own = latest.and_then(|latest| latest.reading.state).or(heard.and_then(|heard| heard.state));
        let reading: Option<&Reading> = latest.map(|latest| &latest.reading);
        let ppm = reading.and_then(|reading| reading.co_ppm);
        if ppm.is_some_and(|ppm| ppm >= 300.0) || own == Some(SensorState::Alarm) {
            return Condition::Danger;
        }
        if ppm.is_some_and(|ppm| ppm >= 30.0) {
            return Condition::Raised;
        }
        let is_unusable = reading.is_some_and(|reading| reading.flags.has(model::reading::Flags::CO_UNUSABLE));
        match own {
            _ if is_unusable => Condition::Fault,
            Some(SensorState::Fault) => Condition::Fault,
            Some(SensorState::EndOfLife) => Condition::EndOfLife,
            Some(SensorState::Test) => Condition::Test,
            Some(SensorState::Warmup) => Condition::Warmup,
            _ => Condition::Normal,
        }
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Condition::Danger => "danger",
            Condition::NoData => "no_data",
            Condition::Never => "never",
            Condition::Raised => "raised",
            Condition::Fault => "fault",
            Condition::EndOfLife => "end_of_life",
            Condition::Test => "test",
            Condition::Warmup => "warmup",
            Condition::Normal => "normal",
        }
    }

    pub(crate) fn parse(code: &str) -> Option<Condition> {
        Condition::ALL.into_iter().find(|condition| condition.code() == code)
    }

    pub(crate) fn words(self, t: &'static Texts) -> &'static str {
        match self {
            Condition::Danger => t.sc_danger,
            Condition::NoData => t.sc_no_data,
            Condition::Never => t.sc_never,
            Condition::Raised => t.sc_raised,
            Condition::Fault => t.sc_fault,
            Condition::EndOfLife => t.sc_end_of_life,
            Condition::Test => t.sc_test,
            Condition::Warmup => t.sc_warmup,
            Condition::Normal => t.sc_normal,
        }
    }

    /// The marker's shape; empty for what needs nobody.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Condition::Danger => "danger",
            Condition::Raised => "urgent",
            Condition::Fault | Condition::EndOfLife => "notice",
            Condition::NoData | Condition::Never => "nodata",
            Condition::Test | Condition::Warmup | Condition::Normal => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Stamp = Stamp(1_780_000_000_000);

    fn latest(age_ms: i64, co_ppm: Option<f32>, state: Option<SensorState>) -> Latest {
        let reading = Reading { time: NOW - age_ms, co_ppm, state, ..Reading::default() };
        Latest { sensor: DeviceId::new("S1").unwrap(), reading, received: NOW - age_ms }
    }

    fn of(latest: &Latest) -> Condition {
        Condition::of(NOW, MINUTE, Some(latest), None)
    }

    #[test]
    fn silence_is_no_data_whatever_the_last_value_was() {
        assert_eq!(of(&latest(3 * MINUTE, Some(4.0), None)), Condition::Normal);
        assert_eq!(of(&latest(3 * MINUTE + 1, Some(4.0), None)), Condition::NoData);
        assert_eq!(of(&latest(3 * MINUTE + 1, Some(900.0), None)), Condition::NoData);
        assert_eq!(Condition::of(NOW, MINUTE, None, None), Condition::Never);
    }

    #[test]
    fn a_value_outweighs_the_sensors_own_word() {
        assert_eq!(of(&latest(0, Some(412.0), Some(SensorState::Test))), Condition::Danger);
        assert_eq!(of(&latest(0, Some(30.0), Some(SensorState::Normal))), Condition::Raised);
        assert_eq!(of(&latest(0, Some(3.0), Some(SensorState::Alarm))), Condition::Danger);
        assert_eq!(of(&latest(0, None, Some(SensorState::Fault))), Condition::Fault);
    }

    #[test]
    fn codes_come_back() {
        for condition in Condition::ALL {
            assert_eq!(Condition::parse(condition.code()), Some(condition));
        }
    }
}
