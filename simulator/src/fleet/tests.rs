use std::collections::HashSet;

use model::decode;
use model::time::DAY;
use model::topic::Topic;
use model::{SensorState, Stamp};

use super::*;
use crate::district::District;
use crate::room::FaultKind;
use crate::testing::{Acceptor, Manners, Published, signed_in_as};

const START: Stamp = Stamp(1_795_485_600_000);
/// Ten simulated seconds in ten milliseconds.
const SCALE: f64 = 1_000.0;

fn fleet(acceptor: &Acceptor, homes: usize, wills: bool) -> Arc<Fleet> {
    let district = District::generate(6, homes);
    let secrets = |id: &DeviceId| (id.to_string(), format!("secret-{id}"));
    Arc::new(Fleet {
        world: Arc::new(World::new(&district, START, 6)),
        clock: SimClock::new(START, SCALE),
        mqtt: acceptor.address,
        secrets: district.homes.iter().map(|home| secrets(&home.sensor.id)).collect(),
        wills,
        seed: 6,
        tally: Tally::default(),
    })
}

fn is_status(published: &Published) -> bool {
    published.topic.ends_with("/status")
}

fn readings(published: &Published) -> Vec<model::Reading> {
    assert_eq!((published.qos, published.retain), (1, false));
    let decoded = decode::readings(&published.payload, START + DAY);
    assert_eq!(decoded.rejects, []);
    decoded.readings
}

#[tokio::test]
async fn each_sensor_signs_in_as_itself_and_says_that_it_is_online() {
    let homes = District::generate(6, 40).homes;
    let ids = homes.iter().map(|home| home.sensor.id.to_string());
    let passwords = ids.map(|id| (id.clone(), format!("secret-{id}"))).collect();
    let mut acceptor = Acceptor::start(Manners { passwords, ..Manners::default() }).await;
    let fleet = fleet(&acceptor, 40, false);
    let stop = CancellationToken::new();
    let running = tokio::spawn(fleet.clone().run(stop.clone()));
    let (mut online, mut heard) = (HashSet::new(), HashSet::new());
    while heard.len() < 40 {
        let published = acceptor.published.recv().await.unwrap();
        let sensor = Topic::parse(&published.topic).unwrap().id.to_owned();
        if is_status(&published) {
            assert_eq!((published.qos, published.retain), (1, true));
            assert_eq!(published.payload, br#"{"online":true,"firmware":"sim"}"#);
            assert!(online.insert(sensor));
        } else {
            assert!(online.contains(&sensor), "readings come after the status");
            assert!(!readings(&published).is_empty());
            heard.insert(sensor);
        }
    }
    assert_eq!(fleet.tally.connected.load(Ordering::Relaxed), 40);
    stop.cancel();
    running.await.unwrap();
    acceptor.goodbyes(40).await;
    assert_eq!(fleet.tally.connected.load(Ordering::Relaxed), 0);
    for connect in acceptor.connects.lock().unwrap().iter() {
        let (id, user, password) = signed_in_as(connect);
        assert_eq!((user, password), (id.clone(), format!("secret-{id}")));
    }
}

#[tokio::test]
async fn a_poisoning_is_reported_until_the_sensor_alarms() {
    let mut acceptor = Acceptor::start(Manners::default()).await;
    let fleet = fleet(&acceptor, 1, false);
    let stop = CancellationToken::new();
    let running = tokio::spawn(fleet.clone().run(stop.clone()));
    let poisoning = fleet.world.begin(0, FaultKind::BlockedFlue, fleet.clock.now()).unwrap();
    let alarm = loop {
        let published = acceptor.published.recv().await.unwrap();
        if is_status(&published) {
            continue;
        }
        let is_alarm = |reading: &model::Reading| reading.state == Some(SensorState::Alarm);
        if let Some(alarm) = readings(&published).into_iter().find(is_alarm) {
            break alarm;
        }
    };
    assert!(alarm.co_ppm.unwrap() >= 300.0);
    let truth = fleet.world.poisonings(fleet.clock.now()).remove(poisoning);
    assert!(alarm.time >= truth.danger.unwrap());
    assert!(fleet.world.message_arrived(poisoning, Instant::now()).is_some());
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_a_lost_connection_swallowed_is_sent_again() {
    let mut acceptor = Acceptor::start(Manners { hang_ups: 2, ..Manners::default() }).await;
    let fleet = fleet(&acceptor, 1, true);
    let stop = CancellationToken::new();
    let running = tokio::spawn(fleet.clone().run(stop.clone()));
    let mut numbers = Vec::new();
    while numbers.len() < 5 {
        let published = acceptor.published.recv().await.unwrap();
        if !is_status(&published) {
            numbers.extend(readings(&published).iter().filter_map(|reading| reading.seq));
        }
    }
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    stop.cancel();
    running.await.unwrap();
    assert_eq!(fleet.tally.dropped.load(Ordering::Relaxed), 0);
    let connects = acceptor.connects.lock().unwrap();
    assert_eq!(connects.len(), 3);
    // will flag, will at QoS 1, retained
    assert!(connects.iter().all(|connect| connect[7] & 0b0011_1100 == 0b0010_1100));
    let sent = fleet.tally.sent.load(Ordering::Relaxed);
    assert!(sent >= fleet.tally.acknowledged.load(Ordering::Relaxed) + 2);
}

#[tokio::test]
async fn a_sensor_without_a_secret_stays_off() {
    let acceptor = Acceptor::start(Manners::default()).await;
    let mut fleet = Arc::into_inner(fleet(&acceptor, 1, false)).unwrap();
    fleet.secrets.clear();
    Arc::new(fleet).run(CancellationToken::new()).await;
    assert!(acceptor.connects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn pauses_between_attempts_grow_to_half_a_minute() {
    let acceptor = Acceptor::start(Manners::default()).await;
    let fleet = fleet(&acceptor, 1, false);
    let sensor = &fleet.world.homes()[0].sensor;
    let (client, _eventloop) = fleet.client(&sensor.id, "x");
    let mut line = Line {
        fleet: &fleet,
        home: 0,
        readings_topic: String::new(),
        status_topic: String::new(),
        device: Device::new(sensor, START, Random::new(1)),
        client,
        is_connected: false,
        failures: 0,
        random: Random::new(1),
    };
    assert_eq!(line.pause(), Duration::ZERO);
    for failures in 1..40 {
        line.lost("test");
        let most = (0.5 * 2f64.powi(failures - 1)).min(30.0);
        let pause = line.pause().as_secs_f64();
        assert!((most / 2.0..=most).contains(&pause), "{failures}: {pause}");
    }
}
