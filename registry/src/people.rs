//! People, and their sign-ins to the console.

use std::collections::HashSet;

use model::Stamp;
use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::{Registry, RegistryError, check, damaged, places, rows};

/// The languages of the screens and messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    #[default]
    Zh,
    En,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::Zh, Language::En];

    pub fn as_str(self) -> &'static str {
        match self {
            Language::Zh => "zh",
            Language::En => "en",
        }
    }

    pub fn parse(text: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|language| language.as_str() == text)
    }
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

impl StaffRole {
    pub const ALL: [StaffRole; 7] = [
        StaffRole::Administrator,
        StaffRole::Supervisor,
        StaffRole::DutyOfficer,
        StaffRole::Inspector,
        StaffRole::GridWorker,
        StaffRole::Reviewer,
        StaffRole::Auditor,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            StaffRole::Administrator => "administrator",
            StaffRole::Supervisor => "supervisor",
            StaffRole::DutyOfficer => "duty_officer",
            StaffRole::Inspector => "inspector",
            StaffRole::GridWorker => "grid_worker",
            StaffRole::Reviewer => "reviewer",
            StaffRole::Auditor => "auditor",
        }
    }

    pub fn parse(text: &str) -> Option<StaffRole> {
        StaffRole::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Take an incident over.
    pub fn may_acknowledge(self) -> bool {
        matches!(self, StaffRole::Administrator | StaffRole::Supervisor | StaffRole::DutyOfficer)
    }

    /// Close an incident.
    pub fn may_resolve(self) -> bool {
        self.may_acknowledge()
    }

    /// See names, phones and addresses in full; to others show [`mask_name`] and [`mask_phone`].
    pub fn may_see_personal_data(self) -> bool {
        self.may_acknowledge() || matches!(self, StaffRole::Inspector | StaffRole::GridWorker)
    }
}

/// Somebody who can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: String,
    pub name: String,
    /// Digits as dialled, with an optional `+` in front; empty when there is none.
    pub phone: String,
    /// Empty when there is none.
    pub email: String,
    pub language: Language,
}

/// A console account of a person. `login` is `[A-Za-z0-9._@-]{1,64}`.
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

const PERSON_COLUMNS: &[&str] = &["id", "name", "phone", "email", "language"];

impl Registry {
    pub async fn person(&self, id: &str) -> Result<Option<Person>, RegistryError> {
        let row = sqlx::query("SELECT id, name, phone, email, language FROM people WHERE id = $1")
            .bind(id)
            .fetch_optional(self.ledger.reader())
            .await?;
        row.as_ref().map(person_of).transpose()
    }

    /// Everybody, ordered by id.
    pub async fn people(&self) -> Result<Vec<Person>, RegistryError> {
        let rows = sqlx::query("SELECT id, name, phone, email, language FROM people ORDER BY id")
            .fetch_all(self.ledger.reader())
            .await?;
        rows.iter().map(person_of).collect()
    }

    /// Every account, ordered by login.
    pub async fn accounts(&self) -> Result<Vec<Account>, RegistryError> {
        let rows = sqlx::query("SELECT login, person, role FROM accounts ORDER BY login")
            .fetch_all(self.ledger.reader())
            .await?;
        rows.iter().map(account_of).collect()
    }
}

fn person_of(row: &AnyRow) -> Result<Person, RegistryError> {
    let id: String = row.try_get(0)?;
    let language = Language::parse(row.try_get(4)?).unwrap_or_else(|| {
        // somebody who cannot be read cannot be alarmed
        tracing::error!(person = %id, "unknown language, taking the default");
        Language::default()
    });
    Ok(Person { id, name: row.try_get(1)?, phone: row.try_get(2)?, email: row.try_get(3)?, language })
}

/// Of a row that begins with login, person and role.
pub(crate) fn account_of(row: &AnyRow) -> Result<Account, RegistryError> {
    let login: String = row.try_get(0)?;
    let role = StaffRole::parse(row.try_get(2)?).ok_or_else(|| damaged("accounts", &login, "unknown role"))?;
    Ok(Account { login, person: row.try_get(1)?, role })
}

