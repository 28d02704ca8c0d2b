//! The page of one incident, and the two things a person does to it: acknowledge and resolve.

use alerts::incident::{Incident, Outcome, Via};
use alerts::outbox::{Channel, Delivery, Notification};
use alerts::plan::Step;
use alerts::query::{Detail, Event, EventKind};
use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use inspection::{Inspection, LastVisits};
use model::cycle::Cycle;
use model::time::{DAY, MINUTE, SECOND};
use model::{Reading, Stamp};
use registry::people::{Language, mask_name, mask_phone};
use registry::places::{Premises, PremisesClass};

use crate::Shared;
use crate::alarms::{self, Next, Trend};
use crate::chart::{Chart, chart, gap_ms};
use crate::chrome::Chrome;
use crate::curve::{Mark, Wanted};
use crate::fault::Fault;
use crate::fleet::{USUAL_INTERVAL, is_silent};
use crate::frame::{Visitor, see_other};
use crate::routes::SignedIn;
use crate::texts::{Texts, fill};
use crate::words::{Right, When, Words, masked_email, ppm};

/// The curve begins this long before the incident.
const BEFORE: i64 = 30 * MINUTE;
/// ... and shows at most this much; of a longer incident the newest part.
const LONGEST: i64 = 7 * DAY;

#[derive(Template)]
#[template(path = "incident.html", blocks = ["content"])]
pub(crate) struct IncidentPage {
    t: &'static Texts,
    c: Chrome,
    id: i64,
    title: String,
    level: &'static str,
    level_words: &'static str,
    waits: bool,
    is_resolved: bool,
    is_late: bool,
    state: &'static str,
    place: String,
    inside: String,
    sensor: String,
    what: &'static str,
    why: String,
    rule: String,
    since: When,
    value: Option<String>,
    value_at: Option<When>,
    is_stale: bool,
    trend: Trend,
    peak: Option<String>,
    consequence: &'static str,
    steps: [&'static str; 3],
    next: Next,
    answered: Option<String>,
    outcome: Option<Outcome>,
    household: Option<Household>,
    chart: Chart,
    events: Vec<EventRow>,
    notifications: Vec<NotificationRow>,
    may_answer: bool,
    form: ResolveForm,
    errors: Vec<(&'static str, &'static str)>,
}

struct Household {
    number: String,
    class: &'static str,
    area: String,
    name: String,
    phone: String,
    /// Digits to dial, only for those who may see the phone.
    dial: Option<String>,
    is_masked: bool,
    vulnerable: bool,
    last_visit: String,
}

struct EventRow {
    number: usize,
    at: When,
    words: &'static str,
    by: String,
    detail: String,
    kind: &'static str,
}

struct NotificationRow {
    name: String,
    channel: &'static str,
    address: String,
    step: i64,
    state: &'static str,
    kind: &'static str,
    decided: String,
    sent: Option<String>,
    delivered: Option<String>,
    attempts: i64,
    error: String,
    text: String,
}

#[derive(Clone, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct ResolveForm {
    cause: String,
    people: String,
    action: String,
}

/// `GET /incidents/{id}`
pub(crate) async fn page(
    State(shared): State<Shared>,
    visitor: Visitor,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Html<String>, Fault> {
    let page = build(&shared, &visitor, &signed_in, &id, ResolveForm::default(), Vec::new()).await?;
    Ok(Html(page.render()?))
}

/// `GET /fragments/incidents/{id}`: the content of the page alone.
pub(crate) async fn fragment(
    State(shared): State<Shared>,
    visitor: Visitor,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Html<String>, Fault> {
    let page = build(&shared, &visitor, &signed_in, &id, ResolveForm::default(), Vec::new()).await?;
    Ok(Html(page.as_content().render()?))
}

#[derive(serde::Deserialize)]
pub(crate) struct AckForm {
    to: Option<String>,
}

/// `POST /incidents/{id}/acknowledge`
pub(crate) async fn acknowledge(
    State(shared): State<Shared>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<AckForm>,
) -> Result<Response, Fault> {
    let id = number(&id)?;
    shared.alerts.acknowledge(id, &signed_in.0.account.person, Via::Console).await?;
    let page = format!("/incidents/{id}");
    Ok(see_other(form.to.as_deref().unwrap_or(&page)))
}

/// `POST /incidents/{id}/resolve`: shows the form again, with a message beside each wrong field.
pub(crate) async fn resolve(
    State(shared): State<Shared>,
    visitor: Visitor,
    signed_in: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<ResolveForm>,
) -> Result<Response, Fault> {
    let incident = number(&id)?;
    match outcome(&form, visitor.words(&shared).t) {
        Ok(outcome) => {
            shared.alerts.resolve(incident, &signed_in.0.account.person, &outcome).await?;
            Ok(see_other(&format!("/incidents/{incident}")))
        }
        Err(errors) => {
            let page = build(&shared, &visitor, &signed_in, &id, form, errors).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Html(page.render()?)).into_response())
        }
    }
}

