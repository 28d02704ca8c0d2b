use proptest::prelude::*;

use super::*;
use crate::places::{Premises, put_premises};
use crate::testing::{NOW, device, premises, put_places, registry};

fn sensor(id: &str, premises: Option<&str>) -> Sensor {
    Sensor {
        id: device(id),
        premises: premises.map(str::to_owned),
        room: "厨房".into(),
        model: "X1".into(),
        interval_ms: 60_000,
        range_ppm: 999.5,
    }
}

async fn put(registry: &Registry, sensors: &[Sensor]) {
    let mut tx = registry.ledger().begin().await.unwrap();
    put_sensors(&mut tx, sensors).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn memory_shows_sensors_with_their_places_after_a_reload() {
    let (_dir, registry) = registry().await;
    put_places(&registry).await;
    put(&registry, &[sensor("S2", None), sensor("S1", Some("P1"))]).await;
    assert_eq!(registry.placed(&device("S1")), None);
    registry.reload().await.unwrap();
    let placed = registry.placed(&device("S1")).unwrap();
    assert_eq!(placed.sensor, sensor("S1", Some("P1")));
    assert_eq!(placed.area.as_deref(), Some("shijing"));
    assert_eq!(placed.address, Some(premises("P1", "shijing").address));
    assert_eq!(placed.building.as_deref(), Some("B1"));
    let unbound = registry.placed(&device("S2")).unwrap();
    assert_eq!((&unbound.area, &unbound.address, &unbound.building), (&None, &None, &None));
    let ids: Vec<String> = registry.sensors().iter().map(|placed| placed.sensor.id.to_string()).collect();
    assert_eq!(ids, ["S1", "S2"]);
}

#[tokio::test]
async fn another_process_sees_a_change_only_when_there_is_one() {
    let (_dir, registry) = registry().await;
    put_places(&registry).await;
    let other = Registry::new(registry.ledger().clone());
    assert!(other.reload_if_changed().await.unwrap());
    assert!(!other.reload_if_changed().await.unwrap());

    put(&registry, &[sensor("S1", Some("P1"))]).await;
    assert!(other.reload_if_changed().await.unwrap());
    assert!(other.placed(&device("S1")).is_some());
    assert!(!other.reload_if_changed().await.unwrap());

    let mut tx = registry.ledger().begin().await.unwrap();
    let moved = Premises { address: "新地址".into(), ..premises("P1", "shijing") };
    put_premises(&mut tx, &[moved]).await.unwrap();
    tx.commit().await.unwrap();
    assert!(other.reload_if_changed().await.unwrap());
    assert_eq!(other.placed(&device("S1")).unwrap().address.as_deref(), Some("新地址"));

    let mut tx = registry.ledger().begin().await.unwrap();
    put_sensors(&mut tx, &[sensor("S2", None)]).await.unwrap();
    drop(tx);
    assert!(!other.reload_if_changed().await.unwrap(), "rolled back");
}

#[tokio::test]
async fn wrong_sensors_are_refused_by_name() {
    let (_dir, registry) = registry().await;
    put_places(&registry).await;
    for (wrong, words) in [
        (sensor("S1", Some("P9")), "sensor S1: there are no premises \"P9\""),
        (Sensor { interval_ms: 0, ..sensor("S1", None) }, "sensor S1: the interval"),
        (Sensor { range_ppm: f32::NAN, ..sensor("S1", None) }, "sensor S1: the range"),
        (Sensor { range_ppm: 0.0, ..sensor("S1", None) }, "sensor S1: the range"),
        (Sensor { room: "a\u{7}".into(), ..sensor("S1", None) }, "room"),
    ] {
        let mut tx = registry.ledger().begin().await.unwrap();
        let error = put_sensors(&mut tx, &[sensor("S0", None), wrong]).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Invalid(text) if text.starts_with(words)), "{error}");
    }
    registry.reload().await.unwrap();
    assert!(registry.sensors().is_empty());
}

fn heard(sensor: &str, seconds: i64) -> Heard {
    Heard {
        sensor: device(sensor),
        last_seen: NOW + seconds * 1_000,
        battery_pct: None,
        signal_dbm: None,
        state: None,
        ahead_ms: None,
    }
}

