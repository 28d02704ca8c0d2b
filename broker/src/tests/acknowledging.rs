use model::decode::RejectCode;
use model::reading::Flags;
use store::Entry;

use super::kit::*;

const GOOD: &str = r#"{"co_ppm":12.5,"seq":7}"#;

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_on_disk() {
    let house = House::open().await;
    for level in [4, 5] {
        let mut client = house.client("S1", level).await;
        house.disk.send_replace(Disk::Hangs);
        client.publish(READINGS, GOOD, 1).await;
        client.publish(STATUS, "{}", 2).await;
        client.ping().await;
        // The socket is still read while the disk hangs.
        client.publish(READINGS, GOOD, 3).await;
        client.ping().await;
        house.disk.send_replace(Disk::Works);
        for packet_id in 1..=3 {
            assert_eq!(client.puback().await, (packet_id, 0));
        }
    }
    assert_eq!(house.front_door.counters().acks, 6);
}

#[tokio::test]
async fn a_disk_that_fails_acknowledges_nothing_and_closes() {
    let house = House::open().await;
    house.disk.send_replace(Disk::Hangs);
    let mut old = house.client("S1", 4).await;
    let mut new = house.client("S2", 5).await;
    old.publish(READINGS, GOOD, 1).await;
    old.ping().await;
    new.publish("gas/v1/sensors/S2/readings", GOOD, 1).await;
    new.ping().await;
    house.disk.send_replace(Disk::Fails);
    assert_eq!(old.ending().await, None);
    assert_eq!(new.ending().await, Some(0x89));
    let counters = house.front_door.counters();
    assert_eq!(counters.journal_failures, 2);
}

#[tokio::test]
async fn a_journal_that_is_closed_acknowledges_nothing_and_closes() {
    let house = House::open().await;
    let mut client = house.client("S1", 5).await;
    house.journal.close().await.unwrap();
    client.publish(READINGS, GOOD, 1).await;
    assert_eq!(client.ending().await, Some(0x89));
}

#[tokio::test]
async fn acknowledgements_keep_the_order_refusals_among_them() {
    let house = House::open().await;
    let mut client = house.client("S1", 5).await;
    house.disk.send_replace(Disk::Hangs);
    client.publish(READINGS, GOOD, 10).await;
    client.publish("gas/v1/sensors/S2/readings", GOOD, 11).await;
    client.publish(READINGS, r#"{"co_ppm":NaN}"#, 12).await;
    client.publish("gas/v1/+/readings", GOOD, 13).await;
    client.publish(READINGS, GOOD, 14).await;
    client.ping().await;
    // A batch with nothing for the disk waits too.
    client.publish("gas/v1/sensors/S1/commands", "{}", 15).await;
    client.ping().await;
    house.disk.send_replace(Disk::Works);
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(client.puback().await);
    }
    assert_eq!(answers, [(10, 0), (11, 0x87), (12, 0x99), (13, 0x90), (14, 0), (15, 0x87)]);
    let entries = house.journalled(3).await;
    assert!(matches!(entries[1], Entry::Rejected { .. }), "{entries:?}");
}

#[tokio::test]
async fn a_refusal_gives_its_reason_unless_the_client_wants_none() {
    let house = House::open().await;
    let mut client = house.client("S1", 5).await;
    client.publish(READINGS, "nonsense", 1).await;
    let (_, body) = client.packet().await;
    let words = String::from_utf8(body[7..].to_vec()).unwrap();
    assert!(words.starts_with("not_json: expected"), "{words}");
    let quiet = Hello { properties: vec![0x17, 0], ..Hello::new(5, "S1", &house.secret("S1")) };
    let mut client = house.client_with(quiet).await;
    client.publish(READINGS, "nonsense", 1).await;
    assert_eq!(client.packet().await.1, [0, 1, 0x99, 0]);
}

