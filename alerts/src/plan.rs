//! Rosters and escalation plans.

use model::{Level, Stamp};
use store::Tx;

use crate::{AlertError, Alerts};

/// Who a step reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Post {
    DutyOfficer,
    Deputy,
    Supervisor,
    DistrictLead,
}

/// A person holds a post from `from` (inclusive) to `to` (exclusive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    pub post: Post,
    pub person: String,
    pub from: Stamp,
    pub to: Stamp,
}

/// One step of the plan of a level: after `after_ms` without an answer, reach these posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub level: Level,
    pub number: i64,
    pub after_ms: i64,
    pub posts: Vec<Post>,
}

/// The default plan for danger and urgent: at once the duty officer, after 60 s the deputy and the
/// supervisor (DESIGN.md section 8).
pub fn default_plan() -> Vec<Step> {
    todo!()
}

impl Alerts {
    /// Shifts that touch `from..to`, ordered by start.
    pub async fn shifts(&self, from: Stamp, to: Stamp) -> Result<Vec<Shift>, AlertError> {
        let _ = (from, to);
        todo!()
    }

    /// The steps of every level, in order.
    pub async fn plan(&self) -> Result<Vec<Step>, AlertError> {
        todo!()
    }
}

/// Adds shifts.
pub async fn put_shifts(tx: &mut Tx, shifts: &[Shift]) -> Result<(), AlertError> {
    let _ = (tx, shifts);
    todo!()
}

/// Replaces the plan. Refused when a step has no post or the steps do not start at 0.
pub async fn put_plan(tx: &mut Tx, steps: &[Step]) -> Result<(), AlertError> {
    let _ = (tx, steps);
    todo!()
}
