//! From a native JSON payload to readings, as `docs/mqtt.md` promises.
//!
//! One rule stands above the rest: **a parseable `co_ppm` or `state` always reaches the rules**,
//! whatever else is wrong with the payload. So fields are read one by one, a wrong optional field is
//! dropped and noted, each array element stands alone, and a payload that breaks off after a
//! reading's CO still yields that reading.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::reading::{Flags, MOST_PPM, Reading, SensorState};
use crate::time::{DAY, MINUTE, Stamp};

mod salvage;

/// A payload may hold at most this many readings.
pub const MOST_READINGS: usize = 4_000;
/// A batch further ahead of our clock than this is shifted back as one.
pub const MOST_AHEAD: i64 = 2 * MINUTE;
/// A time further ahead of its batch's middle than this is one element's mistake, not the clock's.
const MOST_APART: i64 = DAY;
/// A reading received longer than this after its time is marked late.
pub const LATE_AFTER: i64 = 10 * MINUTE;

/// What a payload turned out to hold. Both lists can be filled: good elements beside bad ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    pub readings: Vec<Reading>,
    pub rejects: Vec<Reject>,
    /// How far the sensor's clock was ahead, milliseconds, when the batch had to be shifted.
    pub ahead_ms: Option<i64>,
}

/// A part of a payload that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Place in the array, from 0; `None` when the payload as a whole is meant.
    pub index: Option<usize>,
    pub code: RejectCode,
    /// What was wrong and where, for people.
    pub detail: String,
}

/// Stable codes of rejects; also the reasons in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectCode {
    NotJson,
    NotAReading,
    EmptyReading,
    TooManyReadings,
}

impl RejectCode {
    pub fn as_str(self) -> &'static str {
        match self {
            RejectCode::NotJson => "not_json",
            RejectCode::NotAReading => "not_a_reading",
            RejectCode::EmptyReading => "empty_reading",
            RejectCode::TooManyReadings => "too_many_readings",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}: element {index}: {}", self.code.as_str(), self.detail),
            None => write!(f, "{}: {}", self.code.as_str(), self.detail),
        }
    }
}

/// Decodes the payload of `sensors/{sensor}/readings`, one reading or an array of them.
///
/// `received` is the time of receipt; it stands in for missing times and judges late and early ones.
pub fn readings(payload: &[u8], received: Stamp) -> Decoded {
    let mut decoded = Decoded::default();
    let mut parser = serde_json::Deserializer::from_slice(payload);
    let outcome = PayloadSeed { decoded: &mut decoded, received }.deserialize(&mut parser).and_then(|()| parser.end());
    if let Err(error) = outcome {
        decoded.rejects.push(Reject { index: None, code: RejectCode::NotJson, detail: error.to_string() });
        for reading in &mut decoded.readings {
            reading.flags.add(Flags::SALVAGED);
        }
        decoded.salvage(payload, received);
    }
    decoded.settle_times(received);
    decoded
}

impl Decoded {
    /// Adds what a refused payload still says, unless a reading says as much already.
    fn salvage(&mut self, payload: &[u8], received: Stamp) {
        let (ppm, state) = salvage::vital(payload);
        let known = self.readings.iter().filter_map(|reading| reading.co_ppm).reduce(f32::max);
        let is_new = ppm.is_some_and(|ppm| known.is_none_or(|known| ppm > f64::from(known)))
            || (state.is_some() && self.readings.iter().all(|reading| reading.state != state));
        if is_new {
            let mut fields = Fields { co: ppm.map(Co::Value), known: 1, ..Fields::default() };
            fields.reading.state = state;
            fields.reading.flags.add(Flags::SALVAGED);
            self.take(None, fields, received);
        }
    }

    /// Puts readings in order of time, shifts a batch that is ahead of our clock, marks late readings.
    fn settle_times(&mut self, received: Stamp) {
        self.drop_wild_times(received);
        self.readings.sort_by_key(|reading| reading.time);
        let Some(newest) = self.readings.iter().map(|reading| reading.time).max() else { return };
        let ahead = newest.since(received);
        if ahead > MOST_AHEAD {
            self.ahead_ms = Some(ahead);
        }
        for reading in &mut self.readings {
            let is_own_time = !reading.flags.has(Flags::TIME_OF_RECEIPT) && !reading.flags.has(Flags::TIME_UNUSABLE);
            if let Some(ahead) = self.ahead_ms
                && is_own_time
            {
                reading.time = reading.time - ahead;
                reading.flags.add(Flags::TIME_SHIFTED);
            }
            if received.since(reading.time) > LATE_AFTER {
                reading.flags.add(Flags::LATE);
            }
        }
    }

