use std::collections::BTreeMap;

use model::SensorState;
use model::time::{DAY, HOUR, MINUTE};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::binary::tests::{any_f32, exact};

const NOW: Stamp = Stamp(1_796_000_000_000);

fn sensor(number: usize) -> DeviceId {
    DeviceId::new(&format!("S-{number}")).unwrap()
}

fn at(time: Stamp, ppm: f32) -> Reading {
    Reading { time, co_ppm: Some(ppm), state: Some(SensorState::Normal), ..Reading::default() }
}

/// A store that flushes only when told.
fn open(folder: &Path) -> Readings {
    let options = Options { flush_every: Duration::from_secs(1_000_000), ..Options::default() };
    Readings::open_with(folder, Clock::manual(NOW), &options).unwrap()
}

fn folder() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("readings");
    (dir, folder)
}

async fn all(store: &Readings, sensor: &DeviceId) -> Vec<Reading> {
    store.range(sensor, Stamp(i64::MIN), Stamp(i64::MAX)).await.unwrap()
}

/// Waits until the background flush has come to `position`.
async fn applied(store: &Readings, position: Position) {
    let arrival = async {
        while store.applied() < position {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrival).await.unwrap();
}

fn month_files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| Month::of_file(name).is_some()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn readings_are_found_before_and_after_a_flush_and_a_restart() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    let readings = [at(NOW, 3.0), at(NOW + MINUTE, 4.5)];
    store.append(&sensor(1), NOW + MINUTE, &readings, Position(7));
    assert_eq!(all(&store, &sensor(1)).await, readings);
    assert_eq!(store.applied(), Position(0));
    assert_eq!(store.stats().in_memory, 2);
    assert_eq!(store.flush().await.unwrap(), Position(7));
    assert_eq!(store.applied(), Position(7));
    assert_eq!(store.stats().in_memory, 0);
    assert_eq!(all(&store, &sensor(1)).await, readings);
    drop(store);
    let store = open(&folder);
    assert_eq!(store.applied(), Position(7));
    assert_eq!(all(&store, &sensor(1)).await, readings);
    let latest = Latest { sensor: sensor(1), reading: readings[1], received: NOW + MINUTE };
    assert_eq!(store.latest(&sensor(1)), Some(latest.clone()));
    assert_eq!(store.latest_all(), [latest]);
    assert_eq!(all(&store, &sensor(2)).await, []);
    assert_eq!(store.latest(&sensor(2)), None);
}

#[tokio::test]
async fn a_full_memory_flushes_itself() {
    let (_dir, folder) = folder();
    let options = Options { flush_samples: 10, flush_every: Duration::from_secs(1_000_000) };
    let store = Readings::open_with(&folder, Clock::manual(NOW), &options).unwrap();
    for number in 0..4 {
        let readings = [at(NOW, 1.0), at(NOW + 1, 1.0), at(NOW + 2, 1.0)];
        store.append(&sensor(number), NOW, &readings, Position(number as u64 + 1));
    }
    applied(&store, Position(4)).await;
    assert_eq!(store.stats().in_memory, 0);
}

#[tokio::test]
async fn memory_flushes_itself_after_a_while() {
    let (_dir, folder) = folder();
    let options = Options { flush_every: Duration::from_millis(1), ..Options::default() };
    let store = Readings::open_with(&folder, Clock::manual(NOW), &options).unwrap();
    store.append(&sensor(1), NOW, &[at(NOW, 1.0)], Position(1));
    applied(&store, Position(1)).await;
}

#[tokio::test]
async fn months_have_their_own_files_and_ranges_cross_them() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    let midnight = Stamp::parse_rfc3339("2026-12-01T00:00:00Z").unwrap();
    let readings = [at(midnight - 1, 1.0), at(midnight, 2.0), at(midnight + 1, 3.0)];
    store.append(&sensor(1), midnight + 1, &readings, Position(1));
    store.flush().await.unwrap();
    assert_eq!(month_files(&folder), ["readings-2026-11.db", "readings-2026-12.db"]);
    assert_eq!(all(&store, &sensor(1)).await, readings);
    let range = async |from: i64, to: i64| store.range(&sensor(1), midnight + from, midnight + to).await.unwrap();
    assert_eq!(range(-1, 0).await, readings[..1]);
    assert_eq!(range(0, 1).await, readings[1..2]);
    assert_eq!(range(-1, 2).await, readings);
    assert_eq!(range(1, 1).await, []);
    assert_eq!(range(1, -1).await, []);
    assert_eq!(range(2, 1_000).await, []);
}

