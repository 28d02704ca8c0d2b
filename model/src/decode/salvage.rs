//! What can still be read of a payload that is no JSON: the highest `co_ppm` and a `state` of alarm.
//! `printf` writes NaN, a byte order mark or a raw tab slips in; the value beside it may be 400 ppm.

use super::number;
use crate::reading::SensorState;

/// Finds CO and alarm in bytes that the parser refused.
pub(super) fn vital(payload: &[u8]) -> (Option<f64>, Option<SensorState>) {
    let text = String::from_utf8_lossy(payload);
    let highest = values(&text, "\"co_ppm\"")
        .filter_map(|rest| number(leading_number(rest)))
        .filter(|ppm| *ppm >= 0.0)
        .reduce(f64::max);
    let is_alarm = values(&text, "\"state\"").any(|rest| {
        let word = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
        word.and_then(SensorState::parse) == Some(SensorState::Alarm)
    });
    (highest, is_alarm.then_some(SensorState::Alarm))
}

/// What follows each `key` and its colon.
fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(key).filter_map(move |(at, _)| {
        let rest = text[at + key.len()..].trim_start().strip_prefix(':')?;
        Some(rest.trim_start())
    })
}

/// The number at the start, without a plus sign or an opening quote.
fn leading_number(rest: &str) -> &str {
    let rest = rest.trim_start_matches(['"', '+', ' ']);
    let end =
        rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E'))).unwrap_or(rest.len());
    &rest[..end]
}
