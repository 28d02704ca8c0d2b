//! A curve with what stands around it: its caption, and the same values as a table.

use model::time::SECOND;
use model::{DeviceId, Reading};

use crate::curve::{self, Curve, Wanted};
use crate::texts::fill;
use crate::words::{Words, count, ppm};

const MOST_TABLE_ROWS: usize = 500;

/// A curve with its caption and table.
pub(crate) struct Chart {
    pub(crate) curve: Curve,
    pub(crate) label: String,
    pub(crate) table: Vec<TableRow>,
    pub(crate) table_is_cut: Option<String>,
    pub(crate) table_words: String,
    pub(crate) data_url: String,
}

pub(crate) struct TableRow {
    pub(crate) at: String,
    pub(crate) co: String,
    pub(crate) state: &'static str,
    pub(crate) flags: String,
}

/// Longest silence that is not yet a gap.
pub(crate) fn gap_ms(interval_ms: i64) -> i64 {
    interval_ms.max(SECOND).saturating_mul(model::dose::HELD_INTERVALS)
}

pub(crate) fn chart(words: &Words, sensor: &DeviceId, wanted: &Wanted<'_>) -> Chart {
    let t = words.t;
    let Wanted { from, to, readings, .. } = *wanted;
    let curve = curve::draw(wanted);
    let row = |reading: &Reading| TableRow {
        at: words.moment(reading.time),
        co: reading.co_ppm.map_or_else(|| "–".to_owned(), ppm),
        state: reading.state.map_or("–", |state| words.own_state(state)),
        flags: words.flags(reading.flags),
    };
    let peak = curve.peak_ppm.map_or_else(|| "–".to_owned(), ppm);
    Chart {
        label: fill(t.curve_of, &[&words.short(from), &words.short(to), &peak]),
        table: readings.iter().rev().take(MOST_TABLE_ROWS).map(row).collect(),
        table_is_cut: (readings.len() > MOST_TABLE_ROWS).then(|| fill(t.table_is_cut, &[&MOST_TABLE_ROWS])),
        table_words: fill(t.table_of_values, &[&count(readings.len())]),
        data_url: format!("/api/v1/sensors/{sensor}/readings?from={}&to={}", from.0, to.0.saturating_add(SECOND)),
        curve,
    }
}
