//! Time-weighted CO exposure of one sensor against an alarm standard.
//!
//! A standard gives points: at `ppm` the alarm must not sound before one time and must sound by
//! another. Between the points the time to alarm T(c) is interpolated log-log; exposure grows by
//! dt/T(c) and the alarm is due when it reaches 1. Each T lies inside its window and ends
//! [`MARGIN`] before the latest moment where the window has room, else alarm is at the first reading.
//!
//! These tables are type tests for one instrument under constant gas (domain facts 1.1), so the
//! sensor's own alarm is never delayed by them: they are added to it.

use crate::time::{MINUTE, Stamp};

/// How long before "must alarm by" the alarm is aimed at, for samples that come late.
pub const MARGIN: i64 = 10 * MINUTE;
/// A value is held this many expected intervals after the last reading, then exposure freezes.
pub const HELD_INTERVALS: i64 = 3;
/// ... but never longer than this.
pub const HELD_AT_MOST: i64 = 30 * MINUTE;
/// Half-life of exposure in clean air: the fast end of carboxyhaemoglobin's 2-6.5 h in room air, so
/// that the dose is not forgotten faster than the body forgets it.
const HALF_LIFE: f64 = 120.0 * MINUTE as f64;

/// A point of a standard's table. `latest: None` means the standard asks for no alarm there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub ppm: f32,
    /// Must not alarm before, milliseconds of constant exposure.
    pub not_before: i64,
    /// Must have alarmed by, milliseconds of constant exposure.
    pub latest: Option<i64>,
}

/// An alarm standard's table, ascending in ppm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    pub name: &'static str,
    pub points: &'static [Point],
}

const fn point(ppm: f32, not_before_min: i64, latest_min: i64) -> Point {
    Point { ppm, not_before: not_before_min * MINUTE, latest: Some(latest_min * MINUTE) }
}

/// EN 50291-1: 30 ppm not before 120 min; 50 ppm 60-90 min; 100 ppm 10-40 min; 300 ppm within 3 min.
pub const EN50291: Profile = Profile {
    name: "en50291",
    points: &[
        Point { ppm: 30.0, not_before: 120 * MINUTE, latest: None },
        point(50.0, 60, 90),
        point(100.0, 10, 40),
        point(300.0, 0, 3),
    ],
};

/// UL 2034: 30 ppm not before 30 days; 70 ppm 60-240 min; 150 ppm 10-50 min; 400 ppm 4-15 min.
pub const UL2034: Profile = Profile {
    name: "ul2034",
    points: &[
        Point { ppm: 30.0, not_before: 30 * 24 * 60 * MINUTE, latest: None },
        point(70.0, 60, 240),
        point(150.0, 10, 50),
        point(400.0, 4, 15),
    ],
};

impl Point {
    /// The time to alarm aimed at, milliseconds; `None` where no alarm is asked for, 0 where the
    /// window has no room for the margin.
    fn target(&self) -> Option<i64> {
        let aimed = self.latest? - MARGIN;
        Some(if aimed > 0 && aimed >= self.not_before { aimed } else { 0 })
    }
}

