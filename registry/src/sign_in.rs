//! Accounts, sign-in and sessions.

use std::sync::{Mutex, PoisonError};

use model::Stamp;
use model::time::HOUR;
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::password::Passwords;
use crate::people::{Account, Session, SignInError, account_of};
use crate::throttle::Throttle;
use crate::{Registry, RegistryError, base64url, check, random_text};

/// How long a session lasts.
const LIFETIME: i64 = 12 * HOUR;
/// Shortest password, characters, and longest, bytes.
const SHORTEST_PASSWORD: usize = 10;
const LONGEST_PASSWORD: usize = 1_024;

/// What sign-in keeps between calls.
#[derive(Default)]
pub(crate) struct Door {
    passwords: Passwords,
    throttle: Mutex<Throttle>,
}

impl Registry {
    /// Makes or replaces an account; the password is kept as Argon2id only. At least 10 characters.
    /// Sessions of an account that is replaced end.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] for a wrong login, a password that is too short or longer than
    /// 1,024 bytes, or a person who is not registered.
    pub async fn put_account(&self, account: &Account, password: &str) -> Result<(), RegistryError> {
        check::login(&account.login)?;
        if password.chars().count() < SHORTEST_PASSWORD {
            return Err(RegistryError::Invalid(format!("the password needs at least {SHORTEST_PASSWORD} characters")));
        }
        if password.len() > LONGEST_PASSWORD {
            return Err(RegistryError::Invalid(format!("the password has more than {LONGEST_PASSWORD} bytes")));
        }
        if self.person(&account.person).await?.is_none() {
            return Err(RegistryError::Invalid(format!(
                "account {}: there is no person {:?}",
                account.login, account.person
            )));
        }
        let hash = self.door.passwords.hash(password).await?;
        let mut tx = self.ledger.begin().await?;
        sqlx::query(
            "INSERT INTO accounts (login, person, role, password) VALUES ($1, $2, $3, $4)
             ON CONFLICT (login) DO UPDATE SET
                person = excluded.person, role = excluded.role, password = excluded.password",
        )
        .bind(account.login.as_str())
        .bind(account.person.as_str())
        .bind(account.role.as_str())
        .bind(hash)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM sessions WHERE login = $1").bind(account.login.as_str()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Checks a password and makes a session of 12 h; returns its token (256 random bits,
    /// base64url), of which the ledger keeps only the SHA-256. Failures are throttled per login:
    /// after 5 in a row 30 s, doubling up to 15 min.
    ///
    /// # Errors
    /// [`SignInError`]; an unknown login takes as long as a wrong password.
    pub async fn sign_in(&self, login: &str, password: &str, now: Stamp) -> Result<(String, Session), SignInError> {
        let row = sqlx::query(
            "SELECT a.login, a.person, a.role, a.password, p.name
             FROM accounts a JOIN people p ON p.id = a.person WHERE a.login = $1",
        )
        .bind(login)
        .fetch_optional(self.ledger.reader())
        .await
        .map_err(RegistryError::from)?;
        let (found, hash) = match &row {
            Some(row) => {
                let name: String = row.try_get(4).map_err(RegistryError::from)?;
                let hash: String = row.try_get(3).map_err(RegistryError::from)?;
                (Some((account_of(row)?, name)), Some(hash))
            }
            None => (None, None),
        };
        let key: [u8; 32] = Sha256::digest(login).into();
        self.throttle(|throttle| throttle.begin(key, now)).map_err(SignInError::Throttled)?;
        let is_right = self.door.passwords.verify(password, hash).await?;
        let Some((account, name)) = found.filter(|_| is_right) else {
            return Err(SignInError::Wrong);
        };
        self.throttle(|throttle| throttle.succeeded(key));
        let session = Session { account, name, csrf: random_text::<32>()?, expires: now + LIFETIME };
        let token = random_text::<32>()?;
        self.keep_session(&token, &session, now).await?;
        Ok((token, session))
    }

    async fn keep_session(&self, token: &str, session: &Session, now: Stamp) -> Result<(), RegistryError> {
        let mut tx = self.ledger.begin().await?;
        sqlx::query("DELETE FROM sessions WHERE expires <= $1").bind(now.0).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO sessions (token_sha256, login, csrf, expires) VALUES ($1, $2, $3, $4)")
            .bind(token_hash(token))
            .bind(session.account.login.as_str())
            .bind(session.csrf.as_str())
            .bind(session.expires.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The session of a token, if it has not expired. Its role is the account's of now.
    pub async fn session(&self, token: &str, now: Stamp) -> Result<Option<Session>, RegistryError> {
        let row = sqlx::query(
            "SELECT a.login, a.person, a.role, p.name, s.csrf, s.expires
             FROM sessions s JOIN accounts a ON a.login = s.login JOIN people p ON p.id = a.person
             WHERE s.token_sha256 = $1 AND s.expires > $2",
        )
        .bind(token_hash(token))
        .bind(now.0)
        .fetch_optional(self.ledger.reader())
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Session {
            account: account_of(&row)?,
            name: row.try_get(3)?,
            csrf: row.try_get(4)?,
            expires: Stamp(row.try_get(5)?),
        }))
    }

    /// Ends the session of a token; a token without a session is no error.
    pub async fn sign_out(&self, token: &str) -> Result<(), RegistryError> {
        let mut tx = self.ledger.begin().await?;
        sqlx::query("DELETE FROM sessions WHERE token_sha256 = $1").bind(token_hash(token)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    fn throttle<T>(&self, act: impl FnOnce(&mut Throttle) -> T) -> T {
        act(&mut self.door.throttle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn token_hash(token: &str) -> String {
    base64url(&Sha256::digest(token))
}

#[cfg(test)]
mod tests;
