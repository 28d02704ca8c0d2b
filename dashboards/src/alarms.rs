//! The live alarm list.

use alerts::incident::{Decision, Incident, Via};
use alerts::plan::Step;
use askama::Template;
use axum::extract::State;
use axum::response::Html;
use model::time::{MINUTE, SECOND};
use model::{Hazard, Reading, Stamp};

use crate::Shared;
use crate::chart::gap_ms;
use crate::chrome::Chrome;
use crate::curve::{self, Spark};
use crate::fault::Fault;
use crate::fleet::{USUAL_INTERVAL, is_silent};
use crate::frame::Visitor;
use crate::routes::SignedIn;
use crate::texts::{Texts, fill};
use crate::words::{Right, When, Words, count, ppm};

/// How far back the small curve in a row reaches.
const SPARK_MS: i64 = 30 * MINUTE;
/// Next step, trend and small curve are looked up for this many rows; the rest go without.
const DETAILED_ROWS: usize = 100;
const RECENT: i64 = 10;

#[derive(Template)]
#[template(path = "alarms.html", blocks = ["content"])]
pub(crate) struct AlarmsPage {
    pub(crate) t: &'static Texts,
    pub(crate) c: Chrome,
    pub(crate) counts: Counts,
    pub(crate) rows: Vec<Row>,
    pub(crate) recent: Vec<Recent>,
    pub(crate) may_answer: bool,
    pub(crate) watching: String,
    pub(crate) is_watching: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) danger: usize,
    pub(crate) urgent: usize,
    pub(crate) acknowledged: usize,
    pub(crate) cleared: usize,
}

pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) level: &'static str,
    pub(crate) level_words: &'static str,
    pub(crate) waits: bool,
    pub(crate) place: String,
    pub(crate) detail: String,
    pub(crate) what: &'static str,
    pub(crate) rule: String,
    pub(crate) value: Option<String>,
    /// Set when the value is older than three intervals.
    pub(crate) stale: Option<String>,
    pub(crate) limit: String,
    pub(crate) peak: Option<String>,
    pub(crate) trend: Trend,
    pub(crate) spark: Spark,
    pub(crate) since: When,
    pub(crate) is_late: bool,
    pub(crate) state: &'static str,
    pub(crate) owner: Option<String>,
    pub(crate) owner_at: Option<String>,
    pub(crate) next: Next,
}

/// What happens next if nobody does anything.
pub(crate) enum Next {
    /// Escalation: the words and when it is due.
    Step(String, When),
    /// Nothing more is planned, though nobody has answered.
    Nothing,
    /// It is in somebody's hands.
    Resolve,
    Unknown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trend {
    #[default]
    Unknown,
    Up,
    Down,
    Flat,
}

impl Trend {
    pub(crate) fn sign(&self) -> &'static str {
        match self {
            Trend::Unknown => "",
            Trend::Up => "↗",
            Trend::Down => "↘",
            Trend::Flat => "→",
        }
    }