fn outcome(form: &ResolveForm, t: &'static Texts) -> Result<Outcome, Vec<(&'static str, &'static str)>> {
    let mut errors = Vec::new();
    let is_text = |text: &str, most: usize| (1..=most).contains(&text.trim().chars().count());
    if !is_text(&form.cause, 500) {
        errors.push(("cause", t.err_cause));
    }
    let people = form.people.trim().parse::<i64>().ok().filter(|people| (0..=10_000).contains(people));
    if people.is_none() {
        errors.push(("people", t.err_people));
    }
    if !is_text(&form.action, 2_000) {
        errors.push(("action", t.err_action));
    }
    match people {
        Some(people_affected) if errors.is_empty() => {
            Ok(Outcome { cause: form.cause.trim().to_owned(), people_affected, action: form.action.trim().to_owned() })
        }
        _ => Err(errors),
    }
}

fn number(id: &str) -> Result<i64, Fault> {
    id.parse().map_err(|_| Fault::NotFound)
}

impl IncidentPage {
    fn error(&self, field: &str) -> Option<&'static str> {
        self.errors.iter().find(|(name, _)| *name == field).map(|(_, words)| *words)
    }
}

/// Everything the page is made from.
pub(crate) struct Loaded {
    pub(crate) detail: Detail,
    pub(crate) window: (Stamp, Stamp),
    pub(crate) readings: Vec<Reading>,
    pub(crate) interval_ms: i64,
    pub(crate) latest: Option<Reading>,
    pub(crate) plan: Vec<Step>,
    /// The premises, their area's name, and their last visits.
    pub(crate) premises: Option<(Premises, String, LastVisits)>,
    pub(crate) may_answer: bool,
    pub(crate) may_contact: bool,
}

async fn build(
    shared: &Shared,
    visitor: &Visitor,
    signed_in: &SignedIn,
    id: &str,
    form: ResolveForm,
    errors: Vec<(&'static str, &'static str)>,
) -> Result<IncidentPage, Fault> {
    let words = visitor.words(shared);
    let id = number(id)?;
    let address = format!("/incidents/{id}");
    let visitor = Visitor { here: address.clone(), ..visitor.clone() };
    let detail = shared.alerts.detail(id).await?.ok_or(Fault::NotFound)?;
    let c = Chrome::new(shared, &visitor, signed_in, &words, "alarms", &format!("/fragments{address}")).await?;
    let incident = &detail.incident;
    let window = window(incident, words.now);
    let loaded = Loaded {
        window,
        readings: shared.readings.range(&incident.sensor, window.0, window.1 + SECOND).await?,
        interval_ms: shared.registry.placed(&incident.sensor).map_or(USUAL_INTERVAL, |p| p.sensor.interval_ms),
        latest: shared.readings.latest(&incident.sensor).map(|latest| latest.reading),
        plan: shared.alerts.plan().await?,
        premises: premises(shared, &words, incident).await?,
        may_answer: signed_in.may(Right::Answer),
        may_contact: signed_in.may(Right::Contacts),
        detail,
    };
    Ok(IncidentPage { form, errors, ..present(&words, c, loaded) })
}

async fn premises(
    shared: &Shared,
    words: &Words,
    incident: &Incident,
) -> Result<Option<(Premises, String, LastVisits)>, Fault> {
    let Some(id) = &incident.premises else { return Ok(None) };
    let Some(premises) = shared.registry.premises(id).await? else { return Ok(None) };
    let areas = shared.registry.areas().await?;
    let area = areas.into_iter().find(|area| area.id == premises.area);
    let area = area.map(|area| if words.language == Language::En { area.name_en } else { area.name_zh });
    let visits = Inspection::new(shared.registry.clone()).last_visit(id).await?;
    let area = area.unwrap_or_else(|| premises.area.clone());
    Ok(Some((premises, area, visits)))
}

