//! Carbon monoxide in one well-mixed room, by mass balance, and how a sensor's cell follows it.
//!
//! ```text
//! dC/dt = E/V - n (C - C_out)        the room
//! ds/dt = k (C - s)                  the cell, k = ln 10 / t90
//! ```
//!
//! Both are solved exactly for constant E, V and n, so the length of a step changes nothing.

/// A room with everything that acts on its CO, constant for the time of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Air {
    pub co_ppm: f64,
    pub volume_m3: f64,
    pub outdoor_ppm: f64,
    /// Room volumes of outdoor air per hour; 0 is a sealed room.
    pub air_changes_per_hour: f64,
    /// Pure CO set free in the room.
    pub emission_m3_per_hour: f64,
}

/// Time until a cell shows 90 % of a step in CO.
pub const CELL_T90_SECONDS: f64 = 60.0;

const PER_MILLION: f64 = 1e6;
const SECONDS_PER_HOUR: f64 = 3_600.0;

impl Air {
    /// ppm per second that come in, were none to leave.
    fn inflow(&self) -> f64 {
        self.air_changes_per_second() * self.outdoor_ppm
            + self.emission_m3_per_hour / self.volume_m3 * PER_MILLION / SECONDS_PER_HOUR
    }

    fn air_changes_per_second(&self) -> f64 {
        self.air_changes_per_hour / SECONDS_PER_HOUR
    }

    /// The CO after so many seconds, ppm.
    pub fn co_after(&self, seconds: f64) -> f64 {
        let n = self.air_changes_per_second();
        self.co_ppm * (-n * seconds).exp() + self.inflow() * approach(n, seconds)
    }

    /// What a cell that shows `cell_ppm` now shows after so many seconds.
    pub fn cell_after(&self, cell_ppm: f64, seconds: f64) -> f64 {
        let k = std::f64::consts::LN_10 / CELL_T90_SECONDS;
        let n = self.air_changes_per_second();
        let lagging = (-n * seconds).exp() * approach(k - n, seconds);
        cell_ppm * (-k * seconds).exp() + self.co_ppm * k * lagging + self.inflow() * (approach(n, seconds) - lagging)
    }

    /// Seconds until the CO, rising, reaches `ppm`: 0 when it is there, `None` when it never will be.
    pub fn seconds_until(&self, ppm: f64) -> Option<f64> {
        if self.co_ppm >= ppm {
            return Some(0.0);
        }
        let n = self.air_changes_per_second();
        let rise = self.inflow() - n * self.co_ppm;
        if rise <= 0.0 {
            return None;
        }
        // C(t) - C0 = rise * approach(n, t), turned around
        let share = n * (ppm - self.co_ppm) / rise;
        let seconds = if share == 0.0 { (ppm - self.co_ppm) / rise } else { -(-share).ln_1p() / n };
        seconds.is_finite().then_some(seconds)
    }

    /// The emission that takes the room from what it has to `ppm` in so many seconds, m3/h.
    pub fn emission_reaching(&self, ppm: f64, seconds: f64) -> f64 {
        let without = Air { emission_m3_per_hour: 0.0, ..*self }.co_after(seconds);
        let needed = (ppm - without) / approach(self.air_changes_per_second(), seconds);
        (needed * SECONDS_PER_HOUR / PER_MILLION * self.volume_m3).max(0.0)
    }
}