    /// One element with a time far ahead of the others must not drag the batch into the past.
    fn drop_wild_times(&mut self, received: Stamp) {
        let mut times: Vec<Stamp> = self.readings.iter().map(|reading| reading.time).collect();
        times.sort_unstable();
        // the lower middle: of two, the one that can be true
        let Some(middle) = times.get((times.len().max(1) - 1) / 2) else { return };
        let most = (*middle).max(received) + MOST_APART;
        for reading in self.readings.iter_mut().filter(|reading| reading.time > most && reading.time > *middle) {
            reading.time = received;
            reading.flags.add(Flags::TIME_UNUSABLE);
        }
    }

    fn take(&mut self, index: Option<usize>, fields: Fields, received: Stamp) {
        match fields.into_reading(received) {
            Ok(reading) => self.readings.push(reading),
            Err((code, detail)) => self.rejects.push(Reject { index, code, detail }),
        }
    }
}

struct PayloadSeed<'d> {
    decoded: &'d mut Decoded,
    received: Stamp,
}

impl<'de> DeserializeSeed<'de> for PayloadSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PayloadSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reading object or an array of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let mut fields = Fields::default();
        let outcome = fields.read(map);
        if outcome.is_ok() || fields.says_something_vital() {
            self.decoded.take(None, fields, self.received);
        }
        outcome
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            let seed = ElementSeed { decoded: &mut *self.decoded, index, received: self.received };
            if elements.next_element_seed(seed)?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }
}

/// One element of an array.
struct ElementSeed<'d> {
    decoded: &'d mut Decoded,
    index: usize,
    received: Stamp,
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ElementSeed<'_> {
    fn not_a_reading(self, what: &str) {
        let detail = format!("found {what}, expected an object with co_ppm");
        self.decoded.rejects.push(Reject { index: Some(self.index), code: RejectCode::NotAReading, detail });
    }
}

impl<'de> Visitor<'de> for ElementSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reading object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let mut fields = Fields::default();
        let outcome = fields.read(map);
        if self.index >= MOST_READINGS && !fields.says_something_vital() {
            if self.index == MOST_READINGS {
                let detail = format!("more than {MOST_READINGS} readings in one message");
                self.decoded.rejects.push(Reject {
                    index: Some(self.index),
                    code: RejectCode::TooManyReadings,
                    detail,
                });
            }
        } else if outcome.is_ok() || fields.says_something_vital() {
            self.decoded.take(Some(self.index), fields, self.received);
        }
        outcome
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        self.not_a_reading("an array");
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.not_a_reading("null");
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.not_a_reading("a boolean");
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.not_a_reading("a number");
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.not_a_reading("a number");
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.not_a_reading("a number");
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.not_a_reading("a string");
        Ok(())
    }
}

/// The fields of one object as far as they could be read.
#[derive(Default)]
struct Fields {
    time: Option<Stamp>,
    time_is_bad: bool,
    co: Option<Co>,
    reading: Reading,
    /// Names of known fields that were present, good or bad.
    known: u32,
}

#[derive(Clone, Copy)]
enum Co {
    Value(f64),
    Unusable,
}

