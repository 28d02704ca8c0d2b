use model::topic::Channel;

use super::kit::*;

fn reading(number: usize) -> String {
    format!(r#"{{"co_ppm":{number}}}"#)
}

#[tokio::test]
async fn an_integration_gets_live_copies_at_the_lower_qos() {
    let house = House::open().await;
    for (level, name) in [(4, "I1"), (5, "I2")] {
        for (published, subscribed) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)] {
            let mut listener = house.client(name, level).await;
            assert_eq!(listener.subscribe(ALL_READINGS, subscribed).await, subscribed.min(1));
            let mut sensor = house.client("S1", 9 - level).await;
            sensor.publish(READINGS, &reading(5), published).await;
            let got = listener.message().await;
            let is_qos1 = published.min(u16::from(subscribed)) == 1;
            let expected = Got {
                topic: READINGS.to_owned(),
                payload: reading(5),
                packet_id: is_qos1.then_some(1),
                retained: false,
            };
            assert_eq!(got, expected, "{published} {subscribed}");
        }
    }
}

#[tokio::test]
async fn nothing_is_copied_before_it_is_on_disk_nor_what_was_not_understood() {
    let house = House::open().await;
    let mut listener = house.client("I1", 4).await;
    listener.subscribe(ALL_READINGS, 1).await;
    listener.subscribe("gas/v1/sensors/+/status", 1).await;
    let mut sensor = house.client("S1", 5).await;
    sensor.publish(READINGS, "nonsense", 1).await;
    sensor.publish(STATUS, "on", 2).await;
    assert_eq!((sensor.puback().await.0, sensor.puback().await.0), (1, 2));
    assert_eq!(listener.message().await.payload, "on");
    house.disk.send_replace(Disk::Hangs);
    sensor.publish(READINGS, &reading(1), 3).await;
    sensor.ping().await;
    listener.ping().await;
    assert_eq!(house.front_door.counters().live_copies, 1);
    house.disk.send_replace(Disk::Works);
    assert_eq!(listener.message().await.payload, reading(1));
}

#[tokio::test]
async fn filters_outside_the_rights_are_refused_one_by_one() {
    let house = House::open().await;
    for (level, denied, invalid) in [(4, 0x80, 0x80), (5, 0x87, 0x8F)] {
        let mut listener = house.client("I1", level).await;
        let filters = [("#", 1), (ALL_READINGS, 0), ("gas/v1/sensors/+/commands", 0), ("a/#/b", 0), (INCIDENTS, 2)];
        listener.send(&subscribe(level, 5, &filters)).await;
        let (first, body) = listener.packet().await;
        assert_eq!(first, 0x90);
        assert_eq!(body[body.len() - 5..], [denied, 0, denied, invalid, 1]);
        let mut sensor = house.client("S1", level).await;
        assert_eq!(sensor.subscribe(COMMANDS, 1).await, 1);
        assert_eq!(sensor.subscribe("gas/v1/sensors/S2/commands", 1).await, denied);
        assert_eq!(sensor.subscribe("gas/v1/sensors/+/commands", 1).await, denied);
        assert_eq!(sensor.subscribe("gas/v1/sensors/S1/readings", 1).await, denied);
        let shared = sensor.subscribe(&format!("$share/g/{COMMANDS}"), 1).await;
        assert_eq!(shared, if level == 4 { 0x80 } else { 0x9E });
    }
    assert_eq!(house.front_door.counters().refused_filters, 14);
}

#[tokio::test]
async fn a_slow_subscriber_has_at_most_100_unacknowledged_and_then_gets_the_rest() {
    let house = House::open().await;
    for (level, properties, window) in [(4, vec![], 100), (5, vec![0x21, 0, 7], 7)] {
        let hello = Hello { properties, ..Hello::new(level, "I1", &house.secret("I1")) };
        let mut listener = house.client_with(hello).await;
        listener.subscribe(ALL_READINGS, 1).await;
        let mut sensor = house.client("S1", 4).await;
        for number in 1..=150 {
            sensor.publish(READINGS, &reading(number), number as u16).await;
            assert_eq!(sensor.puback().await, (number as u16, 0));
        }
        let mut packet_ids = Vec::new();
        for number in 1..=window {
            let got = listener.message().await;
            assert_eq!(got.payload, reading(number));
            packet_ids.push(got.packet_id.unwrap());
        }
        listener.ping().await;
        // In any order.
        for packet_id in packet_ids.into_iter().rev() {
            listener.acknowledge(packet_id).await;
        }
        for number in window + 1..=150 {
            let got = listener.message().await;
            assert_eq!(got.payload, reading(number));
            listener.acknowledge(got.packet_id.unwrap()).await;
        }
    }
}