pub(crate) fn present(words: &Words, c: Chrome, loaded: Loaded) -> IncidentPage {
    let t = words.t;
    let Loaded { detail, window: (from, to), readings, interval_ms, latest, plan, premises, may_answer, may_contact } =
        loaded;
    let Detail { incident, events, notifications, next_step } = detail;
    let marks: Vec<Mark> = events
        .iter()
        .enumerate()
        .map(|(index, event)| Mark { at: event.at, number: index + 1, words: event_words(t, event.kind).to_owned() })
        .collect();
    let wanted = Wanted {
        from,
        to,
        readings: &readings,
        gap_ms: gap_ms(interval_ms),
        marks: &marks,
        zone: &words.zone,
        show_limits: true,
    };
    let next = match (incident.resolved, &incident.acknowledged) {
        (Some(_), _) => Next::Unknown,
        (None, Some(_)) => Next::Resolve,
        (None, None) => alarms::next_step(words, &plan, &incident, next_step),
    };
    // a closed incident keeps the value it was closed with
    let latest = latest.filter(|_| incident.resolved.is_none());
    let (value, value_at) = alarms::current(&incident, latest.as_ref());
    let (consequence, steps) = alarms::response(t, incident.hazard);
    IncidentPage {
        t,
        c,
        id: incident.id,
        title: fill(t.incident_n, &[&incident.id]),
        level: incident.level.as_str(),
        level_words: words.level(incident.level),
        waits: incident.acknowledged.is_none() && incident.resolved.is_none(),
        is_resolved: incident.resolved.is_some(),
        is_late: incident.late,
        state: alarms::state(t, &incident),
        place: alarms::place(words, &incident),
        inside: alarms::where_inside(words, &incident),
        sensor: incident.sensor.to_string(),
        what: words.hazard(incident.hazard),
        why: incident.decision.words(words.language),
        rule: alarms::rule(words, &incident.decision),
        since: words.when(incident.opened),
        value: value.map(ppm),
        value_at: value_at.map(|at| words.when(at)),
        is_stale: value_at.is_some_and(|at| is_silent(words.now, at, interval_ms)),
        trend: alarms::trend(&readings, words.now),
        peak: alarms::peak(&incident, value).map(ppm),
        consequence,
        steps,
        next,
        answered: incident.acknowledged.as_ref().map(|answer| {
            fill(t.acknowledged_by, &[&answer.name, &words.short(answer.at), &alarms::via(t, answer.via)])
        }),
        outcome: incident.outcome.clone(),
        household: premises.map(|(premises, area, visits)| household(words, premises, area, &visits, may_contact)),
        chart: chart(words, &incident.sensor, &wanted),
        events: events.iter().enumerate().map(|(index, event)| event_row(words, index + 1, event)).collect(),
        notifications: notifications.iter().map(|n| notification_row(words, n, may_contact)).collect(),
        may_answer,
        form: ResolveForm::default(),
        errors: Vec::new(),
    }
}

/// What the curve shows.
fn window(incident: &Incident, now: Stamp) -> (Stamp, Stamp) {
    let to = incident.resolved.map_or(now, |resolved| now.min(resolved + 15 * MINUTE));
    let to = to.max(incident.opened + MINUTE);
    ((incident.opened - BEFORE).max(to - LONGEST), to)
}

fn household(words: &Words, premises: Premises, area: String, visits: &LastVisits, is_open: bool) -> Household {
    let t = words.t;
    let digits: String = premises.contact_phone.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
    Household {
        class: class(t, premises.class),
        area,
        name: if is_open { premises.contact_name } else { mask_name(&premises.contact_name) },
        phone: if is_open { premises.contact_phone } else { mask_phone(&premises.contact_phone) },
        dial: (is_open && !digits.is_empty()).then_some(digits),
        is_masked: !is_open,
        vulnerable: premises.vulnerable,
        number: premises.id,
        last_visit: visit(words, visits),
    }
}

/// The last completed inspection and when the next is due; an attempt after it that failed.
fn visit(words: &Words, visits: &LastVisits) -> String {
    use inspection::Outcome;
    let t = words.t;
    let mut text = match (&visits.completed, visits.due(Cycle::FOUR_MONTHS, &words.zone)) {
        (Some(visit), Some(due)) => fill(t.visit_completed, &[&words.day(visit.at), &due]),
        _ => t.visit_never.to_owned(),
    };
    if let Some(attempt) = visits.attempt.as_ref().filter(|attempt| attempt.outcome != Outcome::Completed) {
        let outcome = match attempt.outcome {
            Outcome::Completed | Outcome::NoAccess => t.visit_no_access,
            Outcome::Refused => t.visit_refused,
            Outcome::Vacant => t.visit_vacant,
            Outcome::WrongAddress => t.visit_wrong_address,
        };
        text.push_str(t.semicolon);
        text.push_str(&fill(outcome, &[&words.day(attempt.at)]));
    }
    text
}

