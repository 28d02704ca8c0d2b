//! Who is on duty now and next, and whom the plan tells when.

use std::collections::HashMap;

use alerts::plan::{Post, Shift};
use askama::Template;
use axum::extract::State;
use axum::response::Html;
use model::Level;
use model::time::DAY;
use registry::people::{Person, mask_phone};

use crate::Shared;
use crate::chrome::Chrome;
use crate::fault::Fault;
use crate::frame::Visitor;
use crate::routes::SignedIn;
use crate::texts::Texts;
use crate::words::{Right, Words, masked_email};

const POSTS: [Post; 4] = [Post::DutyOfficer, Post::Deputy, Post::Supervisor, Post::DistrictLead];
const AHEAD: i64 = 2 * DAY;

#[derive(Template)]
#[template(path = "roster.html")]
pub(crate) struct RosterPage {
    t: &'static Texts,
    c: Chrome,
    posts: Vec<PostRow>,
    plans: Vec<Plan>,
    shifts: Vec<ShiftRow>,
}

struct PostRow {
    post: &'static str,
    now: Vec<Holder>,
    then: Vec<Holder>,
}

struct Holder {
    name: String,
    /// Phone or address, or that there is neither.
    reach: String,
    is_unreachable: bool,
    from: String,
    to: String,
}

struct Plan {
    level: &'static str,
    level_words: &'static str,
    steps: Vec<StepRow>,
}

struct StepRow {
    number: i64,
    after: String,
    posts: String,
}

struct ShiftRow {
    from: String,
    to: String,
    post: &'static str,
    person: String,
    is_now: bool,
}

/// `GET /roster`
pub(crate) async fn page(
    State(shared): State<Shared>,
    visitor: Visitor,
    signed_in: SignedIn,
) -> Result<Html<String>, Fault> {
    let words = visitor.words(&shared);
    let t = words.t;
    let shifts = shared.alerts.shifts(words.now, words.now + AHEAD).await?;
    let mut people = HashMap::new();
    for shift in &shifts {
        if !people.contains_key(&shift.person)
            && let Some(person) = shared.registry.person(&shift.person).await?
        {
            people.insert(shift.person.clone(), person);
        }
    }
    let directory = Directory { words: &words, people: &people, is_open: signed_in.may(Right::Contacts) };
    let steps = shared.alerts.plan().await?;
    let plan = |level: Level| Plan {
        level: level.as_str(),
        level_words: words.level(level),
        steps: steps
            .iter()
            .filter(|step| step.level == level)
            .map(|step| StepRow {
                number: step.number + 1,
                after: if step.after_ms == 0 { t.at_once.to_owned() } else { words.span(step.after_ms) },
                posts: words.posts(&step.posts),
            })
            .collect(),
    };
    let page = RosterPage {
        t,
        c: Chrome::new(&shared, &visitor, &signed_in, &words, "roster", "").await?,
        posts: POSTS.into_iter().map(|post| directory.post(post, &shifts)).collect(),
        plans: [Level::Danger, Level::Urgent].into_iter().map(plan).filter(|plan| !plan.steps.is_empty()).collect(),
        shifts: shifts.iter().map(|shift| directory.shift(shift)).collect(),
    };
    Ok(Html(page.render()?))
}

struct Directory<'a> {
    words: &'a Words,
    people: &'a HashMap<String, Person>,
    is_open: bool,
}

impl Directory<'_> {
    fn post(&self, post: Post, shifts: &[Shift]) -> PostRow {
        let now = self.words.now;
        let of_post = || shifts.iter().filter(|shift| shift.post == post);
        let next_start = of_post().map(|shift| shift.from).filter(|from| *from > now).min();
        PostRow {
            post: self.words.post(post),
            now: of_post().filter(|shift| (shift.from..shift.to).contains(&now)).map(|s| self.holder(s)).collect(),
            then: of_post().filter(|shift| Some(shift.from) == next_start).map(|s| self.holder(s)).collect(),
        }
    }

    fn holder(&self, shift: &Shift) -> Holder {
        let person = self.people.get(&shift.person);
        let reach = match person {
            Some(person) if !person.phone.is_empty() && self.is_open => person.phone.clone(),
            Some(person) if !person.phone.is_empty() => mask_phone(&person.phone),
            Some(person) if !person.email.is_empty() && self.is_open => person.email.clone(),
            Some(person) if !person.email.is_empty() => masked_email(&person.email),
            _ => String::new(),
        };
        let is_unreachable = reach.is_empty();
        Holder {
            name: self.name(&shift.person),
            reach: if is_unreachable { self.words.t.no_phone.to_owned() } else { reach },
            is_unreachable,
            from: self.words.short(shift.from),
            to: self.words.short(shift.to),
        }
    }

    fn name(&self, person: &str) -> String {
        self.people.get(person).map_or_else(|| person.to_owned(), |person| person.name.clone())
    }

    fn shift(&self, shift: &Shift) -> ShiftRow {
        ShiftRow {
            from: self.words.short(shift.from),
            to: self.words.short(shift.to),
            post: self.words.post(shift.post),
            person: self.name(&shift.person),
            is_now: (shift.from..shift.to).contains(&self.words.now),
        }
    }
}
