//! Device and integration credentials: the secret of an id is derived from a versioned fleet key, so
//! that half a million reconnects cost a hash each and no secret is stored per device.

use std::sync::Arc;

use model::DeviceId;
use model::rights::{Rights, Role};
use store::Tx;

use crate::secrets::FleetKeys;
use crate::{Registry, RegistryError};

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
#[derive(Clone, Debug)]
pub struct Credentials;

impl Credentials {
    /// Reads all credentials of the registry.
    pub async fn load(registry: &Registry, keys: FleetKeys) -> Result<Credentials, RegistryError> {
        let _ = (registry, keys);
        todo!()
    }

    /// Checks id and secret, in constant time.
    pub fn authenticate(&self, id: &str, secret: &[u8]) -> Result<Arc<Rights>, AuthError> {
        let _ = (id, secret);
        todo!()
    }

    /// Enrols or changes a credential with the newest key version, in the ledger and here, and
    /// returns its secret (base64url, no padding).
    pub async fn enrol(&self, id: &DeviceId, role: Role, filters: &[String]) -> Result<String, RegistryError> {
        let _ = (id, role, filters);
        todo!()
    }

    /// Enrols many sensors at once, in multi-row statements, and returns their secrets in order.
    pub async fn enrol_sensors(&self, ids: &[DeviceId]) -> Result<Vec<String>, RegistryError> {
        let _ = ids;
        todo!()
    }

    /// The secret of an enrolled id.
    pub fn secret(&self, id: &DeviceId) -> Result<String, RegistryError> {
        let _ = id;
        todo!()
    }

    pub async fn revoke(&self, id: &DeviceId) -> Result<(), RegistryError> {
        let _ = id;
        todo!()
    }

    /// Every credential, ordered by id.
    pub fn list(&self) -> Vec<Credential> {
        todo!()
    }
}

/// Writes credentials, in multi-row statements.
pub async fn put_credentials(tx: &mut Tx, credentials: &[Credential]) -> Result<(), RegistryError> {
    let _ = (tx, credentials);
    todo!()
}
