//! What the journal holds, and its binary form.
//!
//! An entry is a varint length and a body; the body is a kind byte and the fields in order. Lengths
//! are varints, texts UTF-8, instants zigzag varints of epoch milliseconds.

use bytes::Bytes;
use model::decode::RejectCode;
use model::{DeviceId, Reading, Stamp};
use smol_str::SmolStr;

use crate::binary::{Cursor, put_reading, put_signed, put_varint, take_reading, varint_length};

/// One message as the front door took it. Everything that changes the world enters as an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Decoded readings of one message.
    Readings { sensor: DeviceId, received: Stamp, readings: Vec<Reading> },
    /// A message on another device channel, raw: status, replies, checks, visits.
    Message { client: DeviceId, topic: SmolStr, received: Stamp, payload: Bytes },
    /// A message, or the part of one, that could not be understood: for quarantine.
    Rejected { client: DeviceId, topic: SmolStr, received: Stamp, payload: Bytes, code: RejectCode, detail: String },
}

const READINGS: u8 = 1;
const MESSAGE: u8 = 2;
const REJECTED: u8 = 3;

impl Entry {
    /// About how many bytes this entry takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let inside = match self {
            Entry::Readings { readings, .. } => readings.len() * size_of::<Reading>(),
            Entry::Message { payload, .. } => payload.len(),
            Entry::Rejected { payload, detail, .. } => payload.len() + detail.len(),
        };
        size_of::<Entry>() + inside
    }

    /// Gives the payload memory of its own, so that an entry kept for long does not keep the network
    /// buffer it was cut from.
    pub(crate) fn detach(&mut self) {
        if let Entry::Message { payload, .. } | Entry::Rejected { payload, .. } = self {
            *payload = Bytes::copy_from_slice(payload);
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.put_body(out);
        let length = (out.len() - start) as u64;
        put_varint(out, length);
        out[start..].rotate_right(varint_length(length));
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Readings { sensor, received, readings } => {
                out.push(READINGS);
                put_bytes(out, sensor.as_str().as_bytes());
                put_signed(out, received.0);
                put_varint(out, readings.len() as u64);
                for reading in readings {
                    put_reading(out, *received, reading);
                }
            }
            Entry::Message { client, topic, received, payload } => {
                out.push(MESSAGE);
                put_envelope(out, client, topic, *received, payload);
            }
            Entry::Rejected { client, topic, received, payload, code, detail } => {
                out.push(REJECTED);
                put_envelope(out, client, topic, *received, payload);
                out.push(reject_code(*code));
                put_bytes(out, detail.as_bytes());
            }
        }
    }

    /// Takes one entry off the front; `None` when the bytes are not one.
    pub(crate) fn take(bytes: &mut Cursor<'_>) -> Option<Entry> {
        let length = bytes.length()?;
        let mut body = Cursor(bytes.take(length)?);
        let entry = Entry::take_body(&mut body)?;
        body.is_empty().then_some(entry)
    }

    /// Passes over one entry without decoding it.
    pub(crate) fn skip(bytes: &mut Cursor<'_>) -> Option<()> {
        let length = bytes.length()?;
        bytes.take(length).map(|_| ())
    }

    fn take_body(body: &mut Cursor<'_>) -> Option<Entry> {
        match body.byte()? {
            READINGS => {
                let sensor = take_device(body)?;
                let received = Stamp(body.signed()?);
                let count = body.length()?;
                // A reading takes three bytes at least, which bounds what a false count can reserve.
                let mut readings = Vec::with_capacity(count.min(body.0.len() / 3));
                for _ in 0..count {
                    readings.push(take_reading(body, received)?);
                }
                Some(Entry::Readings { sensor, received, readings })
            }
            MESSAGE => {
                let (client, topic, received, payload) = take_envelope(body)?;
                Some(Entry::Message { client, topic, received, payload })
            }
            REJECTED => {
                let (client, topic, received, payload) = take_envelope(body)?;
                let code = reject_of(body.byte()?)?;
                let detail = take_text(body)?.to_owned();
                Some(Entry::Rejected { client, topic, received, payload, code, detail })
            }
            _ => None,
        }
    }
}