/// (1 - e^(-rate t)) / rate, which is t for a rate of 0.
fn approach(rate: f64, seconds: f64) -> f64 {
    if rate == 0.0 { seconds } else { -(-rate * seconds).exp_m1() / rate }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEALED: Air =
        Air { co_ppm: 0.0, volume_m3: 8.0, outdoor_ppm: 0.0, air_changes_per_hour: 0.0, emission_m3_per_hour: 0.024 };

    fn is_close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-7 * (1.0 + a.abs().max(b.abs()))
    }

    #[test]
    fn a_sealed_room_rises_in_a_line() {
        // 0.024 m3/h into 8 m3 are 3,000 ppm per hour
        assert!(is_close(SEALED.co_after(360.0), 300.0));
        assert!(is_close(SEALED.seconds_until(300.0).unwrap(), 360.0));
    }

    #[test]
    fn air_change_bends_the_line_towards_equilibrium() {
        let aired = Air { air_changes_per_hour: 2.0, outdoor_ppm: 1.0, ..SEALED };
        // equilibrium 1 + 3000/2 ppm; after half an hour 1 - 1/e of the way
        assert!(is_close(aired.co_after(1_800.0), 1_501.0 * (1.0 - (-1.0f64).exp())));
        assert!(is_close(aired.co_after(1e6), 1_501.0));
        assert_eq!(aired.seconds_until(1_502.0), None);
    }

    #[test]
    fn an_opened_window_clears_the_room() {
        let opened = Air { co_ppm: 800.0, air_changes_per_hour: 20.0, emission_m3_per_hour: 0.0, ..SEALED };
        assert!(is_close(opened.co_after(900.0), 800.0 * (-5.0f64).exp()));
    }

    #[test]
    fn a_cell_shows_nine_tenths_of_a_step_after_t90() {
        let steady = Air { co_ppm: 100.0, emission_m3_per_hour: 0.0, ..SEALED };
        assert!(is_close(steady.cell_after(0.0, CELL_T90_SECONDS), 90.0));
        // behind a line it stays by its time constant
        let behind = SEALED.co_after(3_600.0) - SEALED.cell_after(0.0, 3_600.0);
        assert!(is_close(behind, 3_000.0 / 3_600.0 * CELL_T90_SECONDS / std::f64::consts::LN_10));
    }

    fn air() -> impl Strategy<Value = Air> {
        let changes = prop_oneof![Just(0.0), 0.01..40.0f64, Just(3_600.0 * std::f64::consts::LN_10 / 60.0)];
        (0.0..2_000.0f64, 4.0..20.0f64, 0.0..3.0f64, changes, prop_oneof![Just(0.0), 0.001..0.5f64]).prop_map(
            |(co_ppm, volume_m3, outdoor_ppm, air_changes_per_hour, emission_m3_per_hour)| Air {
                co_ppm,
                volume_m3,
                outdoor_ppm,
                air_changes_per_hour,
                emission_m3_per_hour,
            },
        )
    }

    proptest! {
        #[test]
        fn splitting_a_step_changes_nothing(air in air(), cell in 0.0..1_000.0f64, first in 0.0..2_000.0f64, second in 0.0..2_000.0f64) {
            let between = Air { co_ppm: air.co_after(first), ..air };
            prop_assert!(is_close(between.co_after(second), air.co_after(first + second)));
            let cell_between = air.cell_after(cell, first);
            prop_assert!(is_close(between.cell_after(cell_between, second), air.cell_after(cell, first + second)));
        }

        #[test]
        fn a_small_step_obeys_the_differential_equation(air in air(), cell in 0.0..1_000.0f64) {
            let step = 1e-4;
            let slope = air.emission_m3_per_hour / air.volume_m3 * 1e6 / 3_600.0
                - air.air_changes_per_hour / 3_600.0 * (air.co_ppm - air.outdoor_ppm);
            let measured = (air.co_after(step) - air.co_ppm) / step;
            prop_assert!((measured - slope).abs() < 1e-3 * (1.0 + slope.abs()), "{measured} {slope}");
            let slope = std::f64::consts::LN_10 / 60.0 * (air.co_ppm - cell);
            let measured = (air.cell_after(cell, step) - cell) / step;
            prop_assert!((measured - slope).abs() < 1e-3 * (1.0 + slope.abs()), "{measured} {slope}");
        }

        #[test]
        fn the_crossing_is_where_it_is_said_to_be(air in air(), ppm in 1.0..3_000.0f64) {
            match air.seconds_until(ppm) {
                Some(0.0) => prop_assert!(air.co_ppm >= ppm),
                Some(seconds) => prop_assert!(is_close(air.co_after(seconds), ppm), "{}", air.co_after(seconds)),
                None => prop_assert!(air.co_after(1e5) <= ppm * 1.000_001),
            }
        }

        #[test]
        fn the_wanted_emission_does_what_is_wanted(air in air(), above in 1.0..2_000.0f64, seconds in 60.0..900.0f64) {
            let ppm = air.co_ppm.max(air.outdoor_ppm) + above;
            let source = Air { emission_m3_per_hour: air.emission_reaching(ppm, seconds), ..air };
            prop_assert!(is_close(source.co_after(seconds), ppm));
        }

        #[test]
        fn co_is_never_negative_nor_lost(air in air(), seconds in 0.0..1e5f64) {
            prop_assert!(air.co_after(seconds) >= 0.0 && air.co_after(seconds).is_finite());
            prop_assert!(air.cell_after(0.0, seconds) >= -1e-9);
        }
    }
}
