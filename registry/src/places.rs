//! Areas (towns and streets) and premises.

use store::Tx;

use crate::{Registry, RegistryError};

/// A town or street of the district.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// Short stable id, for example `shijing`.
    pub id: String,
    pub name_zh: String,
    pub name_en: String,
}

/// What kind of user lives or works there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PremisesClass {
    Home,
    Restaurant,
    Other,
}

/// A place with bottled gas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Premises {
    /// The district's number for it, `[A-Za-z0-9_-]{1,64}`.
    pub id: String,
    pub area: String,
    pub class: PremisesClass,
    /// An address a driver can use.
    pub address: String,
    /// Premises with the same building id are neighbours.
    pub building: String,
    pub contact_name: String,
    /// Phone of the household; empty when unknown.
    pub contact_phone: String,
    /// Somebody there cannot help themselves: small child, old or ill person.
    pub vulnerable: bool,
}

impl Registry {
    pub async fn areas(&self) -> Result<Vec<Area>, RegistryError> {
        todo!()
    }
    pub async fn premises(&self, id: &str) -> Result<Option<Premises>, RegistryError> {
        let _ = id;
        todo!()
    }
    pub async fn premises_count(&self) -> Result<i64, RegistryError> {
        todo!()
    }
}

/// Adds or replaces areas.
pub async fn put_areas(tx: &mut Tx, areas: &[Area]) -> Result<(), RegistryError> {
    let _ = (tx, areas);
    todo!()
}

/// Adds or replaces premises, in multi-row statements.
pub async fn put_premises(tx: &mut Tx, premises: &[Premises]) -> Result<(), RegistryError> {
    let _ = (tx, premises);
    todo!()
}