fn put_envelope(out: &mut Vec<u8>, client: &DeviceId, topic: &str, received: Stamp, payload: &[u8]) {
    put_bytes(out, client.as_str().as_bytes());
    put_bytes(out, topic.as_bytes());
    put_signed(out, received.0);
    put_bytes(out, payload);
}

fn take_envelope(body: &mut Cursor<'_>) -> Option<(DeviceId, SmolStr, Stamp, Bytes)> {
    let client = take_device(body)?;
    let topic = SmolStr::new(take_text(body)?);
    let received = Stamp(body.signed()?);
    let length = body.length()?;
    Some((client, topic, received, Bytes::copy_from_slice(body.take(length)?)))
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_text<'b>(body: &mut Cursor<'b>) -> Option<&'b str> {
    let length = body.length()?;
    std::str::from_utf8(body.take(length)?).ok()
}

fn take_device(body: &mut Cursor<'_>) -> Option<DeviceId> {
    DeviceId::new(take_text(body)?).ok()
}

/// The stored code of a reject: never reuse one.
fn reject_code(code: RejectCode) -> u8 {
    match code {
        RejectCode::NotJson => 0,
        RejectCode::NotAReading => 1,
        RejectCode::EmptyReading => 2,
        RejectCode::TooManyReadings => 3,
    }
}

fn reject_of(code: u8) -> Option<RejectCode> {
    use RejectCode::{EmptyReading, NotAReading, NotJson, TooManyReadings};
    [NotJson, NotAReading, EmptyReading, TooManyReadings].into_iter().find(|known| reject_code(*known) == code)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::binary::tests::any_reading;

    pub(crate) fn any_entry() -> impl Strategy<Value = Entry> {
        let device = || "[A-Za-z0-9_-]{1,64}".prop_map(|text| DeviceId::new(&text).unwrap());
        let payload = || prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        let code = prop::sample::select(vec![
            RejectCode::NotJson,
            RejectCode::NotAReading,
            RejectCode::EmptyReading,
            RejectCode::TooManyReadings,
        ]);
        prop_oneof![
            (device(), any::<i64>(), prop::collection::vec(any_reading(any::<i64>()), 0..5)).prop_map(
                |(sensor, received, readings)| Entry::Readings { sensor, received: Stamp(received), readings }
            ),
            (device(), ".{0,40}", any::<i64>(), payload()).prop_map(|(client, topic, received, payload)| {
                Entry::Message { client, topic: topic.into(), received: Stamp(received), payload }
            }),
            (device(), ".{0,40}", any::<i64>(), payload(), code, ".{0,40}").prop_map(
                |(client, topic, received, payload, code, detail)| Entry::Rejected {
                    client,
                    topic: topic.into(),
                    received: Stamp(received),
                    payload,
                    code,
                    detail
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn entries_come_back(entries in prop::collection::vec(any_entry(), 0..6)) {
            let mut out = Vec::new();
            for entry in &entries {
                entry.put(&mut out);
            }
            let mut taking = Cursor(&out);
            let mut skipping = Cursor(&out);
            for entry in &entries {
                // The debug form compares NaN equal to itself.
                prop_assert_eq!(format!("{:?}", Entry::take(&mut taking).unwrap()), format!("{entry:?}"));
                Entry::skip(&mut skipping).unwrap();
                prop_assert_eq!(taking.0, skipping.0);
            }
            prop_assert!(taking.is_empty());
        }

        #[test]
        fn no_bytes_can_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut cursor = Cursor(&bytes);
            while Entry::take(&mut cursor).is_some() {}
        }
    }

    #[test]
    fn a_native_reading_takes_about_forty_bytes() {
        let received = Stamp(1_780_000_000_000);
        let reading = Reading {
            time: received - 850,
            co_ppm: Some(12.5),
            temperature_c: Some(21.5),
            humidity_pct: Some(55.0),
            battery_pct: Some(88.0),
            seq: Some(12_345),
            state: Some(model::SensorState::Normal),
            ..Reading::default()
        };
        let entry =
            Entry::Readings { sensor: DeviceId::new("S-440111-007").unwrap(), received, readings: vec![reading] };
        let mut out = Vec::new();
        entry.put(&mut out);
        assert!(out.len() <= 48, "{}", out.len());
    }
}
