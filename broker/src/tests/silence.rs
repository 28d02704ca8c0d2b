//! Time limits, on paused time and in-memory streams: with sockets a paused clock would run ahead.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{DuplexStream, duplex};
use tokio::time::Instant;

use super::kit::*;
use crate::connect::serve;

fn plug_in(house: &House) -> Client<DuplexStream> {
    let (ours, theirs) = duplex(4_096);
    let shared: Arc<crate::Shared> = house.front_door.shared.clone();
    tokio::spawn(serve(theirs, "127.0.0.1:1".parse().unwrap(), shared));
    Client::new(ours, 4)
}

async fn sign_in(house: &House, hello: Hello) -> Client<DuplexStream> {
    let mut client = plug_in(house);
    client.level = hello.level;
    client.send(&hello.packet()).await;
    assert_eq!(client.packet().await.1[1], 0);
    client
}

/// Answers of the router come from another thread, which paused time does not wait for.
async fn house() -> House {
    let day = Duration::from_secs(86_400);
    House::open_with(crate::Settings {
        router_probe: day,
        connect_timeout: Duration::from_secs(10),
        idle_limit: Duration::from_secs(20),
        ..crate::Settings::default()
    })
    .await
}

async fn seconds_until_end(client: &mut Client<DuplexStream>, code: Option<u8>) -> u64 {
    let before = Instant::now();
    assert_eq!(client.ending().await, code);
    before.elapsed().as_secs()
}

#[tokio::test]
async fn silence_ends_a_connection_at_one_and_a_half_keep_alives() {
    let house = house().await;
    tokio::time::pause();
    let hello = |level, keep_alive| Hello { keep_alive, ..Hello::new(level, "S1", &house.secret("S1")) };
    let mut client = sign_in(&house, hello(5, 10)).await;
    assert_eq!(seconds_until_end(&mut client, Some(0x8D)).await, 15);
    let mut client = sign_in(&house, hello(4, 10)).await;
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(14)).await;
        client.ping().await;
    }
    assert_eq!(seconds_until_end(&mut client, None).await, 15);
    let mut client = sign_in(&house, hello(4, 0)).await;
    assert_eq!(seconds_until_end(&mut client, None).await, 20, "the idle limit");
    assert_eq!(house.front_door.counters().silent, 3);
}

#[tokio::test]
async fn half_a_packet_is_not_a_sign_of_life() {
    let house = house().await;
    tokio::time::pause();
    let mut client = sign_in(&house, Hello { keep_alive: 10, ..Hello::new(4, "S1", &house.secret("S1")) }).await;
    tokio::time::advance(Duration::from_secs(10)).await;
    client.send(&PING[..1]).await;
    assert_eq!(seconds_until_end(&mut client, None).await, 5);
}

#[tokio::test]
async fn a_stranger_has_ten_seconds_to_say_connect() {
    let house = house().await;
    tokio::time::pause();
    for opening in [&[][..], &[0x10], &Hello::new(4, "S1", "x").packet()[..9]] {
        let mut client = plug_in(&house);
        client.send(opening).await;
        assert_eq!(seconds_until_end(&mut client, None).await, 10);
    }
    assert_eq!(house.front_door.counters().no_connect, 3);
}
