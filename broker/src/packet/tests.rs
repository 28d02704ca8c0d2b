use proptest::prelude::*;

use super::*;

/// Everything that a client's bytes can reach, on one packet after the other.
fn read_all(mut bytes: &[u8]) -> usize {
    let mut packets = 0;
    while let Ok(Some(frame)) = Frame::next(bytes, 1 << 16) {
        assert!(!frame.whole.is_empty() && frame.whole.len() <= bytes.len());
        bytes = &bytes[frame.whole.len()..];
        packets += 1;
        let _ = Connect::parse(&frame);
        for version in [Version::V4, Version::V5] {
            if let Ok(publish) = Publish::parse(&frame, version) {
                assert!(publish.topic.len() + publish.payload.len() <= frame.body.len());
            }
            let _ = Subscribe::parse(&frame, version);
            let _ = Unsubscribe::parse(&frame, version);
        }
        let _ = puback_id(frame.body);
        let _ = disconnect_is_normal(frame.body);
    }
    packets
}

fn valid_packets() -> Vec<Vec<u8>> {
    use crate::tests::{Hello, packet, publish, subscribe, unsubscribe};
    let will = Some(("gas/v1/sensors/S1/status".to_owned(), b"gone".to_vec(), 0x28));
    let properties = [&[0x11, 0, 0, 0, 1, 0x21, 0, 9, 0x26, 0, 1, b'k', 0, 1, b'v'][..]].concat();
    vec![
        Hello { will: will.clone(), ..Hello::new(4, "S1", "secret") }.packet(),
        Hello { will, properties, ..Hello::new(5, "S1", "secret") }.packet(),
        publish(4, "gas/v1/sensors/S1/readings", br#"{"co_ppm":1}"#, 7),
        publish(5, "gas/v1/sensors/S1/readings", br#"{"co_ppm":1}"#, 7),
        packet(0x32, &[&[0, 1, b't', 0, 1, 8, 0x01, 1, 0x26, 0, 0, 0, 1, b'v'][..], b"x"].concat()),
        subscribe(4, 1, &[("a/+", 1), ("b/#", 0)]),
        subscribe(5, 1, &[("a/+", 1), ("b/#", 0x24)]),
        unsubscribe(4, 1, "a/+"),
        unsubscribe(5, 1, "a/+"),
        packet(0x82, &[0, 1, 9, 0x0B, 1, 0x26, 0, 1, b'k', 0, 1, b'v', 0, 1, b'a', 0]),
        packet(0x40, &[0, 1, 0]),
        packet(0xE0, &[4]),
    ]
}

#[test]
fn valid_packets_are_understood() {
    let [connect_v4, connect_v5, publish_v4, publish_v5, with_properties, ..] = &valid_packets()[..] else { panic!() };
    for (bytes, version) in [(connect_v4, Version::V4), (connect_v5, Version::V5)] {
        let connect = Connect::parse(&Frame::next(bytes, 1 << 16).unwrap().unwrap()).unwrap();
        assert_eq!((connect.version, connect.client_id.as_str(), connect.password.as_str()), (version, "S1", "secret"));
        assert_eq!((connect.keep_alive, connect.username.as_deref()), (60, Some("S1")));
        assert_eq!(connect.receive_maximum, if version == Version::V5 { 9 } else { u16::MAX });
        assert_eq!(&connect.will.unwrap().message[..], b"gone");
    }
    for (bytes, version) in [(publish_v4, Version::V4), (publish_v5, Version::V5)] {
        let frame = Frame::next(bytes, 1 << 16).unwrap().unwrap();
        let expected =
            Publish { topic: "gas/v1/sensors/S1/readings", id: NonZeroU16::new(7), payload: br#"{"co_ppm":1}"# };
        assert_eq!(Publish::parse(&frame, version), Ok(expected));
    }
    let frame = Frame::next(with_properties, 1 << 16).unwrap().unwrap();
    assert_eq!(Publish::parse(&frame, Version::V5).unwrap().payload, b"x");
}

#[test]
fn the_size_limit_counts_the_whole_packet_and_strikes_at_the_header() {
    assert!(matches!(Frame::next(&[0x30, 8], 10), Ok(None)));
    assert!(matches!(Frame::next(&[0x30, 9], 10), Err(Fault::TooLarge)));
    assert!(matches!(Frame::next(&[0x30, 0x80, 0x80], 10), Ok(None)));
    assert!(matches!(Frame::next(&[0x30, 0x80, 0x80, 0x80, 0x80], 10), Err(Fault::Malformed(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
    }

    /// Framed, so that every byte reaches the parsers.
    #[test]
    fn random_packets_never_panic(first in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..120)) {
        prop_assert_eq!(read_all(&[&[first, body.len() as u8], &body[..]].concat()), 1);
    }

    #[test]
    fn mutated_packets_never_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let packets = valid_packets();
        let mut bytes = which.get(&packets).clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()).max(2));
            bytes[1] = (bytes.len() - 2) as u8;
        }
        read_all(&bytes);
    }

    /// However a stream is cut, the same packets come out.
    #[test]
    fn frames_do_not_depend_on_where_the_bytes_are_cut(cuts in prop::collection::vec(0usize..400, 0..6)) {
        let stream = valid_packets().concat();
        let mut buffer: Vec<u8> = Vec::new();
        let mut found = Vec::new();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.push(stream.len());
        cuts.sort_unstable();
        let mut start = 0;
        for cut in cuts {
            buffer.extend(&stream[start..cut]);
            start = cut;
            while let Some(frame) = Frame::next(&buffer, 1 << 16).unwrap() {
                let whole = frame.whole.to_vec();
                buffer.drain(..whole.len());
                found.push(whole);
            }
        }
        prop_assert_eq!(found, valid_packets());
    }
}
