use store::Entry;

use super::kit::*;

#[tokio::test]
async fn a_second_connection_takes_over_the_first() {
    let mut house = House::open().await;
    let mut first = house.client("S1", 5).await;
    let mut second = house.client("S1", 4).await;
    assert_eq!(first.ending().await, Some(0x8E));
    let mut third = house.client("S1", 5).await;
    assert_eq!(second.ending().await, None);
    third.publish(READINGS, r#"{"co_ppm":1}"#, 1).await;
    assert_eq!(third.puback().await, (1, 0));
    for _ in 0..3 {
        let (_, online, _) = house.presence().await;
        assert!(online, "who is taken over is not offline");
    }
    third.send(&[0xE0, 0]).await;
    assert!(!house.presence().await.1);
}

fn will(house: &House, level: u8) -> Hello {
    Hello { will: Some((STATUS.to_owned(), b"gone".to_vec(), 0x28)), ..Hello::new(level, "S1", &house.secret("S1")) }
}

fn payloads(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| match entry {
            Entry::Message { client, topic, payload, .. } => {
                assert_eq!((client.as_str(), topic.as_str()), ("S1", STATUS));
                String::from_utf8(payload.to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn a_will_is_journalled_unless_the_client_says_goodbye() {
    let mut house = House::open().await;
    let mut listener = house.client("I1", 4).await;
    listener.subscribe("gas/v1/sensors/+/status", 1).await;
    // With goodbye: no will.
    let mut polite = house.client_with(will(&house, 4)).await;
    polite.send(&[0xE0, 0]).await;
    assert_eq!(polite.packet_or_end().await, None);
    // Without: one.
    drop(house.client_with(will(&house, 5)).await);
    assert_eq!(listener.message().await.payload, "gone");
    // With goodbye that asks for it, and for a fault: one each.
    let mut asking = house.client_with(will(&house, 5)).await;
    asking.send(&packet(0xE0, &[4])).await;
    assert_eq!(listener.message().await.payload, "gone");
    let mut faulty = house.client_with(will(&house, 5)).await;
    faulty.send(&[0xF0, 0]).await;
    assert_eq!(listener.message().await.payload, "gone");
    assert_eq!(payloads(&house.journalled(3).await), ["gone"; 3]);
    assert_eq!(house.front_door.counters().wills, 3);
    // Not when the server stops.
    let mut staying = house.client_with(will(&house, 5)).await;
    house.front_door.stop().await;
    assert_eq!(staying.ending().await, Some(0x8B));
    assert_eq!(house.journal.durable().0, 3);
    while house.presence.try_recv().is_ok() {}
}

#[tokio::test]
async fn the_will_of_who_is_taken_over_comes_before_what_the_newer_one_says() {
    let house = House::open().await;
    let first = house.client_with(will(&house, 4)).await;
    let mut second = house.client("S1", 4).await;
    second.publish(STATUS, "here", 1).await;
    assert_eq!(second.puback().await, (1, 0));
    assert_eq!(payloads(&house.journalled(2).await), ["gone", "here"]);
    drop(first);
    second.ping().await;
    assert_eq!(house.journal.durable().0, 2, "one will, not two");
}

#[tokio::test]
async fn stopping_finishes_what_was_taken_in() {
    let house = House::open().await;
    let mut new = house.client("S1", 5).await;
    let mut old = house.client("S2", 4).await;
    let mut stranger = house.socket().await;
    house.disk.send_replace(Disk::Hangs);
    new.publish(READINGS, r#"{"co_ppm":1}"#, 1).await;
    new.ping().await;
    let stopping = {
        let front_door = house.front_door.clone();
        tokio::spawn(async move { front_door.stop().await })
    };
    assert_eq!(old.ending().await, None);
    house.disk.send_replace(Disk::Works);
    assert_eq!(new.puback().await, (1, 0));
    assert_eq!(new.ending().await, Some(0x8B));
    assert_eq!(stranger.packet_or_end().await, None);
    drop((new, old, stranger));
    stopping.await.unwrap();
    assert!(tokio::net::TcpStream::connect(house.address).await.is_err(), "no longer accepting");
    assert_eq!(house.front_door.counters().connections_now, 0);
}

#[tokio::test]
async fn sockets_beyond_the_limit_are_closed() {
    let settings = crate::Settings { most_connections: 2, ..crate::Settings::default() };
    let house = House::open_with(settings).await;
    let mut first = house.client("S1", 4).await;
    let _second = house.client("S2", 4).await;
    let mut third = house.socket().await;
    assert_eq!(third.packet_or_end().await, None);
    first.ping().await;
    assert_eq!(house.front_door.counters().too_many_connections, 1);
}
