//! Who was inspected in a window, per area.

use std::collections::HashMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use model::Stamp;
use model::cycle::Window;
use registry::places;
use sqlx::{AssertSqlSafe, Row};

use crate::{Inspection, InspectionError, Outcome};

/// How far an area is in a window. All counts are of premises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Area id.
    pub area: String,
    pub premises: i64,
    /// With a completed visit in the window.
    pub completed: i64,
    /// With a visit of any outcome in the window.
    pub attempted: i64,
}

impl Coverage {
    /// Rate of entry, 0 to 1; `None` without premises.
    pub fn rate_of_entry(&self) -> Option<f64> {
        rate(self.completed, self.premises)
    }

    /// Rate of visit, 0 to 1; `None` without premises.
    pub fn rate_of_visit(&self) -> Option<f64> {
        rate(self.attempted, self.premises)
    }
}

fn rate(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Inspection {
    /// Every area's coverage, ordered by area id. The days of `window` are days in `zone`.
    ///
    /// # Errors
    /// When the ledger fails, or [`InspectionError::Window`].
    pub async fn coverage(&self, window: Window, zone: &TimeZone) -> Result<Vec<Coverage>, InspectionError> {
        let (begin, end) =
            instants(window, zone).ok_or(InspectionError::Window { first: window.first, last: window.last })?;
        let sql = format!(
            "SELECT p.area, COUNT(*), CAST(COALESCE(SUM(v.completed), 0) AS BIGINT), COUNT(v.premises)
             FROM {} p LEFT JOIN (
                SELECT premises, MAX(CASE WHEN outcome = $1 THEN 1 ELSE 0 END) AS completed
                FROM visits WHERE at >= $2 AND at < $3 GROUP BY premises
             ) v ON v.premises = p.premises
             GROUP BY p.area",
            places::AREA_OF_PREMISES
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(Outcome::Completed.as_str())
            .bind(begin.0)
            .bind(end.0)
            .fetch_all(self.registry.ledger().reader())
            .await?;
        let mut counted = HashMap::new();
        for row in &rows {
            counted.insert(row.try_get::<String, _>(0)?, (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
        }
        let areas = self.registry.areas().await?;
        Ok(areas
            .into_iter()
            .map(|area| {
                let (premises, completed, attempted) = counted.remove(&area.id).unwrap_or((0, 0, 0));
                Coverage { area: area.id, premises, completed, attempted }
            })
            .collect())
    }
}

/// The window's first instant, and the first one after it.
fn instants(window: Window, zone: &TimeZone) -> Option<(Stamp, Stamp)> {
    Some((first_instant(window.first, zone)?, first_instant(window.last.tomorrow().ok()?, zone)?))
}

fn first_instant(day: Date, zone: &TimeZone) -> Option<Stamp> {
    let midnight = day.to_zoned_datetime(zone.clone()).ok()?.start_of_day().ok()?;
    Some(Stamp(midnight.timestamp().as_millisecond()))
}
