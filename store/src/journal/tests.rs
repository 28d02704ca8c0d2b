use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use model::{DeviceId, Reading, Stamp};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::entry::tests::any_entry;

fn entry(number: u64) -> Entry {
    let reading = Reading { time: Stamp(1_780_000_000_000), seq: Some(number), ..Reading::default() };
    let sensor = DeviceId::new("S-440111-007").unwrap();
    Entry::Readings { sensor, received: Stamp(1_780_000_000_500), readings: vec![reading] }
}

fn number(record: &Record) -> u64 {
    match &record.entry {
        Entry::Readings { readings, .. } => readings[0].seq.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    (dir, path)
}

/// Another connection that holds the write lock, so that the writer waits.
fn hold(path: &Path) -> Connection {
    let holder = Connection::open(path).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    holder
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn append_one_by_one(journal: &Journal, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        journal.append(vec![entry(number)]).await.unwrap().durable().await.unwrap();
    }
}

/// Everything after `after`, in pieces of at most `most`.
async fn collect(journal: &Journal, mut after: Position, most: usize) -> Vec<Record> {
    let mut all = Vec::new();
    while after < journal.durable() {
        let piece = journal.next(after, most).await.unwrap();
        assert!((1..=most).contains(&piece.len()));
        after = piece.last().unwrap().position;
        all.extend_from_slice(&piece);
    }
    all
}

#[tokio::test]
async fn what_was_confirmed_is_found_after_a_crash() {
    let (dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    append_one_by_one(&journal, 1..=20).await;
    let last = journal.append((21..=50).map(entry).collect()).await.unwrap().durable().await.unwrap();
    assert_eq!(last, Position(50));
    // The files as a kill would leave them: no close, no checkpoint.
    let crashed = dir.path().join("crashed.db");
    std::fs::copy(&path, &crashed).unwrap();
    std::fs::copy(dir.path().join("journal.db-wal"), dir.path().join("crashed.db-wal")).unwrap();
    let reopened = Journal::open(&crashed).unwrap();
    assert_eq!(reopened.durable(), Position(50));
    let found: Vec<u64> = collect(&reopened, Position(0), 7).await.iter().map(number).collect();
    assert_eq!(found, (1..=50).collect::<Vec<_>>());
    append_one_by_one(&reopened, 51..=51).await;
    assert_eq!(reopened.durable(), Position(51));
}

#[tokio::test]
async fn what_queues_during_a_commit_goes_into_the_next_one() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    let holder = hold(&path);
    let mut tickets = Vec::new();
    for number in 1..=5_000 {
        tickets.push(journal.append(vec![entry(number)]).await.unwrap());
    }
    assert_eq!(journal.durable(), Position(0));
    holder.execute_batch("ROLLBACK").unwrap();
    for (index, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.durable().await.unwrap(), Position(index as u64 + 1));
    }
    let stats = journal.stats();
    assert!(stats.commits <= 3, "{stats:?}");
    assert_eq!((stats.entries, stats.queued, stats.durable), (5_000, 0, Position(5_000)));
}

#[tokio::test]
async fn a_single_append_may_exceed_the_batch_and_the_queue() {
    let (_dir, path) = place();
    let options = Options { queue_bytes: 1_000, batch_entries: 10, ..Options::default() };
    let journal = Journal::open_with(&path, &options).unwrap();
    let last = journal.append((1..=300).map(entry).collect()).await.unwrap().durable().await.unwrap();
    assert_eq!(last, Position(300));
    assert_eq!(journal.stats().commits, 1);
}

#[tokio::test]
async fn an_empty_append_is_confirmed_after_those_before_it() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    let holder = hold(&path);
    let first = journal.append(vec![entry(1)]).await.unwrap();
    let empty = journal.append(Vec::new()).await.unwrap();
    let mut empty = pin!(empty.durable());
    assert!(poll_once(empty.as_mut()).is_pending());
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(empty.await.unwrap(), Position(1));
    assert_eq!(first.durable().await.unwrap(), Position(1));
}

