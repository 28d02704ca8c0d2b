//! Device and integration credentials: the secret of an id is derived from a versioned fleet key, so
//! that half a million reconnects cost a hash each and no secret is stored per device.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use futures_util::TryStreamExt;
use model::DeviceId;
use model::rights::{Rights, Role};
use model::topic;
use smol_str::SmolStr;
use sqlx::Row;
use sqlx::any::AnyRow;
use store::{Ledger, Tx};
use tokio::sync::Mutex;

use crate::secrets::FleetKeys;
use crate::version::{self, Group};
use crate::{Registry, RegistryError, damaged, rows};

/// A client that may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub id: DeviceId,
    pub role: Role,
    /// Which fleet key its secret comes from.
    pub key_version: u32,
    /// What an integration may subscribe to.
    pub filters: Vec<String>,
    pub revoked: bool,
}

/// Why a client may not sign in. The client is told one and the same for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("unknown id")]
    Unknown,
    #[error("wrong secret")]
    WrongSecret,
    #[error("revoked")]
    Revoked,
}

/// All credentials, in memory. A cheap handle.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    ledger: Ledger,
    keys: FleetKeys,
    known: RwLock<HashMap<SmolStr, Known>>,
    /// The newest change number in `known`. Held while reading, so that an older row never
    /// overwrites a newer one.
    changed: Mutex<i64>,
}

struct Known {
    rights: Arc<Rights>,
    key_version: u32,
    revoked: bool,
}

const COLUMNS: &[&str] = &["id", "role", "key_version", "filters", "revoked", "changed"];

/// Rows taken over, or written, at a time: sign-ins wait no longer than that takes.
const STEP: usize = 1_000;

impl Credentials {
    /// Reads all credentials of the registry.
    pub async fn load(registry: &Registry, keys: FleetKeys) -> Result<Credentials, RegistryError> {
        let credentials = Credentials(Arc::new(Inner {
            ledger: registry.ledger().clone(),
            keys,
            known: RwLock::default(),
            changed: Mutex::new(0),
        }));
        credentials.refresh().await?;
        Ok(credentials)
    }

    /// Takes over what this or another process has changed in the ledger; one indexed query when
    /// that is nothing.
    pub async fn refresh(&self) -> Result<(), RegistryError> {
        let mut changed = self.0.changed.lock().await;
        let mut newest = *changed;
        let mut rows =
            sqlx::query("SELECT id, role, key_version, filters, revoked, changed FROM credentials WHERE changed > $1")
                .bind(*changed)
                .fetch(self.0.ledger.reader());
        let mut batch = Vec::new();
        while let Some(row) = rows.try_next().await? {
            newest = newest.max(row.try_get(5)?);
            batch.push(known_of(&row)?);
            if batch.len() == STEP {
                self.take_over(&mut batch);
            }
        }
        self.take_over(&mut batch);
        *changed = newest;
        Ok(())
    }

