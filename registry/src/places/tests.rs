use super::*;
use crate::testing::{area, premises, put_places, registry};

#[test]
fn class_words_read_back() {
    for class in PremisesClass::ALL {
        assert_eq!(PremisesClass::parse(class.as_str()), Some(class));
    }
    assert_eq!(PremisesClass::parse("hotel"), None);
}

#[tokio::test]
async fn what_is_put_is_found_and_replaced() {
    let (_dir, registry) = registry().await;
    assert_eq!(registry.premises_count().await.unwrap(), 0);
    put_places(&registry).await;
    assert_eq!(registry.areas().await.unwrap(), [area("shijing")]);
    assert_eq!(registry.premises_count().await.unwrap(), 2);
    assert_eq!(registry.premises("P1").await.unwrap(), Some(premises("P1", "shijing")));
    assert_eq!(registry.premises("P3").await.unwrap(), None);

    let moved = Premises { class: PremisesClass::Restaurant, vulnerable: false, ..premises("P1", "shijing") };
    let renamed = Area { name_en: "Shijing Street".into(), ..area("shijing") };
    let mut tx = registry.ledger().begin().await.unwrap();
    put_areas(&mut tx, &[area("shijing"), renamed.clone()]).await.unwrap();
    put_premises(&mut tx, &[premises("P1", "shijing"), moved.clone()]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(registry.areas().await.unwrap(), [renamed], "the last of equal ids counts");
    assert_eq!(registry.premises("P1").await.unwrap(), Some(moved));
    assert_eq!(registry.premises_count().await.unwrap(), 2);
}

#[tokio::test]
async fn more_rows_than_one_statement_takes_are_written() {
    let (_dir, registry) = registry().await;
    let many: Vec<Premises> = (0..4_321).map(|n| premises(&format!("P{n}"), "shijing")).collect();
    let mut tx = registry.ledger().begin().await.unwrap();
    put_areas(&mut tx, &[area("shijing")]).await.unwrap();
    put_premises(&mut tx, &many).await.unwrap();
    put_premises(&mut tx, &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(registry.premises_count().await.unwrap(), 4_321);
    assert_eq!(registry.premises("P4320").await.unwrap().as_ref(), many.last());
}

#[tokio::test]
async fn an_unknown_area_is_named() {
    let (_dir, registry) = registry().await;
    put_places(&registry).await;
    let mut tx = registry.ledger().begin().await.unwrap();
    let error = put_premises(&mut tx, &[premises("P8", "shijing"), premises("P9", "renhe")]).await.unwrap_err();
    assert!(matches!(error, RegistryError::Invalid(_)));
    assert_eq!(error.to_string(), "premises P9: there is no area \"renhe\"");
}

#[tokio::test]
async fn wrong_fields_are_refused() {
    let (_dir, registry) = registry().await;
    put_places(&registry).await;
    let good = premises("P1", "shijing");
    for (wrong, names) in [
        (Premises { id: "a b".into(), ..good.clone() }, "premises"),
        (Premises { address: String::new(), ..good.clone() }, "address"),
        (Premises { building: "a\0".into(), ..good.clone() }, "building"),
        (Premises { contact_name: "王\n".into(), ..good.clone() }, "contact name"),
        (Premises { contact_phone: "none".into(), ..good.clone() }, "contact phone"),
    ] {
        let mut tx = registry.ledger().begin().await.unwrap();
        let error = put_premises(&mut tx, &[wrong]).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Invalid(text) if text.starts_with(names)), "{error}");
    }
    let mut tx = registry.ledger().begin().await.unwrap();
    assert!(put_areas(&mut tx, &[Area { name_zh: " ".into(), ..area("renhe") }]).await.is_err());
}
