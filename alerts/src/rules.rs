//! Pure decisions about one sensor's readings: (memory, reading, time) in, verdict out.
//!
//! * 300 ppm and more, or a value at the end of the sensor's range, is danger at the first reading.
//! * So is the sensor's own alarm.
//! * Exposure over time is danger by the chosen [`Profile`].
//! * Silence after 30 ppm or more is danger.
//! * `warmup` and `test` excuse a sensor for a limited time; then its values count.
//! * A missing or unusable value decides nothing, and clears nothing.

use model::dose::{Dose, HELD_AT_MOST, HELD_INTERVALS, Profile};
use model::reading::Flags;
use model::time::{MINUTE, SECOND};
use model::{Reading, SensorState, Stamp};
use registry::sensors::Placed;

use crate::incident::Decision;

/// CO that is danger at one reading, ppm.
pub const DANGER_PPM: f32 = 300.0;
/// CO from which a sensor must not fall silent, and below which it counts as calm, ppm.
pub const RISK_PPM: f32 = 30.0;
/// How long `warmup` excuses a sensor.
pub const WARMUP_BELIEVED: i64 = 10 * MINUTE;
/// How long `test` excuses a sensor.
pub const TEST_BELIEVED: i64 = 5 * MINUTE;
/// So many calm readings in a row clear a sensor: one alone may be a drop-out.
pub const CALM_READINGS: i64 = 2;
/// Exposure below this is forgotten: ten half-lives after an alarm.
const TRACE: f64 = 0.001;
/// Expected of a sensor that nobody has registered, milliseconds.
const USUAL_INTERVAL: i64 = 60 * SECOND;

/// What the registry expects of a sensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Reporting interval, milliseconds.
    pub interval: i64,
    /// The most its model can measure, ppm, if that is known.
    pub range_ppm: Option<f32>,
}

impl Expected {
    pub fn of(placed: Option<&Placed>) -> Expected {
        let Some(placed) = placed else { return Expected { interval: USUAL_INTERVAL, range_ppm: None } };
        let interval = if placed.sensor.interval_ms > 0 { placed.sensor.interval_ms } else { USUAL_INTERVAL };
        // a range below 30 ppm is a mistake in the book, and would make clean air a danger
        let range_ppm = Some(placed.sensor.range_ppm).filter(|range| range.is_finite() && *range > RISK_PPM);
        Expected { interval: interval.max(SECOND), range_ppm }
    }

    /// How long a value holds without a new one, milliseconds.
    pub fn hold(&self) -> i64 {
        self.interval.saturating_mul(HELD_INTERVALS).clamp(0, HELD_AT_MOST)
    }
}

/// The newest valid value by its own time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Last {
    pub ppm: f32,
    pub time: Stamp,
    pub received: Stamp,
}

/// Since when a sensor has said `warmup` or `test`, by our clock and by its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excused {
    pub received: Stamp,
    pub time: Stamp,
}

/// What the rules remember of one sensor. A value: copy it, change the copy, keep it once the
/// decision is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    pub dose: Dose,
    pub last: Option<Last>,
    /// When silence becomes danger.
    pub silent_due: Option<Stamp>,
    pub excused: Option<Excused>,
    /// Calm readings in a row.
    pub calm: i64,
}

/// What one reading means.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The strongest rule that holds now. It is repeated with each reading for as long as it holds.
    pub danger: Option<Decision>,
    /// The value, if it counts.
    pub ppm: Option<f32>,
}

/// Whether a reading of a sensor without a [`Memory`] needs one. The hot path: nearly always no.
pub fn is_remarkable(reading: &Reading) -> bool {
    reading.co_ppm.is_some_and(|ppm| ppm.is_nan() || ppm >= RISK_PPM)
        || matches!(reading.state, Some(SensorState::Alarm | SensorState::Warmup | SensorState::Test))
        || reading.flags.has(Flags::CO_SATURATED)
}

/// Judges a reading that was received at `received`, and remembers it.
pub fn judge(
    memory: &mut Memory,
    profile: &'static Profile,
    reading: &Reading,
    received: Stamp,
    expected: Expected,
) -> Verdict {
    let time = reading.time.min(received);
    let ppm = reading.co_ppm.filter(|ppm| ppm.is_finite() && *ppm >= 0.0 && !reading.flags.has(Flags::CO_UNUSABLE));
    if memory.is_excused(reading.state, time, received) {
        memory.watch_excused(ppm, time, received, expected);
        return Verdict::default();
    }
    let is_alarm = reading.state == Some(SensorState::Alarm);
    memory.follow_clock(time, received, expected);
    let is_newest = memory.last.is_none_or(|last| time >= last.time);

    let mut has_dose = false;
    if let Some(ppm) = ppm {
        if time >= memory.dose.at {
            memory.dose.take(profile, time, ppm, expected.interval);
            has_dose = memory.dose.is_alarm() && ppm >= RISK_PPM;
        }
        if is_newest {
            memory.last = Some(Last { ppm, time, received });
            memory.silent_due = (ppm >= RISK_PPM).then(|| received + expected.hold());
        }
    }
    if is_newest {
        memory.count_calm(reading.state, ppm);
    }

    let immediate = ppm.and_then(|ppm| immediate(ppm, reading.flags, expected.range_ppm));
    let danger = match (immediate, ppm) {
        (Some(immediate), _) => Some(immediate),
        (None, ppm) if is_alarm => Some(Decision::SensorAlarm { ppm }),
        (None, Some(ppm)) if has_dose => Some(Decision::Dose { ppm, profile: profile.name }),
        (None, _) => None,
    };
    Verdict { danger, ppm }
}

