use model::dose::EN50291;
use proptest::prelude::*;

use super::*;

const START: Stamp = Stamp(1_780_000_000_000);
const EVERY_MINUTE: Expected = Expected { interval: MINUTE, range_ppm: Some(1_000.0) };

fn co(time: Stamp, ppm: f32) -> Reading {
    Reading { time, co_ppm: Some(ppm), state: Some(SensorState::Normal), ..Reading::default() }
}

fn said(time: Stamp, ppm: f32, state: SensorState) -> Reading {
    Reading { state: Some(state), ..co(time, ppm) }
}

fn judged(memory: &mut Memory, reading: &Reading) -> Verdict {
    judge(memory, &EN50291, reading, reading.time, EVERY_MINUTE)
}

#[test]
fn the_sensors_own_alarm_counts_with_and_without_a_value() {
    let mut memory = Memory::default();
    let alarm = said(START, 60.0, SensorState::Alarm);
    assert_eq!(judged(&mut memory, &alarm).danger, Some(Decision::SensorAlarm { ppm: Some(60.0) }));
    let bare = Reading { co_ppm: None, flags: Flags::CO_UNUSABLE, ..alarm };
    assert_eq!(judged(&mut memory, &bare).danger, Some(Decision::SensorAlarm { ppm: None }));
}

#[test]
fn the_end_of_the_range_is_at_least_that_value() {
    let short = Expected { interval: MINUTE, range_ppm: Some(200.0) };
    let danger = |ppm, expected| judge(&mut Memory::default(), &EN50291, &co(START, ppm), START, expected).danger;
    assert_eq!(danger(200.0, short), Some(Decision::Immediate { ppm: 200.0, limit_ppm: 200.0 }));
    assert_eq!(danger(199.0, short), None);
    assert_eq!(danger(400.0, short), Some(Decision::Immediate { ppm: 400.0, limit_ppm: 300.0 }));
    let saturated = Reading { flags: Flags::CO_SATURATED, ..co(START, 250.0) };
    assert!(matches!(judged(&mut Memory::default(), &saturated).danger, Some(Decision::Immediate { .. })));
}

#[test]
fn a_range_of_nothing_does_not_make_clean_air_a_danger() {
    let placed = |range_ppm| Placed {
        sensor: registry::sensors::Sensor {
            id: model::DeviceId::new("S1").unwrap(),
            premises: None,
            room: String::new(),
            model: String::new(),
            interval_ms: 0,
            range_ppm,
        },
        area: None,
        address: None,
        building: None,
    };
    for range in [0.0, -1.0, f32::NAN, f32::INFINITY, 30.0] {
        let expected = Expected::of(Some(&placed(range)));
        assert_eq!(expected, Expected { interval: USUAL_INTERVAL, range_ppm: None });
    }
}

#[test]
fn dose_alarms_on_its_timer_without_a_further_reading() {
    let mut memory = Memory::default();
    let mut now = START;
    // 100 ppm alarms after 30 minutes; the last reading comes after 29
    for _ in 0..30 {
        assert_eq!(judged(&mut memory, &co(now, 100.0)).danger, None);
        now = now + MINUTE;
    }
    let due = memory.due(&EN50291).expect("the held value crosses");
    assert_eq!(due.since(START), 30 * MINUTE);
    assert_eq!(memory.fire(&EN50291, due - 1), None);
    assert_eq!(memory.fire(&EN50291, due), Some(Decision::Dose { ppm: 100.0, profile: "en50291" }));
    assert_eq!(memory.fire(&EN50291, due), None, "the same crossing decides once");
    // it holds for as long as there is gas, and ends with it
    assert!(matches!(judged(&mut memory, &co(due, 40.0)).danger, Some(Decision::Dose { .. })));
    assert_eq!(judged(&mut memory, &co(due + MINUTE, 5.0)).danger, None);
}

#[test]
fn silence_at_thirty_is_danger_once() {
    let mut memory = Memory::default();
    judged(&mut memory, &co(START, 30.0));
    let due = memory.due(&EN50291).unwrap();
    assert_eq!(due.since(START), 3 * MINUTE);
    let silent = Decision::SilentAtRisk { last_ppm: 30.0, silent_ms: 3 * MINUTE };
    assert_eq!(memory.fire(&EN50291, due), Some(silent));
    assert_eq!(memory.due(&EN50291), None);
}

