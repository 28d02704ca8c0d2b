//! The same through a client library, in both versions.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::time::timeout;

use super::kit::*;

#[tokio::test]
async fn rumqttc_4_publishes_and_subscribes() {
    let house = House::open().await;
    let connect = |name: &str| {
        let mut options = MqttOptions::new(name, "127.0.0.1", house.address.port());
        options.set_credentials(name, house.secret(name)).set_keep_alive(Duration::from_secs(30));
        AsyncClient::new(options, 10)
    };
    let (listener, mut messages) = connect("I1");
    listener.subscribe(ALL_READINGS, QoS::AtLeastOnce).await.unwrap();
    while !matches!(timeout(LONG, messages.poll()).await.unwrap().unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    let (sensor, mut events) = connect("S1");
    for number in 0..20 {
        let payload = format!(r#"{{"co_ppm":{number}}}"#);
        sensor.try_publish(READINGS, QoS::AtLeastOnce, false, payload).ok();
        if let Event::Incoming(Packet::PubAck(_)) = timeout(LONG, events.poll()).await.unwrap().unwrap() {}
    }
    let running = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let mut got = 0;
    while got < 5 {
        if let Event::Incoming(Packet::Publish(publish)) = timeout(LONG, messages.poll()).await.unwrap().unwrap() {
            assert_eq!((publish.topic.as_str(), publish.qos), (READINGS, QoS::AtLeastOnce));
            assert_eq!(&publish.payload[..], format!(r#"{{"co_ppm":{got}}}"#).as_bytes());
            got += 1;
        }
    }
    running.abort();
}

#[tokio::test]
async fn rumqttc_5_publishes_and_is_told_of_a_refusal() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};

    let house = House::open().await;
    let mut options = MqttOptions::new("S1", "127.0.0.1", house.address.port());
    options.set_credentials("S1", house.secret("S1")).set_keep_alive(Duration::from_secs(30));
    let (sensor, mut events) = AsyncClient::new(options, 10);
    sensor.publish(READINGS, QoS::AtLeastOnce, false, r#"{"co_ppm":1}"#).await.unwrap();
    sensor.publish(READINGS, QoS::AtLeastOnce, false, r#"{"co_ppm":NaN}"#).await.unwrap();
    sensor.publish("gas/v1/sensors/S2/readings", QoS::AtLeastOnce, false, "{}").await.unwrap();
    let mut reasons = Vec::new();
    while reasons.len() < 3 {
        if let Event::Incoming(Packet::PubAck(ack)) = timeout(LONG, events.poll()).await.unwrap().unwrap() {
            reasons.push(ack.reason);
        }
    }
    let expected = [PubAckReason::Success, PubAckReason::PayloadFormatInvalid, PubAckReason::NotAuthorized];
    assert_eq!(reasons, expected);
}