#[tokio::test]
async fn late_readings_land_in_their_place() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    store.append(&sensor(1), NOW, &[at(NOW, 5.0)], Position(1));
    store.flush().await.unwrap();
    let late = [at(NOW - 40 * DAY, 400.0), at(NOW - HOUR, 6.0)];
    store.append(&sensor(1), NOW + 1, &late, Position(2));
    let expected = [late[0], late[1], at(NOW, 5.0)];
    assert_eq!(all(&store, &sensor(1)).await, expected);
    store.flush().await.unwrap();
    assert_eq!(month_files(&folder).len(), 2);
    assert_eq!(all(&store, &sensor(1)).await, expected);
    assert_eq!(store.latest(&sensor(1)).unwrap().reading, at(NOW, 5.0), "late is not newest");
}

#[tokio::test]
async fn a_repeat_comes_back_once_and_the_higher_value_wins() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    let numbered = |seq: u64| Reading { seq: Some(seq), ..at(NOW, 9.0) };
    store.append(&sensor(1), NOW, &[at(NOW, 9.0), numbered(1), numbered(2)], Position(1));
    store.append(&sensor(1), NOW, &[numbered(2), numbered(1)], Position(2));
    assert_eq!(all(&store, &sensor(1)).await, [at(NOW, 9.0), numbered(1), numbered(2)]);
    store.flush().await.unwrap();
    store.append(&sensor(1), NOW, &[at(NOW, 350.0), numbered(1)], Position(3));
    store.append(&sensor(1), NOW, &[at(NOW, 20.0)], Position(4));
    let expected = [at(NOW, 350.0), numbered(1), numbered(2)];
    assert_eq!(all(&store, &sensor(1)).await, expected);
    store.flush().await.unwrap();
    assert_eq!(all(&store, &sensor(1)).await, expected);
}

#[tokio::test]
async fn positions_move_on_without_readings_and_are_not_taken_twice() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    store.append(&sensor(1), NOW, &[at(NOW, 1.0)], Position(5));
    store.advance(Position(9));
    assert_eq!(store.flush().await.unwrap(), Position(9));
    store.advance(Position(12));
    assert_eq!(store.flush().await.unwrap(), Position(12));
    assert_eq!(store.flush().await.unwrap(), Position(12));
    drop(store);
    let store = open(&folder);
    assert_eq!(store.applied(), Position(12));
    store.append(&sensor(1), NOW, &[at(NOW, 1.0)], Position(5));
    assert_eq!(store.stats().in_memory, 0);
}

#[tokio::test]
async fn a_crash_between_the_files_loses_and_doubles_nothing() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    let readings = [at(NOW - 40 * DAY, 1.0), at(NOW, 2.0)];
    // The month's file of NOW cannot be made; the one of 40 days before is written first.
    let blocked = Month::of(NOW).path(&folder);
    std::fs::create_dir(&blocked).unwrap();
    store.append(&sensor(1), NOW, &readings, Position(3));
    assert!(store.flush().await.is_err());
    assert_eq!(store.applied(), Position(0));
    drop(store);
    std::fs::remove_dir(&blocked).unwrap();

    let store = open(&folder);
    assert_eq!(store.applied(), Position(0));
    assert_eq!(all(&store, &sensor(1)).await, readings[..1]);
    store.append(&sensor(1), NOW, &readings, Position(3));
    assert_eq!(all(&store, &sensor(1)).await, readings);
    store.flush().await.unwrap();
    assert_eq!(all(&store, &sensor(1)).await, readings);
}

