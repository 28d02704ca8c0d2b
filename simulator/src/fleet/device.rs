//! A sensor's own firmware: when it reports, and what it keeps until that has been acknowledged.

use std::collections::VecDeque;

use model::time::SECOND;
use model::{SensorState, Stamp};
use serde::Serialize;

use crate::district::Sensor;
use crate::random::Random;
use crate::room::{DANGER_PPM, Measured};

/// From this value on every sample is reported, ppm.
const FAST_FROM_PPM: u32 = 30;
/// A sensor looks at its cell this often.
const SAMPLE_EVERY: i64 = 10 * SECOND;
/// Unacknowledged readings are kept up to this many, then the oldest is given up.
const KEPT: usize = 2_000;
/// At most this many readings go into one message after an interruption.
const BATCH: usize = 40;

/// One reading as the contract has it on the wire.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Reading {
    /// Epoch milliseconds.
    time: i64,
    co_ppm: u32,
    temperature_c: f64,
    humidity_pct: f64,
    battery_pct: f64,
    signal_dbm: f64,
    seq: u64,
    state: SensorState,
}

/// What goes out next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) payload: Vec<u8>,
    pub(super) readings: usize,
    /// One of the readings says 300 ppm or more.
    pub(super) is_danger: bool,
}

#[derive(Debug)]
pub(super) struct Device {
    interval_ms: i64,
    next_sample: Stamp,
    last_report: Option<Stamp>,
    /// Never repeats over restarts: it begins at the clock's milliseconds and rises more slowly.
    seq: u64,
    battery_pct: f64,
    signal_dbm: f64,
    kept: VecDeque<Reading>,
    in_flight: Option<usize>,
    /// Readings given up because too many were unacknowledged.
    pub(super) dropped: u64,
    random: Random,
}

impl Device {
    /// A sensor that is switched on at `now` and takes its first sample at once.
    pub(super) fn new(sensor: &Sensor, now: Stamp, mut random: Random) -> Device {
        Device {
            interval_ms: sensor.interval_ms,
            next_sample: now,
            last_report: None,
            seq: now.0.max(0) as u64,
            battery_pct: random.between(35.0, 100.0),
            signal_dbm: random.between(-105.0, -60.0),
            kept: VecDeque::new(),
            in_flight: None,
            dropped: 0,
            random,
        }
    }

    /// When the next sample is to be taken.
    pub(super) fn due(&self) -> Stamp {
        self.next_sample
    }

    /// Takes a sample and decides whether to report it.
    pub(super) fn sample(&mut self, measured: Measured) {
        self.next_sample = measured.at + SAMPLE_EVERY;
        // half a sample early is nearer to the interval than half a sample late
        let is_time =
            self.last_report.is_none_or(|last| measured.at.since(last) >= self.interval_ms - SAMPLE_EVERY / 2);
        if !is_time && measured.co_ppm < FAST_FROM_PPM {
            return;
        }
        self.last_report = Some(measured.at);
        self.battery_pct = (self.battery_pct - 0.000_02).max(0.0);
        let signal_dbm = (self.signal_dbm + 2.0 * self.random.normal()).round().clamp(-140.0, -40.0);
        if self.kept.len() >= KEPT {
            // the front may be on its way: what follows it is given up instead
            self.kept.remove(self.in_flight.unwrap_or(0));
            self.dropped += 1;
        }
        self.kept.push_back(Reading {
            time: measured.at.0,
            co_ppm: measured.co_ppm,
            temperature_c: measured.temperature_c,
            humidity_pct: measured.humidity_pct,
            battery_pct: self.battery_pct.round(),
            signal_dbm,
            seq: self.seq,
            state: measured.state,
        });
        self.seq += 1;
    }

    /// The next message, unless one is still unacknowledged or nothing is to be said.
    pub(super) fn next_message(&mut self) -> Option<Message> {
        let readings = self.kept.len().min(BATCH);
        if self.in_flight.is_some() || readings == 0 {
            return None;
        }
        let going: Vec<&Reading> = self.kept.range(..readings).collect();
        let is_danger = going.iter().any(|reading| f64::from(reading.co_ppm) >= DANGER_PPM);
        let payload = match going.as_slice() {
            [one] => serde_json::to_vec(one),
            several => serde_json::to_vec(several),
        };
        let payload = payload.ok()?;
        self.in_flight = Some(readings);
        Some(Message { payload, readings, is_danger })
    }

    /// A message without readings is on its way; nothing else is sent before its acknowledgement.
    pub(super) fn sent_status(&mut self) {
        self.in_flight = Some(0);
    }

    /// The message on its way has been acknowledged; returns how many readings it held.
    pub(super) fn acknowledged(&mut self) -> usize {
        let readings = self.in_flight.take().unwrap_or(0);
        self.kept.drain(..readings);
        readings
    }

    /// The connection is gone: what was on its way is sent again.
    pub(super) fn disconnected(&mut self) {
        self.in_flight = None;
    }
}

