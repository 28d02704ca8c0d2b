//! A room with bottled gas: who uses the appliance, what goes wrong, and what its sensor shows.

pub mod air;

use model::time::{HOUR, MINUTE, SECOND};
use model::{SensorState, Stamp};
use serde::Serialize;

use crate::district::{Place, Sensor};
use crate::random::Random;
use air::Air;

/// CO at which life is at risk at once, and at which a simulated sensor alarms by itself.
pub const DANGER_PPM: f64 = 300.0;

/// What fills a room with CO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    BlockedFlue,
    FluelessHeater,
    RunningEngine,
}

impl FaultKind {
    pub const ALL: [FaultKind; 3] = [FaultKind::BlockedFlue, FaultKind::FluelessHeater, FaultKind::RunningEngine];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::BlockedFlue => "blocked flue",
            FaultKind::FluelessHeater => "flueless heater",
            FaultKind::RunningEngine => "running engine",
        }
    }
}

/// One room and its sensor's cell, advanced on demand.
#[derive(Clone, Debug)]
pub struct Room {
    at: Stamp,
    air: Air,
    cell_ppm: f64,
    temperature_c: f64,
    humidity_pct: f64,
    /// Where temperature and humidity tend to while nobody bathes or cooks.
    usual_temperature_c: f64,
    usual_humidity_pct: f64,
    shut_air_changes_per_hour: f64,
    use_ends: Option<Stamp>,
    next_use: Stamp,
    window_shuts: Option<Stamp>,
    fault: Option<Fault>,
    random: Random,
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    emission_m3_per_hour: f64,
    reached_danger: Option<Stamp>,
}

/// What the sensor of a room measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    pub at: Stamp,
    /// Whole ppm, never above the sensor's range.
    pub co_ppm: u32,
    pub temperature_c: f64,
    pub humidity_pct: f64,
    pub state: SensorState,
}

const OPEN_AIR_CHANGES_PER_HOUR: f64 = 20.0;
const WINDOW_STAYS_OPEN: i64 = HOUR;
/// A bath or a meal, minutes.
const USE_MINUTES: (f64, f64) = (10.0, 25.0);
const MEAN_HOURS_BETWEEN_USES: f64 = 4.0;
/// What a sound appliance adds in a quarter of an hour, ppm.
const SOUND_APPLIANCE_PPM: (f64, f64) = (1.0, 6.0);
/// Time from the beginning of a fault to [`DANGER_PPM`], minutes.
const FAULT_MINUTES: (f64, f64) = (5.0, 8.0);
/// Time constant of warmth and damp in a room.
const CLIMATE_SECONDS: f64 = 300.0;
const NOISE_PPM: f64 = 0.5;
const NOISE_SHARE: f64 = 0.005;

impl Room {
    pub fn new(place: Place, now: Stamp, mut random: Random) -> Room {
        let (volume_m3, shut_air_changes_per_hour) = match place {
            Place::Bathroom => (random.between(6.0, 9.0), random.between(0.4, 0.8)),
            Place::Kitchen => (random.between(9.0, 15.0), random.between(0.8, 1.5)),
        };
        let outdoor_ppm = random.between(0.2, 1.8);
        let usual_temperature_c = random.between(16.0, 24.0);
        let usual_humidity_pct = random.between(55.0, 75.0);
        let next_use = now + (random.exponential(MEAN_HOURS_BETWEEN_USES) * HOUR as f64) as i64;
        let air = Air {
            co_ppm: outdoor_ppm,
            volume_m3,
            outdoor_ppm,
            air_changes_per_hour: shut_air_changes_per_hour,
            emission_m3_per_hour: 0.0,
        };
        Room {
            at: now,
            air,
            cell_ppm: outdoor_ppm,
            temperature_c: usual_temperature_c,
            humidity_pct: usual_humidity_pct,
            usual_temperature_c,
            usual_humidity_pct,
            shut_air_changes_per_hour,
            use_ends: None,
            next_use,
            window_shuts: None,
            fault: None,
            random,
        }
    }

