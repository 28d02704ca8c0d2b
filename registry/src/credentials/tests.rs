use super::*;
use crate::secrets::Secrets;
use crate::testing::{device, registry};

async fn credentials() -> (tempfile::TempDir, Registry, FleetKeys, Credentials) {
    let (dir, registry) = registry().await;
    let keys = Secrets::generate().unwrap().fleet;
    let credentials = Credentials::load(&registry, keys.clone()).await.unwrap();
    (dir, registry, keys, credentials)
}

#[tokio::test]
async fn the_right_secret_opens_and_nothing_else_does() {
    let (_dir, _registry, _keys, credentials) = credentials().await;
    let secret = credentials.enrol(&device("S1"), Role::Sensor, &[]).await.unwrap();
    let other = credentials.enrol(&device("S2"), Role::Sensor, &[]).await.unwrap();
    let rights = credentials.authenticate("S1", secret.as_bytes()).unwrap();
    assert_eq!(*rights, Rights { id: device("S1"), role: Role::Sensor, filters: vec![] });
    assert_eq!(credentials.secret(&device("S1")).unwrap(), secret);
    for wrong in [other.as_bytes(), b"", &secret.as_bytes()[..42], format!("{secret}=").as_bytes()] {
        assert_eq!(credentials.authenticate("S1", wrong), Err(AuthError::WrongSecret));
    }
    for n in 0..secret.len() {
        let mut flipped = secret.clone().into_bytes();
        flipped[n] ^= 1;
        assert_eq!(credentials.authenticate("S1", &flipped), Err(AuthError::WrongSecret));
    }
    assert_eq!(credentials.authenticate("s1", secret.as_bytes()), Err(AuthError::Unknown));
    assert!(matches!(credentials.secret(&device("S9")), Err(RegistryError::Missing { what: "credential", .. })));
}

#[tokio::test]
async fn a_revoked_one_learns_so_only_with_its_secret() {
    let (_dir, _registry, _keys, credentials) = credentials().await;
    let secret = credentials.enrol(&device("S1"), Role::Sensor, &[]).await.unwrap();
    credentials.revoke(&device("S1")).await.unwrap();
    assert_eq!(credentials.authenticate("S1", secret.as_bytes()), Err(AuthError::Revoked));
    assert_eq!(credentials.authenticate("S1", b"wrong"), Err(AuthError::WrongSecret));
    assert!(matches!(credentials.revoke(&device("S9")).await, Err(RegistryError::Missing { .. })));
    credentials.enrol(&device("S1"), Role::Sensor, &[]).await.unwrap();
    assert!(credentials.authenticate("S1", secret.as_bytes()).is_ok());
}

#[tokio::test]
async fn integrations_have_filters_and_devices_have_none() {
    let (_dir, registry, keys, credentials) = credentials().await;
    let filters = ["gas/v1/sensors/+/readings".to_owned(), "gas/v1/incidents/#".to_owned()];
    credentials.enrol(&device("city"), Role::Integration, &filters).await.unwrap();
    let loaded = Credentials::load(&registry, keys).await.unwrap();
    let expected = Credential {
        id: device("city"),
        role: Role::Integration,
        key_version: 1,
        filters: filters.to_vec(),
        revoked: false,
    };
    assert_eq!(loaded.list(), [expected]);
    assert!(matches!(
        credentials.enrol(&device("S1"), Role::Sensor, &filters).await,
        Err(RegistryError::Invalid(text)) if text.starts_with("credential S1")
    ));
    for wrong in ["", "a/#/b", "a\nb"] {
        let result = credentials.enrol(&device("x"), Role::Integration, &[wrong.to_owned()]).await;
        assert!(matches!(result, Err(RegistryError::Invalid(_))), "{wrong:?}");
    }
    assert_eq!(credentials.list().len(), 1);
}

#[tokio::test]
async fn another_process_picks_up_what_changed() {
    let (_dir, registry, keys, here) = credentials().await;
    let there = Credentials::load(&registry, keys).await.unwrap();
    let secret = here.enrol(&device("S1"), Role::Sensor, &[]).await.unwrap();
    assert_eq!(there.authenticate("S1", secret.as_bytes()), Err(AuthError::Unknown));
    there.refresh().await.unwrap();
    assert!(there.authenticate("S1", secret.as_bytes()).is_ok());
    there.revoke(&device("S1")).await.unwrap();
    assert!(here.authenticate("S1", secret.as_bytes()).is_ok());
    here.refresh().await.unwrap();
    assert_eq!(here.authenticate("S1", secret.as_bytes()), Err(AuthError::Revoked));
    here.refresh().await.unwrap();
    assert_eq!(here.list(), there.list());
}

#[tokio::test]
async fn many_sensors_are_enrolled_at_once_and_in_order() {
    let (_dir, _registry, _keys, credentials) = credentials().await;
    let mut ids: Vec<DeviceId> = (0..2_345).rev().map(|n| device(&format!("S{n}"))).collect();
    ids.push(device("S7"));
    let secrets = credentials.enrol_sensors(&ids).await.unwrap();
    for (id, secret) in ids.iter().zip(&secrets) {
        assert!(credentials.authenticate(id.as_str(), secret.as_bytes()).is_ok(), "{id}");
    }
    let list = credentials.list();
    assert_eq!(list.len(), 2_345);
    assert!(list.is_sorted_by(|a, b| a.id < b.id));
}

#[tokio::test]
async fn a_key_version_that_is_not_in_the_file_opens_nothing() {
    let (_dir, registry, _keys, credentials) = credentials().await;
    let future = Credential { id: device("S1"), role: Role::Sensor, key_version: 2, filters: vec![], revoked: false };
    let mut tx = registry.ledger().begin().await.unwrap();
    put_credentials(&mut tx, std::slice::from_ref(&future)).await.unwrap();
    assert!(put_credentials(&mut tx, &[Credential { key_version: 0, ..future }]).await.is_err());
    tx.commit().await.unwrap();
    credentials.refresh().await.unwrap();
    assert_eq!(credentials.authenticate("S1", b""), Err(AuthError::WrongSecret));
    assert!(matches!(credentials.secret(&device("S1")), Err(RegistryError::Invalid(_))));
}
