//! What every page shows around its content.

use askama::Template;
use model::Stamp;

use crate::Shared;
use crate::assets;
use crate::fault::{Fault, Told};
use crate::frame::{Theme, Visitor};
use crate::routes::SignedIn;
use crate::texts::{Texts, fill};
use crate::words::{Right, When, Words};

/// The part of the frame that a page without a session has too.
#[derive(Clone)]
pub(crate) struct Plate {
    pub(crate) lang: &'static str,
    /// `day` or `night`, decided here so that no page flashes.
    pub(crate) theme: &'static str,
    /// `auto`, `day` or `night`.
    pub(crate) choice: &'static str,
    pub(crate) css: String,
    pub(crate) js: String,
    pub(crate) icon: String,
    pub(crate) here: String,
    pub(crate) district: String,
    pub(crate) demo: Option<String>,
    /// The code of the language to switch to.
    pub(crate) other: &'static str,
}

impl Plate {
    pub(crate) fn new(shared: &Shared, visitor: &Visitor) -> Plate {
        let t = Texts::of(visitor.language);
        let scale = (shared.clock.scale() * 100.0).round() / 100.0;
        Plate {
            lang: t.lang,
            theme: theme(shared, visitor.theme),
            choice: visitor.theme.as_str(),
            css: assets::url("console.css"),
            js: assets::url("live.js"),
            icon: assets::url("icon.svg"),
            here: visitor.here.clone(),
            district: shared.settings.district.clone(),
            demo: shared.settings.demo.then(|| fill(t.demo_badge, &[&scale])),
            other: if t.lang == "en" { "zh" } else { "en" },
        }
    }
}

/// The theme in force: the visitor's, or by the district's clock.
pub(crate) fn theme(shared: &Shared, chosen: Theme) -> &'static str {
    match chosen {
        Theme::Day => "day",
        Theme::Night => "night",
        Theme::Auto => {
            let now = jiff::Timestamp::from_millisecond(shared.clock.now().0).unwrap_or_default();
            if (7..19).contains(&shared.zone().to_datetime(now).hour()) { "day" } else { "night" }
        }
    }
}

/// The whole frame of a signed-in page.
pub(crate) struct Chrome {
    pub(crate) p: Plate,
    pub(crate) now: When,
    pub(crate) scale: f64,
    pub(crate) last: Option<When>,
    pub(crate) user: String,
    pub(crate) csrf: String,
    /// Which navigation entry is current.
    pub(crate) section: &'static str,
    /// Unacknowledged incidents.
    pub(crate) waiting: usize,
    pub(crate) problems: Vec<String>,
    /// Where the page's script fetches the content anew; empty = it stays as it is.
    pub(crate) fragment: String,
    pub(crate) may_raw: bool,
    /// JSON of the words the script needs.
    pub(crate) script_words: String,
}

impl Chrome {
    pub(crate) async fn new(
        shared: &Shared,
        visitor: &Visitor,
        signed_in: &SignedIn,
        words: &Words,
        section: &'static str,
        fragment: &str,
    ) -> Result<Chrome, Fault> {
        let incidents = shared.alerts.open_incidents().await?;
        let pulse = shared.fleet().pulse(shared).await?;
        Ok(Chrome {
            p: Plate::new(shared, visitor),
            now: now(words),
            scale: shared.clock.scale(),
            last: pulse.last_reading.map(|at| words.when(at)),
            user: signed_in.0.name.clone(),
            csrf: signed_in.0.csrf.clone(),
            section,
            waiting: incidents.iter().filter(|incident| incident.acknowledged.is_none()).count(),
            problems: shared.problems.borrow().clone(),
            fragment: fragment.to_owned(),
            may_raw: signed_in.may(Right::Raw),
            script_words: script_words(words.t),
        })
    }
}

pub(crate) fn now(words: &Words) -> When {
    let now: Stamp = words.now;
    When { at: words.moment(now), ..words.when(now) }
}

pub(crate) fn script_words(t: &'static Texts) -> String {
    serde_json::json!({
        "frozen": t.frozen, "frozen_help": t.frozen_help, "polling": t.polling,
        "session_ended": t.session_ended, "sign_in_again": t.sign_in_again,
        "new_rows": t.new_rows, "new_danger": t.new_danger, "new_alarms": t.new_alarms, "ack_failed": t.ack_failed,
        "seconds": t.seconds, "minutes": t.minutes, "minutes_seconds": t.minutes_seconds,
        "hours_minutes": t.hours_minutes, "days_hours": t.days_hours, "ago": t.ago, "in_time": t.in_time,
        "due_now": t.due_now,
    })
    .to_string()
}

/// A fault as a page.
#[derive(Template)]
#[template(path = "fault.html")]
pub(crate) struct FaultPage {
    t: &'static Texts,
    p: Plate,
    status: u16,
    code: &'static str,
    message: String,
    next: &'static str,
}

impl FaultPage {
    pub(crate) fn new(shared: &Shared, visitor: &Visitor, told: &Told) -> FaultPage {
        FaultPage {
            t: Texts::of(visitor.language),
            p: Plate::new(shared, &Visitor { here: "/".to_owned(), ..visitor.clone() }),
            status: told.status.as_u16(),
            code: told.code,
            message: told.message.clone(),
            next: told.next,
        }
    }
}
