//! Areas (towns and streets) and premises.

use std::collections::HashSet;

use sqlx::Row;
use sqlx::any::AnyRow;
use store::Tx;

use crate::version::{self, Group};
use crate::{Registry, RegistryError, check, damaged, rows};

/// A town or street of the district.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// Short stable id, for example `shijing`.
    pub id: String,
    pub name_zh: String,
    pub name_en: String,
}

/// What kind of user lives or works there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PremisesClass {
    Home,
    Restaurant,
    Other,
}

impl PremisesClass {
    pub const ALL: [PremisesClass; 3] = [PremisesClass::Home, PremisesClass::Restaurant, PremisesClass::Other];

    pub fn as_str(self) -> &'static str {
        match self {
            PremisesClass::Home => "home",
            PremisesClass::Restaurant => "restaurant",
            PremisesClass::Other => "other",
        }
    }

    pub fn parse(text: &str) -> Option<PremisesClass> {
        PremisesClass::ALL.into_iter().find(|class| class.as_str() == text)
    }
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

/// A subquery with the columns `premises` and `area`, for the SQL of crates above this one.
pub const AREA_OF_PREMISES: &str = "(SELECT id AS premises, area FROM premises)";

const AREA_COLUMNS: &[&str] = &["id", "name_zh", "name_en"];
const PREMISES_COLUMNS: &[&str] =
    &["id", "area", "class", "address", "building", "contact_name", "contact_phone", "vulnerable"];

impl Registry {
    /// Every area, ordered by id.
    pub async fn areas(&self) -> Result<Vec<Area>, RegistryError> {
        let rows =
            sqlx::query("SELECT id, name_zh, name_en FROM areas ORDER BY id").fetch_all(self.ledger.reader()).await?;
        rows.iter()
            .map(|row| Ok(Area { id: row.try_get(0)?, name_zh: row.try_get(1)?, name_en: row.try_get(2)? }))
            .collect()
    }

    pub async fn premises(&self, id: &str) -> Result<Option<Premises>, RegistryError> {
        let row = sqlx::query(
            "SELECT id, area, class, address, building, contact_name, contact_phone, vulnerable
             FROM premises WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(self.ledger.reader())
        .await?;
        row.as_ref().map(premises_of).transpose()
    }

    pub async fn premises_count(&self) -> Result<i64, RegistryError> {
        let row = sqlx::query("SELECT COUNT(*) FROM premises").fetch_one(self.ledger.reader()).await?;
        Ok(row.try_get(0)?)
    }
}

fn premises_of(row: &AnyRow) -> Result<Premises, RegistryError> {
    let id: String = row.try_get(0)?;
    let class = PremisesClass::parse(row.try_get(2)?).ok_or_else(|| damaged("premises", &id, "unknown class"))?;
    Ok(Premises {
        id,
        area: row.try_get(1)?,
        class,
        address: row.try_get(3)?,
        building: row.try_get(4)?,
        contact_name: row.try_get(5)?,
        contact_phone: row.try_get(6)?,
        vulnerable: row.try_get::<i64, _>(7)? != 0,
    })
}

/// Adds or replaces areas.
///
/// # Errors
/// [`RegistryError::Invalid`] for a wrong id or name.
pub async fn put_areas(tx: &mut Tx, areas: &[Area]) -> Result<(), RegistryError> {
    for area in areas {
        check::id("area", &area.id)?;
        check::name("area name", &area.name_zh)?;
        check::name("area name", &area.name_en)?;
    }
    version::raise(tx, Group::Places).await?;
    let areas = rows::last_of_each(areas, |area| &area.id);
    rows::insert(tx, "areas", AREA_COLUMNS, &rows::replace(AREA_COLUMNS), &areas, |query, area| {
        query.bind(area.id.as_str()).bind(area.name_zh.as_str()).bind(area.name_en.as_str())
    })
    .await?;
    Ok(())
}

/// Adds or replaces premises, in multi-row statements.
///
/// # Errors
/// [`RegistryError::Invalid`] for a wrong id, text or phone, or an area that is not registered.
pub async fn put_premises(tx: &mut Tx, premises: &[Premises]) -> Result<(), RegistryError> {
    for one in premises {
        check::id("premises", &one.id)?;
        check::name("address", &one.address)?;
        check::text("building", &one.building)?;
        check::text("contact name", &one.contact_name)?;
        check::phone("contact phone", &one.contact_phone)?;
    }
    version::raise(tx, Group::Places).await?;
    let known = known(tx, "SELECT id FROM areas WHERE id", premises.iter().map(|one| one.area.as_str())).await?;
    if let Some(one) = premises.iter().find(|one| !known.contains(&one.area)) {
        return Err(RegistryError::Invalid(format!("premises {}: there is no area {:?}", one.id, one.area)));
    }
    let premises = rows::last_of_each(premises, |one| &one.id);
    rows::insert(tx, "premises", PREMISES_COLUMNS, &rows::replace(PREMISES_COLUMNS), &premises, |query, one| {
        query
            .bind(one.id.as_str())
            .bind(one.area.as_str())
            .bind(one.class.as_str())
            .bind(one.address.as_str())
            .bind(one.building.as_str())
            .bind(one.contact_name.as_str())
            .bind(one.contact_phone.as_str())
            .bind(i64::from(one.vulnerable))
    })
    .await?;
    Ok(())
}

/// Those of `ids` that are registered premises.
///
/// # Errors
/// When a statement fails.
pub async fn known_premises(tx: &mut Tx, ids: impl Iterator<Item = &str>) -> Result<HashSet<String>, RegistryError> {
    known(tx, "SELECT id FROM premises WHERE id", ids).await
}

pub(crate) async fn known(
    tx: &mut Tx,
    select: &str,
    ids: impl Iterator<Item = &str>,
) -> Result<HashSet<String>, RegistryError> {
    let distinct: Vec<&str> = ids.collect::<HashSet<_>>().into_iter().collect();
    let rows = rows::select_in(tx, select, &distinct).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

#[cfg(test)]
mod tests;