impl Profile {
    pub fn by_name(name: &str) -> Option<&'static Profile> {
        [&EN50291, &UL2034].into_iter().find(|profile| profile.name == name)
    }

    /// Milliseconds of constant `ppm` until the alarm: `None` = never, 0 = at the first reading.
    pub fn time_to_alarm(&self, ppm: f32) -> Option<f64> {
        let quiet =
            self.points.iter().filter(|point| point.latest.is_none()).map(|point| point.ppm).fold(0.0, f32::max);
        if ppm.is_nan() || ppm <= quiet {
            return None;
        }
        let (below, above) = self.around(ppm)?;
        let above_target = above.target()?;
        if ppm >= above.ppm && above_target == 0 {
            return Some(0.0);
        }
        // towards a point that alarms at once, the curve aims at the last moment of its window
        let above_time = if above_target == 0 { above.latest? } else { above_target } as f64;
        let below_time = below.target()? as f64;
        let share = (ppm / below.ppm).ln() / (above.ppm / below.ppm).ln();
        let time = (below_time.ln() + f64::from(share) * (above_time / below_time).ln()).exp();
        // under the lowest alarming point the curve is extended; the quiet point's promise still holds
        let floor = self
            .points
            .iter()
            .rfind(|point| point.ppm >= ppm && point.latest.is_none())
            .map_or(0, |point| point.not_before);
        Some(time.max(floor as f64))
    }

    /// The two alarming points whose line gives T(ppm): neighbours, or the outermost pair.
    fn around(&self, ppm: f32) -> Option<(&Point, &Point)> {
        let first = self.points.iter().position(|point| point.latest.is_some())?;
        let alarming = &self.points[first..];
        let last = alarming.len().checked_sub(2)?;
        let upper = alarming.iter().position(|point| point.ppm > ppm).unwrap_or(alarming.len());
        let lower = upper.saturating_sub(1).min(last);
        Some((&alarming[lower], &alarming[lower + 1]))
    }
}

/// One sensor's exposure. A value: copy it, store its fields, compare it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dose {
    /// Share of the alarm dose taken so far; 1 and more means alarm.
    pub exposure: f64,
    /// The exposure is known up to this instant.
    pub at: Stamp,
    /// The value that holds from `at` on, ppm.
    pub held_ppm: f32,
    /// Until when it holds.
    pub held_until: Stamp,
}

impl Dose {
    /// Brings the exposure forward to `now` with the held value, then freezes it. Going back in time
    /// changes nothing.
    pub fn advance(&mut self, profile: &Profile, now: Stamp) {
        let until = now.min(self.held_until);
        if until > self.at {
            let passed = until.since(self.at) as f64;
            self.exposure = match profile.time_to_alarm(self.held_ppm) {
                Some(time) if time > 0.0 => (self.exposure + passed / time).min(1.0),
                Some(_) => 1.0,
                None => self.exposure * 0.5_f64.powf(passed / HALF_LIFE),
            };
        }
        self.at = self.at.max(now);
    }

    /// Takes a reading at `time`. One that is older than what is known is not part of the dose.
    /// `interval` is how often the sensor is expected to report, milliseconds.
    pub fn take(&mut self, profile: &Profile, time: Stamp, ppm: f32, interval: i64) {
        if time < self.at {
            return;
        }
        self.advance(profile, time);
        self.held_ppm = ppm;
        self.held_until = time + interval.saturating_mul(HELD_INTERVALS).clamp(0, HELD_AT_MOST);
        if profile.time_to_alarm(ppm) == Some(0.0) {
            self.exposure = 1.0;
        }
    }

    pub fn is_alarm(&self) -> bool {
        self.exposure >= 1.0
    }

