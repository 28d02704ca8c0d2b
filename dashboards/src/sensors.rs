//! The fleet: every sensor, and one of them.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Html;
use model::DeviceId;
use model::time::{DAY, SECOND};
use registry::sensors::Placed;
use store::readings::Latest;

use crate::Shared;
use crate::chart::{Chart, chart, gap_ms};
use crate::chrome::Chrome;
use crate::curve::Wanted;
use crate::fault::Fault;
use crate::fleet::{Book, Condition, USUAL_INTERVAL};
use crate::frame::Visitor;
use crate::routes::SignedIn;
use crate::texts::{Texts, fill};
use crate::words::{When, Words, count, number, ppm};

const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "sensors.html")]
pub(crate) struct SensorsPage {
    t: &'static Texts,
    c: Chrome,
    rows: Vec<Row>,
    text: String,
    state: String,
    states: Vec<(&'static str, &'static str)>,
    is_filtered: bool,
    is_first: bool,
    next: Option<String>,
    shown: String,
}

pub(crate) struct Row {
    id: String,
    place: Option<String>,
    room: String,
    value: Option<String>,
    last_seen: Option<When>,
    is_silent: bool,
    battery: String,
    is_low: bool,
    signal: String,
    mark: &'static str,
    state: &'static str,
    online: Option<bool>,
}

#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    text: String,
    state: String,
    after: String,
}

/// `GET /sensors?text=&state=&after=`: a page of the sensors that match, by id.
pub(crate) async fn page(
    State(shared): State<Shared>,
    visitor: Visitor,
    signed_in: SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Fault> {
    let words = visitor.words(&shared);
    let t = words.t;
    let book = shared.fleet().book(&shared).await?;
    let search = Search::new(&asked);
    let (found, has_more) = {
        let (shared, book, search, now) = (shared.clone(), book.clone(), search.clone(), words.now);
        tokio::task::spawn_blocking(move || search.run(&shared, &book, now)).await?
    };
    let next = found.last().filter(|_| has_more).map(|last| {
        let query = [("text", asked.text.as_str()), ("state", asked.state.as_str()), ("after", last.id.as_str())];
        format!("/sensors?{}", query_string(&query))
    });
    let page = SensorsPage {
        t,
        c: Chrome::new(&shared, &visitor, &signed_in, &words, "sensors", "").await?,
        shown: fill(t.shown_of, &[&count(found.len()), &count(book.rows.len())]),
        rows: found.iter().map(|found| row(&words, &book, found)).collect(),
        states: Condition::ALL.into_iter().map(|condition| (condition.code(), condition.words(t))).collect(),
        is_filtered: !search.text.is_empty() || search.state.is_some(),
        is_first: asked.after.is_empty(),
        text: asked.text,
        state: search.state.map_or("", Condition::code).to_owned(),
        next,
    };
    Ok(Html(page.render()?))
}

fn query_string(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    text
}

#[derive(Clone)]
struct Search {
    text: String,
    state: Option<Condition>,
    after: String,
}

struct Found {
    id: DeviceId,
    placed: Option<Arc<Placed>>,
    latest: Option<Latest>,
    condition: Condition,
}

impl Search {
    fn new(asked: &Asked) -> Search {
        Search {
            text: asked.text.trim().to_lowercase(),
            state: Condition::parse(&asked.state),
            after: asked.after.clone(),
        }
    }

    /// The first page of matches after `after`, and whether there are more.
    fn run(&self, shared: &Shared, book: &Book, now: model::Stamp) -> (Vec<Found>, bool) {
        let start = book.rows.partition_point(|(id, _)| !self.after.is_empty() && id.as_str() <= self.after.as_str());
        let mut found = Vec::new();
        for (id, placed) in &book.rows[start..] {
            if !self.text_matches(id, placed.as_deref()) {
                continue;
            }
            let latest = shared.readings.latest(id);
            let condition = Condition::of(now, interval(placed.as_deref()), latest.as_ref(), book.heard.get(id));
            if self.state.is_some_and(|state| state != condition) {
                continue;
            }
            if found.len() == PAGE {
                return (found, true);
            }
            found.push(Found { id: id.clone(), placed: placed.clone(), latest, condition });
        }
        (found, false)
    }

    fn text_matches(&self, id: &DeviceId, placed: Option<&Placed>) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.text);
        self.text.is_empty()
            || has(id.as_str())
            || placed.is_some_and(|placed| {
                has(&placed.sensor.room)
                    || placed.address.as_deref().is_some_and(has)
                    || placed.sensor.premises.as_deref().is_some_and(has)
            })
    }
}

fn interval(placed: Option<&Placed>) -> i64 {
    placed.map_or(USUAL_INTERVAL, |placed| placed.sensor.interval_ms)
}

fn row(words: &Words, book: &Book, found: &Found) -> Row {
    let heard = book.heard.get(&found.id);
    let reading = found.latest.as_ref().map(|latest| &latest.reading);
    let last_seen = found.latest.as_ref().map(|latest| latest.received).max(heard.map(|heard| heard.last_seen));
    let battery = reading.and_then(|r| r.battery_pct).or(heard.and_then(|heard| heard.battery_pct));
    let signal = reading.and_then(|r| r.signal_dbm).or(heard.and_then(|heard| heard.signal_dbm));
    Row {
        id: found.id.to_string(),
        place: found.placed.as_ref().and_then(|placed| placed.address.clone()),
        room: found.placed.as_ref().map_or_else(String::new, |placed| placed.sensor.room.clone()),
        value: reading.and_then(|reading| reading.co_ppm).map(ppm),
        last_seen: last_seen.map(|at| words.when(at)),
        is_silent: found.condition == Condition::NoData,
        battery: battery.map_or_else(|| "–".to_owned(), |battery| number(battery, 0)),
        is_low: battery.is_some_and(|battery| battery < 20.0),
        signal: signal.map_or_else(|| "–".to_owned(), |signal| number(signal, 0)),
        mark: found.condition.mark(),
        state: found.condition.words(words.t),
        online: book.presence.get(&found.id).map(|presence| presence.online),
    }
}

