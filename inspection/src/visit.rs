//! Visits, their outcomes, and how they are written.

use std::collections::{HashMap, HashSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use model::Stamp;
use model::cycle::Cycle;
use registry::{people, places, rows};
use sqlx::Row;
use sqlx::any::AnyRow;
use store::{StoreError, Tx};
use uuid::Uuid;

use crate::{Inspection, InspectionError};

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Inspected: the only outcome that covers the home.
    Completed,
    /// Nobody opened.
    NoAccess,
    Refused,
    /// Nobody lives there.
    Vacant,
    WrongAddress,
}

impl Outcome {
    pub const ALL: [Outcome; 5] =
        [Outcome::Completed, Outcome::NoAccess, Outcome::Refused, Outcome::Vacant, Outcome::WrongAddress];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::NoAccess => "no_access",
            Outcome::Refused => "refused",
            Outcome::Vacant => "vacant",
            Outcome::WrongAddress => "wrong_address",
        }
    }

    pub fn parse(text: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// An inspector at a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// A UUIDv7 made on the inspector's device, so that sending a visit again changes nothing.
    pub id: Uuid,
    pub premises: String,
    /// Person id.
    pub inspector: String,
    pub at: Stamp,
    pub outcome: Outcome,
    /// At most 2,000 characters; line breaks are allowed.
    pub note: String,
}

/// What became of a visit that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    Stored,
    /// A visit with this id was stored before; that one stays as it is.
    Duplicate,
    Rejected(Rejection),
}

/// Why a visit cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the id is no UUIDv7")]
    Id,
    #[error("the time is not between 2000 and 2100")]
    Time,
    #[error("the note is longer than 2,000 characters or has control characters")]
    Note,
    #[error("the premises are not registered")]
    UnknownPremises,
    #[error("the inspector is not registered")]
    UnknownInspector,
}

/// The newest visits to one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastVisits {
    /// The newest that was completed.
    pub completed: Option<Visit>,
    /// The newest of any outcome.
    pub attempt: Option<Visit>,
}

impl LastVisits {
    /// The rolling due date; `None` when the place was never inspected: it is due now.
    pub fn due(&self, cycle: Cycle, zone: &TimeZone) -> Option<Date> {
        cycle.due_after(local_date(self.completed.as_ref()?.at, zone)?)
    }
}

/// The day that an instant belongs to in `zone`; `None` outside representable time.
pub fn local_date(at: Stamp, zone: &TimeZone) -> Option<Date> {
    let instant = jiff::Timestamp::from_millisecond(at.0).ok()?;
    Some(instant.to_zoned_datetime(zone.clone()).date())
}

const COLUMNS: &[&str] = &["id", "premises", "inspector", "at", "outcome", "note"];

/// Longest note, characters.
const LONGEST_NOTE: usize = 2_000;

impl Inspection {
    /// [`record_visits`] in a transaction of its own.
    pub async fn record(&self, visits: &[Visit]) -> Result<Vec<Receipt>, InspectionError> {
        let mut tx = self.registry.ledger().begin().await?;
        let receipts = record_visits(&mut tx, visits).await?;
        tx.commit().await?;
        Ok(receipts)
    }

    /// The newest visits to one place; empty when there was none.
    pub async fn last_visit(&self, premises: &str) -> Result<LastVisits, InspectionError> {
        Ok(self.last_visits(&[premises]).await?.remove(premises).unwrap_or_default())
    }

    /// The newest visits to each of `premises`; places never visited are missing.
    pub async fn last_visits(&self, premises: &[&str]) -> Result<HashMap<String, LastVisits>, InspectionError> {
        const SELECT: &str = "SELECT id, premises, inspector, at, outcome, note FROM visits WHERE premises";
        let mut connection = self.registry.ledger().reader().acquire().await?;
        let mut last: HashMap<String, LastVisits> = HashMap::new();
        for row in rows::select_in(&mut connection, SELECT, premises).await? {
            let visit = visit_of(&row)?;
            let known = last.entry(visit.premises.clone()).or_default();
            if visit.outcome == Outcome::Completed && is_newer(&visit, known.completed.as_ref()) {
                known.completed = Some(visit.clone());
            }
            if is_newer(&visit, known.attempt.as_ref()) {
                known.attempt = Some(visit);
            }
        }
        Ok(last)
    }
}