    /// Lets time pass; an earlier instant changes nothing.
    pub fn advance(&mut self, to: Stamp) {
        while self.at < to {
            let use_changes = self.use_ends.unwrap_or(self.next_use);
            let step_end = to.min(use_changes.max(self.at)).min(self.window_shuts.unwrap_or(to).max(self.at));
            self.step(step_end);
            self.change_use();
            if self.window_shuts.is_some_and(|shuts| shuts <= self.at) {
                self.window_shuts = None;
                self.air.air_changes_per_hour = self.shut_air_changes_per_hour;
            }
        }
    }

    fn step(&mut self, to: Stamp) {
        let seconds = to.since(self.at) as f64 / SECOND as f64;
        if let Some(fault) = &mut self.fault
            && fault.reached_danger.is_none()
            && let Some(until) = self.air.seconds_until(DANGER_PPM).filter(|until| *until <= seconds)
        {
            fault.reached_danger = Some(self.at + (until * SECOND as f64) as i64);
        }
        self.cell_ppm = self.air.cell_after(self.cell_ppm, seconds);
        self.air.co_ppm = self.air.co_after(seconds);
        let (warm, damp) = if self.use_ends.is_some() { (5.0, 25.0) } else { (0.0, 0.0) };
        let kept = (-seconds / CLIMATE_SECONDS).exp();
        let tend = |value: f64, target: f64| target + (value - target) * kept;
        self.temperature_c = tend(self.temperature_c, self.usual_temperature_c + warm);
        self.humidity_pct = tend(self.humidity_pct, (self.usual_humidity_pct + damp).min(98.0));
        self.at = to;
    }

    /// Begins or ends a bath or a meal that is due.
    fn change_use(&mut self) {
        match self.use_ends {
            Some(ends) if ends <= self.at => {
                self.use_ends = None;
                self.next_use = self.at + (self.random.exponential(MEAN_HOURS_BETWEEN_USES) * HOUR as f64) as i64;
                self.settle_emission(0.0);
            }
            None if self.next_use <= self.at => {
                let (least, most) = USE_MINUTES;
                self.use_ends = Some(self.at + (self.random.between(least, most) * MINUTE as f64) as i64);
                let (least, most) = SOUND_APPLIANCE_PPM;
                let added = self.random.between(least, most);
                let ambient = Air { co_ppm: self.air.outdoor_ppm, ..self.air };
                self.settle_emission(ambient.emission_reaching(self.air.outdoor_ppm + added, 900.0));
            }
            _ => {}
        }
    }

    fn settle_emission(&mut self, of_appliance: f64) {
        self.air.emission_m3_per_hour = self.fault.map_or(of_appliance, |fault| fault.emission_m3_per_hour);
    }

    /// Something goes wrong now while somebody uses the room: [`DANGER_PPM`] comes in 5 to 8 minutes.
    pub fn begin_fault(&mut self, now: Stamp) {
        self.advance(now);
        self.window_shuts = None;
        self.air.air_changes_per_hour = self.shut_air_changes_per_hour;
        let (least, most) = FAULT_MINUTES;
        let seconds = self.random.between(least, most) * 60.0;
        let emission_m3_per_hour = self.air.emission_reaching(DANGER_PPM, seconds);
        self.fault = Some(Fault { emission_m3_per_hour, reached_danger: None });
        // whoever is poisoned does not turn the tap off
        self.use_ends = Some(now + 24 * HOUR);
        self.settle_emission(0.0);
    }

    /// The source is turned off and the window opened, for an hour.
    pub fn open_window(&mut self, now: Stamp) {
        self.advance(now);
        self.fault = None;
        self.use_ends = None;
        self.next_use = self.at + WINDOW_STAYS_OPEN;
        self.window_shuts = Some(self.at + WINDOW_STAYS_OPEN);
        self.air.air_changes_per_hour = OPEN_AIR_CHANGES_PER_HOUR;
        self.settle_emission(0.0);
    }

    /// When the present fault took the room to [`DANGER_PPM`], as far as time has advanced.
    pub fn reached_danger(&self) -> Option<Stamp> {
        self.fault?.reached_danger
    }

    /// The true CO, ppm.
    pub fn co_ppm(&self) -> f64 {
        self.air.co_ppm
    }