impl Fields {
    fn read<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let raw: &'de RawValue = map.next_value()?;
            self.field(&key, raw.get());
        }
        Ok(())
    }

    fn field(&mut self, key: &str, raw: &str) {
        self.known += 1;
        match key {
            "co_ppm" => self.co = worse(self.co, co(raw)),
            "time" => match time(raw) {
                Some(time) => self.time = Some(time),
                None => self.time_is_bad |= raw != "null",
            },
            "state" => match string(raw).and_then(|text| SensorState::parse(&text)) {
                Some(state) => self.reading.state = louder(self.reading.state, state),
                None => self.drop_field(raw),
            },
            "lel_pct" => self.reading.lel_pct = self.number(raw, 0.0, f64::from(f32::MAX)),
            "temperature_c" => self.reading.temperature_c = self.number(raw, -273.15, 2_000.0),
            "humidity_pct" => self.reading.humidity_pct = self.number(raw, 0.0, 110.0),
            "battery_pct" => self.reading.battery_pct = self.number(raw, 0.0, 100.0),
            "signal_dbm" => self.reading.signal_dbm = self.number(raw, -300.0, 100.0),
            "seq" => match raw.parse() {
                Ok(seq) => self.reading.seq = Some(seq),
                Err(_) => self.drop_field(raw),
            },
            _ => self.known -= 1,
        }
    }

    fn number(&mut self, raw: &str, least: f64, most: f64) -> Option<f32> {
        match number(raw) {
            Some(value) if (least..=most).contains(&value) => Some(value as f32),
            _ => {
                self.drop_field(raw);
                None
            }
        }
    }

    fn drop_field(&mut self, raw: &str) {
        if raw != "null" {
            self.reading.flags.add(Flags::FIELD_DROPPED);
        }
    }

    /// True when what has been read so far must reach the rules even from a broken payload.
    fn says_something_vital(&self) -> bool {
        self.co.is_some() || self.reading.state.is_some()
    }

    fn into_reading(self, received: Stamp) -> Result<Reading, (RejectCode, String)> {
        if self.known == 0 {
            let detail = "the object has none of co_ppm, state, lel_pct, temperature_c, humidity_pct, battery_pct, signal_dbm, seq, time";
            return Err((RejectCode::EmptyReading, detail.to_owned()));
        }
        let mut reading = self.reading;
        match self.co {
            Some(Co::Value(ppm)) if ppm >= f64::from(MOST_PPM) => {
                reading.co_ppm = Some(MOST_PPM);
                reading.flags.add(Flags::CO_SATURATED);
            }
            // `+ 0.0` turns -0 into 0
            Some(Co::Value(ppm)) => reading.co_ppm = Some(ppm as f32 + 0.0),
            Some(Co::Unusable) => reading.flags.add(Flags::CO_UNUSABLE),
            None => {}
        }
        reading.time = match self.time {
            Some(time) => time,
            None => {
                reading.flags.add(if self.time_is_bad { Flags::TIME_UNUSABLE } else { Flags::TIME_OF_RECEIPT });
                received
            }
        };
        Ok(reading)
    }
}

/// Of two values for one key the more dangerous one counts.
fn worse(before: Option<Co>, new: Option<Co>) -> Option<Co> {
    match (before, new) {
        (Some(Co::Value(a)), Some(Co::Value(b))) => Some(Co::Value(a.max(b))),
        (Some(Co::Value(a)), _) => Some(Co::Value(a)),
        (before, None) => before,
        (_, new) => new,
    }
}

fn louder(before: Option<SensorState>, new: SensorState) -> Option<SensorState> {
    if before == Some(SensorState::Alarm) { before } else { Some(new) }
}

/// CO from a JSON value: a number, or a number in a string. `null` is absent.
fn co(raw: &str) -> Option<Co> {
    if raw == "null" {
        return None;
    }
    Some(match number(raw) {
        Some(ppm) if ppm >= 0.0 => Co::Value(ppm),
        // digits beyond what a number can hold are very much, not nothing
        None if raw.parse() == Ok(f64::INFINITY) => Co::Value(f64::from(MOST_PPM)),
        _ => Co::Unusable,
    })
}

/// A finite number from a JSON number or a string that holds one.
fn number(raw: &str) -> Option<f64> {
    let value: f64 = match raw.as_bytes().first()? {
        b'"' => string(raw)?.trim().parse().ok()?,
        b'-' | b'0'..=b'9' => raw.parse().ok()?,
        _ => return None,
    };
    value.is_finite().then_some(value)
}

fn string(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.starts_with('"') {
        return None;
    }
    let inner = &raw[1..raw.len() - 1];
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// RFC 3339 text or epoch milliseconds.
fn time(raw: &str) -> Option<Stamp> {
    let stamp = match string(raw) {
        Some(text) => Stamp::parse_rfc3339(&text)?,
        None => Stamp(number(raw)? as i64),
    };
    stamp.is_plausible().then_some(stamp)
}

#[cfg(test)]
mod tests;
