//! As much MQTT 3.1.1 as a load generator needs.

/// Packet types, the high half of a packet's first byte.
pub(crate) mod kind {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const CONNACK: u8 = 2;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const SUBACK: u8 = 9;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const PINGRESP: u8 = 13;
    pub(crate) const DISCONNECT: u8 = 14;
}

pub(crate) const PING: [u8; 2] = [kind::PINGREQ << 4, 0];
pub(crate) const DISCONNECT: [u8; 2] = [kind::DISCONNECT << 4, 0];

/// What a stream of bytes can be wrong about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer sent a packet with a malformed length")]
pub(crate) struct Malformed;

/// A whole packet at the front of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'b> {
    pub(crate) first: u8,
    pub(crate) body: &'b [u8],
    /// Bytes of the packet with its header.
    pub(crate) length: usize,
}

impl Frame<'_> {
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// Of a PUBLISH: its quality of service.
    pub(crate) fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }

    /// The packet id of a PUBACK, SUBSCRIBE or SUBACK.
    pub(crate) fn packet_id(&self) -> Option<u16> {
        self.body.first_chunk().map(|id| u16::from_be_bytes(*id))
    }

    /// Of a PUBLISH: topic, packet id (absent at QoS 0) and payload.
    pub(crate) fn publish(&self) -> Option<(&[u8], Option<u16>, &[u8])> {
        let (length, rest) = self.body.split_first_chunk()?;
        let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        if self.qos() == 0 {
            return Some((topic, None, rest));
        }
        let (id, payload) = rest.split_first_chunk()?;
        Some((topic, Some(u16::from_be_bytes(*id)), payload))
    }
}

/// The packet at the front of `bytes`, `None` while it is incomplete.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, Malformed> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut remaining = 0usize;
    for (index, byte) in rest.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let start = 2 + index;
            let body = bytes.get(start..start + remaining);
            return Ok(body.map(|body| Frame { first: *first, body, length: start + remaining }));
        }
    }
    if rest.len() < 4 { Ok(None) } else { Err(Malformed) }
}

pub(crate) fn connect(out: &mut Vec<u8>, client_id: &str, credentials: Option<&(String, String)>) {
    const CLEAN_SESSION: u8 = 1 << 1;
    const PASSWORD: u8 = 1 << 6;
    const USERNAME: u8 = 1 << 7;
    const KEEP_ALIVE_SECONDS: u16 = 600;
    let flags = CLEAN_SESSION | credentials.map_or(0, |_| USERNAME | PASSWORD);
    let mut body = Vec::new();
    string(&mut body, "MQTT");
    body.extend([4, flags]);
    body.extend(KEEP_ALIVE_SECONDS.to_be_bytes());
    string(&mut body, client_id);
    if let Some((user, password)) = credentials {
        string(&mut body, user);
        string(&mut body, password);
    }
    packet(out, kind::CONNECT << 4, &body);
}

pub(crate) fn subscribe(out: &mut Vec<u8>, packet_id: u16, filter: &str, qos: u8) {
    let mut body = packet_id.to_be_bytes().to_vec();
    string(&mut body, filter);
    body.push(qos);
    packet(out, kind::SUBSCRIBE << 4 | 2, &body);
}

pub(crate) fn puback(out: &mut Vec<u8>, packet_id: u16) {
    packet(out, kind::PUBACK << 4, &packet_id.to_be_bytes());
}

/// Appends a PUBLISH, at QoS 1 with packet id 0; returns where that id stands, counted from the
/// packet's first byte.
pub(crate) fn publish(out: &mut Vec<u8>, qos: u8, topic: &str, payload: &[u8]) -> usize {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
    string(&mut body, topic);
    let id_in_body = body.len();
    if qos > 0 {
        body.extend([0, 0]);
    }
    body.extend(payload);
    let before = out.len();
    packet(out, kind::PUBLISH << 4 | qos << 1, &body);
    out.len() - before - body.len() + id_in_body
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    let mut remaining = body.len();
    loop {
        let byte = (remaining & 0x7f) as u8;
        remaining >>= 7;
        out.push(if remaining > 0 { byte | 0x80 } else { byte });
        if remaining == 0 {
            break;
        }
    }
    out.extend(body);
}

/// MQTT's length-prefixed string; longer ones than MQTT knows are cut.
fn string(out: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}

/// Bytes that have arrived and do not make a whole packet yet.
#[derive(Debug, Default)]
pub(crate) struct Partial(Vec<u8>);

impl Partial {
    /// Hands every whole packet in what was kept and what is new to `take`, keeps the rest.
    pub(crate) fn feed(&mut self, new: &[u8], mut take: impl FnMut(Frame<'_>)) -> Result<(), Malformed> {
        let mut kept = std::mem::take(&mut self.0);
        let mut rest: &[u8] = if kept.is_empty() {
            new
        } else {
            kept.extend(new);
            &kept
        };
        while let Some(frame) = frame(rest)? {
            rest = &rest[frame.length..];
            take(frame);
        }
        self.0 = rest.to_vec();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_standard() {
        let mut out = Vec::new();
        connect(&mut out, "c", Some(&("u".into(), "p".into())));
        assert_eq!(out, b"\x10\x13\x00\x04MQTT\x04\xc2\x02\x58\x00\x01c\x00\x01u\x00\x01p");
        out.clear();
        subscribe(&mut out, 10, "a/#", 1);
        assert_eq!(out, b"\x82\x08\x00\x0a\x00\x03a/#\x01");
        out.clear();
        assert_eq!(publish(&mut out, 1, "a/b", b"x"), 7);
        assert_eq!(out, b"\x32\x08\x00\x03a/b\x00\x00x");
        out.clear();
        publish(&mut out, 0, "a", b"x");
        assert_eq!(out, b"\x30\x04\x00\x01ax");
        out.clear();
        puback(&mut out, 0x1234);
        assert_eq!(out, b"\x40\x02\x12\x34");
    }

    #[test]
    fn a_length_of_five_bytes_is_malformed() {
        assert_eq!(frame(&[0x30, 0xff, 0xff, 0xff]), Ok(None));
        assert_eq!(frame(&[0x30, 0xff, 0xff, 0xff, 0xff]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_cutting_of_the_stream_gives_the_same_packets(
            messages in prop::collection::vec((0u8..2, "[a-z/]{1,9}", prop::collection::vec(any::<u8>(), 0..300)), 0..12),
            cuts in prop::collection::vec(1usize..200, 1..40),
        ) {
            let mut stream = Vec::new();
            for (qos, topic, payload) in &messages {
                publish(&mut stream, *qos, topic, payload);
            }
            let mut partial = Partial::default();
            let mut got = Vec::new();
            let mut cuts = cuts.into_iter().cycle();
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                rest = later;
                partial.feed(now, |frame| {
                    let (topic, id, payload) = frame.publish().unwrap();
                    assert_eq!(id.is_some(), frame.qos() == 1);
                    got.push((frame.qos(), String::from_utf8(topic.to_vec()).unwrap(), payload.to_vec()));
                }).unwrap();
            }
            prop_assert_eq!(got, messages);
            prop_assert!(partial.0.is_empty());
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Partial::default().feed(&bytes, |frame| {
                let _ = (frame.publish(), frame.packet_id());
            });
        }
    }
}
