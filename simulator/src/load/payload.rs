//! Messages that are cheap to make: a whole PUBLISH packet is rendered once per connection, then
//! copied and patched.

use std::sync::Arc;

use model::Stamp;

use super::packet;

/// What a custom payload may depend on.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The connection's client id.
    pub id: &'a str,
    /// Rises by one per message of the connection, from [`FIRST_SEQ`].
    pub seq: u64,
    pub time: Stamp,
}

/// Appends one payload.
pub type PayloadFn = Arc<dyn Fn(&mut Vec<u8>, About<'_>) + Send + Sync>;

/// What the messages carry.
#[derive(Clone, Default)]
pub enum Payload {
    /// A valid reading of a few ppm with rising `seq` and the current `time`.
    #[default]
    Reading,
    /// The same, filled up with blanks to so many bytes.
    ReadingOf(usize),
    /// Whatever the function appends.
    Custom(PayloadFn),
}

/// Numbers of ten digits, so that a patched number always has the same length.
pub const FIRST_SEQ: u64 = 1_000_000_000;

const SEQ_DIGITS: usize = 10;
const TIME_DIGITS: usize = 13;
/// Epoch milliseconds have 13 digits from September 2001 on.
const EARLIEST: i64 = 1_000_000_000_000;

/// Makes the packets of one connection.
pub(super) struct Messages {
    id: String,
    topic: String,
    qos: u8,
    seq: u64,
    source: Source,
}

enum Source {
    Template { packet: Vec<u8>, packet_id_at: usize, co_at: usize, seq_at: usize, time_at: usize },
    Custom { make: PayloadFn, payload: Vec<u8> },
}

impl Messages {
    pub(super) fn new(id: String, topic: String, qos: u8, payload: &Payload) -> Messages {
        let source = match payload {
            Payload::Reading => template(qos, &topic, 0),
            Payload::ReadingOf(size) => template(qos, &topic, *size),
            Payload::Custom(make) => Source::Custom { make: make.clone(), payload: Vec::new() },
        };
        Messages { id, topic, qos, seq: FIRST_SEQ, source }
    }

    /// Appends one PUBLISH; the packet id is ignored at QoS 0.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, packet_id: u16, time: Stamp) {
        let start = out.len();
        let packet_id_at = match &mut self.source {
            Source::Template { packet, packet_id_at, co_at, seq_at, time_at } => {
                out.extend_from_slice(packet);
                let copy = &mut out[start..];
                copy[*co_at] = b'0' + (self.seq % 10) as u8;
                digits(&mut copy[*seq_at..*seq_at + SEQ_DIGITS], self.seq);
                digits(&mut copy[*time_at..*time_at + TIME_DIGITS], time.0.max(EARLIEST) as u64);
                *packet_id_at
            }
            Source::Custom { make, payload } => {
                payload.clear();
                make(payload, About { id: &self.id, seq: self.seq, time });
                packet::publish(out, self.qos, &self.topic, payload)
            }
        };
        if self.qos > 0 {
            out[start + packet_id_at..start + packet_id_at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        self.seq += 1;
    }
}

fn template(qos: u8, topic: &str, size: usize) -> Source {
    const HEAD: &str = r#"{"time":"#;
    const CO: &str = r#","co_ppm":"#;
    const SEQ: &str = r#","temperature_c":22.5,"humidity_pct":64,"battery_pct":97,"signal_dbm":-71,"seq":"#;
    const TAIL: &str = r#","state":"normal"}"#;
    let time_at = HEAD.len();
    let co_at = time_at + TIME_DIGITS + CO.len();
    let seq_at = co_at + 1 + SEQ.len();
    let payload = format!("{HEAD}{:0TIME_DIGITS$}{CO}0{SEQ}{:0SEQ_DIGITS$}{TAIL}", 0, 0);
    let payload = format!("{payload:<size$}");
    let mut packet = Vec::new();
    let packet_id_at = packet::publish(&mut packet, qos, topic, payload.as_bytes());
    let body_at = packet.len() - payload.len();
    Source::Template {
        packet,
        packet_id_at,
        co_at: body_at + co_at,
        seq_at: body_at + seq_at,
        time_at: body_at + time_at,
    }
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use model::decode;
    use model::reading::Flags;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_message_is_a_valid_reading(
            qos in 0u8..2, count in 1usize..30, size in prop::option::of(0usize..600),
            time in EARLIEST..4_102_444_800_000, packet_id in 1u16..,
        ) {
            let payload = size.map_or(Payload::Reading, Payload::ReadingOf);
            let mut messages = Messages::new("S1".into(), "gas/v1/sensors/S1/readings".into(), qos, &payload);
            let mut out = Vec::new();
            for _ in 0..count {
                messages.append(&mut out, packet_id, Stamp(time));
            }
            let mut rest = out.as_slice();
            for index in 0..count {
                let frame = packet::frame(rest).unwrap().unwrap();
                rest = &rest[frame.length..];
                let (topic, id, payload) = frame.publish().unwrap();
                prop_assert_eq!(topic, b"gas/v1/sensors/S1/readings");
                prop_assert_eq!(id, (qos == 1).then_some(packet_id));
                prop_assert!(payload.len() >= size.unwrap_or(0));
                let decoded = decode::readings(payload, Stamp(time));
                prop_assert_eq!(&decoded.rejects, &[]);
                let reading = decoded.readings[0];
                prop_assert_eq!(reading.flags, Flags::default());
                prop_assert_eq!(reading.seq, Some(FIRST_SEQ + index as u64));
                prop_assert_eq!(reading.time, Stamp(time));
                prop_assert!(reading.co_ppm.is_some_and(|ppm| ppm < 10.0));
            }
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_custom_payload_is_told_whose_it_is() {
        let make = |out: &mut Vec<u8>, about: About<'_>| out.extend(format!("{} {}", about.id, about.seq).bytes());
        let mut messages = Messages::new("S1".into(), "t".into(), 1, &Payload::Custom(Arc::new(make)));
        let mut out = Vec::new();
        messages.append(&mut out, 1, Stamp(0));
        messages.append(&mut out, 2, Stamp(0));
        let first = packet::frame(&out).unwrap().unwrap();
        assert_eq!(first.publish().unwrap(), (&b"t"[..], Some(1), &b"S1 1000000000"[..]));
        let second = packet::frame(&out[first.length..]).unwrap().unwrap();
        assert_eq!(second.publish().unwrap(), (&b"t"[..], Some(2), &b"S1 1000000001"[..]));
    }
}
