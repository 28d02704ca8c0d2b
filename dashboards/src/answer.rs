//! The acknowledge page behind a signed link, for a phone and without sign-in. Looking changes
//! nothing: scanners of mail and messages follow links.

use alerts::AlertError;
use alerts::incident::{Incident, Via};
use alerts::links::LinkError;
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::Shared;
use crate::alarms;
use crate::chrome::Plate;
use crate::fault::Fault;
use crate::frame::{self, Visitor, see_other};
use crate::texts::{Texts, fill};
use crate::words::{When, Words, ppm};

#[derive(Template)]
#[template(path = "answer.html")]
pub(crate) struct AnswerPage {
    t: &'static Texts,
    p: Plate,
    action: String,
    kind: Kind,
    headline: String,
    next: String,
    facts: Option<Facts>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The button is there.
    Ask,
    /// This person has it.
    Done,
    /// Somebody else has it, or it is closed.
    Settled,
    /// The link or the answer is no good.
    Refused,
}

struct Facts {
    level: &'static str,
    level_words: &'static str,
    what: &'static str,
    place: String,
    inside: String,
    why: String,
    since: When,
    value: Option<String>,
    peak: Option<String>,
    steps: [&'static str; 3],
}

/// `GET /a/{token}`
pub(crate) async fn page(State(shared): State<Shared>, visitor: Visitor, Path(token): Path<String>) -> Response {
    match look(&shared, &visitor, &token).await {
        Ok((status, page)) => rendered(status, &page),
        Err(fault) => fault.into_response(),
    }
}

/// `POST /a/{token}`: answers, then leads back to the page, which shows how things stand.
pub(crate) async fn answer(State(shared): State<Shared>, visitor: Visitor, Path(token): Path<String>) -> Response {
    let Ok(link) = shared.alerts.read_link(&token) else { return page(State(shared), visitor, Path(token)).await };
    match shared.alerts.acknowledge(link.incident, &link.person, Via::Link).await {
        // answered, or no longer to be answered: the page says which
        Ok(_) | Err(AlertError::NotNow(_) | AlertError::NoIncident(_)) => see_other(&format!("/a/{token}")),
        Err(error) => {
            tracing::error!(%error, incident = link.incident, "an answer by link was not recorded");
            let t = person_words(&shared, &visitor, &link.person).await.t;
            let page = AnswerPage {
                t,
                p: plate(&shared, &visitor, t),
                action: format!("/a/{token}"),
                kind: Kind::Refused,
                headline: t.ack_failed_title.to_owned(),
                next: t.ack_failed_next.to_owned(),
                facts: None,
            };
            rendered(StatusCode::SERVICE_UNAVAILABLE, &page)
        }
    }
}

fn rendered(status: StatusCode, page: &AnswerPage) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => Fault::from(error).into_response(),
    }
}

/// The person's own language, else the visitor's.
async fn person_words(shared: &Shared, visitor: &Visitor, person: &str) -> Words {
    match shared.registry.person(person).await {
        Ok(Some(person)) => frame::words(shared, person.language),
        _ => visitor.words(shared),
    }
}

fn plate(shared: &Shared, visitor: &Visitor, t: &'static Texts) -> Plate {
    Plate { lang: t.lang, ..Plate::new(shared, visitor) }
}

async fn look(shared: &Shared, visitor: &Visitor, token: &str) -> Result<(StatusCode, AnswerPage), Fault> {
    let refused = |status: StatusCode, t: &'static Texts, headline: &str, next: &str| {
        let page = AnswerPage {
            t,
            p: plate(shared, visitor, t),
            action: String::new(),
            kind: Kind::Refused,
            headline: headline.to_owned(),
            next: next.to_owned(),
            facts: None,
        };
        Ok((status, page))
    };
    let t = visitor.words(shared).t;
    let link = match shared.alerts.read_link(token) {
        Ok(link) => link,
        Err(LinkError::Forged) => return refused(StatusCode::NOT_FOUND, t, t.ack_forged, t.ack_forged_next),
        Err(LinkError::Expired) => return refused(StatusCode::GONE, t, t.ack_expired, t.ack_expired_next),
    };
    let words = person_words(shared, visitor, &link.person).await;
    let t = words.t;
    let Some(detail) = shared.alerts.detail(link.incident).await? else {
        return refused(StatusCode::NOT_FOUND, t, t.ack_gone, t.ack_forged_next);
    };
    let name = shared.registry.person(&link.person).await?.map_or_else(String::new, |person| person.name);
    let incident = &detail.incident;
    let (kind, headline, next) = match (&incident.acknowledged, incident.resolved) {
        (_, Some(at)) => (Kind::Settled, t.ack_closed.to_owned(), fill(t.ack_closed_next, &[&words.short(at)])),
        (Some(answer), None) if answer.person == link.person => {
            (Kind::Done, t.ack_done.to_owned(), fill(t.ack_done_at, &[&words.short(answer.at)]))
        }
        (Some(answer), None) => {
            let headline = fill(t.ack_other, &[&answer.name, &words.short(answer.at)]);
            (Kind::Settled, headline, t.ack_other_next.to_owned())
        }
        (None, None) if name.is_empty() => (Kind::Ask, t.ack_title.to_owned(), t.ack_explain.to_owned()),
        (None, None) => (Kind::Ask, fill(t.ack_greeting, &[&name]), t.ack_explain.to_owned()),
    };
    let page = AnswerPage {
        t,
        p: plate(shared, visitor, t),
        action: format!("/a/{token}"),
        kind,
        headline,
        next,
        facts: Some(facts(&words, incident)),
    };
    Ok((StatusCode::OK, page))
}

fn facts(words: &Words, incident: &Incident) -> Facts {
    Facts {
        level: incident.level.as_str(),
        level_words: words.level(incident.level),
        what: words.hazard(incident.hazard),
        place: alarms::place(words, incident),
        inside: alarms::where_inside(words, incident),
        why: incident.decision.words(words.language),
        since: words.when(incident.opened),
        value: incident.last_ppm.map(ppm),
        peak: incident.peak_ppm.map(ppm),
        steps: alarms::response(words.t, incident.hazard).1,
    }
}
