use super::kit::*;

const GOOD: &str = r#"{"co_ppm":1}"#;

#[tokio::test]
async fn a_stranger_who_does_not_say_connect_is_closed() {
    let house = House::open().await;
    let connect = Hello::new(4, "S1", "x").packet();
    let openings: [&[u8]; 7] = [
        &publish(4, READINGS, b"{}", 1),
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16, 3, 1, 2, 0],
        &[0x10, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x10, 0xFF, 0xFF, 0xFF, 0x7F],
        &packet(0x10, &connect[2..connect.len() - 3]),
        &packet(0x1F, &connect[2..]),
    ];
    for opening in openings {
        let mut client = house.socket().await;
        client.send(opening).await;
        assert_eq!(client.packet_or_end().await, None, "{opening:?}");
    }
    assert_eq!(house.front_door.counters().no_connect, 7);
    house.client("S1", 4).await.ping().await;
}

/// What a client that is let in does wrong, with the reason code for version 5.
#[tokio::test]
async fn a_wrong_packet_ends_the_connection_with_its_reason() {
    let house = House::open().await;
    let alias = [text(READINGS), vec![0, 1, 3, 0x23, 0, 1], b"{}".to_vec()].concat();
    let identifier = [text(READINGS), vec![0, 1, 2, 0x0B, 1], b"{}".to_vec()].concat();
    let subscription = [&[0, 1, 2, 0x0B, 1][..], &text(COMMANDS), &[1]].concat();
    let not_utf8 = [binary(&[0xC3, 0x28]), vec![0, 1, 0]].concat();
    let cases: Vec<(&str, Vec<u8>, u8)> = vec![
        ("CONNACK", packet(0x20, &[0, 0, 0]), 0x82),
        ("SUBACK", packet(0x90, &[0, 1, 0, 0]), 0x82),
        ("PINGRESP", vec![0xD0, 0], 0x82),
        ("UNSUBACK", packet(0xB0, &[0, 1, 0, 0]), 0x82),
        ("AUTH", vec![0xF0, 0], 0x82),
        ("reserved", vec![0x00, 0], 0x82),
        ("PUBREL", packet(0x62, &[0, 1]), 0x82),
        ("second CONNECT", Hello::new(5, "S1", "x").packet(), 0x82),
        ("PUBACK cut", packet(0x40, &[0]), 0x81),
        ("QoS 2", packet(0x34, &[&text(READINGS)[..], &[0, 1, 0]].concat()), 0x9B),
        ("QoS 3", packet(0x36, &[&text(READINGS)[..], &[0, 1, 0]].concat()), 0x81),
        ("packet identifier 0", packet(0x32, &[&text(READINGS)[..], &[0, 0, 0]].concat()), 0x81),
        ("topic cut", packet(0x32, &[0, 50, b'a']), 0x81),
        ("topic not UTF-8", packet(0x32, &not_utf8), 0x81),
        ("topic alias", packet(0x32, &alias), 0x94),
        ("subscription identifier in PUBLISH", packet(0x32, &identifier), 0x82),
        ("subscription identifier in SUBSCRIBE", packet(0x82, &subscription), 0xA1),
        ("properties cut", packet(0x32, &[&text(READINGS)[..], &[0, 1, 9, 0x26]].concat()), 0x81),
        ("SUBSCRIBE flags", packet(0x80, &[0, 1, 0, 0, 1, b'a', 0]), 0x81),
        ("SUBSCRIBE empty", packet(0x82, &[0, 1, 0]), 0x81),
        ("SUBSCRIBE without body", vec![0x82, 0], 0x81),
        ("UNSUBSCRIBE empty", packet(0xA2, &[0, 1, 0]), 0x82),
        ("remaining length", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1], 0x81),
        ("1 MB payload", publish(5, READINGS, &vec![b' '; 1 << 20], 1), 0x95),
    ];
    let count = cases.len() as u64;
    for (what, bytes, code) in cases {
        let mut client = house.client("S1", 5).await;
        client.send(&bytes).await;
        assert_eq!(client.ending().await, Some(code), "{what}");
    }
    assert_eq!(house.front_door.counters().faults, count);
    house.client("S1", 4).await.ping().await;
}

#[tokio::test]
async fn version_4_is_closed_for_the_same() {
    let house = House::open().await;
    let qos2 = packet(0x34, &[&text(READINGS)[..], &[0, 1]].concat());
    let large = publish(4, READINGS, &vec![b' '; 1 << 20], 1);
    let cut_unsubscribe = packet(0xA2, &[0, 1, 0, 9, b'a']);
    for bytes in [&packet(0x20, &[0, 0]), &qos2, &large, &cut_unsubscribe, &vec![0xE1, 0]] {
        let mut client = house.client("S1", 4).await;
        client.send(bytes).await;
        assert_eq!(client.ending().await, None);
    }
}