#[tokio::test]
async fn what_was_not_heard_keeps_its_value_and_the_past_changes_nothing() {
    let (_dir, registry) = registry().await;
    let first = Heard { battery_pct: Some(80.5), state: Some(SensorState::Normal), ..heard("S1", 10) };
    let second = Heard { signal_dbm: Some(-71.0), ahead_ms: Some(300_000), ..heard("S1", 20) };
    let late = Heard { battery_pct: Some(99.0), state: Some(SensorState::Fault), ..heard("S1", 5) };
    let nonsense = Heard { battery_pct: Some(f32::NAN), signal_dbm: Some(f32::INFINITY), ..heard("S1", 30) };
    for batch in [vec![first], vec![second.clone()], vec![late], vec![second, nonsense]] {
        let mut tx = registry.ledger().begin().await.unwrap();
        put_heard(&mut tx, &batch).await.unwrap();
        tx.commit().await.unwrap();
    }
    let expected = Heard {
        battery_pct: Some(80.5),
        signal_dbm: Some(-71.0),
        state: Some(SensorState::Normal),
        ahead_ms: Some(300_000),
        ..heard("S1", 30)
    };
    assert_eq!(registry.heard().await.unwrap(), [expected]);
}

fn any_heard() -> impl Strategy<Value = Heard> {
    (
        "S[1-3]",
        0i64..6,
        prop::option::of(0f32..100.0),
        prop::option::of(-120f32..0.0),
        prop::option::of(prop::sample::select(SensorState::ALL.to_vec())),
        prop::option::of(0i64..1_000),
    )
        .prop_map(|(sensor, seconds, battery_pct, signal_dbm, state, ahead_ms)| Heard {
            battery_pct,
            signal_dbm,
            state,
            ahead_ms,
            ..heard(&sensor, seconds)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However the messages are cut into batches, the ledger ends as a plain recount says.
    #[test]
    fn batches_do_not_matter(messages in prop::collection::vec(any_heard(), 1..30), batch in 1usize..12) {
        let mut expected = std::collections::BTreeMap::<DeviceId, Heard>::new();
        for message in &messages {
            let kept = expected.entry(message.sensor.clone()).or_insert_with(|| message.clone());
            if message.last_seen >= kept.last_seen {
                let Heard { battery_pct, signal_dbm, state, ahead_ms, .. } = kept.clone();
                *kept = message.clone();
                kept.battery_pct = kept.battery_pct.or(battery_pct);
                kept.signal_dbm = kept.signal_dbm.or(signal_dbm);
                kept.state = kept.state.or(state);
                kept.ahead_ms = kept.ahead_ms.or(ahead_ms);
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stored = runtime.block_on(async {
            let (_dir, registry) = registry().await;
            for batch in messages.chunks(batch) {
                let mut tx = registry.ledger().begin().await.unwrap();
                put_heard(&mut tx, batch).await.unwrap();
                tx.commit().await.unwrap();
            }
            registry.heard().await.unwrap()
        });
        prop_assert_eq!(stored, expected.into_values().collect::<Vec<_>>());
    }
}

fn presence(device_id: &str, seconds: i64, online: bool, detail: &str) -> Presence {
    Presence { device: device(device_id), at: NOW + seconds * 1_000, online, detail: detail.into() }
}

#[tokio::test]
async fn only_the_newest_presence_of_a_device_is_kept() {
    let (_dir, registry) = registry().await;
    registry.put_presence(&[]).await.unwrap();
    registry
        .put_presence(&[
            presence("S1", 2, false, "keep-alive ran out"),
            presence("S1", 1, true, "[::1]:4000"),
            presence("S2", 1, true, "[::1]:4001"),
            presence("S2", 1, false, "taken over"),
        ])
        .await
        .unwrap();
    registry.put_presence(&[presence("S1", 1, true, "late")]).await.unwrap();
    let expected = [presence("S1", 2, false, "keep-alive ran out"), presence("S2", 1, false, "taken over")];
    assert_eq!(registry.presence().await.unwrap(), expected);
    registry.put_presence(&[presence("S1", 2, true, "a\0b\nc")]).await.unwrap();
    assert_eq!(registry.presence().await.unwrap()[0], presence("S1", 2, true, "a b c"));
}