#[tokio::test]
async fn version_4_cannot_be_told_but_a_broken_topic_closes() {
    let house = House::open().await;
    let mut client = house.client("S1", 4).await;
    client.publish("gas/v1/sensors/S2/readings", GOOD, 1).await;
    client.publish(READINGS, "nonsense", 2).await;
    client.publish(READINGS, GOOD, 3).await;
    for packet_id in 1..=3 {
        assert_eq!(client.puback().await, (packet_id, 0));
    }
    assert_eq!(house.journalled(2).await.len(), 2, "nothing of the first");
    client.publish("气体/S1", GOOD, 4).await;
    assert_eq!(client.ending().await, None);
    let counters = house.front_door.counters();
    assert_eq!((counters.refused_rights, counters.refused_topic_names, counters.rejected), (1, 1, 1));
    assert_eq!(counters.publishes, 2);
}

#[tokio::test]
async fn each_channel_has_its_entry() {
    let house = House::open().await;
    let mut sensor = house.client("S1", 5).await;
    sensor.publish(READINGS, r#"[{"co_ppm":1},{"co_ppm":2},7]"#, 0).await;
    sensor.publish(STATUS, "raw", 1).await;
    assert_eq!(sensor.puback().await, (1, 0));
    let mut scanner = house.client("N1", 4).await;
    scanner.publish("gas/v1/scanners/N1/checks", "c", 1).await;
    scanner.publish("gas/v1/scanners/N1/visits", "v", 2).await;
    assert_eq!((scanner.puback().await, scanner.puback().await), ((1, 0), (2, 0)));
    let entries = house.journalled(5).await;
    let Entry::Readings { sensor, received, readings } = &entries[0] else { panic!("{entries:?}") };
    assert_eq!((sensor.as_str(), *received), ("S1", START));
    assert_eq!(readings.iter().map(|reading| reading.co_ppm).collect::<Vec<_>>(), [Some(1.0), Some(2.0)]);
    assert!(readings[0].flags.has(Flags::TIME_OF_RECEIPT));
    let Entry::Rejected { client, topic, payload, code, detail, .. } = &entries[1] else { panic!("{entries:?}") };
    assert_eq!((client.as_str(), topic.as_str(), *code), ("S1", READINGS, RejectCode::NotAReading));
    assert_eq!(&payload[..], br#"[{"co_ppm":1},{"co_ppm":2},7]"#);
    assert!(detail.contains("element 2"), "{detail}");
    let messages: Vec<_> = entries[2..]
        .iter()
        .map(|entry| match entry {
            Entry::Message { client, topic, payload, .. } => (client.as_str(), topic.as_str(), &payload[..]),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        messages,
        [
            ("S1", STATUS, &b"raw"[..]),
            ("N1", "gas/v1/scanners/N1/checks", b"c"),
            ("N1", "gas/v1/scanners/N1/visits", b"v"),
        ]
    );
}

/// A payload of very many wrong elements must not fill the disk with copies of itself.
#[tokio::test]
async fn many_rejects_of_one_message_are_one_entry() {
    let house = House::open().await;
    let mut client = house.client("S1", 5).await;
    let payload = format!("[{}1]", "1,".repeat(50_000));
    client.publish(READINGS, &payload, 1).await;
    assert_eq!(client.puback().await, (1, 0x99));
    let entries = house.journalled(1).await;
    let Entry::Rejected { detail, .. } = &entries[0] else { panic!("{entries:?}") };
    assert!(detail.ends_with("and 49993 more"), "{detail}");
}

#[tokio::test]
async fn a_thousand_in_one_breath_are_acknowledged_in_order() {
    let house = House::open().await;
    let mut client = house.client("S1", 4).await;
    let mut bytes = Vec::new();
    for packet_id in 1..=5_000 {
        bytes.extend(publish(4, READINGS, format!(r#"{{"co_ppm":1,"seq":{packet_id}}}"#).as_bytes(), packet_id));
    }
    client.send(&bytes).await;
    for packet_id in 1..=5_000 {
        assert_eq!(client.puback().await, (packet_id, 0));
    }
    assert_eq!(house.journalled(5_000).await.len(), 5_000);
    assert_eq!(house.front_door.counters().readings, 5_000);
}