#[derive(Template)]
#[template(path = "sensor.html")]
pub(crate) struct SensorPage {
    t: &'static Texts,
    c: Chrome,
    id: String,
    mark: &'static str,
    state: &'static str,
    place: Option<String>,
    room: String,
    is_silent: bool,
    value: Option<String>,
    last_seen: Option<When>,
    fields: Vec<(&'static str, String)>,
    device: Vec<(&'static str, String)>,
    chart: Chart,
    open_incident: Option<i64>,
}

/// `GET /sensors/{id}`
pub(crate) async fn one(
    State(shared): State<Shared>,
    visitor: Visitor,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Html<String>, Fault> {
    let words = visitor.words(&shared);
    let t = words.t;
    let id = DeviceId::new(&id).map_err(|_| Fault::NotFound)?;
    let placed = shared.registry.placed(&id);
    let latest = shared.readings.latest(&id);
    if placed.is_none() && latest.is_none() {
        return Err(Fault::NotFound);
    }
    let book = shared.fleet().book(&shared).await?;
    let interval_ms = interval(placed.as_deref());
    let condition = Condition::of(words.now, interval_ms, latest.as_ref(), book.heard.get(&id));
    let (from, to) = (words.now - DAY, words.now);
    let readings = shared.readings.range(&id, from, to + SECOND).await?;
    let open = shared.alerts.open_incidents().await?;
    let open_incident = open.iter().find(|incident| incident.sensor == id).map(|incident| incident.id);
    let found = Found { id: id.clone(), placed: placed.clone(), latest, condition };
    let row = row(&words, &book, &found);
    let wanted = Wanted {
        from,
        to,
        readings: &readings,
        gap_ms: gap_ms(interval_ms),
        marks: &[],
        zone: &words.zone,
        show_limits: false,
    };
    let page = SensorPage {
        t,
        c: Chrome::new(&shared, &visitor, &signed_in, &words, "sensors", "").await?,
        mark: row.mark,
        state: row.state,
        place: row.place,
        room: row.room,
        is_silent: row.is_silent,
        value: row.value,
        last_seen: row.last_seen,
        fields: fields(&words, &book, &found),
        device: device(&words, &book, &found, interval_ms),
        chart: chart(&words, &id, &wanted),
        open_incident,
        id: row.id,
    };
    Ok(Html(page.render()?))
}

/// The newest reading, field by field.
fn fields(words: &Words, book: &Book, found: &Found) -> Vec<(&'static str, String)> {
    let t = words.t;
    let Some(latest) = &found.latest else { return Vec::new() };
    let reading = &latest.reading;
    let heard = book.heard.get(&found.id);
    let or_not = |value: Option<f32>, decimals: usize, unit: &str| {
        value.map_or_else(|| t.not_sent.to_owned(), |value| format!("{} {unit}", number(value, decimals)))
    };
    let mut fields = vec![
        (t.field_time, words.moment(reading.time)),
        (t.field_received, words.moment(latest.received)),
        (t.field_co, or_not(reading.co_ppm, 1, "ppm")),
        (t.field_lel, or_not(reading.lel_pct, 1, "% LEL")),
        (t.field_temperature, or_not(reading.temperature_c, 1, "°C")),
        (t.field_humidity, or_not(reading.humidity_pct, 0, "%")),
        (t.field_battery, or_not(reading.battery_pct.or(heard.and_then(|heard| heard.battery_pct)), 0, "%")),
        (t.field_signal, or_not(reading.signal_dbm.or(heard.and_then(|heard| heard.signal_dbm)), 0, "dBm")),
        (t.field_state, reading.state.map_or(t.not_sent, |state| words.own_state(state)).to_owned()),
        (t.field_seq, reading.seq.map_or_else(|| t.not_sent.to_owned(), |seq| seq.to_string())),
    ];
    if reading.flags.0 != 0 {
        fields.push((t.col_flags, words.flags(reading.flags)));
    }
    fields
}

/// The device and how it is connected.
fn device(words: &Words, book: &Book, found: &Found, interval_ms: i64) -> Vec<(&'static str, String)> {
    let t = words.t;
    let mut device = Vec::new();
    if let Some(placed) = &found.placed {
        device.push((t.premises_number, placed.sensor.premises.clone().unwrap_or_else(|| t.unbound.to_owned())));
        device.push((t.field_model, placed.sensor.model.clone()));
        device.push((t.field_range, format!("{} ppm", ppm(placed.sensor.range_ppm))));
    }
    device.push((t.field_interval, words.span(interval_ms)));
    if let Some(presence) = book.presence.get(&found.id) {
        let word = if presence.online { t.online } else { t.offline };
        device.push((t.field_presence, format!("{word} · {} · {}", words.short(presence.at), presence.detail)));
    }
    if let Some(ahead) = book.heard.get(&found.id).and_then(|heard| heard.ahead_ms).filter(|ahead| *ahead > 0) {
        device.push((t.field_skew, words.span(ahead)));
    }
    device
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_survives_in_the_next_pages_address() {
        assert_eq!(
            query_string(&[("text", "厨 房&x"), ("state", ""), ("after", "S-1")]),
            "text=%E5%8E%A8%20%E6%88%BF%26x&after=S-1"
        );
    }
}
