//! What could not be understood, for a person to look at.

use std::fmt::Write as _;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Html;
use store::Position;
use store::quarantine::Quarantined;

use crate::Shared;
use crate::chrome::Chrome;
use crate::fault::Fault;
use crate::frame::Visitor;
use crate::routes::SignedIn;
use crate::texts::{Texts, fill};
use crate::words::{When, Words, count};

const PAGE: i64 = 50;
const MOST_TEXT: usize = 2_000;
const MOST_HEX: usize = 256;

#[derive(Template)]
#[template(path = "quarantine.html")]
pub(crate) struct QuarantinePage {
    t: &'static Texts,
    c: Chrome,
    lead: String,
    rows: Vec<Row>,
    is_first: bool,
    older: Option<u64>,
}

struct Row {
    received: When,
    reason: &'static str,
    code: String,
    detail: String,
    client: String,
    topic: String,
    preview: Preview,
    size: String,
}

/// A payload as text where it is text, else in hexadecimal.
#[derive(Debug, PartialEq, Eq)]
struct Preview {
    body: String,
    is_hex: bool,
    cut: Option<String>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Asked {
    before: Option<String>,
}

/// `GET /quarantine?before=`: newest first; `before` is a journal position.
pub(crate) async fn page(
    State(shared): State<Shared>,
    visitor: Visitor,
    signed_in: SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Fault> {
    let words = visitor.words(&shared);
    let t = words.t;
    let before = match asked.before.as_deref().filter(|before| !before.is_empty()) {
        Some(text) => Some(Position(text.parse().map_err(|_| Fault::bad("bad_before", "before=<position>"))?)),
        None => None,
    };
    let ledger = shared.registry.ledger();
    let mut items = ledger.quarantined(before, PAGE + 1).await?;
    let has_more = items.len() as i64 > PAGE;
    items.truncate(PAGE as usize);
    let total = ledger.quarantine_count().await?;
    let page = QuarantinePage {
        t,
        c: Chrome::new(&shared, &visitor, &signed_in, &words, "quarantine", "").await?,
        lead: fill(t.quarantine_lead, &[&count(usize::try_from(total).unwrap_or_default())]),
        older: items.last().filter(|_| has_more).map(|last| last.position.0),
        rows: items.iter().map(|item| row(&words, item)).collect(),
        is_first: before.is_none(),
    };
    Ok(Html(page.render()?))
}

fn row(words: &Words, item: &Quarantined) -> Row {
    let t = words.t;
    Row {
        received: words.when(item.received),
        reason: match item.code.as_str() {
            "not_json" => t.q_not_json,
            "not_a_reading" => t.q_not_a_reading,
            "empty_reading" => t.q_empty_reading,
            "too_many_readings" => t.q_too_many_readings,
            _ => t.q_other,
        },
        code: item.code.clone(),
        detail: item.detail.clone(),
        client: item.client.clone(),
        topic: item.topic.clone(),
        preview: preview(t, &item.payload),
        size: fill(t.bytes_n, &[&count(item.payload.len())]),
    }
}

fn preview(t: &'static Texts, payload: &[u8]) -> Preview {
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    if let Ok(text) = std::str::from_utf8(payload)
        && text.chars().all(is_plain)
    {
        let body: String = text.chars().take(MOST_TEXT).collect();
        let cut = (body.len() < text.len()).then(|| fill(t.bytes_cut, &[&count(body.len())]));
        return Preview { body, is_hex: false, cut };
    }
    let shown = &payload[..payload.len().min(MOST_HEX)];
    let cut = (shown.len() < payload.len()).then(|| fill(t.bytes_cut, &[&shown.len()]));
    Preview { body: hex(shown), is_hex: true, cut }
}

/// Sixteen bytes a line, as hex editors show them.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5);
    for (index, line) in bytes.chunks(16).enumerate() {
        let _ = write!(text, "{:04x} ", index * 16);
        for column in 0..16 {
            match line.get(column) {
                Some(byte) => {
                    let _ = write!(text, " {byte:02x}");
                }
                None => text.push_str("   "),
            }
        }
        text.push_str("  ");
        text.extend(line.iter().map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' }));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use registry::people::Language;

    use super::*;

    #[test]
    fn text_stays_text_and_bytes_become_hex() {
        let t = Texts::of(Language::En);
        assert_eq!(preview(t, "{\"co\": 气".as_bytes()).body, "{\"co\": 气");
        let binary = preview(t, &[0, 255, b'{']);
        assert!(binary.is_hex);
        assert_eq!(binary.body.trim_end(), format!("0000  00 ff 7b{}  ..{{", "   ".repeat(13)));
        assert!(preview(t, &[0; 1_000]).cut.is_some());
        assert!(preview(t, "气".repeat(3_000).as_bytes()).cut.is_some());
        assert_eq!(preview(t, b"").body, "");
    }
}
