//! What is in memory: readings not yet in the files, and the newest of every sensor.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::{DeviceId, Reading, Stamp};

use super::Latest;
use super::month::{Month, Span};
use crate::journal::Position;

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) active: Memtable,
    /// On its way to the files; stays readable until it is there.
    pub(super) frozen: Option<Arc<Memtable>>,
    pub(super) latest: LatestTable,
    /// The runs in the files.
    pub(super) spans: BTreeMap<Month, Vec<Span>>,
    pub(super) applied: Position,
}

/// Order and identity of one sensor's readings.
fn by_key(one: &Reading, other: &Reading) -> Ordering {
    (one.time, one.seq).cmp(&(other.time, other.seq))
}

/// Of two readings with the same key the higher CO wins; on a tie the first that came.
fn outdoes(new: &Reading, old: &Reading) -> bool {
    match (new.co_ppm, old.co_ppm) {
        (Some(new), Some(old)) => new.total_cmp(&old).is_gt(),
        (new, old) => new.is_some() && old.is_none(),
    }
}

/// Sorts readings, given in order of arrival, and leaves one of each key.
pub(super) fn settle(readings: &mut Vec<Reading>) {
    readings.sort_by(by_key);
    readings.dedup_by(|later, kept| {
        let is_same = by_key(later, kept).is_eq();
        if is_same && outdoes(later, kept) {
            *kept = *later;
        }
        is_same
    });
}

/// Readings in order of arrival, each linked to the one before it of the same sensor.
#[derive(Debug, Default)]
pub(super) struct Memtable {
    samples: Vec<Sample>,
    newest: HashMap<DeviceId, u32>,
    /// Position of the last entry taken in.
    pub(super) through: Position,
}

#[derive(Debug)]
struct Sample {
    before: u32,
    reading: Reading,
}

const NONE: u32 = u32::MAX;

impl Memtable {
    pub(super) fn push(&mut self, sensor: &DeviceId, readings: &[Reading]) {
        if readings.is_empty() {
            return;
        }
        let newest = match self.newest.get_mut(sensor) {
            Some(newest) => newest,
            None => self.newest.entry(sensor.clone()).or_insert(NONE),
        };
        for reading in readings {
            let index = self.samples.len() as u32;
            self.samples.push(Sample { before: *newest, reading: *reading });
            *newest = index;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    pub(super) fn sensors(&self) -> impl Iterator<Item = &DeviceId> {
        self.newest.keys()
    }

    /// The sensor's readings in order of arrival.
    pub(super) fn of(&self, sensor: &DeviceId) -> Vec<Reading> {
        let mut readings: Vec<Reading> = self.backwards(sensor).copied().collect();
        readings.reverse();
        readings
    }

    pub(super) fn backwards(&self, sensor: &DeviceId) -> impl Iterator<Item = &Reading> {
        let mut index = self.newest.get(sensor).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let sample = self.samples.get(index as usize)?;
            index = sample.before;
            Some(&sample.reading)
        })
    }
}

/// In a list, so that it can be copied in pieces without holding the lock for long.
#[derive(Debug, Default)]
pub(super) struct LatestTable {
    index: HashMap<DeviceId, u32>,
    list: Vec<Latest>,
}

impl LatestTable {
    pub(super) fn offer(&mut self, sensor: &DeviceId, received: Stamp, reading: &Reading) {
        match self.index.get(sensor) {
            Some(index) => {
                let held = &mut self.list[*index as usize];
                let order = by_key(reading, &held.reading);
                if order.is_gt() || order.is_eq() && outdoes(reading, &held.reading) {
                    (held.reading, held.received) = (*reading, received);
                }
            }
            None => {
                self.index.insert(sensor.clone(), self.list.len() as u32);
                self.list.push(Latest { sensor: sensor.clone(), reading: *reading, received });
            }
        }
    }

    pub(super) fn get(&self, sensor: &DeviceId) -> Option<&Latest> {
        self.index.get(sensor).and_then(|index| self.list.get(*index as usize))
    }

    pub(super) fn piece(&self, from: usize, most: usize) -> &[Latest] {
        let rest = self.list.get(from..).unwrap_or_default();
        &rest[..rest.len().min(most)]
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}