pub(crate) fn class(t: &'static Texts, class: PremisesClass) -> &'static str {
    match class {
        PremisesClass::Home => t.class_home,
        PremisesClass::Restaurant => t.class_restaurant,
        PremisesClass::Other => t.class_other,
    }
}

fn event_words(t: &'static Texts, kind: EventKind) -> &'static str {
    match kind {
        EventKind::Opened => t.ev_opened,
        EventKind::Raised => t.ev_raised,
        EventKind::Cleared => t.ev_cleared,
        EventKind::Returned => t.ev_returned,
        EventKind::StepTaken => t.ev_step,
        EventKind::NobodyToTell => t.ev_nobody,
        EventKind::Acknowledged => t.ev_acknowledged,
        EventKind::Resolved => t.ev_resolved,
    }
}

fn event_row(words: &Words, number: usize, event: &Event) -> EventRow {
    EventRow {
        number,
        at: words.when(event.at),
        words: event_words(words.t, event.kind),
        by: if event.by.is_empty() { String::new() } else { fill(words.t.by, &[&event.by]) },
        detail: event_detail(words, event),
        kind: match event.kind {
            EventKind::Opened | EventKind::Raised | EventKind::Returned | EventKind::NobodyToTell => "bad",
            EventKind::Acknowledged | EventKind::Resolved => "person",
            EventKind::Cleared | EventKind::StepTaken => "plain",
        },
    }
}

/// An event's data in words; data of an unknown form is shown as it is.
fn event_detail(words: &Words, event: &Event) -> String {
    let t = words.t;
    let value = |key: &str| {
        let start = event.detail.find(&format!("{key}="))? + key.len() + 1;
        Some(event.detail[start..].split(' ').next().unwrap_or_default())
    };
    let co = || value("ppm").or(value("last_ppm"))?.parse().ok().map(|co: f32| format!("{} ppm", ppm(co)));
    match event.kind {
        EventKind::Opened | EventKind::Raised | EventKind::Returned => {
            let sensor = value("sensor").map(|sensor| fill(t.sensor_n, &[&sensor]));
            [co(), sensor].into_iter().flatten().collect::<Vec<_>>().join(" · ")
        }
        EventKind::StepTaken | EventKind::NobodyToTell => {
            let step = value("step").and_then(|step| step.parse().ok()).map_or(0, |step: i64| step + 1);
            let people = event.detail.split_once("people=").map_or("", |(_, people)| people);
            format!("{step} {people}").trim().to_owned()
        }
        EventKind::Acknowledged => match value("via") {
            Some("link") => t.via_link.to_owned(),
            Some("console") => t.via_console.to_owned(),
            Some("api") => t.via_api.to_owned(),
            _ => event.detail.clone(),
        },
        EventKind::Resolved => value("people_affected").map_or_else(String::new, |n| format!("{} {n}", t.people)),
        EventKind::Cleared => event.detail.clone(),
    }
}

fn notification_row(words: &Words, notification: &Notification, shows_address: bool) -> NotificationRow {
    let t = words.t;
    // tenths of a second from the decision, so that a slow gateway shows
    let after = |at: Option<Stamp>| {
        let ms = at?.since(notification.decided);
        Some(fill(t.after_seconds, &[&crate::words::number(ms as f32 / 1_000.0, 1)]))
    };
    let (state, kind) = match notification.delivery {
        Delivery::Waiting => (t.dl_waiting, "waiting"),
        Delivery::Queued => (t.dl_queued, "queued"),
        Delivery::Sent => (t.dl_sent, "sent"),
        Delivery::Delivered => (t.dl_delivered, "delivered"),
        Delivery::Failed => (t.dl_failed, "failed"),
        Delivery::Cancelled => (t.dl_cancelled, "cancelled"),
    };
    NotificationRow {
        name: notification.name.clone(),
        channel: channel(t, notification.channel),
        address: match notification.channel {
            _ if shows_address => notification.address.clone(),
            Channel::Sms => mask_phone(&notification.address),
            Channel::Email => masked_email(&notification.address),
        },
        step: notification.step + 1,
        state,
        kind,
        decided: words.short(notification.decided),
        sent: after(notification.sent),
        delivered: after(notification.delivered),
        attempts: notification.attempts,
        error: notification.error.clone().unwrap_or_default(),
        text: notification.text.clone(),
    }
}

fn channel(t: &'static Texts, channel: Channel) -> &'static str {
    match channel {
        Channel::Sms => t.ch_sms,
        Channel::Email => t.ch_email,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_needs_cause_number_and_action() {
        let t = Texts::of(Language::En);
        let form = |cause: &str, people: &str, action: &str| ResolveForm {
            cause: cause.to_owned(),
            people: people.to_owned(),
            action: action.to_owned(),
        };
        let names = |form: ResolveForm| -> Vec<&str> {
            outcome(&form, t).unwrap_err().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(form(" ", "", "")), ["cause", "people", "action"]);
        assert_eq!(names(form("x", "-1", "y")), ["people"]);
        assert_eq!(names(form(&"x".repeat(501), "0", "y")), ["cause"]);
        let good = outcome(&form(" water heater ", " 2 ", "vented"), t).unwrap();
        assert_eq!((good.cause.as_str(), good.people_affected), ("water heater", 2));
    }
}