#[tokio::test]
async fn a_stalled_flush_is_told_and_finished_later() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    let blocked = Month::of(NOW).path(&folder);
    std::fs::create_dir(&blocked).unwrap();
    let early = at(NOW - 40 * DAY, 1.0);
    store.append(&sensor(1), NOW, &[early, at(NOW, 2.0)], Position(1));
    for _ in 0..3 {
        assert!(matches!(store.flush().await, Err(StoreError::Closed(_))));
    }
    assert!(store.is_stalled());
    store.append(&sensor(1), NOW, &[at(NOW + 1, 3.0)], Position(2));
    let expected = [early, at(NOW, 2.0), at(NOW + 1, 3.0)];
    assert_eq!(all(&store, &sensor(1)).await, expected);
    assert_eq!(store.stats().in_memory, 3);
    std::fs::remove_dir(&blocked).unwrap();
    assert_eq!(store.flush().await.unwrap(), Position(2));
    assert!(!store.is_stalled());
    assert_eq!(all(&store, &sensor(1)).await, expected);
    // The month that could be written was written once, not at every attempt.
    let runs = "SELECT COUNT(*) FROM run";
    let connection = Connection::open(Month::of(early.time).path(&folder)).unwrap();
    assert_eq!(connection.query_row(runs, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[tokio::test]
async fn damage_stays_in_its_chunk() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    for flush in 0..3_i64 {
        for number in 1..=2 {
            store.append(&sensor(number), NOW, &[at(NOW + flush, 7.0)], Position(flush as u64 + 1));
        }
        store.flush().await.unwrap();
    }
    let editor = Connection::open(Month::of(NOW).path(&folder)).unwrap();
    editor.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let chunk = "run = 2 AND sensor = 'S-1'";
    let data: Vec<u8> =
        editor.query_row(&format!("SELECT data FROM chunk WHERE {chunk}"), [], |row| row.get(0)).unwrap();
    for index in 0..data.len() {
        let mut damaged = data.clone();
        damaged[index] ^= 1 << (index % 8);
        editor.execute(&format!("UPDATE chunk SET data = ?1 WHERE {chunk}"), [damaged]).unwrap();
        assert_eq!(all(&store, &sensor(1)).await, [at(NOW, 7.0), at(NOW + 2, 7.0)]);
        assert_eq!(store.stats().damaged, index as u64 + 1);
    }
    assert_eq!(all(&store, &sensor(2)).await.len(), 3);
    editor.execute(&format!("UPDATE chunk SET data = ?1 WHERE {chunk}"), [data]).unwrap();
    assert_eq!(all(&store, &sensor(1)).await.len(), 3);
}

#[tokio::test]
async fn a_ruined_month_is_set_aside_and_can_be_written_again() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    let before = NOW - 40 * DAY;
    store.append(&sensor(1), NOW, &[at(before, 1.0), at(NOW, 2.0)], Position(1));
    store.flush().await.unwrap();
    drop(store);
    std::fs::write(Month::of(NOW).path(&folder), b"not what it was, and long enough to be looked at").unwrap();
    let store = open(&folder);
    assert_eq!(store.stats().damaged, 1);
    assert_eq!(all(&store, &sensor(1)).await, [at(before, 1.0)]);
    store.append(&sensor(1), NOW, &[at(NOW + 1, 3.0)], Position(2));
    store.flush().await.unwrap();
    assert_eq!(all(&store, &sensor(1)).await, [at(before, 1.0), at(NOW + 1, 3.0)]);
    let kept = std::fs::read_dir(&folder)
        .unwrap()
        .filter(|item| item.as_ref().unwrap().file_name().to_string_lossy().ends_with(&format!(".damaged-{}", NOW.0)));
    assert_eq!(kept.count(), 1);
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    for name in ["latest.db", "readings-2026-11.db"] {
        let (_dir, folder) = folder();
        std::fs::create_dir(&folder).unwrap();
        Connection::open(folder.join(name)).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
        let refused = Readings::open(&folder, Clock::manual(NOW));
        assert!(matches!(refused, Err(StoreError::TooNew { found: 2, known: 1, .. })), "{name}");
    }
}

#[tokio::test]
async fn long_series_are_split_and_come_back_whole() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    let readings: Vec<Reading> = (0..10_000).map(|second| at(NOW + second * 100, (second % 50) as f32)).collect();
    store.append(&sensor(1), NOW, &readings, Position(1));
    store.flush().await.unwrap();
    assert_eq!(all(&store, &sensor(1)).await, readings);
}