/// Adds or replaces people.
///
/// # Errors
/// [`RegistryError::Invalid`] for a wrong id, name, phone or e-mail address.
pub async fn put_people(tx: &mut Tx, people: &[Person]) -> Result<(), RegistryError> {
    for person in people {
        check::id("person", &person.id)?;
        check::name("name", &person.name)?;
        check::phone("phone", &person.phone)?;
        check::email("email", &person.email)?;
    }
    let people = rows::last_of_each(people, |person| &person.id);
    rows::insert(tx, "people", PERSON_COLUMNS, &rows::replace(PERSON_COLUMNS), &people, |query, person| {
        query
            .bind(person.id.as_str())
            .bind(person.name.as_str())
            .bind(person.phone.as_str())
            .bind(person.email.as_str())
            .bind(person.language.as_str())
    })
    .await?;
    Ok(())
}

/// Those of `ids` that are registered people.
///
/// # Errors
/// When a statement fails.
pub async fn known_people(tx: &mut Tx, ids: impl Iterator<Item = &str>) -> Result<HashSet<String>, RegistryError> {
    places::known(tx, "SELECT id FROM people WHERE id", ids).await
}

/// A phone number for those who need not know it: `138****0001`, `+86138****0001`. Of a number too
/// short for that only the last four digits are left, of 7 digits or fewer none.
pub fn mask_phone(phone: &str) -> String {
    let characters: Vec<char> = phone.chars().collect();
    let shown_before = if characters.len() >= 11 { characters.len() - 8 } else { 0 };
    let shown_after = if characters.len() >= 8 { 4 } else { 0 };
    if characters.is_empty() {
        return String::new();
    }
    let before: String = characters[..shown_before].iter().collect();
    let after: String = characters[characters.len() - shown_after..].iter().collect();
    format!("{before}****{after}")
}

/// A name for those who need not know it: its first character and `**`, whatever its length.
pub fn mask_name(name: &str) -> String {
    name.trim().chars().next().map_or_else(String::new, |first| format!("{first}**"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_as_what_they_were_written_for() {
        for role in StaffRole::ALL {
            assert_eq!(StaffRole::parse(role.as_str()), Some(role));
        }
        for language in Language::ALL {
            assert_eq!(Language::parse(language.as_str()), Some(language));
        }
        assert_eq!(StaffRole::parse("Administrator"), None);
        assert_eq!(Language::parse("zh-CN"), None);
    }

    #[test]
    fn permissions_are_denied_by_default() {
        let may = |permission: fn(StaffRole) -> bool| -> Vec<StaffRole> {
            StaffRole::ALL.into_iter().filter(|role| permission(*role)).collect()
        };
        let desk = [StaffRole::Administrator, StaffRole::Supervisor, StaffRole::DutyOfficer];
        assert_eq!(may(StaffRole::may_acknowledge), desk);
        assert_eq!(may(StaffRole::may_resolve), desk);
        let field = [desk[0], desk[1], desk[2], StaffRole::Inspector, StaffRole::GridWorker];
        assert_eq!(may(StaffRole::may_see_personal_data), field);
    }

    #[test]
    fn a_masked_phone_keeps_its_ends() {
        for (phone, masked) in [
            ("13800000001", "138****0001"),
            ("+8613800000001", "+86138****0001"),
            ("86123456", "****3456"),
            ("8612345", "****"),
            ("120", "****"),
            ("", ""),
        ] {
            assert_eq!(mask_phone(phone), masked);
        }
    }

    #[test]
    fn a_masked_name_shows_the_first_character_only() {
        for (name, masked) in [("王小明", "王**"), ("王", "王**"), ("John Smith", "J**"), (" 李", "李**"), ("", "")]
        {
            assert_eq!(mask_name(name), masked);
        }
    }
}