#[test]
fn silence_of_a_slow_sensor_is_danger_after_thirty_minutes() {
    let daily = Expected { interval: 24 * 60 * MINUTE, range_ppm: None };
    let mut memory = Memory::default();
    judge(&mut memory, &EN50291, &co(START, 45.0), START, daily);
    assert_eq!(memory.silent_due, Some(START + 30 * MINUTE));
}

#[test]
fn words_without_a_value_do_not_end_silence() {
    let mut memory = Memory::default();
    judged(&mut memory, &co(START, 45.0));
    let due = memory.silent_due;
    let fault = Reading { co_ppm: None, flags: Flags::CO_UNUSABLE, ..said(START + MINUTE, 0.0, SensorState::Fault) };
    judged(&mut memory, &fault);
    judged(&mut memory, &said(START + 2 * MINUTE, 0.0, SensorState::Warmup));
    assert_eq!(memory.silent_due, due);
}

#[test]
fn silence_after_an_excused_danger_is_danger() {
    let mut memory = Memory::default();
    assert_eq!(judged(&mut memory, &said(START, 400.0, SensorState::Test)).danger, None);
    let due = memory.silent_due.unwrap();
    assert_eq!(due, START + WARMUP_BELIEVED);
    assert!(matches!(memory.fire(&EN50291, due), Some(Decision::SilentAtRisk { .. })));
}

#[test]
fn only_two_valid_normal_readings_are_calm() {
    let mut memory = Memory::default();
    judged(&mut memory, &co(START, 412.0));
    let unusable = Reading { co_ppm: None, flags: Flags::CO_UNUSABLE, ..said(START, 0.0, SensorState::Fault) };
    let no_value = Reading { co_ppm: None, ..co(START, 0.0) };
    for (minute, reading) in [
        (1, co(START, 5.0)),
        (2, unusable),
        (3, co(START, 5.0)),
        (4, said(START, 5.0, SensorState::Alarm)),
        (5, co(START, 5.0)),
        (6, said(START, 5.0, SensorState::EndOfLife)),
        (7, no_value),
        (8, no_value),
        (9, co(START, 5.0)),
    ] {
        judged(&mut memory, &Reading { time: START + minute * MINUTE, ..reading });
        assert!(!memory.is_calm(), "minute {minute}");
    }
    judged(&mut memory, &co(START + 10 * MINUTE, 29.9));
    assert!(memory.is_calm());
    judged(&mut memory, &co(START + 11 * MINUTE, 30.0));
    assert!(!memory.is_calm());
}

#[test]
fn fault_and_a_value_of_danger_is_danger() {
    let fault = said(START, 500.0, SensorState::Fault);
    assert!(matches!(judged(&mut Memory::default(), &fault).danger, Some(Decision::Immediate { .. })));
}

#[test]
fn warmup_after_buffering_is_not_believed_for_longer() {
    let mut memory = Memory::default();
    let received = START + 60 * MINUTE;
    let mut dangers = 0;
    for minute in 0..30 {
        let reading = said(START + minute * MINUTE, 400.0, SensorState::Warmup);
        dangers += i32::from(judge(&mut memory, &EN50291, &reading, received, EVERY_MINUTE).danger.is_some());
    }
    assert_eq!(dangers, 20, "the readings of the first ten minutes are excused");
}

#[test]
fn forgetting_is_safe_only_after_the_dose_has_decayed() {
    let mut memory = Memory::default();
    judged(&mut memory, &co(START, 100.0));
    assert!(!memory.is_idle());
    judged(&mut memory, &co(START + 10 * MINUTE, 1.0));
    assert!(!memory.is_idle());
    memory.dose.exposure = TRACE / 2.0;
    assert!(memory.is_idle());
}

fn any_state() -> impl Strategy<Value = Option<SensorState>> {
    prop_oneof![Just(None), prop::sample::select(SensorState::ALL.to_vec()).prop_map(Some)]
}

fn any_reading() -> impl Strategy<Value = Reading> {
    (0i64..120 * MINUTE, prop::option::of(0.0f32..1_200.0), any_state(), 0u16..256).prop_map(
        |(after, co_ppm, state, flags)| Reading {
            time: START + after,
            co_ppm,
            state,
            flags: Flags(flags),
            ..Reading::default()
        },
    )
}