    /// What the sensor shows now: lagging, noisy, in whole ppm, saturating at its range.
    pub fn measure(&mut self, now: Stamp, sensor: &Sensor) -> Measured {
        self.advance(now);
        let noise = self.random.normal() * (NOISE_PPM + NOISE_SHARE * self.cell_ppm);
        let shown = (self.cell_ppm + noise).round().clamp(0.0, f64::from(sensor.range_ppm));
        let state = if shown >= DANGER_PPM { SensorState::Alarm } else { SensorState::Normal };
        Measured {
            at: self.at,
            co_ppm: shown as u32,
            temperature_c: (self.temperature_c * 10.0).round() / 10.0,
            humidity_pct: self.humidity_pct.round(),
            state,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::district::District;

    const START: Stamp = Stamp(1_795_485_600_000);

    fn sensor() -> Sensor {
        District::generate(1, 1).homes[0].sensor.clone()
    }

    fn bathroom(seed: u64) -> Room {
        Room::new(Place::Bathroom, START, Random::new(seed))
    }

    #[test]
    fn daily_life_stays_far_below_alarm() {
        for seed in 0..40 {
            let place = if seed % 2 == 0 { Place::Bathroom } else { Place::Kitchen };
            let mut room = Room::new(place, START, Random::new(seed));
            let sensor = sensor();
            let shown: Vec<Measured> =
                (1..=2 * 1_440).map(|minute| room.measure(START + minute * MINUTE, &sensor)).collect();
            assert!(shown.iter().all(|measured| measured.co_ppm < 30 && measured.state == SensorState::Normal));
            let highest = shown.iter().map(|measured| measured.co_ppm).max().unwrap();
            assert!(highest >= 2, "seed {seed}: appliances were never used");
            assert!(shown.iter().any(|measured| measured.humidity_pct > 75.0));
        }
    }

    #[test]
    fn the_sensor_alarms_itself_and_saturates() {
        let mut room = bathroom(5);
        room.begin_fault(START);
        let sensor = sensor();
        let at = |minute: i64| START + minute * MINUTE;
        assert_eq!(room.measure(at(1), &sensor).state, SensorState::Normal);
        let alarmed = room.measure(at(10), &sensor);
        assert_eq!(alarmed.state, SensorState::Alarm);
        assert!(alarmed.co_ppm >= 300);
        assert_eq!(room.measure(at(90), &sensor).co_ppm, 1_000);
        assert!(room.co_ppm() > 1_000.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_fault_is_dangerous_within_five_to_eight_minutes(seed: u64, before in 0..2 * HOUR) {
            let mut room = bathroom(seed);
            let begun = START + before;
            room.begin_fault(begun);
            let emission = room.air.emission_m3_per_hour;
            prop_assert!((0.010..0.060).contains(&emission), "{emission} m3/h is not what a heater can do");
            room.advance(begun + 5 * MINUTE - SECOND);
            prop_assert_eq!(room.reached_danger(), None);
            prop_assert!(room.co_ppm() < DANGER_PPM);
            room.advance(begun + 8 * MINUTE + SECOND);
            let reached = room.reached_danger().unwrap().since(begun);
            prop_assert!((5 * MINUTE - 1..=8 * MINUTE).contains(&reached), "{reached}");
            prop_assert!(room.co_ppm() >= DANGER_PPM);
        }

        #[test]
        fn an_open_window_brings_it_back(seed: u64, minutes in 6i64..40) {
            let mut room = bathroom(seed);
            room.begin_fault(START);
            let opened = START + minutes * MINUTE;
            room.open_window(opened);
            room.advance(opened + 30 * MINUTE);
            prop_assert!(room.co_ppm() < 10.0, "{}", room.co_ppm());
            prop_assert_eq!(room.reached_danger(), None);
            // the window is shut again by itself, and life goes on
            room.advance(opened + 3 * HOUR);
            prop_assert_eq!(room.air.air_changes_per_hour, room.shut_air_changes_per_hour);
        }

        #[test]
        fn how_often_one_looks_changes_nothing(seed: u64, looks in prop::collection::vec(1i64..HOUR, 1..40)) {
            let (mut often, mut once) = (bathroom(seed), bathroom(seed));
            let mut now = START;
            for look in looks {
                now = now + look;
                often.advance(now);
            }
            once.advance(now);
            prop_assert!((often.co_ppm() - once.co_ppm()).abs() < 1e-6);
            prop_assert!((often.cell_ppm - once.cell_ppm).abs() < 1e-6);
            prop_assert!((often.humidity_pct - once.humidity_pct).abs() < 1e-6);
        }
    }
}
