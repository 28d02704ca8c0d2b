use std::collections::HashSet;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use model::Stamp;
use model::cycle::{Cycle, Window};
use model::time::{DAY, HOUR};
use proptest::prelude::*;
use registry::people::{Language, Person, put_people};
use registry::places::{Area, Premises, PremisesClass, put_areas, put_premises};
use store::Ledger;
use uuid::Uuid;

use super::*;
use crate::visit::local_date;

/// Noon of 2026-11-24 in Guangzhou.
const NOON: Stamp = Stamp(1_795_492_800_000);

fn shanghai() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap()
}

/// The area of premises `Pn` is `An/4`; `A3` has none.
const PREMISES: usize = 12;

fn area_of(premises: &str) -> String {
    let number: usize = premises[1..].parse().unwrap();
    format!("A{}", number / 4)
}

async fn inspection() -> (tempfile::TempDir, Inspection) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open_file(&dir.path().join("ledger.db")).await.unwrap();
    ledger.migrate(&[registry::SCHEMA, SCHEMA]).await.unwrap();
    let areas: Vec<Area> =
        (0..4).map(|n| Area { id: format!("A{n}"), name_zh: "石井街".into(), name_en: "Shijing".into() }).collect();
    let premises: Vec<Premises> = (0..PREMISES)
        .map(|n| Premises {
            id: format!("P{n}"),
            area: area_of(&format!("P{n}")),
            class: PremisesClass::Home,
            address: format!("石井街 {n} 号"),
            building: String::new(),
            contact_name: String::new(),
            contact_phone: String::new(),
            vulnerable: false,
        })
        .collect();
    let inspector = Person {
        id: "li".into(),
        name: "李明".into(),
        phone: String::new(),
        email: String::new(),
        language: Language::Zh,
    };
    let mut tx = ledger.begin().await.unwrap();
    put_areas(&mut tx, &areas).await.unwrap();
    put_premises(&mut tx, &premises).await.unwrap();
    put_people(&mut tx, &[inspector]).await.unwrap();
    tx.commit().await.unwrap();
    (dir, Inspection::new(Registry::new(ledger)))
}

/// A UUIDv7 that counts `number`.
fn id(number: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(number, &[0; 10]).into_uuid()
}

fn visit(number: u64, premises: &str, at: Stamp, outcome: Outcome) -> Visit {
    Visit {
        id: id(number),
        premises: premises.into(),
        inspector: "li".into(),
        at,
        outcome,
        note: "厨房\n已告知".into(),
    }
}

#[test]
fn outcome_words_read_back() {
    for outcome in Outcome::ALL {
        assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
    }
    assert_eq!(Outcome::parse("done"), None);
}

