//! Recognises readings that a device sent again, within the last ten minutes or so.
//!
//! A repeat is the same sensor saying the same thing: same number, same time, same values. A number
//! alone is not enough, because a sensor that restarts begins again at 0, and the reading it would
//! cost could be the one that matters. A reading with neither number nor time of its own is never
//! taken for a repeat: clean air reads 0 every minute. Older repeats, and those across a restart of Gaswatch, are
//! merged by the readings store, which keeps one reading per time and number.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use model::reading::Flags;
use model::time::MINUTE;
use model::{DeviceId, Reading, Stamp};

/// A fingerprint is remembered at least this long, unless memory runs out first.
const REMEMBERED: i64 = 10 * MINUTE;
/// Fingerprints per generation; two generations are kept, about 40 MB at the most.
const MOST: usize = 1_000_000;

/// Two generations of fingerprints: looked up in both, added to the newer.
#[derive(Debug)]
pub struct Repeats {
    newer: HashSet<u64, AlreadyHashed>,
    older: HashSet<u64, AlreadyHashed>,
    begun: Stamp,
    keys: RandomState,
    most: usize,
}

impl Default for Repeats {
    fn default() -> Repeats {
        Repeats::with_capacity(MOST)
    }
}

impl Repeats {
    fn with_capacity(most: usize) -> Repeats {
        let set = || HashSet::with_hasher(AlreadyHashed::default());
        Repeats { newer: set(), older: set(), begun: Stamp::default(), keys: RandomState::new(), most }
    }

    /// True when this reading has been seen before; remembers it.
    pub fn is_repeat(&mut self, sensor: &DeviceId, reading: &Reading, received: Stamp) -> bool {
        if reading.seq.is_none() && !has_own_time(reading) {
            return false;
        }
        if received.since(self.begun) >= REMEMBERED || self.newer.len() >= self.most {
            self.older = std::mem::take(&mut self.newer);
            self.begun = received;
        }
        let fingerprint = self.fingerprint(sensor, reading);
        self.older.contains(&fingerprint) || !self.newer.insert(fingerprint)
    }

    fn fingerprint(&self, sensor: &DeviceId, reading: &Reading) -> u64 {
        let mut hasher = self.keys.build_hasher();
        hasher.write(sensor.as_str().as_bytes());
        hasher.write_u64(reading.seq.map_or(u64::MAX, |seq| seq));
        // our own time of receipt differs for each copy and says nothing about the reading
        hasher.write_i64(if has_own_time(reading) { reading.time.0 } else { i64::MIN });
        for value in [reading.co_ppm, reading.lel_pct, reading.temperature_c, reading.humidity_pct, reading.battery_pct]
        {
            hasher.write_u32(value.map_or(u32::MAX, f32::to_bits));
        }
        hasher.write_u8(reading.state.map_or(u8::MAX, |state| state as u8));
        hasher.finish()
    }
}

/// Whether the time is as the sensor sent it, so that a copy has the same.
fn has_own_time(reading: &Reading) -> bool {
    !reading.flags.has(Flags::TIME_OF_RECEIPT)
        && !reading.flags.has(Flags::TIME_UNUSABLE)
        && !reading.flags.has(Flags::TIME_SHIFTED)
}

/// The fingerprints are hashes already.
#[derive(Debug, Default)]
pub struct Identity(u64);

type AlreadyHashed = BuildHasherDefault<Identity>;

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Stamp = Stamp(1_780_000_000_000);

    fn sensor() -> DeviceId {
        DeviceId::new("S1").unwrap()
    }

    fn reading(seq: u64, ppm: f32) -> Reading {
        Reading { time: NOW, seq: Some(seq), co_ppm: Some(ppm), ..Reading::default() }
    }

    #[test]
    fn the_same_reading_is_a_repeat_until_it_is_forgotten() {
        let mut repeats = Repeats::default();
        assert!(!repeats.is_repeat(&sensor(), &reading(1, 5.0), NOW));
        assert!(repeats.is_repeat(&sensor(), &reading(1, 5.0), NOW + MINUTE));
        assert!(repeats.is_repeat(&sensor(), &reading(1, 5.0), NOW + REMEMBERED));
        assert!(!repeats.is_repeat(&sensor(), &reading(1, 5.0), NOW + 4 * REMEMBERED));
    }

    #[test]
    fn a_restarted_sensor_that_counts_again_is_heard() {
        let mut repeats = Repeats::default();
        assert!(!repeats.is_repeat(&sensor(), &reading(0, 5.0), NOW));
        let later = Reading { time: NOW + MINUTE, ..reading(0, 5.0) };
        assert!(!repeats.is_repeat(&sensor(), &later, NOW + MINUTE));
        assert!(!repeats.is_repeat(&sensor(), &reading(0, 400.0), NOW + MINUTE));
    }

    #[test]
    fn readings_without_a_time_of_their_own_are_told_apart_by_number_and_value() {
        let mut repeats = Repeats::default();
        let mut untimed = reading(7, 5.0);
        untimed.flags.add(Flags::TIME_OF_RECEIPT);
        assert!(!repeats.is_repeat(&sensor(), &untimed, NOW));
        let copy = Reading { time: NOW + 3, ..untimed };
        assert!(repeats.is_repeat(&sensor(), &copy, NOW + 3));
        assert!(!repeats.is_repeat(&sensor(), &Reading { seq: Some(8), ..copy }, NOW + 3));
    }

    #[test]
    fn clean_air_every_minute_is_not_a_repeat() {
        let mut repeats = Repeats::default();
        for minute in 0..5 {
            let mut untimed = Reading { time: NOW + minute * MINUTE, co_ppm: Some(0.0), ..Reading::default() };
            untimed.flags.add(Flags::TIME_OF_RECEIPT);
            assert!(!repeats.is_repeat(&sensor(), &untimed, untimed.time), "minute {minute}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut repeats = Repeats::with_capacity(100);
        for seq in 0..10_000 {
            repeats.is_repeat(&sensor(), &reading(seq, 1.0), NOW);
        }
        assert!(repeats.newer.len() + repeats.older.len() <= 200);
    }
}