#[tokio::test]
async fn many_old_months_do_not_exhaust_the_readers() {
    let (_dir, folder) = folder();
    let store = open(&folder);
    let readings: Vec<Reading> = (0..12).rev().map(|month| at(NOW - month * 31 * DAY, month as f32)).collect();
    store.append(&sensor(1), NOW, &readings, Position(1));
    store.flush().await.unwrap();
    assert_eq!(month_files(&folder).len(), 12);
    assert_eq!(all(&store, &sensor(1)).await, readings);
    assert!(lock(&store.0.0.readers).len() <= MOST_READERS);
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        sensor: usize,
        readings: Vec<Reading>,
    },
    Flush,
    /// Drop without a flush, open, and append again what the journal still has.
    Crash,
}

/// Few distinct times and numbers, around the turn of a month, so that they collide.
fn any_step() -> impl Strategy<Value = Step> {
    let turn = Stamp::parse_rfc3339("2026-12-01T00:00:00Z").unwrap();
    let time = prop_oneof![5 => -6_i64..6, 1 => Just(-45 * DAY), 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let reading = (time, prop::option::of(0_u64..2), prop::option::of(any_f32()), prop::option::of(any_f32()))
        .prop_map(move |(offset, seq, co_ppm, temperature_c)| Reading {
            time: turn + offset,
            seq,
            co_ppm,
            temperature_c,
            ..Reading::default()
        });
    prop_oneof![
        6 => (0_usize..3, prop::collection::vec(reading, 0..6))
            .prop_map(|(sensor, readings)| Step::Append { sensor, readings }),
        2 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ]
}

type Model = BTreeMap<(usize, Stamp, Option<u64>), Reading>;

fn model_append(model: &mut Model, sensor: usize, readings: &[Reading]) {
    for reading in readings {
        let held = model.entry((sensor, reading.time, reading.seq)).or_insert(*reading);
        let is_higher = match (reading.co_ppm, held.co_ppm) {
            (Some(new), Some(old)) => new.total_cmp(&old).is_gt(),
            (new, old) => new.is_some() && old.is_none(),
        };
        if is_higher {
            *held = *reading;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_store_does_what_a_map_does(
        steps in prop::collection::vec(any_step(), 1..25),
        from in -8_i64..8,
        length in 0_i64..12,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_dir, folder) = folder();
        runtime.block_on(async {
            let mut store = open(&folder);
            let mut model = Model::new();
            let mut journal: Vec<(usize, Vec<Reading>)> = Vec::new();
            let feed = |store: &Readings, position: usize, number: usize, readings: &[Reading]| {
                store.append(&sensor(number), NOW, readings, Position(position as u64));
            };
            for step in steps {
                match step {
                    Step::Append { sensor, readings } => {
                        model_append(&mut model, sensor, &readings);
                        feed(&store, journal.len() + 1, sensor, &readings);
                        journal.push((sensor, readings));
                    }
                    Step::Flush => assert_eq!(store.flush().await.unwrap(), Position(journal.len() as u64)),
                    Step::Crash => {
                        drop(store);
                        store = open(&folder);
                        // The slowest consumer lets the journal begin earlier than this store needs.
                        let begin = (store.applied().0 as usize).saturating_sub(2);
                        for (index, (sensor, readings)) in journal.iter().enumerate().skip(begin) {
                            feed(&store, index + 1, *sensor, readings);
                        }
                    }
                }
            }
            let turn = Stamp::parse_rfc3339("2026-12-01T00:00:00Z").unwrap();
            for number in 0..3 {
                let of_sensor = |from: Stamp, to: Stamp| -> Vec<Reading> {
                    let all = model.iter().filter(|((of, time, _), _)| *of == number && (from..to).contains(time));
                    all.map(|(_, reading)| *reading).collect()
                };
                for (from, to) in [(turn + from, turn + from + length), (Stamp(i64::MIN), Stamp(i64::MAX))] {
                    let found = store.range(&sensor(number), from, to).await.unwrap();
                    assert_eq!(exact(&found), exact(&of_sensor(from, to)));
                }
                let newest = model.iter().rfind(|((of, ..), _)| *of == number).map(|(_, reading)| *reading);
                let latest = store.latest(&sensor(number)).map(|latest| latest.reading);
                assert_eq!(exact(latest.as_slice()), exact(newest.as_slice()));
            }
        });
    }
}