#[tokio::test]
async fn a_repeat_changes_nothing() {
    let (_dir, inspection) = inspection().await;
    let first = visit(1, "P1", NOON, Outcome::NoAccess);
    let altered = Visit { outcome: Outcome::Completed, note: "again".into(), ..first.clone() };
    let receipts = inspection.record(&[first.clone(), altered.clone()]).await.unwrap();
    assert_eq!(receipts, [Receipt::Stored, Receipt::Duplicate]);
    let gone = Visit { premises: "P99".into(), ..altered };
    assert_eq!(inspection.record(&[gone]).await.unwrap(), [Receipt::Duplicate]);
    let last = inspection.last_visit("P1").await.unwrap();
    assert_eq!(last, LastVisits { completed: None, attempt: Some(first) });
    assert_eq!(inspection.record(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_rejected_visit_does_not_hold_up_the_others() {
    let (_dir, inspection) = inspection().await;
    let good = visit(1, "P1", NOON, Outcome::Completed);
    let receipts = inspection
        .record(&[
            Visit { id: Uuid::nil(), ..good.clone() },
            Visit { id: id(2), at: Stamp(0), ..good.clone() },
            Visit { id: id(3), note: "a\0".into(), ..good.clone() },
            Visit { id: id(4), note: "长".repeat(2_001), ..good.clone() },
            Visit { id: id(5), premises: "P99".into(), ..good.clone() },
            Visit { id: id(6), inspector: "nobody".into(), ..good.clone() },
            good.clone(),
        ])
        .await
        .unwrap();
    let rejections = [
        Rejection::Id,
        Rejection::Time,
        Rejection::Note,
        Rejection::Note,
        Rejection::UnknownPremises,
        Rejection::UnknownInspector,
    ];
    let expected: Vec<Receipt> = rejections.into_iter().map(Receipt::Rejected).chain([Receipt::Stored]).collect();
    assert_eq!(receipts, expected);
    assert_eq!(inspection.last_visit("P1").await.unwrap().completed, Some(good));
}

#[tokio::test]
async fn a_failed_visit_is_the_last_attempt_and_resets_no_clock() {
    let (_dir, inspection) = inspection().await;
    let completed = visit(1, "P1", NOON - 30 * DAY, Outcome::Completed);
    let refused = visit(2, "P1", NOON, Outcome::Refused);
    let earlier = visit(3, "P1", NOON - 60 * DAY, Outcome::Completed);
    let elsewhere = visit(4, "P2", NOON + DAY, Outcome::Completed);
    inspection.record(&[completed.clone(), refused.clone(), earlier, elsewhere]).await.unwrap();
    let last = inspection.last_visit("P1").await.unwrap();
    assert_eq!(last, LastVisits { completed: Some(completed), attempt: Some(refused) });
    assert_eq!(last.due(Cycle::FOUR_MONTHS, &shanghai()), Some(date(2027, 2, 25)));
    assert_eq!(inspection.last_visit("P3").await.unwrap(), LastVisits::default());
    assert_eq!(LastVisits::default().due(Cycle::FOUR_MONTHS, &shanghai()), None);
    let both = inspection.last_visits(&["P1", "P2", "P3"]).await.unwrap();
    assert_eq!(both.keys().collect::<HashSet<_>>(), HashSet::from([&"P1".to_owned(), &"P2".to_owned()]));
}

#[tokio::test]
async fn a_window_begins_and_ends_at_local_midnight() {
    let (_dir, inspection) = inspection().await;
    let window = Cycle::FOUR_MONTHS.window(date(2026, 11, 24)).unwrap();
    let first = Stamp::parse_rfc3339("2026-09-01T00:00:00+08:00").unwrap();
    let after = Stamp::parse_rfc3339("2027-01-01T00:00:00+08:00").unwrap();
    inspection
        .record(&[
            visit(1, "P0", first - 1, Outcome::Completed),
            visit(2, "P1", first, Outcome::Completed),
            visit(3, "P2", after - 1, Outcome::NoAccess),
            visit(4, "P3", after, Outcome::Completed),
        ])
        .await
        .unwrap();
    let coverage = inspection.coverage(window, &shanghai()).await.unwrap();
    assert_eq!(coverage[0], Coverage { area: "A0".into(), premises: 4, completed: 1, attempted: 2 });
    assert_eq!((coverage[0].rate_of_entry(), coverage[0].rate_of_visit()), (Some(0.25), Some(0.5)));
    assert_eq!(coverage[3], Coverage { area: "A3".into(), premises: 0, completed: 0, attempted: 0 });
    assert_eq!(coverage[3].rate_of_entry(), None);
    let never = Window { first: Date::MAX, last: Date::MAX };
    assert!(matches!(inspection.coverage(never, &shanghai()).await, Err(InspectionError::Window { .. })));
}

fn any_visit() -> impl Strategy<Value = (String, i64, Outcome)> {
    let premises = (0..PREMISES).prop_map(|n| format!("P{n}"));
    // Around both ends of the window September to December 2026, to the hour.
    let hours = prop_oneof![-100i64..100, 2_800i64..3_000];
    (premises, hours, prop::sample::select(Outcome::ALL.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn coverage_is_what_a_plain_recount_says(
        visits in prop::collection::vec(any_visit(), 0..60),
        zone in prop::sample::select(vec!["Asia/Shanghai", "America/Sao_Paulo", "Pacific/Chatham", "UTC"]),
    ) {
        let zone = TimeZone::get(zone).unwrap();
        let window = Cycle::FOUR_MONTHS.window(date(2026, 10, 1)).unwrap();
        let begin = Stamp::parse_rfc3339("2026-09-01T00:00:00Z").unwrap();
        let visits: Vec<Visit> = visits
            .into_iter()
            .enumerate()
            .map(|(n, (premises, hours, outcome))| visit(n as u64, &premises, begin + hours * HOUR, outcome))
            .collect();

        let inside: Vec<&Visit> =
            visits.iter().filter(|visit| window.contains(local_date(visit.at, &zone).unwrap())).collect();
        let count = |area: &str, counts: fn(&Visit) -> bool| {
            let premises: HashSet<&str> =
                inside.iter().filter(|visit| counts(visit)).map(|visit| visit.premises.as_str()).collect();
            premises.into_iter().filter(|premises| area_of(premises) == area).count() as i64
        };
        let expected: Vec<Coverage> = (0..4)
            .map(|n| {
                let area = format!("A{n}");
                let completed = count(&area, |visit| visit.outcome == Outcome::Completed);
                let attempted = count(&area, |_| true);
                Coverage { area, premises: if n < 3 { 4 } else { 0 }, completed, attempted }
            })
            .collect();

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let counted = runtime.block_on(async {
            let (_dir, inspection) = inspection().await;
            inspection.record(&visits).await.unwrap();
            inspection.coverage(window, &zone).await.unwrap()
        });
        prop_assert_eq!(counted, expected);
    }
}
