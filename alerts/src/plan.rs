//! Rosters and escalation plans.

use std::collections::BTreeSet;

use model::time::{DAY, SECOND};
use model::{Level, Stamp};
use registry::Registry;
use registry::people::Person;
use sqlx::Row;
use sqlx::any::AnyRow;
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

impl Post {
    pub const ALL: [Post; 4] = [Post::DutyOfficer, Post::Deputy, Post::Supervisor, Post::DistrictLead];

    pub fn as_str(self) -> &'static str {
        match self {
            Post::DutyOfficer => "duty_officer",
            Post::Deputy => "deputy",
            Post::Supervisor => "supervisor",
            Post::DistrictLead => "district_lead",
        }
    }

    pub fn parse(text: &str) -> Option<Post> {
        Post::ALL.into_iter().find(|post| post.as_str() == text)
    }
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

/// After the last step of a plan, everyone in it is told again this often until somebody answers.
pub const REPEAT_EVERY: i64 = 120 * SECOND;

/// The default plan for danger and urgent: at once the duty officer, after 60 s the deputy and the
/// supervisor (DESIGN.md section 8).
pub fn default_plan() -> Vec<Step> {
    [Level::Danger, Level::Urgent]
        .into_iter()
        .flat_map(|level| {
            [
                Step { level, number: 0, after_ms: 0, posts: vec![Post::DutyOfficer] },
                Step { level, number: 1, after_ms: 60 * SECOND, posts: vec![Post::Deputy, Post::Supervisor] },
            ]
        })
        .collect()
}

impl Alerts {
    /// Shifts that touch `from..to`, ordered by start.
    pub async fn shifts(&self, from: Stamp, to: Stamp) -> Result<Vec<Shift>, AlertError> {
        let rows = sqlx::query(
            "SELECT post, person, starts, ends FROM shifts WHERE ends > $1 AND starts < $2
             ORDER BY starts, post, person",
        )
        .bind(from.0)
        .bind(to.0)
        .fetch_all(self.registry().ledger().reader())
        .await?;
        rows.iter().map(shift).collect()
    }

    /// The steps of every level, in order.
    pub async fn plan(&self) -> Result<Vec<Step>, AlertError> {
        let rows = sqlx::query(SELECT_PLAN).fetch_all(self.registry().ledger().reader()).await?;
        with_defaults(&rows)
    }
}

