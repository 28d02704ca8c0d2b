use super::kit::*;

/// CONNACK codes of both versions for a CONNECT that is changed in some way; `None` is success.
async fn answers(house: &House, change: impl Fn(&mut Hello)) -> [u8; 2] {
    let mut codes = [0; 2];
    for (code, level) in codes.iter_mut().zip([4, 5]) {
        let mut hello = Hello::new(level, "S1", &house.secret("S1"));
        change(&mut hello);
        let mut client = house.socket().await;
        client.send(&hello.packet()).await;
        let (first, body) = client.packet().await;
        assert_eq!(first, 0x20);
        *code = body[1];
        if *code == 0 {
            client.ping().await;
        } else {
            assert_eq!(client.packet_or_end().await, None, "a refused client is closed");
        }
    }
    codes
}

#[tokio::test]
async fn connack_says_why() {
    let house = House::open().await;
    let foreign = house.secret("S2");
    assert_eq!(answers(&house, |_| {}).await, [0, 0]);
    assert_eq!(answers(&house, |hello| hello.client_id.clear()).await, [0, 0], "the user name stands in");
    assert_eq!(answers(&house, |hello| hello.password = Some(b"wrong".to_vec())).await, [4, 0x86]);
    assert_eq!(answers(&house, |hello| hello.password = Some(foreign.clone().into())).await, [4, 0x86]);
    assert_eq!(answers(&house, |hello| hello.password = None).await, [4, 0x86]);
    assert_eq!(answers(&house, |hello| hello.username = Some("S9".to_owned())).await, [4, 0x86], "unknown");
    assert_eq!(answers(&house, |hello| hello.username = Some("传感器".to_owned())).await, [4, 0x86]);
    assert_eq!(answers(&house, |hello| hello.username = Some(String::new())).await, [5, 0x87]);
    assert_eq!(answers(&house, |hello| hello.client_id = "S2".to_owned()).await, [2, 0x85]);
    assert_eq!(answers(&house, |hello| hello.client_id = "a/b".to_owned()).await, [2, 0x85]);
    let elsewhere = |hello: &mut Hello| hello.will = Some((READINGS.to_owned(), b"{}".to_vec(), 0));
    assert_eq!(answers(&house, elsewhere).await, [5, 0x87]);
    let qos2 = |hello: &mut Hello| hello.will = Some((STATUS.to_owned(), b"{}".to_vec(), 0x10));
    assert_eq!(answers(&house, qos2).await, [5, 0x9B]);
    house.credentials.revoke(&id("S1")).await.unwrap();
    assert_eq!(answers(&house, |_| {}).await, [4, 0x86]);
    let counters = house.front_door.counters();
    assert_eq!((counters.connections, counters.refused_credentials, counters.refused_connects), (4, 14, 8));
}

#[tokio::test]
async fn what_only_one_version_has() {
    let house = House::open().await;
    let secret = house.secret("S1");
    let answer = async |hello: Hello| {
        let mut client = house.socket().await;
        client.send(&hello.packet()).await;
        client.packet().await.1[1]
    };
    let new = |level| Hello::new(level, "S1", &secret);
    assert_eq!(answer(Hello { client_id: String::new(), clean: false, ..new(4) }).await, 2);
    assert_eq!(answer(Hello { client_id: String::new(), clean: false, ..new(5) }).await, 0);
    assert_eq!(answer(Hello { username: None, ..new(5) }).await, 0x87, "a password alone is legal in 5");
    let method = [&[0x15][..], &text("SCRAM")].concat();
    assert_eq!(answer(Hello { properties: method, ..new(5) }).await, 0x8C);
}

#[tokio::test]
async fn other_protocol_levels_are_answered_in_a_form_they_may_know() {
    let house = House::open().await;
    for (name, level, answer) in [("MQIsdp", 3, 1), ("MQTT", 3, 1), ("MQTT", 6, 0x84)] {
        let mut client = house.socket().await;
        let body = [text(name), vec![level, 2, 0, 60], text("S1")].concat();
        client.send(&packet(0x10, &body)).await;
        let (first, body) = client.packet().await;
        assert_eq!((first, body[1]), (0x20, answer), "{name} {level}");
        assert_eq!(client.packet_or_end().await, None);
    }
}

#[tokio::test]
async fn version_5_is_told_what_is_not_supported() {
    let house = House::open().await;
    let mut device = house.socket().await;
    let hello = Hello { client_id: String::new(), keep_alive: 0, ..Hello::new(5, "S1", &house.secret("S1")) };
    device.send(&hello.packet()).await;
    let (_, body) = device.packet().await;
    let expected = [
        &[0x11, 0, 0, 0, 0, 0x21, 0x10, 0, 0x24, 1, 0x25, 0, 0x27, 0, 4, 0, 0, 0x22, 0, 0][..],
        &[0x28, 0, 0x29, 0, 0x2A, 0, 0x12, 0, 2, b'S', b'1', 0x13, 0x1C, 0x20],
    ]
    .concat();
    assert_eq!(&body[3..], expected);
    let mut integration = house.socket().await;
    integration.send(&Hello::new(5, "I1", &house.secret("I1")).packet()).await;
    let (_, body) = integration.packet().await;
    let expected = [0x25, 1, 0x27, 0, 4, 0, 0, 0x22, 0, 0, 0x28, 1, 0x29, 0, 0x2A, 1];
    assert_eq!(&body[body.len() - expected.len()..], expected);
}

#[tokio::test]
async fn what_follows_connect_in_the_same_packet_is_not_lost() {
    let house = House::open().await;
    let mut client = house.socket().await;
    let hello = Hello::new(4, "S1", &house.secret("S1")).packet();
    client.send(&[&hello[..], &publish(4, READINGS, br#"{"co_ppm":1}"#, 1), &PING[..1]].concat()).await;
    assert_eq!(client.packet().await, (0x20, vec![0, 0]));
    assert_eq!(client.puback().await, (1, 0));
    client.send(&PING[1..]).await;
    assert_eq!(client.packet().await, PONG);
}

#[tokio::test]
async fn presence_tells_who_came_and_why_they_went() {
    let mut house = House::open().await;
    let mut client = house.client("S1", 4).await;
    let peer = client.stream.local_addr().unwrap().to_string();
    assert_eq!(house.presence().await, ("S1".to_owned(), true, peer));
    assert!(house.front_door.is_connected(&id("S1")));
    client.send(&[0xE0, 0]).await;
    assert_eq!(house.presence().await, ("S1".to_owned(), false, "disconnected".to_owned()));
    assert!(!house.front_door.is_connected(&id("S1")));
    drop(house.client("S1", 4).await);
    assert!(house.presence().await.1);
    let (_, online, reason) = house.presence().await;
    assert!(!online && (reason.contains("without DISCONNECT") || reason.contains("lost")), "{reason}");
}