    /// When the held value alone brings the alarm, if it does before it stops holding.
    pub fn crossing(&self, profile: &Profile) -> Option<Stamp> {
        if self.is_alarm() {
            return Some(self.at);
        }
        let time = profile.time_to_alarm(self.held_ppm)?;
        let due = self.at + ((1.0 - self.exposure) * time).ceil() as i64;
        (due <= self.held_until).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Milliseconds until a sensor at constant `ppm`, reporting every `interval`, alarms.
    fn alarm_after(profile: &Profile, ppm: f32, interval: i64, for_at_most: i64) -> Option<i64> {
        let start = Stamp(1_780_000_000_000);
        let mut dose = Dose::default();
        let mut now = start;
        while now.since(start) <= for_at_most {
            dose.take(profile, now, ppm, interval);
            if let Some(crossing) = dose.crossing(profile)
                && crossing < now + interval
            {
                return Some(crossing.since(start));
            }
            now = now + interval;
        }
        None
    }

    #[test]
    fn aimed_times_are_those_of_the_design() {
        let minutes = |ppm| EN50291.time_to_alarm(ppm).map(|time| (time / MINUTE as f64).round());
        assert_eq!(minutes(30.0), None);
        assert_eq!(minutes(50.0), Some(80.0));
        assert_eq!(minutes(100.0), Some(30.0));
        assert_eq!(minutes(300.0), Some(0.0));
        assert_eq!(minutes(5_000.0), Some(0.0));
        assert_eq!(UL2034.time_to_alarm(400.0).map(|time| time.round()), Some(5.0 * MINUTE as f64));
    }

    #[test]
    fn thirty_ppm_never_alarms_in_a_day() {
        for profile in [&EN50291, &UL2034] {
            assert_eq!(alarm_after(profile, 30.0, MINUTE, 24 * 60 * MINUTE), None, "{}", profile.name);
        }
    }

    #[test]
    fn silence_freezes_the_dose_after_three_intervals() {
        let start = Stamp(1_780_000_000_000);
        let mut dose = Dose::default();
        dose.take(&EN50291, start, 100.0, MINUTE);
        dose.advance(&EN50291, start + 60 * MINUTE);
        assert!((dose.exposure - 0.1).abs() < 1e-9, "three of thirty minutes: {}", dose.exposure);
        assert_eq!(dose.crossing(&EN50291), None);
    }

    #[test]
    fn clean_air_halves_the_dose_in_two_hours() {
        let start = Stamp(1_780_000_000_000);
        let mut dose = Dose { exposure: 0.8, at: start, held_ppm: 0.0, held_until: start + 240 * MINUTE };
        dose.advance(&EN50291, start + 120 * MINUTE);
        assert!((dose.exposure - 0.4).abs() < 1e-9);
    }

    proptest! {
        /// Each tabled window holds at any reporting interval up to ten minutes.
        #[test]
        fn every_window_is_met(index in 0usize..4, interval in 1_000i64..600_000, use_ul in any::<bool>()) {
            let profile = if use_ul { &UL2034 } else { &EN50291 };
            let point = profile.points[index];
            let limit = point.latest.unwrap_or(point.not_before);
            let alarmed = alarm_after(profile, point.ppm, interval, limit.min(24 * 60 * MINUTE));
            match point.latest {
                Some(latest) => {
                    let after = alarmed.expect("the standard asks for an alarm");
                    prop_assert!(after <= latest && after >= point.not_before, "{} ppm after {after} ms", point.ppm);
                }
                None => prop_assert_eq!(alarmed, None),
            }
        }

        /// More gas never alarms later.
        #[test]
        fn time_to_alarm_falls_with_ppm(a in 0.0f32..2_000.0, b in 0.0f32..2_000.0, use_ul in any::<bool>()) {
            let profile = if use_ul { &UL2034 } else { &EN50291 };
            let (low, high) = (a.min(b), a.max(b));
            let time = |ppm| profile.time_to_alarm(ppm).unwrap_or(f64::INFINITY);
            prop_assert!(time(high) <= time(low) * (1.0 + 1e-6));
        }

        /// Splitting time differently does not change the dose; it never leaves 0..=1.
        #[test]
        fn dose_depends_on_time_not_on_steps(ppm in 0.0f32..299.0, cuts in prop::collection::vec(1i64..600_000, 1..8)) {
            let start = Stamp(1_780_000_000_000);
            let total: i64 = cuts.iter().sum();
            let mut whole = Dose { at: start, held_ppm: ppm, held_until: start + total, ..Dose::default() };
            let mut stepped = whole;
            whole.advance(&EN50291, start + total);
            let mut now = start;
            for cut in cuts {
                now = now + cut;
                stepped.advance(&EN50291, now);
            }
            prop_assert!((whole.exposure - stepped.exposure).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&whole.exposure));
        }
    }
}
