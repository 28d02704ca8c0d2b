use proptest::prelude::*;

use super::*;

const NOW: Stamp = Stamp(1_780_000_000_000);

fn one(payload: &str) -> Reading {
    let decoded = readings(payload.as_bytes(), NOW);
    assert_eq!(decoded.rejects, [], "{payload}");
    assert_eq!(decoded.readings.len(), 1, "{payload}");
    decoded.readings[0]
}

#[test]
fn a_full_reading_is_taken_field_by_field() {
    let reading = one(r#"{"time":1779999999000,"co_ppm":12.5,"lel_pct":1,"temperature_c":-3.5,"humidity_pct":61,
            "battery_pct":88,"signal_dbm":-97,"seq":42,"state":"normal","model":"X"}"#);
    assert_eq!(
        reading,
        Reading {
            time: Stamp(1_779_999_999_000),
            co_ppm: Some(12.5),
            lel_pct: Some(1.0),
            temperature_c: Some(-3.5),
            humidity_pct: Some(61.0),
            battery_pct: Some(88.0),
            signal_dbm: Some(-97.0),
            seq: Some(42),
            state: Some(SensorState::Normal),
            flags: Flags::default(),
        }
    );
}

#[test]
fn absent_time_is_time_of_receipt_and_marked() {
    let reading = one(r#"{"co_ppm":1}"#);
    assert_eq!(reading.time, NOW);
    assert!(reading.flags.has(Flags::TIME_OF_RECEIPT));
}

#[test]
fn a_time_that_cannot_be_is_dropped_but_the_value_stays() {
    for time in [r#""2021-08-23T10:22:13""#, "1700000000", r#""soon""#, "true", "-5", "1e300"] {
        let reading = one(&format!(r#"{{"co_ppm":400,"time":{time}}}"#));
        assert_eq!((reading.time, reading.co_ppm), (NOW, Some(400.0)), "{time}");
        assert!(reading.flags.has(Flags::TIME_UNUSABLE), "{time}");
    }
}

#[test]
fn wrong_optional_fields_never_cost_the_co_value() {
    let reading = one(r#"{"battery_pct":"full","humidity_pct":{"a":[1]},"seq":-1,"state":"??","co_ppm":400}"#);
    assert_eq!(reading.co_ppm, Some(400.0));
    assert_eq!(reading.state, None);
    assert!(reading.flags.has(Flags::FIELD_DROPPED));
}

#[test]
fn co_that_is_no_value_is_a_fault_not_a_rejection() {
    for co in [r#""NaN""#, "-1", r#""-inf""#, r#""abc""#, "[1]", "true", r#""Infinity""#] {
        let reading = one(&format!(r#"{{"co_ppm":{co}}}"#));
        assert_eq!(reading.co_ppm, None, "{co}");
        assert!(reading.flags.has(Flags::CO_UNUSABLE), "{co}");
    }
}

#[test]
fn an_enormous_value_counts_as_at_least_the_most_possible() {
    for co in ["1e30", "1e400"] {
        let reading = one(&format!(r#"{{"co_ppm":{co}}}"#));
        assert_eq!(reading.co_ppm, Some(MOST_PPM), "{co}");
        assert!(reading.flags.has(Flags::CO_SATURATED), "{co}");
    }
}

#[test]
fn bare_nan_is_refused_with_its_place() {
    let decoded = readings(br#"{"co_ppm":NaN}"#, NOW);
    assert_eq!(decoded.readings, []);
    assert_eq!(decoded.rejects[0].code, RejectCode::NotJson);
    assert!(decoded.rejects[0].detail.contains("column 11"), "{}", decoded.rejects[0].detail);
}

#[test]
fn a_payload_that_breaks_off_after_the_value_still_counts() {
    let decoded = readings(br#"{"co_ppm":400,"batt"#, NOW);
    assert_eq!(decoded.readings[0].co_ppm, Some(400.0));
    assert!(decoded.readings[0].flags.has(Flags::SALVAGED));
    assert_eq!(decoded.rejects[0].code, RejectCode::NotJson);
}

#[test]
fn a_value_is_found_in_what_is_no_json() {
    for payload in [
        r#"{"temperature_c": NaN, "co_ppm": 400}"#,
        r#"[{"seq":NaN,"co_ppm":5},{"co_ppm":400}]"#,
        "{\"note\":\"a\tb\",\"co_ppm\":400}",
        "\u{feff}{\"co_ppm\":400}",
        r#"{"co_ppm": +400}"#,
        r#"{"co_ppm":5} {"co_ppm":400}"#,
    ] {
        let decoded = readings(payload.as_bytes(), NOW);
        assert!(decoded.readings.iter().any(|reading| reading.co_ppm == Some(400.0)), "{payload}");
        assert!(decoded.readings.iter().all(|reading| reading.flags.has(Flags::SALVAGED)), "{payload}");
        assert_eq!(decoded.rejects[0].code, RejectCode::NotJson, "{payload}");
    }
    let alarm = readings(br#"{"humidity_pct":nan,"state":"alarm"}"#, NOW);
    assert_eq!(alarm.readings[0].state, Some(SensorState::Alarm));
}

#[test]
fn readings_come_out_in_order_of_time() {
    let payload = format!(r#"[{{"co_ppm":2,"time":{}}},{{"co_ppm":1,"time":{}}}]"#, NOW.0, NOW.0 - MINUTE);
    let values: Vec<_> = readings(payload.as_bytes(), NOW).readings.iter().map(|reading| reading.co_ppm).collect();
    assert_eq!(values, [Some(1.0), Some(2.0)]);
}

#[test]
fn one_wild_time_does_not_move_the_others() {
    let payload = format!(r#"[{{"co_ppm":1,"time":{}}},{{"co_ppm":2,"time":"2099-01-01T00:00:00Z"}}]"#, NOW.0 - MINUTE);
    let decoded = readings(payload.as_bytes(), NOW);
    assert_eq!(decoded.ahead_ms, None);
    assert_eq!(decoded.readings[0].time, NOW - MINUTE);
    assert_eq!(decoded.readings[1].time, NOW);
    assert!(decoded.readings[1].flags.has(Flags::TIME_UNUSABLE));
}

#[test]
fn array_elements_stand_alone() {
    let decoded = readings(br#"[{"co_ppm":1},7,null,"x",[1],{},{"co_ppm":2}]"#, NOW);
    let values: Vec<_> = decoded.readings.iter().map(|reading| reading.co_ppm).collect();
    assert_eq!(values, [Some(1.0), Some(2.0)]);
    let places: Vec<_> = decoded.rejects.iter().map(|reject| reject.index).collect();
    assert_eq!(places, [Some(1), Some(2), Some(3), Some(4), Some(5)]);
}

#[test]
fn of_two_values_for_one_key_the_higher_counts() {
    assert_eq!(one(r#"{"co_ppm":400,"co_ppm":1}"#).co_ppm, Some(400.0));
    assert_eq!(one(r#"{"state":"alarm","state":"normal"}"#).state, Some(SensorState::Alarm));
}

#[test]
fn a_batch_ahead_of_the_clock_is_shifted_as_one() {
    let payload =
        format!(r#"[{{"co_ppm":1,"time":{}}},{{"co_ppm":2,"time":{}}}]"#, NOW.0 + 5 * MINUTE, NOW.0 + 6 * MINUTE);
    let decoded = readings(payload.as_bytes(), NOW);
    assert_eq!(decoded.ahead_ms, Some(6 * MINUTE));
    assert_eq!(decoded.readings[0].time, NOW - MINUTE);
    assert_eq!(decoded.readings[1].time, NOW);
    assert!(decoded.readings.iter().all(|reading| reading.flags.has(Flags::TIME_SHIFTED)));
}

#[test]
fn late_readings_are_welcome_and_marked() {
    let reading = one(&format!(r#"{{"co_ppm":1,"time":{}}}"#, NOW.0 - LATE_AFTER - 1));
    assert!(reading.flags.has(Flags::LATE));
}

#[test]
fn other_json_is_not_a_reading() {
    for payload in ["7", "\"x\"", "null", "true", ""] {
        let decoded = readings(payload.as_bytes(), NOW);
        assert_eq!(decoded.readings, [], "{payload}");
        assert_eq!(decoded.rejects.len(), 1, "{payload}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_vanish(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let decoded = readings(&payload, NOW);
        prop_assert!(payload == b"[]" || !decoded.readings.is_empty() || !decoded.rejects.is_empty());
    }

    /// The life-critical promise: 400 ppm survives any mess around it.
    #[test]
    fn a_parseable_value_always_comes_out(
        junk in prop::collection::btree_map("[a-z_]{1,12}", "(null|true|-?[0-9]{1,5}|\"[a-z ]{0,8}\"|\\[1,\\{\\}\\])", 0..6),
        cut in 0usize..40,
    ) {
        let mut payload = String::from(r#"{"co_ppm":400"#);
        for (key, value) in junk.iter().filter(|(key, _)| *key != "co_ppm") {
            payload.push_str(&format!(r#","{key}":{value}"#));
        }
        payload.push('}');
        let keep = payload.len().saturating_sub(cut).max(r#"{"co_ppm":400,"#.len().min(payload.len()));
        let decoded = readings(&payload.as_bytes()[..keep], NOW);
        prop_assert_eq!(decoded.readings.len(), 1);
        prop_assert_eq!(decoded.readings[0].co_ppm, Some(400.0));
    }
}