fn is_newer(visit: &Visit, than: Option<&Visit>) -> bool {
    than.is_none_or(|other| (visit.at, visit.id) > (other.at, other.id))
}

/// Writes visits and says, in the same order, what became of each. A visit whose id is already
/// known changes nothing, and one that is rejected does not hold up the others.
///
/// # Errors
/// When the ledger fails.
pub async fn record_visits(tx: &mut Tx, visits: &[Visit]) -> Result<Vec<Receipt>, InspectionError> {
    let premises = places::known_premises(tx, visits.iter().map(|visit| visit.premises.as_str())).await?;
    let inspectors = people::known_people(tx, visits.iter().map(|visit| visit.inspector.as_str())).await?;
    let mut stored = stored_ids(tx, visits).await?;
    let mut new = Vec::new();
    let mut receipts = Vec::with_capacity(visits.len());
    for visit in visits {
        // A repeat is answered as the first time, even if the premises have gone since.
        receipts.push(if stored.contains(&visit.id) {
            Receipt::Duplicate
        } else if let Some(rejection) = rejection(visit, &premises, &inspectors) {
            Receipt::Rejected(rejection)
        } else {
            stored.insert(visit.id);
            new.push(visit);
            Receipt::Stored
        });
    }
    rows::insert(tx, "visits", COLUMNS, "ON CONFLICT (id) DO NOTHING", &new, |query, visit| {
        query
            .bind(visit.id.to_string())
            .bind(visit.premises.as_str())
            .bind(visit.inspector.as_str())
            .bind(visit.at.0)
            .bind(visit.outcome.as_str())
            .bind(visit.note.as_str())
    })
    .await?;
    Ok(receipts)
}

async fn stored_ids(tx: &mut Tx, visits: &[Visit]) -> Result<HashSet<Uuid>, InspectionError> {
    let ids: Vec<String> = visits.iter().map(|visit| visit.id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let rows = rows::select_in(tx, "SELECT id FROM visits WHERE id", &ids).await?;
    rows.iter().map(|row| id_of(row.try_get(0)?)).collect()
}

fn rejection(visit: &Visit, premises: &HashSet<String>, inspectors: &HashSet<String>) -> Option<Rejection> {
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if visit.id.get_version_num() != 7 {
        Some(Rejection::Id)
    } else if !visit.at.is_plausible() {
        Some(Rejection::Time)
    } else if visit.note.chars().count() > LONGEST_NOTE || visit.note.contains(is_odd) {
        Some(Rejection::Note)
    } else if !premises.contains(&visit.premises) {
        Some(Rejection::UnknownPremises)
    } else if !inspectors.contains(&visit.inspector) {
        Some(Rejection::UnknownInspector)
    } else {
        None
    }
}

fn visit_of(row: &AnyRow) -> Result<Visit, InspectionError> {
    let id: &str = row.try_get(0)?;
    Ok(Visit {
        id: id_of(id)?,
        premises: row.try_get(1)?,
        inspector: row.try_get(2)?,
        at: Stamp(row.try_get(3)?),
        outcome: Outcome::parse(row.try_get(4)?).ok_or_else(|| damaged(id, "unknown outcome"))?,
        note: row.try_get(5)?,
    })
}

fn id_of(text: &str) -> Result<Uuid, InspectionError> {
    Uuid::try_parse(text).map_err(|_| damaged(text, "no UUID"))
}

fn damaged(id: &str, what: &'static str) -> InspectionError {
    InspectionError::Store(StoreError::Damaged { place: format!("ledger table visits, row {id}"), what })
}
