//! People, and their sign-ins to the console.

use model::Stamp;
use store::Tx;

use crate::{Registry, RegistryError};

/// The languages of the screens and messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    #[default]
    Zh,
    En,
}

/// What a signed-in person may do (DESIGN: deny by default).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StaffRole {
    Administrator,
    Supervisor,
    DutyOfficer,
    Inspector,
    GridWorker,
    Reviewer,
    Auditor,
}

/// Somebody who can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: String,
    pub name: String,
    /// Digits as dialled; empty when there is none.
    pub phone: String,
    /// Empty when there is none.
    pub email: String,
    pub language: Language,
}

/// A console account of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub login: String,
    pub person: String,
    pub role: StaffRole,
}

/// A signed-in session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub account: Account,
    /// The person's name.
    pub name: String,
    /// Must come back with every form of this session.
    pub csrf: String,
    pub expires: Stamp,
}

/// Why a sign-in is refused. Unknown login and wrong password are one and the same.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error("the user name or the password is wrong")]
    Wrong,
    /// Too many failures for this login; try again at the given time.
    #[error("too many failed attempts, try again after {0}")]
    Throttled(Stamp),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Registry {
    pub async fn person(&self, id: &str) -> Result<Option<Person>, RegistryError> {
        let _ = id;
        todo!()
    }

    pub async fn people(&self) -> Result<Vec<Person>, RegistryError> {
        todo!()
    }

    pub async fn accounts(&self) -> Result<Vec<Account>, RegistryError> {
        todo!()
    }

    /// Makes or replaces an account; the password is kept as Argon2id only. At least 10 characters.
    pub async fn put_account(&self, account: &Account, password: &str) -> Result<(), RegistryError> {
        let _ = (account, password);
        todo!()
    }

    /// Checks a password and makes a session; returns its token (256 random bits, base64url), of
    /// which the ledger keeps only the SHA-256. Failures are throttled per login: after 5 in a row
    /// 30 s, doubling up to 15 min.
    pub async fn sign_in(&self, login: &str, password: &str, now: Stamp) -> Result<(String, Session), SignInError> {
        let _ = (login, password, now);
        todo!()
    }

    /// The session of a token, if it has not expired.
    pub async fn session(&self, token: &str, now: Stamp) -> Result<Option<Session>, RegistryError> {
        let _ = (token, now);
        todo!()
    }

    pub async fn sign_out(&self, token: &str) -> Result<(), RegistryError> {
        let _ = token;
        todo!()
    }
}

/// Adds or replaces people.
pub async fn put_people(tx: &mut Tx, people: &[Person]) -> Result<(), RegistryError> {
    let _ = (tx, people);
    todo!()
}