proptest! {
    /// Whatever came before, in whatever order of time: 300 ppm without an excuse is danger.
    #[test]
    fn immediate_always_fires(
        before in prop::collection::vec((any_reading(), 0i64..10 * MINUTE), 0..20),
        last in any_reading(),
        ppm in 300.0f32..1_000_000.0,
    ) {
        let mut memory = Memory::default();
        let mut received = START + 120 * MINUTE;
        for (reading, pause) in &before {
            received = received + *pause;
            judge(&mut memory, &EN50291, reading, received, EVERY_MINUTE);
        }
        let excuse = matches!(last.state, Some(SensorState::Warmup | SensorState::Test));
        let state = if excuse { None } else { last.state };
        let unusable = last.flags.has(Flags::CO_UNUSABLE);
        let flags = if unusable { Flags(last.flags.0 & !Flags::CO_UNUSABLE.0) } else { last.flags };
        let last = Reading { co_ppm: Some(ppm), state, flags, ..last };
        let danger = judge(&mut memory, &EN50291, &last, received, EVERY_MINUTE).danger;
        prop_assert_eq!(danger, Some(Decision::Immediate { ppm, limit_ppm: DANGER_PPM }));
        prop_assert!(is_remarkable(&last));
    }

    /// A sensor that keeps saying `warmup` or `test` is believed for ten or five minutes, no more.
    #[test]
    fn excuses_run_out(is_test in any::<bool>(), pauses in prop::collection::vec(1i64..5 * MINUTE, 1..40)) {
        let (state, believed) =
            if is_test { (SensorState::Test, TEST_BELIEVED) } else { (SensorState::Warmup, WARMUP_BELIEVED) };
        let mut memory = Memory::default();
        let mut now = START;
        for pause in pauses {
            let danger = judged(&mut memory, &said(now, 500.0, state)).danger;
            prop_assert_eq!(danger.is_some(), now.since(START) >= believed, "after {} ms", now.since(START));
            now = now + pause;
        }
        judged(&mut memory, &co(now, 1.0));
        prop_assert_eq!(judged(&mut memory, &said(now + 1, 500.0, state)).danger, None, "a new excuse after a normal word");
    }

    /// A sensor without memory may skip the rules exactly when they would decide and remember nothing.
    #[test]
    fn unremarkable_readings_leave_no_trace(reading in any_reading()) {
        let mut memory = Memory::default();
        let verdict = judge(&mut memory, &EN50291, &reading, START + 120 * MINUTE, EVERY_MINUTE);
        if !is_remarkable(&reading) {
            prop_assert_eq!(verdict.danger, None);
            prop_assert!(memory.is_idle());
            prop_assert_eq!(memory.due(&EN50291), None);
        }
    }

    /// A late reading decides by itself only: the dose is as if it had not come.
    #[test]
    fn late_readings_are_not_part_of_the_dose(ppm in 0.0f32..299.0, late_ppm in 0.0f32..1_000.0) {
        let mut memory = Memory::default();
        judged(&mut memory, &co(START, ppm));
        let before = memory.dose;
        let late = Reading { flags: Flags::LATE, ..co(START - 20 * MINUTE, late_ppm) };
        let verdict = judge(&mut memory, &EN50291, &late, START + 1, EVERY_MINUTE);
        prop_assert_eq!(memory.dose, before);
        prop_assert_eq!(verdict.danger.is_some(), late_ppm >= DANGER_PPM);
    }

    /// A clock that is hours slow, or falls back to 2000, does not cost the dose alarm.
    #[test]
    fn a_wrong_clock_does_not_cost_the_dose(slow in 0i64..100_000 * MINUTE, falls_back_after in 1i64..10) {
        let mut memory = Memory::default();
        let mut alarmed = None;
        for minute in 0..60 {
            let received = START + minute * MINUTE;
            let time = if minute < falls_back_after { received } else { received - slow };
            let reading = Reading { flags: Flags::LATE, ..co(time, 120.0) };
            if judge(&mut memory, &EN50291, &reading, received, EVERY_MINUTE).danger.is_some() {
                alarmed.get_or_insert(minute);
            }
        }
        prop_assert!(alarmed.is_some_and(|minute| minute <= 40), "{alarmed:?}");
    }

    /// At or above 30 ppm there is always a moment at which silence is decided.
    #[test]
    fn risk_never_goes_unwatched(readings in prop::collection::vec(any_reading(), 1..20)) {
        let mut memory = Memory::default();
        for reading in &readings {
            judge(&mut memory, &EN50291, reading, START + 120 * MINUTE, EVERY_MINUTE);
            let at_risk = memory.last.is_some_and(|last| last.ppm >= RISK_PPM);
            prop_assert_eq!(memory.silent_due.is_some(), at_risk);
        }
    }
}