/// Adds shifts.
pub async fn put_shifts(tx: &mut Tx, shifts: &[Shift]) -> Result<(), AlertError> {
    for shift in shifts {
        if shift.to <= shift.from {
            return Err(AlertError::Invalid(format!("the shift of {} ends before it begins", shift.person)));
        }
        sqlx::query(
            "INSERT INTO shifts (post, person, starts, ends) VALUES ($1, $2, $3, $4)
             ON CONFLICT (post, person, starts) DO UPDATE SET ends = excluded.ends",
        )
        .bind(shift.post.as_str())
        .bind(shift.person.as_str())
        .bind(shift.from.0)
        .bind(shift.to.0)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Replaces the plan. Refused when a step has no post or the steps do not start at 0.
pub async fn put_plan(tx: &mut Tx, steps: &[Step]) -> Result<(), AlertError> {
    check_plan(steps)?;
    sqlx::query("DELETE FROM plan_steps").execute(&mut **tx).await?;
    for step in steps {
        let posts: Vec<&str> = step.posts.iter().map(|post| post.as_str()).collect();
        sqlx::query("INSERT INTO plan_steps (level, number, after_ms, posts) VALUES ($1, $2, $3, $4)")
            .bind(step.level.as_str())
            .bind(step.number)
            .bind(step.after_ms)
            .bind(posts.join(","))
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

fn check_plan(steps: &[Step]) -> Result<(), AlertError> {
    for level in Level::ALL {
        let mut after = 0;
        for (number, step) in steps.iter().filter(|step| step.level == level).enumerate() {
            let name = level.as_str();
            if step.number != number as i64 {
                return Err(AlertError::Invalid(format!("the steps of {name} are not numbered 0, 1, 2 ...")));
            }
            if (number == 0 && step.after_ms != 0) || step.after_ms < after {
                return Err(AlertError::Invalid(format!("the steps of {name} must start at 0 and not go back")));
            }
            if step.posts.is_empty() {
                return Err(AlertError::Invalid(format!("step {number} of {name} reaches no post")));
            }
            after = step.after_ms;
        }
    }
    Ok(())
}

/// Whoever was on shift within this time is told as a last resort.
const REMEMBERED: i64 = 90 * DAY;

const SELECT_PLAN: &str = "SELECT level, number, after_ms, posts FROM plan_steps ORDER BY level, number";

/// The stored steps, and the default ones for danger and urgent where none are stored.
fn with_defaults(rows: &[AnyRow]) -> Result<Vec<Step>, AlertError> {
    let mut steps = rows.iter().map(step).collect::<Result<Vec<Step>, AlertError>>()?;
    let stored: Vec<Level> = steps.iter().map(|step| step.level).collect();
    steps.extend(default_plan().into_iter().filter(|step| !stored.contains(&step.level)));
    steps.sort_by_key(|step| (std::cmp::Reverse(step.level), step.number));
    Ok(steps)
}

fn step(row: &AnyRow) -> Result<Step, AlertError> {
    let level: String = row.try_get(0)?;
    let posts: String = row.try_get(3)?;
    Ok(Step {
        level: Level::parse(&level).ok_or_else(|| unknown("level", &level))?,
        number: row.try_get(1)?,
        after_ms: row.try_get(2)?,
        posts: posts
            .split(',')
            .map(|post| Post::parse(post).ok_or_else(|| unknown("post", post)))
            .collect::<Result<_, _>>()?,
    })
}

fn shift(row: &AnyRow) -> Result<Shift, AlertError> {
    let post: String = row.try_get(0)?;
    Ok(Shift {
        post: Post::parse(&post).ok_or_else(|| unknown("post", &post))?,
        person: row.try_get(1)?,
        from: Stamp(row.try_get(2)?),
        to: Stamp(row.try_get(3)?),
    })
}

fn unknown(what: &str, text: &str) -> AlertError {
    AlertError::Invalid(format!("the ledger has an unknown {what} {text:?}"))
}

/// Who can be reached now. A row that cannot be read is passed over with an error: it must not keep
/// the others from being told.
pub(crate) struct Roster {
    steps: Vec<Step>,
    on_shift: Vec<(Post, String)>,
    people: Vec<Person>,
    everybody: BTreeSet<String>,
}

impl Roster {
    pub(crate) async fn read(tx: &mut Tx, registry: &Registry, now: Stamp) -> Result<Roster, AlertError> {
        let rows = sqlx::query(SELECT_PLAN).fetch_all(&mut **tx).await?;
        let steps = with_defaults(&rows).unwrap_or_else(|error| {
            tracing::error!(%error, "the escalation plan cannot be read, taking the default");
            default_plan()
        });
        let rows =
            sqlx::query("SELECT post, person, starts, ends FROM shifts WHERE ends > $1 ORDER BY starts, post, person")
                .bind((now - REMEMBERED).0)
                .fetch_all(&mut **tx)
                .await?;
        let readable =
            |row: &AnyRow| shift(row).inspect_err(|error| tracing::error!(%error, "a shift is skipped")).ok();
        let shifts: Vec<Shift> = rows.iter().filter_map(readable).collect();
        let people = registry.people().await?;
        let accounts = registry.accounts().await.unwrap_or_else(|error| {
            tracing::error!(%error, "accounts cannot be read; only people on shifts are told");
            Vec::new()
        });
        let mut everybody: BTreeSet<String> = accounts.into_iter().map(|account| account.person).collect();
        let mut on_shift = Vec::new();
        for shift in shifts {
            if shift.from <= now && now < shift.to {
                on_shift.push((shift.post, shift.person.clone()));
            }
            everybody.insert(shift.person);
        }
        Ok(Roster { steps, on_shift, people, everybody })
    }

    /// The plan of a level; that of danger where a level has none, so that nothing goes untold.
    pub(crate) fn plan(&self, level: Level) -> Vec<&Step> {
        let of = |level| self.steps.iter().filter(|step| step.level == level).collect::<Vec<_>>();
        let own = of(level);
        if own.is_empty() { of(Level::Danger) } else { own }
    }

    /// The people who hold one of `posts` now, each once, in order of posts.
    pub(crate) fn holding(&self, posts: &[Post]) -> Vec<&Person> {
        let mut found: Vec<&Person> = Vec::new();
        for post in posts {
            for (_, id) in self.on_shift.iter().filter(|(held, _)| held == post) {
                match self.people.iter().find(|person| person.id == *id) {
                    Some(person) if !found.iter().any(|other| other.id == person.id) => found.push(person),
                    Some(_) => {}
                    None => {
                        tracing::error!(person = %id, post = post.as_str(), "on shift, but nobody knows this person");
                    }
                }
            }
        }
        found
    }

    /// Everybody of recent and coming shifts, and everybody with an account: the last resort.
    pub(crate) fn everybody(&self) -> Vec<&Person> {
        self.people.iter().filter(|person| self.everybody.contains(&person.id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_plan_is_a_good_one() {
        check_plan(&default_plan()).unwrap();
    }

    #[test]
    fn plans_that_could_miss_somebody_are_refused() {
        let step =
            |number, after_ms, posts: &[Post]| Step { level: Level::Danger, number, after_ms, posts: posts.to_vec() };
        let officer = &[Post::DutyOfficer];
        for bad in [
            vec![step(0, 1, officer)],
            vec![step(1, 0, officer)],
            vec![step(0, 0, &[])],
            vec![step(0, 0, officer), step(2, 60, officer)],
            vec![step(0, 0, officer), step(1, 60, officer), step(2, 30, officer)],
        ] {
            assert!(check_plan(&bad).is_err(), "{bad:?}");
        }
    }
}