#[tokio::test]
async fn a_full_queue_holds_senders_back_and_lets_them_go_on() {
    let (_dir, path) = place();
    let options = Options { queue_bytes: 10_000, ..Options::default() };
    let journal = Journal::open_with(&path, &options).unwrap();
    let holder = hold(&path);
    let mut tickets = Vec::new();
    let mut held_back = loop {
        let mut append = Box::pin(journal.append(vec![entry(tickets.len() as u64 + 1)]));
        match poll_once(append.as_mut()) {
            Poll::Ready(ticket) => tickets.push(ticket.unwrap()),
            Poll::Pending => break append,
        }
        assert!(tickets.len() < 1_000, "the queue has no bound");
    };
    assert!(poll_once(held_back.as_mut()).is_pending());
    holder.execute_batch("ROLLBACK").unwrap();
    let admitted = tickets.len() as u64;
    assert_eq!(held_back.await.unwrap().durable().await.unwrap(), Position(admitted + 1));
    for ticket in tickets {
        ticket.durable().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_senders_order_is_kept() {
    let (_dir, path) = place();
    let options = Options { queue_bytes: 20_000, ring_bytes: 20_000, batch_entries: 50, ..Options::default() };
    let journal = Journal::open_with(&path, &options).unwrap();
    let senders: Vec<_> = (0..8_u64)
        .map(|sender| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut last = Position(0);
                for number in 0..200 {
                    let ticket = journal.append(vec![entry(sender * 1_000 + number)]).await.unwrap();
                    if number % 10 == 9 {
                        let durable = ticket.durable().await.unwrap();
                        assert!(durable > last);
                        last = durable;
                    }
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    journal.append(Vec::new()).await.unwrap().durable().await.unwrap();
    let records = collect(&journal, Position(0), 37).await;
    assert!(records.iter().map(|record| record.position.0).eq(1..=1_600));
    for sender in 0..8 {
        let own = records.iter().map(number).filter(|number| number / 1_000 == sender);
        assert!(own.eq(sender * 1_000..sender * 1_000 + 200));
    }
}

#[tokio::test]
async fn next_waits_for_the_next_entry() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    append_one_by_one(&journal, 1..=1).await;
    let mut next = pin!(journal.next(Position(1), 10));
    assert!(poll_once(next.as_mut()).is_pending());
    append_one_by_one(&journal, 2..=2).await;
    assert_eq!(next.await.unwrap().iter().map(number).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn positions_go_on_after_truncation_and_restart() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    append_one_by_one(&journal, 1..=40).await;
    journal.truncate_through(Position(u64::MAX));
    append_one_by_one(&journal, 41..=80).await;
    let rows = |path: &Path| -> (i64, i64) {
        let counts = "SELECT COUNT(*), MIN(first) FROM log";
        Connection::open(path).unwrap().query_row(counts, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    let (count, oldest) = rows(&path);
    assert!((1..=8).contains(&count), "{count} rows are left");
    journal.close().await.unwrap();
    drop(journal);

    let journal = Journal::open(&path).unwrap();
    assert_eq!(journal.durable(), Position(80));
    append_one_by_one(&journal, 81..=81).await;
    let left: Vec<u64> = collect(&journal, Position(0), 100).await.iter().map(number).collect();
    assert_eq!(left, (oldest as u64..=81).collect::<Vec<_>>());
}

#[tokio::test]
async fn truncation_keeps_what_lies_behind_the_bound() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    for number in 0..30 {
        // Rows of three entries; the bound lies inside one.
        let entries = (number * 3 + 1..=number * 3 + 3).map(entry).collect();
        journal.append(entries).await.unwrap().durable().await.unwrap();
        journal.truncate_through(Position(14));
    }
    journal.close().await.unwrap();
    drop(journal);
    let journal = Journal::open(&path).unwrap();
    let left: Vec<u64> = collect(&journal, Position(0), 1_000).await.iter().map(number).collect();
    assert_eq!(left, (13..=90).collect::<Vec<_>>());
}

#[tokio::test]
async fn numbering_can_start_behind_what_others_have_seen() {
    let (_dir, path) = place();
    let journal = Journal::open_after(&path, Position(1_000)).unwrap();
    assert_eq!(journal.durable(), Position(1_000));
    append_one_by_one(&journal, 1..=1).await;
    assert_eq!(journal.next(Position(1_000), 5).await.unwrap()[0].position, Position(1_001));
    journal.close().await.unwrap();
    drop(journal);
    let journal = Journal::open_after(&path, Position(7)).unwrap();
    assert_eq!(journal.durable(), Position(1_001));
    assert_eq!(journal.next(Position(0), 5).await.unwrap()[0].position, Position(1_001));
}

/// The file is lost in a crash; a consumer that had not come as far as the others waits for new
/// entries instead of asking for lost ones.
#[tokio::test]
async fn a_consumer_behind_a_lost_file_goes_on_with_what_comes() {
    let (_dir, path) = place();
    let journal = Journal::open_after(&path, Position(1_000)).unwrap();
    assert_eq!(journal.beyond_gap(Position(400)), Position(1_000));
    let waiting = journal.clone();
    let waiting = tokio::spawn(async move { waiting.next(Position(400), 5).await.unwrap()[0].position });
    append_one_by_one(&journal, 1..=1).await;
    assert_eq!(waiting.await.unwrap(), Position(1_001));
}

#[tokio::test]
async fn any_wrong_byte_in_a_row_is_noticed() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    journal.append((1..=3).map(entry).collect()).await.unwrap().durable().await.unwrap();
    append_one_by_one(&journal, 4..=4).await;
    journal.close().await.unwrap();
    drop(journal);

    let journal = Journal::open(&path).unwrap();
    let editor = Connection::open(&path).unwrap();
    editor.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let blob: Vec<u8> = editor.query_row("SELECT entries FROM log WHERE first = 1", [], |row| row.get(0)).unwrap();
    let put = |blob: &[u8]| editor.execute("UPDATE log SET entries = ?1 WHERE first = 1", [blob]).unwrap();
    for index in 0..blob.len() {
        let mut damaged = blob.clone();
        damaged[index] ^= 1 << (index % 8);
        put(&damaged);
        match journal.next(Position(0), 10).await {
            Err(StoreError::Damaged { place, .. }) => assert!(place.ends_with("journal.db, entries 1 to 3"), "{place}"),
            other => panic!("byte {index}: {other:?}"),
        }
    }
    put(&blob[..blob.len() - 1]);
    assert!(matches!(journal.next(Position(0), 10).await, Err(StoreError::Damaged { .. })));
    put(&blob);
    editor.execute_batch("UPDATE log SET count = 2 WHERE first = 1").unwrap();
    assert!(matches!(journal.next(Position(0), 10).await, Err(StoreError::Damaged { .. })));
    // The damage is confined to its row.
    assert_eq!(journal.next(Position(3), 10).await.unwrap().iter().map(number).collect::<Vec<_>>(), [4]);
    editor.execute_batch("UPDATE log SET count = 3 WHERE first = 1").unwrap();
    assert_eq!(journal.next(Position(0), 10).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_full_disk_stops_the_journal_and_confirms_nothing() {
    let (_dir, path) = place();
    let options = Options { most_pages: Some(12), batch_entries: 1, ..Options::default() };
    let journal = Journal::open_with(&path, &options).unwrap();
    let large = |number: u8| Entry::Message {
        client: DeviceId::new("C1").unwrap(),
        topic: "gas/v1/scanners/C1/checks".into(),
        received: Stamp(0),
        payload: Bytes::from(vec![number; 20_000]),
    };
    let mut confirmed = 0;
    let error = loop {
        match journal.append(vec![large(confirmed as u8)]).await.unwrap().durable().await {
            Ok(position) => confirmed = position.0,
            Err(error) => break error,
        }
        assert!(confirmed < 12);
    };
    assert!(confirmed >= 1);
    assert!(error.to_string().contains("full"), "{error}");
    assert!(matches!(journal.failure().await, StoreError::Closed(words) if words.contains("full")));
    assert!(matches!(journal.append(vec![entry(1)]).await, Err(StoreError::Closed(_))));
    assert!(matches!(journal.next(Position(confirmed), 1).await, Err(StoreError::Closed(_))));
    assert!(journal.close().await.is_err());
    assert_eq!(journal.durable(), Position(confirmed));
    // What was confirmed before can still be read, and is there after a restart.
    assert_eq!(collect(&journal, Position(0), 9).await.len() as u64, confirmed);
    drop(journal);
    assert_eq!(Journal::open(&path).unwrap().durable(), Position(confirmed));
}

#[tokio::test]
async fn a_failure_reaches_those_who_queue_and_those_who_wait_for_room() {
    let (_dir, path) = place();
    let options = Options { most_pages: Some(2), queue_bytes: 4_000, batch_entries: 1, ..Options::default() };
    let journal = Journal::open_with(&path, &options).unwrap();
    let holder = hold(&path);
    let large = || {
        vec![Entry::Message {
            client: DeviceId::new("C1").unwrap(),
            topic: "t".into(),
            received: Stamp(0),
            payload: Bytes::from(vec![7; 1_500]),
        }]
    };
    let mut tickets = Vec::new();
    let mut held_back = loop {
        let mut append = Box::pin(journal.append((0..8).flat_map(|_| large()).collect()));
        match poll_once(append.as_mut()) {
            Poll::Ready(ticket) => tickets.push(ticket.unwrap()),
            Poll::Pending => break append,
        }
    };
    let mut waiting = Box::pin(journal.next(Position(0), 1));
    assert!(poll_once(waiting.as_mut()).is_pending());
    holder.execute_batch("ROLLBACK").unwrap();
    for ticket in tickets {
        assert!(matches!(ticket.durable().await, Err(StoreError::Closed(words)) if words.contains("full")));
    }
    if let Ok(ticket) = held_back.as_mut().await {
        assert!(ticket.durable().await.is_err());
    }
    assert!(waiting.await.is_err());
}

#[tokio::test]
async fn closing_commits_what_is_queued_and_refuses_the_rest() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    let other = journal.clone();
    let ticket = journal.append(vec![entry(1)]).await.unwrap();
    journal.close().await.unwrap();
    assert_eq!(ticket.durable().await.unwrap(), Position(1));
    assert!(matches!(other.append(vec![entry(2)]).await, Err(StoreError::Closed(_))));
    assert!(matches!(other.next(Position(1), 1).await, Err(StoreError::Closed(_))));
    other.close().await.unwrap();
    assert!(poll_once(pin!(other.failure())).is_pending(), "closing is no failure");
    assert!(!path.with_extension("db-wal").exists(), "the writer has let go of the file");
}

#[tokio::test]
async fn dropping_every_handle_commits_and_stops() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    let ticket = journal.append(vec![entry(1)]).await.unwrap();
    let mut progress = journal.0.0.progress.subscribe();
    drop(journal);
    progress.wait_for(|progress| progress.stopped.is_some()).await.map(drop).unwrap();
    assert_eq!(ticket.durable().await.unwrap(), Position(1));
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let (_dir, path) = place();
    Journal::open(&path).unwrap().close().await.unwrap();
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    assert!(matches!(Journal::open(&path), Err(StoreError::TooNew { found: 2, known: 1, .. })));
}

#[tokio::test]
async fn the_wal_stays_bounded_under_steady_load() {
    let (_dir, path) = place();
    let options = Options { checkpoint_bytes: 100_000, ..Options::default() };
    let journal = Journal::open_with(&path, &options).unwrap();
    // Without checkpoints every commit would leave a page of 8 KiB at the least.
    for number in 1..=100_000 {
        journal.append(vec![entry(number)]).await.unwrap().durable().await.unwrap();
        let wal = std::fs::metadata(path.with_extension("db-wal")).unwrap().len();
        if number >= 100 && wal < number * 8_192 / 2 {
            return;
        }
    }
    panic!("the WAL only grows");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn memory_and_disk_tell_the_same(
        appends in prop::collection::vec(prop::collection::vec(any_entry(), 1..6), 1..8),
        most in 1_usize..12,
        batch_entries in 1_usize..12,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_dir, path) = place();
        runtime.block_on(async {
            let options = Options { batch_entries, ..Options::default() };
            let journal = Journal::open_with(&path, &options).unwrap();
            let mut model = Vec::new();
            let mut last = None;
            for entries in &appends {
                model.extend(entries.iter().cloned());
                last = Some(journal.append(entries.clone()).await.unwrap());
            }
            last.unwrap().durable().await.unwrap();
            let expected = |after: usize| {
                let records = model.iter().enumerate().skip(after);
                records.map(|(i, entry)| Record { position: Position(i as u64 + 1), entry: entry.clone() }).collect::<Vec<_>>()
            };
            // A second journal on the file has nothing in memory.
            let from_disk = Journal::open(&path).unwrap();
            for after in 0..model.len() {
                let position = Position(after as u64);
                let wanted = format!("{:?}", expected(after));
                assert_eq!(format!("{:?}", collect(&journal, position, most).await), wanted);
                assert_eq!(format!("{:?}", collect(&from_disk, position, most).await), wanted);
            }
        });
    }
}