    pub(crate) fn words(&self, t: &&'static Texts) -> &'static str {
        match self {
            Trend::Unknown => "",
            Trend::Up => t.trend_up,
            Trend::Down => t.trend_down,
            Trend::Flat => t.trend_flat,
        }
    }
}

pub(crate) struct Recent {
    pub(crate) id: i64,
    pub(crate) resolved: When,
    pub(crate) place: String,
    pub(crate) what: &'static str,
    pub(crate) peak: String,
    pub(crate) lasted: String,
    pub(crate) owner: String,
    pub(crate) cause: String,
    pub(crate) action: String,
}

/// `GET /`
pub(crate) async fn page(
    State(shared): State<Shared>,
    visitor: Visitor,
    signed_in: SignedIn,
) -> Result<Html<String>, Fault> {
    Ok(Html(build(&shared, &visitor, &signed_in).await?.render()?))
}

/// `GET /fragments/alarms`: the content of the page alone.
pub(crate) async fn fragment(
    State(shared): State<Shared>,
    visitor: Visitor,
    signed_in: SignedIn,
) -> Result<Html<String>, Fault> {
    let visitor = Visitor { here: "/".to_owned(), ..visitor };
    Ok(Html(build(&shared, &visitor, &signed_in).await?.as_content().render()?))
}

async fn build(shared: &Shared, visitor: &Visitor, signed_in: &SignedIn) -> Result<AlarmsPage, Fault> {
    let words = visitor.words(shared);
    let t = words.t;
    let incidents = shared.alerts.open_incidents().await?;
    let plan = shared.alerts.plan().await?;
    let mut rows = Vec::with_capacity(incidents.len());
    for (index, incident) in incidents.iter().enumerate() {
        let around = around(shared, &words, incident, index < DETAILED_ROWS).await?;
        rows.push(row(&words, &plan, incident, &around));
    }
    let recent = shared.alerts.recent_resolved(RECENT).await?;
    let pulse = shared.fleet().pulse(shared).await?;
    let watching = match pulse.last_reading {
        Some(at) if pulse.reporting > 0 => {
            fill(t.watching, &[&count(pulse.reporting), &count(pulse.known.max(pulse.reporting)), &words.age(at)])
        }
        _ => t.watching_nobody.to_owned(),
    };
    Ok(AlarmsPage {
        t,
        c: Chrome::new(shared, visitor, signed_in, &words, "alarms", "/fragments/alarms").await?,
        counts: counts(&incidents),
        rows,
        recent: recent.iter().map(|incident| recent_row(&words, incident)).collect(),
        may_answer: signed_in.may(Right::Answer),
        is_watching: pulse.reporting > 0,
        watching,
    })
}

pub(crate) fn counts(incidents: &[Incident]) -> Counts {
    let mut counts = Counts::default();
    for incident in incidents {
        match incident {
            Incident { acknowledged: Some(_), .. } => counts.acknowledged += 1,
            Incident { cleared: Some(_), .. } => counts.cleared += 1,
            Incident { level: model::Level::Danger, .. } => counts.danger += 1,
            _ => counts.urgent += 1,
        }
    }
    counts
}

/// What a row shows besides the incident itself.
#[derive(Clone, Default)]
pub(crate) struct Around {
    pub(crate) interval_ms: i64,
    pub(crate) readings: Vec<Reading>,
    /// The newest reading of the incident's sensor; the incident's own value is saved less often.
    pub(crate) latest: Option<Reading>,
    /// `None` when it was not looked up.
    pub(crate) next_step: Option<Option<Stamp>>,
}

async fn around(shared: &Shared, words: &Words, incident: &Incident, is_detailed: bool) -> Result<Around, Fault> {
    let interval_ms = shared.registry.placed(&incident.sensor).map_or(USUAL_INTERVAL, |p| p.sensor.interval_ms);
    let latest = shared.readings.latest(&incident.sensor).map(|latest| latest.reading);
    let mut around = Around { interval_ms, latest, ..Around::default() };
    if is_detailed {
        if incident.acknowledged.is_none() {
            around.next_step = shared.alerts.detail(incident.id).await?.map(|detail| detail.next_step);
        }
        let (from, to) = (words.now - SPARK_MS, words.now + SECOND);
        around.readings = shared.readings.range(&incident.sensor, from, to).await?;
    }
    Ok(around)
}

pub(crate) fn row(words: &Words, plan: &[Step], incident: &Incident, around: &Around) -> Row {
    let t = words.t;
    let next = match (&incident.acknowledged, around.next_step) {
        (Some(_), _) => Next::Resolve,
        (None, Some(due)) => next_step(words, plan, incident, due),
        (None, None) => Next::Unknown,
    };
    let (value, at) = current(incident, around.latest.as_ref());
    let stale = at.filter(|at| is_silent(words.now, *at, around.interval_ms));
    Row {
        id: incident.id,
        level: incident.level.as_str(),
        level_words: words.level(incident.level),
        waits: incident.acknowledged.is_none(),
        place: place(words, incident),
        detail: where_inside(words, incident),
        what: words.hazard_short(incident.hazard),
        rule: rule(words, &incident.decision),
        value: value.map(ppm),
        stale: stale.map(|at| words.age(at)),
        limit: limit(&incident.decision),
        peak: peak(incident, value).map(|peak| fill(t.peak_n, &[&ppm(peak)])),
        trend: if stale.is_some() || value.is_none() { Trend::Unknown } else { trend(&around.readings, words.now) },
        spark: curve::spark(&around.readings, words.now - SPARK_MS, words.now, gap_ms(around.interval_ms)),
        since: words.when(incident.opened),
        is_late: incident.late,
        state: state(t, incident),
        owner: incident.acknowledged.as_ref().map(|answer| answer.name.clone()),
        owner_at: incident.acknowledged.as_ref().map(|answer| words.short(answer.at)),
        next,
    }
}

/// The newest value known and its time, from the incident or from its sensor.
pub(crate) fn current(incident: &Incident, latest: Option<&Reading>) -> (Option<f32>, Option<Stamp>) {
    match latest {
        Some(reading) if reading.co_ppm.is_some() && Some(reading.time) > incident.last_reading => {
            (reading.co_ppm, Some(reading.time))
        }
        _ => (incident.last_ppm, incident.last_reading),
    }
}

pub(crate) fn peak(incident: &Incident, value: Option<f32>) -> Option<f32> {
    match (incident.peak_ppm, value) {
        (Some(peak), Some(value)) => Some(peak.max(value)),
        (peak, value) => peak.or(value),
    }
}

pub(crate) fn recent_row(words: &Words, incident: &Incident) -> Recent {
    let resolved = incident.resolved.unwrap_or(incident.raised);
    let outcome = incident.outcome.as_ref();
    Recent {
        id: incident.id,
        resolved: words.when(resolved),
        place: place(words, incident),
        what: words.hazard_short(incident.hazard),
        peak: incident.peak_ppm.map_or_else(|| "–".to_owned(), ppm),
        lasted: words.span(resolved.since(incident.opened)),
        owner: incident.acknowledged.as_ref().map_or_else(String::new, |answer| answer.name.clone()),
        cause: outcome.map_or_else(String::new, |outcome| outcome.cause.clone()),
        action: outcome.map_or_else(String::new, |outcome| outcome.action.clone()),
    }
}

pub(crate) fn place(words: &Words, incident: &Incident) -> String {
    incident.address.clone().unwrap_or_else(|| words.t.place_unknown.to_owned())
}

/// Room and sensor; the sensor alone when no room is known.
pub(crate) fn where_inside(words: &Words, incident: &Incident) -> String {
    let sensor = fill(words.t.sensor_n, &[&incident.sensor]);
    if incident.room.is_empty() { sensor } else { format!("{} · {sensor}", incident.room) }
}

/// The rule's name in a few words.
pub(crate) fn rule(words: &Words, decision: &Decision) -> String {
    let t = words.t;
    match decision {
        Decision::Immediate { .. } => t.rule_immediate.to_owned(),
        Decision::SensorAlarm { .. } => t.rule_sensor_alarm.to_owned(),
        Decision::Dose { profile, .. } => fill(t.rule_dose, &[&standard(profile)]),
        Decision::SilentAtRisk { .. } => t.rule_silent.to_owned(),
    }
}

fn standard(profile: &str) -> String {
    match profile {
        "en50291" => "EN 50291".to_owned(),
        "ul2034" => "UL 2034".to_owned(),
        "gb15322" => "GB 15322".to_owned(),
        other => other.to_owned(),
    }
}

fn limit(decision: &Decision) -> String {
    match decision {
        Decision::Immediate { limit_ppm, .. } => ppm(*limit_ppm),
        Decision::SilentAtRisk { .. } => "30".to_owned(),
        Decision::SensorAlarm { .. } | Decision::Dose { .. } => "–".to_owned(),
    }
}

pub(crate) fn state(t: &'static Texts, incident: &Incident) -> &'static str {
    match (incident.resolved, &incident.acknowledged, incident.cleared) {
        (Some(_), _, _) => t.state_resolved,
        (None, None, None) => t.state_open,
        (None, None, Some(_)) => t.state_cleared_open,
        (None, Some(_), None) => t.state_acknowledged,
        (None, Some(_), Some(_)) => t.state_cleared_acknowledged,
    }
}

pub(crate) fn via(t: &'static Texts, via: Via) -> &'static str {
    match via {
        Via::Link => t.via_link,
        Via::Console => t.via_console,
        Via::Api => t.via_api,
    }
}

/// What escalation does next: whom the plan tells then, as far as the plan says.
pub(crate) fn next_step(words: &Words, plan: &[Step], incident: &Incident, due: Option<Stamp>) -> Next {
    let Some(due) = due else { return Next::Nothing };
    // a step's timer may have been written a moment after the decision it counts from
    let is_due = |step: &&Step| step.level == incident.level && incident.raised + step.after_ms >= due - 2 * SECOND;
    let step = plan.iter().filter(is_due).min_by_key(|step| step.after_ms);
    let text = match step {
        Some(step) => fill(words.t.next_posts, &[&words.clock(due), &words.posts(&step.posts)]),
        None => fill(words.t.next_call, &[&words.clock(due)]),
    };
    Next::Step(text, When { age: words.ahead(due), ..words.when(due) })
}

/// The newest value against the oldest of the last three minutes.
pub(crate) fn trend(readings: &[model::Reading], now: Stamp) -> Trend {
    let recent: Vec<f32> =
        readings.iter().filter(|r| now.since(r.time) <= 3 * MINUTE).filter_map(|r| r.co_ppm).collect();
    let (Some(first), Some(last)) = (recent.first(), recent.last()) else { return Trend::Unknown };
    if recent.len() < 2 {
        return Trend::Unknown;
    }
    let slack = (first.abs() * 0.05).max(2.0);
    if last - first > slack {
        Trend::Up
    } else if first - last > slack {
        Trend::Down
    } else {
        Trend::Flat
    }
}

/// What to do and why it matters, for a hazard.
pub(crate) fn response(t: &'static Texts, hazard: Hazard) -> (&'static str, [&'static str; 3]) {
    match hazard {
        Hazard::Co => (t.consequence_co, [t.co_do_1, t.co_do_2, t.co_do_3]),
        Hazard::Gas => (t.consequence_gas, [t.gas_do_1, t.gas_do_2, t.gas_do_3]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(values: &[f32]) -> Vec<model::Reading> {
        let at = |index: usize| Stamp(1_000_000 + index as i64 * 10_000);
        let reading = |(index, ppm): (usize, &f32)| model::Reading {
            time: at(index),
            co_ppm: Some(*ppm),
            ..model::Reading::default()
        };
        values.iter().enumerate().map(reading).collect()
    }

    #[test]
    fn a_trend_needs_two_values_and_more_than_noise() {
        let now = Stamp(1_050_000);
        assert_eq!(trend(&readings(&[5.0]), now), Trend::Unknown);
        assert_eq!(trend(&readings(&[5.0, 6.0]), now), Trend::Flat);
        assert_eq!(trend(&readings(&[300.0, 340.0]), now), Trend::Up);
        assert_eq!(trend(&readings(&[300.0, 100.0]), now), Trend::Down);
        assert_eq!(trend(&readings(&[300.0, 100.0]), now + 10 * MINUTE), Trend::Unknown);
    }
}