    fn take_over(&self, batch: &mut Vec<Known>) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(batch.drain(..).map(|one| (SmolStr::from(one.rights.id.clone()), one)));
    }

    fn known(&self) -> RwLockReadGuard<'_, HashMap<SmolStr, Known>> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks id and secret, in constant time.
    pub fn authenticate(&self, id: &str, secret: &[u8]) -> Result<Arc<Rights>, AuthError> {
        let found = self.known().get(id).map(|one| (one.rights.clone(), one.key_version, one.revoked));
        // An unknown id is checked like a known one, so that the time taken tells nothing.
        let key_version = found.as_ref().map_or(self.0.keys.newest(), |(_, key_version, _)| *key_version);
        let is_right = self.0.keys.verify(key_version, id, secret);
        match found {
            None => Err(AuthError::Unknown),
            Some(_) if !is_right => Err(AuthError::WrongSecret),
            Some((_, _, true)) => Err(AuthError::Revoked),
            Some((rights, _, false)) => Ok(rights),
        }
    }

    /// Enrols or changes a credential with the newest key version, in the ledger and here, and
    /// returns its secret (base64url, no padding). A revoked one is valid again.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] for a wrong filter, or filters for a device.
    pub async fn enrol(&self, id: &DeviceId, role: Role, filters: &[String]) -> Result<String, RegistryError> {
        let credential = self.newest(id, role, filters.to_vec());
        let mut tx = self.0.ledger.begin().await?;
        put_credentials(&mut tx, &[credential]).await?;
        tx.commit().await?;
        self.refresh().await?;
        self.secret(id)
    }

    /// Enrols many sensors at once, in multi-row statements, and returns their secrets in order.
    /// Every 1,000 are committed on their own, so that others can write in between.
    pub async fn enrol_sensors(&self, ids: &[DeviceId]) -> Result<Vec<String>, RegistryError> {
        for ids in ids.chunks(STEP) {
            let credentials: Vec<Credential> = ids.iter().map(|id| self.newest(id, Role::Sensor, Vec::new())).collect();
            let mut tx = self.0.ledger.begin().await?;
            put_credentials(&mut tx, &credentials).await?;
            tx.commit().await?;
        }
        self.refresh().await?;
        ids.iter().map(|id| self.secret(id)).collect()
    }

    fn newest(&self, id: &DeviceId, role: Role, filters: Vec<String>) -> Credential {
        Credential { id: id.clone(), role, key_version: self.0.keys.newest(), filters, revoked: false }
    }

    /// The secret of an enrolled id.
    ///
    /// # Errors
    /// [`RegistryError::Missing`] when it is not enrolled, [`RegistryError::Invalid`] when its key
    /// version is not in `secrets.toml`.
    pub fn secret(&self, id: &DeviceId) -> Result<String, RegistryError> {
        let key_version = self.known().get(id.as_str()).map(|one| one.key_version);
        let key_version = key_version.ok_or_else(|| missing(id))?;
        self.0.keys.secret(key_version, id.as_str()).ok_or_else(|| {
            RegistryError::Invalid(format!("credential {id}: there is no fleet key of version {key_version}"))
        })
    }

    /// From now on `id` may not sign in.
    ///
    /// # Errors
    /// [`RegistryError::Missing`] when it is not enrolled.
    pub async fn revoke(&self, id: &DeviceId) -> Result<(), RegistryError> {
        let mut tx = self.0.ledger.begin().await?;
        let changed = version::raise(&mut tx, Group::Credentials).await?;
        let done = sqlx::query("UPDATE credentials SET revoked = 1, changed = $1 WHERE id = $2")
            .bind(changed)
            .bind(id.as_str())
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Err(missing(id));
        }
        tx.commit().await?;
        self.refresh().await
    }

    /// Every credential, ordered by id.
    pub fn list(&self) -> Vec<Credential> {
        let mut all: Vec<Credential> = self
            .known()
            .values()
            .map(|one| Credential {
                id: one.rights.id.clone(),
                role: one.rights.role,
                key_version: one.key_version,
                filters: one.rights.filters.clone(),
                revoked: one.revoked,
            })
            .collect();
        all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        all
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({} ids)", self.known().len())
    }
}

fn missing(id: &DeviceId) -> RegistryError {
    RegistryError::Missing { what: "credential", id: id.to_string() }
}

fn known_of(row: &AnyRow) -> Result<Known, RegistryError> {
    let id: &str = row.try_get(0)?;
    let role = Role::parse(row.try_get(1)?).ok_or_else(|| damaged("credentials", id, "unknown role"))?;
    let key_version = u32::try_from(row.try_get::<i64, _>(2)?);
    let filters: &str = row.try_get(3)?;
    Ok(Known {
        rights: Arc::new(Rights {
            id: DeviceId::new(id).map_err(|_| damaged("credentials", id, "no device id"))?,
            role,
            filters: filters.lines().map(str::to_owned).collect(),
        }),
        key_version: key_version.map_err(|_| damaged("credentials", id, "impossible key version"))?,
        revoked: row.try_get::<i64, _>(4)? != 0,
    })
}

/// Writes credentials, in multi-row statements. Call [`Credentials::refresh`] after the commit.
///
/// # Errors
/// [`RegistryError::Invalid`] for a wrong filter, filters for a device, or a key version of 0.
pub async fn put_credentials(tx: &mut Tx, credentials: &[Credential]) -> Result<(), RegistryError> {
    for credential in credentials {
        let wrong = |problem: String| Err(RegistryError::Invalid(format!("credential {}: {problem}", credential.id)));
        if credential.key_version == 0 {
            return wrong("key versions count from 1".to_owned());
        }
        if credential.role != Role::Integration && !credential.filters.is_empty() {
            return wrong("only integrations have filters".to_owned());
        }
        for filter in &credential.filters {
            if let Err(problem) = topic::check_filter(filter) {
                return wrong(format!("filter {filter:?}: {problem}"));
            }
        }
    }
    let changed = version::raise(tx, Group::Credentials).await?;
    let credentials = rows::last_of_each(credentials, |credential| &credential.id);
    rows::insert(tx, "credentials", COLUMNS, &rows::replace(COLUMNS), &credentials, |query, credential| {
        query
            .bind(credential.id.as_str())
            .bind(credential.role.as_str())
            .bind(i64::from(credential.key_version))
            // One a line: a filter is printable ASCII.
            .bind(credential.filters.join("\n"))
            .bind(i64::from(credential.revoked))
            .bind(changed)
    })
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