#[tokio::test]
async fn what_came_before_a_wrong_packet_is_kept_and_acknowledged() {
    let house = House::open().await;
    let mut client = house.client("S1", 5).await;
    client.send(&[publish(5, READINGS, GOOD.as_bytes(), 1), vec![0xF0, 0]].concat()).await;
    assert_eq!(client.puback().await, (1, 0));
    assert_eq!(client.ending().await, Some(0x82));
    house.journalled(1).await;
}

#[tokio::test]
async fn the_largest_packet_allowed_arrives_byte_by_byte_or_at_once() {
    let house = House::open().await;
    let mut client = house.client("S1", 4).await;
    let header = publish(4, STATUS, &[], 1).len() + 2;
    let payload = vec![b'x'; (256 << 10) - header];
    let bytes = publish(4, STATUS, &payload, 1);
    assert_eq!(bytes.len(), 256 << 10);
    client.send(&bytes).await;
    assert_eq!(client.puback().await, (1, 0));
    for byte in publish(4, STATUS, b"slow", 2) {
        client.send(&[byte]).await;
    }
    assert_eq!(client.puback().await, (2, 0));
}

#[tokio::test]
async fn every_topic_outside_a_clients_rights_is_refused() {
    let house = House::open().await;
    let topics = [
        "gas/v1/sensors/S2/readings",
        "gas/v1/sensors/S1/commands",
        "gas/v1/scanners/S1/checks",
        "gas/v1/incidents/a/1",
        "$SYS/x",
        "$share/g/gas/v1/sensors/S1/readings",
        "gas/v1/sensors/S1/readings/",
        "/gas/v1/sensors/S1/readings",
    ];
    for name in ["S1", "I1", "N1"] {
        let mut client = house.client(name, 5).await;
        for (packet_id, topic) in (1..).zip(topics) {
            client.publish(topic, GOOD, packet_id).await;
            assert_eq!(client.puback().await, (packet_id, 0x87), "{name} {topic}");
        }
        client.publish("gas/v1/\u{0}", GOOD, 99).await;
        assert_eq!(client.puback().await, (99, 0x90));
    }
    assert_eq!(house.front_door.counters().publishes, 0);
    assert_eq!(house.journal.durable().0, 0);
}

/// The five ways in which any client could kill rumqttd 0.20, while an integration listens.
#[tokio::test]
async fn what_kills_rumqttd_is_answered_politely() {
    let house = House::open().await;
    let mut listener = house.client("I1", 4).await;
    assert_eq!(listener.subscribe(ALL_READINGS, 1).await, 1);

    // 1. A topic that starts with a character outside ASCII.
    let mut client = house.client("S1", 5).await;
    client.publish("é/x", GOOD, 1).await;
    assert_eq!(client.puback().await, (1, 0x90));
    client.publish("é/x", GOOD, 0).await;

    // 2. The only member of a share, with a session to keep, leaves with something unacknowledged.
    let member = Hello { clean: false, ..Hello::new(4, "I2", &house.secret("I2")) };
    let mut sharer = house.client_with(member).await;
    assert_eq!(sharer.subscribe("$share/g/gas/v1/sensors/+/readings", 1).await, 1);
    client.publish(READINGS, r#"{"co_ppm":2}"#, 2).await;
    assert_eq!(client.puback().await, (2, 0));
    assert_eq!(sharer.message().await.payload, r#"{"co_ppm":2}"#);
    drop(sharer);

    // 3. A client id with a slash, twice.
    for _ in 0..2 {
        let mut stranger = house.socket().await;
        stranger
            .send(&Hello { client_id: "a/b".to_owned(), ..Hello::new(4, "S2", &house.secret("S2")) }.packet())
            .await;
        assert_eq!(stranger.packet().await, (0x20, vec![0, 2]));
    }

    // 4. A version 5 PUBLISH with properties towards a version 4 subscriber.
    let properties = [&[0x01, 1, 0x02, 0, 0, 0, 9, 0x26][..], &text("key"), &text("value")].concat();
    let body = [&text(READINGS)[..], &[0, 3, properties.len() as u8], &properties, br#"{"co_ppm":3}"#].concat();
    client.send(&packet(0x32, &body)).await;
    assert_eq!(client.puback().await, (3, 0));

    // 5. A version 5 client that sends CONNACK.
    client.send(&packet(0x20, &[0, 0, 0])).await;
    assert_eq!(client.ending().await, Some(0x82));

    // All is well: both messages have come, and more do.
    let mut client = house.client("S1", 5).await;
    client.publish(READINGS, r#"{"co_ppm":4}"#, 1).await;
    for payload in [r#"{"co_ppm":2}"#, r#"{"co_ppm":3}"#, r#"{"co_ppm":4}"#] {
        assert_eq!(listener.message().await.payload, payload);
    }
    let failed = house.front_door.failed();
    assert!(tokio::time::timeout(std::time::Duration::ZERO, failed).await.is_err());
}