#[cfg(test)]
mod tests {
    use model::decode;
    use model::reading::Flags;
    use proptest::prelude::*;

    use super::*;
    use crate::district::District;

    const START: Stamp = Stamp(1_795_485_600_000);

    fn device() -> Device {
        Device::new(&District::generate(1, 1).homes[0].sensor, START, Random::new(1))
    }

    fn measured(device: &Device, co_ppm: u32) -> Measured {
        let state = if co_ppm >= 300 { SensorState::Alarm } else { SensorState::Normal };
        Measured { at: device.due(), co_ppm, temperature_c: 22.4, humidity_pct: 71.0, state }
    }

    fn decoded(device: &Device, message: &Message) -> Vec<model::Reading> {
        let decoded = decode::readings(&message.payload, device.due());
        assert_eq!(decoded.rejects, []);
        let is_good = |flags: Flags| flags == Flags::default() || flags == Flags::LATE;
        assert!(decoded.readings.iter().all(|reading| is_good(reading.flags)), "{decoded:?}");
        decoded.readings
    }

    #[test]
    fn it_reports_each_minute_and_every_ten_seconds_from_30_ppm() {
        let mut device = device();
        let mut reported = |co_ppm: u32, samples: usize| {
            let before = device.kept.len();
            for _ in 0..samples {
                device.sample(measured(&device, co_ppm));
            }
            device.kept.len() - before
        };
        assert_eq!(reported(2, 1 + 5 * 6), 6);
        assert_eq!(reported(30, 12), 12);
        assert_eq!(reported(29, 12), 2);
    }

    #[test]
    fn the_payload_is_what_the_contract_says() {
        let mut device = device();
        device.sample(measured(&device, 345));
        let message = device.next_message().unwrap();
        assert!(message.is_danger);
        let readings = decoded(&device, &message);
        assert_eq!(readings.len(), 1);
        let reading = readings[0];
        assert_eq!((reading.time, reading.co_ppm, reading.state), (START, Some(345.0), Some(SensorState::Alarm)));
        assert_eq!(reading.seq, Some(START.0 as u64));
        assert_eq!((reading.temperature_c, reading.humidity_pct), (Some(22.4), Some(71.0)));
        assert!(reading.battery_pct.is_some() && reading.signal_dbm.is_some_and(|dbm| dbm < -40.0));
    }

    #[test]
    fn what_was_not_acknowledged_goes_again_together_with_what_came_since() {
        let mut device = device();
        device.sample(measured(&device, 40));
        let first = device.next_message().unwrap();
        device.sample(measured(&device, 50));
        assert_eq!(device.next_message(), None);
        device.disconnected();
        device.sent_status();
        assert_eq!(device.next_message(), None);
        assert_eq!(device.acknowledged(), 0);
        let again = {
            let message = device.next_message().unwrap();
            decoded(&device, &message)
        };
        assert_eq!(again.iter().map(|reading| reading.co_ppm).collect::<Vec<_>>(), [Some(40.0), Some(50.0)]);
        assert_eq!(again[0], decoded(&device, &first)[0]);
        assert_eq!(device.acknowledged(), 2);
        assert_eq!(device.next_message(), None);
    }

    proptest! {
        /// Whatever the network does, every reading arrives, in order, with its own number.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec(0u8..4, 0..400)) {
            let mut device = device();
            let mut arrived = Vec::new();
            let mut on_its_way = Vec::new();
            for step in steps.into_iter().chain([3; 1]).chain([1, 2].repeat(20)) {
                match step {
                    0 => device.sample(measured(&device, 60)),
                    1 => if let Some(message) = device.next_message() {
                        prop_assert!(message.payload.len() < 10_000);
                        on_its_way = decoded(&device, &message);
                    },
                    2 => if device.acknowledged() > 0 {
                        arrived.append(&mut on_its_way);
                    },
                    _ => device.disconnected(),
                }
            }
            prop_assert_eq!(device.kept.len(), 0);
            let numbers: Vec<u64> = arrived.iter().filter_map(|reading| reading.seq).collect();
            let expected: Vec<u64> = (0..numbers.len() as u64).map(|index| START.0 as u64 + index).collect();
            prop_assert_eq!(numbers, expected);
            prop_assert_eq!(device.seq - START.0 as u64, arrived.len() as u64);
        }

        #[test]
        fn memory_is_bounded(sent in prop::option::of(0usize..30)) {
            let mut device = device();
            for _ in 0..sent.unwrap_or(0) {
                device.sample(measured(&device, 60));
            }
            let first = device.next_message();
            for _ in 0..KEPT + 100 {
                device.sample(measured(&device, 60));
            }
            prop_assert_eq!(device.kept.len(), KEPT);
            prop_assert_eq!(device.dropped as usize, 100 + sent.unwrap_or(0));
            prop_assert_eq!(device.acknowledged(), first.map_or(0, |message| message.readings));
        }
    }
}