/// 300 ppm and more, or at least as much as the sensor can tell.
fn immediate(ppm: f32, flags: Flags, range_ppm: Option<f32>) -> Option<Decision> {
    let is_over_range = range_ppm.is_some_and(|range| ppm >= range) || flags.has(Flags::CO_SATURATED);
    if ppm >= DANGER_PPM {
        Some(Decision::Immediate { ppm, limit_ppm: DANGER_PPM })
    } else if is_over_range {
        Some(Decision::Immediate { ppm, limit_ppm: range_ppm.map_or(ppm, |range| range.min(ppm)) })
    } else {
        None
    }
}

impl Memory {
    /// Whether `warmup` or `test` is believed. The longer of the two clocks counts, so that neither
    /// a buffering sensor nor one with a wrong clock is excused for longer.
    fn is_excused(&mut self, state: Option<SensorState>, time: Stamp, received: Stamp) -> bool {
        let believed = match state {
            Some(SensorState::Warmup) => WARMUP_BELIEVED,
            Some(SensorState::Test) => TEST_BELIEVED,
            // no word is no news
            None => return false,
            Some(_) => {
                self.excused = None;
                return false;
            }
        };
        let since = *self.excused.get_or_insert(Excused { received, time });
        received.since(since.received).max(time.since(since.time)) < believed
    }

    /// An excuse covers the value, not silence after it: when nothing comes once it has run out,
    /// somebody must look.
    fn watch_excused(&mut self, ppm: Option<f32>, time: Stamp, received: Stamp, expected: Expected) {
        let Some(ppm) = ppm.filter(|ppm| *ppm >= RISK_PPM) else { return };
        if self.last.is_none_or(|last| time >= last.time) {
            self.last = Some(Last { ppm, time, received });
            // an earlier moment stands: an excused word does not put it off
            self.silent_due.get_or_insert(received + WARMUP_BELIEVED.max(expected.hold()));
        }
    }

    /// A sensor whose clock was set back would never be newest again, so its dose, its calm and its
    /// silence would stand still. When nothing newer has come for as long as a value holds, time
    /// goes on from the reading's own; the exposure so far is kept.
    fn follow_clock(&mut self, time: Stamp, received: Stamp, expected: Expected) {
        let Some(last) = self.last else { return };
        if time < last.time && received.since(last.received) > expected.hold() {
            self.last = Some(Last { time, ..last });
            self.dose.at = time;
            self.dose.held_until = time;
        }
    }

    fn count_calm(&mut self, state: Option<SensorState>, ppm: Option<f32>) {
        match (state, ppm) {
            (None | Some(SensorState::Normal), Some(ppm)) if ppm < RISK_PPM => self.calm += 1,
            // nothing about CO: not calm, not dangerous
            (None | Some(SensorState::Normal), None) => {}
            _ => self.calm = 0,
        }
    }

    pub fn is_calm(&self) -> bool {
        self.calm >= CALM_READINGS
    }

    /// Whether forgetting this changes no decision.
    pub fn is_idle(&self) -> bool {
        self.excused.is_none()
            && self.silent_due.is_none()
            && self.dose.exposure < TRACE
            && self.last.is_none_or(|last| last.ppm < RISK_PPM)
    }

    /// When a decision is due without a further reading.
    pub fn due(&self, profile: &Profile) -> Option<Stamp> {
        let crossing = if self.dose.is_alarm() { None } else { self.dose.crossing(profile) };
        match (crossing, self.silent_due) {
            (Some(crossing), Some(silent)) => Some(crossing.min(silent)),
            (crossing, silent) => crossing.or(silent),
        }
    }

    /// Makes one decision that is due at `now`; ask again until there is none.
    pub fn fire(&mut self, profile: &'static Profile, now: Stamp) -> Option<Decision> {
        if !self.dose.is_alarm()
            && let Some(crossing) = self.dose.crossing(profile).filter(|crossing| *crossing <= now)
        {
            self.dose.advance(profile, crossing);
            self.dose.exposure = 1.0;
            return Some(Decision::Dose { ppm: self.dose.held_ppm, profile: profile.name });
        }
        self.silent_due.filter(|due| *due <= now)?;
        self.silent_due = None;
        let last = self.last?;
        Some(Decision::SilentAtRisk { last_ppm: last.ppm, silent_ms: now.since(last.received) })
    }
}

#[cfg(test)]
mod tests;
