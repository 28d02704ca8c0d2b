use super::*;
use crate::people::{StaffRole, put_people};
use crate::testing::{NOW, person, registry};

const PASSWORD: &str = "correct horse";

fn account(login: &str) -> Account {
    Account { login: login.into(), person: "li".into(), role: StaffRole::DutyOfficer }
}

async fn with_account() -> (tempfile::TempDir, Registry) {
    let (dir, registry) = registry().await;
    let mut tx = registry.ledger().begin().await.unwrap();
    put_people(&mut tx, &[person("li")]).await.unwrap();
    tx.commit().await.unwrap();
    registry.put_account(&account("li"), PASSWORD).await.unwrap();
    (dir, registry)
}

async fn column(registry: &Registry, sql: &'static str) -> Vec<String> {
    let rows = sqlx::query(sql).fetch_all(registry.ledger().reader()).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_session_begins_holds_and_ends() {
    let (_dir, registry) = with_account().await;
    let (token, session) = registry.sign_in("li", PASSWORD, NOW).await.unwrap();
    assert_eq!(session.account, account("li"));
    assert_eq!(session.name, "李明");
    assert_eq!(session.expires, NOW + 12 * HOUR);
    assert_eq!(token.len(), 43, "256 bits");
    assert_eq!(session.csrf.len(), 43);
    let just_before = session.expires - 1;
    assert_eq!(registry.session(&token, just_before).await.unwrap(), Some(session.clone()));
    assert_eq!(registry.session(&token, session.expires).await.unwrap(), None);
    assert_eq!(registry.session(&session.csrf, NOW).await.unwrap(), None);
    assert_eq!(registry.session("", NOW).await.unwrap(), None);

    let (other, _) = registry.sign_in("li", PASSWORD, NOW).await.unwrap();
    assert_ne!(other, token);
    registry.sign_out(&token).await.unwrap();
    registry.sign_out(&token).await.unwrap();
    assert_eq!(registry.session(&token, NOW).await.unwrap(), None);
    assert!(registry.session(&other, NOW).await.unwrap().is_some());
}

#[tokio::test]
async fn the_ledger_holds_neither_password_nor_token() {
    let (_dir, registry) = with_account().await;
    let (token, _) = registry.sign_in("li", PASSWORD, NOW).await.unwrap();
    let kept = column(&registry, "SELECT password FROM accounts").await;
    assert!(kept[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", kept[0]);
    assert_eq!(column(&registry, "SELECT token_sha256 FROM sessions").await, [token_hash(&token)]);
    assert_ne!(token_hash(&token), token);
}

#[tokio::test]
async fn expired_sessions_are_swept_and_a_new_password_ends_the_others() {
    let (_dir, registry) = with_account().await;
    registry.sign_in("li", PASSWORD, NOW).await.unwrap();
    let (token, _) = registry.sign_in("li", PASSWORD, NOW + 12 * HOUR).await.unwrap();
    assert_eq!(column(&registry, "SELECT token_sha256 FROM sessions").await, [token_hash(&token)]);

    let promoted = Account { role: StaffRole::Supervisor, ..account("li") };
    registry.put_account(&promoted, "another password").await.unwrap();
    assert_eq!(registry.session(&token, NOW + 12 * HOUR).await.unwrap(), None);
    assert!(matches!(registry.sign_in("li", PASSWORD, NOW).await, Err(SignInError::Wrong)));
    let (_, session) = registry.sign_in("li", "another password", NOW).await.unwrap();
    assert_eq!(session.account, promoted);
    assert_eq!(registry.accounts().await.unwrap(), [promoted]);
}

#[tokio::test]
async fn unknown_login_and_wrong_password_are_one_answer() {
    let (_dir, registry) = with_account().await;
    let wrong = registry.sign_in("li", "wrong password", NOW).await.unwrap_err().to_string();
    let unknown = registry.sign_in("nobody", PASSWORD, NOW).await.unwrap_err().to_string();
    assert_eq!(wrong, unknown);
    assert!(matches!(registry.sign_in("LI", PASSWORD, NOW).await, Err(SignInError::Wrong)));
}

#[tokio::test]
async fn the_right_password_waits_too_after_five_failures() {
    let (_dir, registry) = with_account().await;
    for _ in 0..5 {
        assert!(matches!(registry.sign_in("li", "wrong password", NOW).await, Err(SignInError::Wrong)));
    }
    let until = NOW + 30_000;
    assert!(matches!(registry.sign_in("li", PASSWORD, NOW).await, Err(SignInError::Throttled(at)) if at == until));
    registry.sign_in("li", PASSWORD, until).await.unwrap();
    assert!(matches!(registry.sign_in("li", "wrong password", until).await, Err(SignInError::Wrong)));
}

#[tokio::test]
async fn attempts_at_the_same_time_do_not_slip_past_the_throttle() {
    let (_dir, registry) = with_account().await;
    let attempts: Vec<_> = (0..8)
        .map(|_| {
            let registry = registry.clone();
            tokio::spawn(async move { registry.sign_in("li", "wrong password", NOW).await })
        })
        .collect();
    let (mut wrong, mut throttled) = (0, 0);
    for attempt in attempts {
        match attempt.await.unwrap() {
            Err(SignInError::Wrong) => wrong += 1,
            Err(SignInError::Throttled(_)) => throttled += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((wrong, throttled), (5, 3));
}

#[tokio::test]
async fn bad_accounts_are_refused() {
    let (_dir, registry) = with_account().await;
    let nobody = Account { person: "nobody".into(), ..account("x") };
    for (account, password, words) in [
        (account("a b"), PASSWORD, "login"),
        (account("x"), "123456789", "the password needs"),
        (account("x"), &*"长".repeat(400), "the password has more"),
        (nobody, PASSWORD, "account x: there is no person \"nobody\""),
    ] {
        let error = registry.put_account(&account, password).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Invalid(text) if text.starts_with(words)), "{error}");
    }
    assert_eq!(registry.accounts().await.unwrap().len(), 1);
    registry.put_account(&account("x"), "一二三四五六七八九十").await.unwrap();
}

#[tokio::test]
async fn people_are_put_found_and_checked() {
    let (_dir, registry) = with_account().await;
    assert_eq!(registry.person("li").await.unwrap(), Some(person("li")));
    assert_eq!(registry.person("wang").await.unwrap(), None);
    let mut tx = registry.ledger().begin().await.unwrap();
    let renamed = crate::people::Person { phone: String::new(), email: String::new(), ..person("li") };
    put_people(&mut tx, &[person("wang"), person("li"), renamed.clone()]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(registry.people().await.unwrap(), [renamed, person("wang")]);
    for wrong in [
        crate::people::Person { id: "a/b".into(), ..person("x") },
        crate::people::Person { name: "A\r\nBcc: b".into(), ..person("x") },
        crate::people::Person { phone: "12".into(), ..person("x") },
        crate::people::Person { email: "a@b\n".into(), ..person("x") },
    ] {
        let mut tx = registry.ledger().begin().await.unwrap();
        assert!(matches!(put_people(&mut tx, &[wrong]).await, Err(RegistryError::Invalid(_))));
    }
}