#[tokio::test]
async fn members_of_a_share_split_what_comes() {
    let house = House::open().await;
    let shared = format!("$share/team/{ALL_READINGS}");
    let mut first = house.client("I1", 5).await;
    let mut second = house.client("I2", 4).await;
    assert_eq!(first.subscribe(&shared, 0).await, 0);
    assert_eq!(second.subscribe(&shared, 0).await, 0);
    assert_eq!(house.front_door.counters().subscriptions_now, 1);
    let mut sensor = house.client("S1", 4).await;
    for number in 0..10 {
        sensor.publish(READINGS, &reading(number), 0).await;
    }
    for number in 0..5 {
        assert_eq!(first.message().await.payload, reading(2 * number));
        assert_eq!(second.message().await.payload, reading(2 * number + 1));
    }
    first.send(&unsubscribe(5, 9, &shared)).await;
    assert_eq!(first.packet().await, (0xB0, vec![0, 9, 0, 0]));
    sensor.publish(READINGS, &reading(20), 0).await;
    sensor.publish(READINGS, &reading(21), 0).await;
    assert_eq!(second.message().await.payload, reading(20));
    assert_eq!(second.message().await.payload, reading(21));
    first.ping().await;
}

#[tokio::test]
async fn unsubscribing_ends_the_copies_of_that_filter_only() {
    let house = House::open().await;
    let mut listener = house.client("I1", 4).await;
    listener.subscribe(ALL_READINGS, 0).await;
    listener.subscribe("gas/v1/sensors/+/status", 0).await;
    listener.send(&unsubscribe(4, 1, ALL_READINGS)).await;
    assert_eq!(listener.packet().await, (0xB0, vec![0, 1]));
    listener.send(&unsubscribe(4, 2, ALL_READINGS)).await;
    assert_eq!(listener.packet().await, (0xB0, vec![0, 2]));
    let mut sensor = house.client("S1", 4).await;
    sensor.publish(READINGS, &reading(1), 1).await;
    sensor.publish(STATUS, "on", 2).await;
    assert_eq!(listener.message().await.payload, "on");
}

#[tokio::test]
async fn open_incidents_are_told_to_who_comes_later() {
    let house = House::open().await;
    let publish =
        |topic: &str, payload: &'static str, retain| house.front_door.publish(topic, payload, retain).unwrap();
    publish("gas/v1/incidents/a/1", "open", true);
    publish("gas/v1/incidents/a/2", "open", true);
    publish("gas/v1/incidents/a/2", "", true);
    // Not retained and empty: clears nothing.
    publish("gas/v1/incidents/a/1", "", false);
    let mut listener = house.client("I1", 5).await;
    assert_eq!(listener.subscribe(INCIDENTS, 1).await, 1);
    let expected = Got {
        topic: "gas/v1/incidents/a/1".to_owned(),
        payload: "open".to_owned(),
        packet_id: Some(1),
        retained: true,
    };
    assert_eq!(listener.message().await, expected);
    publish("gas/v1/incidents/a/1", "closed", false);
    publish("gas/v1/incidents/a/1", "", true);
    let live = listener.message().await;
    assert_eq!((live.payload.as_str(), live.retained), ("closed", false));
    assert_eq!(listener.message().await.payload, "");
    let mut later = house.client("I2", 4).await;
    assert_eq!(later.subscribe(INCIDENTS, 1).await, 1);
    later.ping().await;
    assert!(house.front_door.publish("事故/1", "x", true).is_err());
}

#[tokio::test]
async fn retain_handling_is_respected() {
    let house = House::open().await;
    house.front_door.publish("gas/v1/incidents/a/1", "open", true).unwrap();
    let mut listener = house.client("I1", 5).await;
    listener.subscribe(INCIDENTS, 0x20).await;
    listener.ping().await;
    listener.subscribe(INCIDENTS, 0x10).await;
    listener.ping().await;
    listener.subscribe(INCIDENTS, 0x00).await;
    assert!(listener.message().await.retained);
    listener.ping().await;
}

#[tokio::test]
async fn a_device_gets_what_is_for_it_while_it_listens() {
    let house = House::open().await;
    let send = |channel| house.front_door.send_to_device(&id("S1"), channel, "do");
    assert!(!send(Channel::Commands), "not connected");
    for (level, qos) in [(4, 1), (5, 0)] {
        let mut sensor = house.client("S1", level).await;
        assert!(!send(Channel::Commands), "not subscribed");
        assert_eq!(sensor.subscribe(COMMANDS, qos).await, qos);
        assert!(send(Channel::Commands));
        assert!(!send(Channel::Receipts));
        let got = sensor.message().await;
        assert_eq!(
            (got.topic.as_str(), got.payload.as_str(), got.packet_id),
            (COMMANDS, "do", (qos == 1).then_some(1))
        );
        sensor.send(&unsubscribe(level, 1, COMMANDS)).await;
        assert_eq!(sensor.packet().await.0, 0xB0);
        assert!(!send(Channel::Commands), "unsubscribed");
    }
}
