//! What this crate's tests share.

use model::{DeviceId, Stamp};
use store::Ledger;

use crate::people::{Language, Person};
use crate::places::{Area, Premises, PremisesClass, put_areas, put_premises};
use crate::{Registry, SCHEMA};

pub(crate) const NOW: Stamp = Stamp(1_780_000_000_000);

pub(crate) fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

/// A registry with empty tables in a directory of its own.
pub(crate) async fn registry() -> (tempfile::TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open_file(&dir.path().join("ledger.db")).await.unwrap();
    ledger.migrate(&[SCHEMA]).await.unwrap();
    (dir, Registry::new(ledger))
}

pub(crate) fn area(id: &str) -> Area {
    Area { id: id.into(), name_zh: "石井街".into(), name_en: "Shijing".into() }
}

pub(crate) fn premises(id: &str, area: &str) -> Premises {
    Premises {
        id: id.into(),
        area: area.into(),
        class: PremisesClass::Home,
        address: format!("石井街 {id} 号"),
        building: "B1".into(),
        contact_name: "王小明".into(),
        contact_phone: "13800000001".into(),
        vulnerable: true,
    }
}

pub(crate) fn person(id: &str) -> Person {
    Person {
        id: id.into(),
        name: "李明".into(),
        phone: "13900000002".into(),
        email: "li@example.com".into(),
        language: Language::Zh,
    }
}

/// An area `shijing` with premises `P1` and `P2`.
pub(crate) async fn put_places(registry: &Registry) {
    let mut tx = registry.ledger().begin().await.unwrap();
    put_areas(&mut tx, &[area("shijing")]).await.unwrap();
    put_premises(&mut tx, &[premises("P1", "shijing"), premises("P2", "shijing")]).await.unwrap();
    tx.commit().await.unwrap();
}
