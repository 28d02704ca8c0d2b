//! The words of notifications.

use model::Stamp;
use model::time::{MINUTE, SECOND};
use registry::people::Language;

use crate::incident::{Decision, Incident};

/// A message that is decided this long after it was due says that it is delayed.
pub(crate) const DELAYED_AFTER: i64 = 60 * SECOND;
/// Three concatenated parts: UCS-2 has 67 characters in each, the GSM alphabet 153. Two are not
/// enough for an English text with a Chinese address and a link.
pub(crate) const MOST_UCS2: usize = 3 * 67;
pub(crate) const MOST_GSM: usize = 3 * 153;
/// No address needs more, and shortening stays cheap.
const MOST_PLACE: usize = 200;

/// What one person is told about an incident.
pub(crate) struct Message<'a> {
    pub(crate) incident: &'a Incident,
    pub(crate) language: Language,
    /// IANA zone of the times told.
    pub(crate) time_zone: &'a str,
    pub(crate) is_delayed: bool,
}

impl Message<'_> {
    fn is_zh(&self) -> bool {
        self.language == Language::Zh
    }

    /// A text message of at most three parts, most important first. The place is shortened to make
    /// it fit, the link never is.
    pub(crate) fn sms(&self, link: &str) -> String {
        let mark = self.marks();
        let short = self.short();
        let time = self.time(self.incident.raised, "%H:%M");
        let compose = |place: &str| {
            if self.is_zh() {
                format!("【燃气安全】危险：{short}，{time}{mark}，{place}。立即处置并确认：{link}")
            } else {
                format!("GAS SAFETY DANGER: {short}, {time}{mark}, {place}. Act now and confirm: {link}")
            }
        };
        let place: Vec<char> = self.place().chars().collect();
        let mut length = place.len().min(MOST_PLACE);
        loop {
            let text = compose(&squeezed(&place, length));
            if fits(&text) || length == 0 {
                return text;
            }
            length -= 1;
        }
    }

    pub(crate) fn subject(&self) -> String {
        let short = self.short();
        let place = squeezed(&self.place().chars().collect::<Vec<char>>(), MOST_PLACE);
        if self.is_zh() { format!("[危险] {short} — {place}") } else { format!("[DANGER] {short} — {place}") }
    }

    /// Plain text of a mail: a line for each fact, the link on the last line.
    pub(crate) fn body(&self, link: &str) -> String {
        let incident = self.incident;
        let words = incident.decision.words(self.language);
        let (place, sensor) = (self.place(), &incident.sensor);
        let time = self.time(incident.raised, "%Y-%m-%d %H:%M:%S");
        let ppm = |value: Option<f32>| value.map_or_else(|| "—".to_owned(), |ppm| format!("{ppm:.0} ppm"));
        let (last, peak) = (ppm(incident.last_ppm), ppm(incident.peak_ppm));
        let mut lines = if self.is_zh() {
            vec![
                words,
                format!("地点：{place}"),
                format!("传感器：{sensor}"),
                format!("时间：{time}"),
                format!("一氧化碳：当前 {last}，最高 {peak}"),
            ]
        } else {
            vec![
                words,
                format!("Place: {place}"),
                format!("Sensor: {sensor}"),
                format!("Time: {time}"),
                format!("CO: now {last}, highest {peak}"),
            ]
        };
        let mut add = |zh: &str, en: &str| lines.push(if self.is_zh() { zh } else { en }.to_owned());
        if incident.cleared.is_some() {
            add("数值已回落，但仍需有人确认。", "Values have fallen since, but somebody still has to answer.");
        }
        if incident.late {
            add("此数据迟到超过 10 分钟。", "These readings came more than 10 minutes late.");
        }
        if self.is_delayed {
            add("此通知因系统中断而延迟。", "This notice was delayed by an outage.");
        }
        add("立即处置并确认：", "Act now and confirm:");
        lines.push(link.to_owned());
        lines.join("\n")
    }

    /// The decision in a few words.
    fn short(&self) -> String {
        let is_zh = self.is_zh();
        match self.incident.decision {
            Decision::Immediate { ppm, .. } if is_zh => format!("一氧化碳{ppm:.0}ppm"),
            Decision::Immediate { ppm, .. } => format!("CO {ppm:.0} ppm"),
            Decision::SensorAlarm { ppm: Some(ppm) } if is_zh => format!("传感器报警，一氧化碳{ppm:.0}ppm"),
            Decision::SensorAlarm { ppm: Some(ppm) } => format!("sensor alarm, CO {ppm:.0} ppm"),
            Decision::SensorAlarm { ppm: None } if is_zh => "传感器报警".to_owned(),
            Decision::SensorAlarm { ppm: None } => "sensor alarm".to_owned(),
            Decision::Dose { ppm, .. } if is_zh => format!("一氧化碳{ppm:.0}ppm，累积超限"),
            Decision::Dose { ppm, .. } => format!("CO {ppm:.0} ppm, exposure limit reached"),
            Decision::SilentAtRisk { last_ppm, silent_ms } => {
                let minutes = silent_ms.max(0) / MINUTE;
                if is_zh {
                    format!("一氧化碳{last_ppm:.0}ppm后失联{minutes}分钟")
                } else {
                    format!("silent for {minutes} min after CO {last_ppm:.0} ppm")
                }
            }
        }
    }

    fn marks(&self) -> &'static str {
        match (self.incident.late, self.is_delayed, self.is_zh()) {
            (_, true, true) => "（延迟通知）",
            (_, true, false) => " (delayed notice)",
            (true, false, true) => "（迟到数据）",
            (true, false, false) => " (late data)",
            (false, false, _) => "",
        }
    }

    fn place(&self) -> String {
        let incident = self.incident;
        let place = match &incident.address {
            Some(address) => format!("{address} {}", incident.room),
            None if self.is_zh() => format!("地点不明，传感器{} {}", incident.sensor, incident.room),
            None => format!("place unknown, sensor {} {}", incident.sensor, incident.room),
        };
        // a line break would end a mail header
        place
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|w| !w.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn time(&self, at: Stamp, format: &str) -> String {
        let zone = jiff::tz::TimeZone::get(self.time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
        match jiff::Timestamp::from_millisecond(at.0) {
            Ok(instant) => instant.to_zoned_datetime(zone).strftime(format).to_string(),
            Err(_) => at.to_string(),
        }
    }
}

fn fits(text: &str) -> bool {
    match septets(text) {
        Some(septets) => septets <= MOST_GSM,
        None => text.encode_utf16().count() <= MOST_UCS2,
    }
}

/// Length in the GSM alphabet's 7-bit units; `None` when the text needs UCS-2. Of that alphabet only
/// what is also ASCII is used.
pub(crate) fn septets(text: &str) -> Option<usize> {
    text.chars()
        .map(|c| match c {
            '[' | ']' | '{' | '}' | '\\' | '^' | '~' | '|' => Some(2),
            '`' => None,
            '\n' | ' '..='~' => Some(1),
            _ => None,
        })
        .sum()
}

/// At most `length` characters of a place. The middle goes first: street and door are at the ends.
fn squeezed(place: &[char], length: usize) -> String {
    if place.len() <= length {
        return place.iter().collect();
    }
    let ellipsis = if place.iter().all(char::is_ascii) { "..." } else { "…" };
    let Some(kept) = length.checked_sub(ellipsis.chars().count()) else { return String::new() };
    let head = kept / 3;
    let start: String = place[..head].iter().collect();
    let end: String = place[place.len() - (kept - head)..].iter().collect();
    format!("{start}{ellipsis}{end}")
}

#[cfg(test)]
mod tests {
    use model::{DeviceId, Hazard, Level};
    use proptest::prelude::*;

    use super::*;
    use crate::incident::IncidentState;

    fn incident(address: Option<&str>, room: &str, decision: Decision) -> Incident {
        let at = Stamp::parse_rfc3339("2026-11-24T02:14:07+08:00").unwrap();
        Incident {
            id: 7,
            hazard: Hazard::Co,
            level: Level::Danger,
            state: IncidentState::Open,
            premises: None,
            area: None,
            address: address.map(str::to_owned),
            room: room.to_owned(),
            sensor: DeviceId::new("S-000123").unwrap(),
            decision,
            opened: at,
            raised: at,
            cleared: None,
            acknowledged: None,
            resolved: None,
            outcome: None,
            late: false,
            peak_ppm: Some(412.0),
            last_ppm: Some(412.0),
            last_reading: Some(at),
        }
    }

    fn message(incident: &Incident, language: Language) -> Message<'_> {
        Message { incident, language, time_zone: "Asia/Shanghai", is_delayed: false }
    }

    const IMMEDIATE: Decision = Decision::Immediate { ppm: 412.0, limit_ppm: 300.0 };

    #[test]
    fn the_texts_say_what_where_when_and_what_to_do() {
        let incident = incident(Some("石井街石沙路18号402室"), "浴室", IMMEDIATE);
        let link = "http://10.0.0.5:8080/a/TOKEN";
        assert_eq!(
            message(&incident, Language::Zh).sms(link),
            "【燃气安全】危险：一氧化碳412ppm，02:14，石井街石沙路18号402室 浴室。\
             立即处置并确认：http://10.0.0.5:8080/a/TOKEN"
        );
        assert_eq!(message(&incident, Language::Zh).subject(), "[危险] 一氧化碳412ppm — 石井街石沙路18号402室 浴室");
        let english = message(&incident, Language::En);
        assert!(english.sms(link).starts_with("GAS SAFETY DANGER: CO 412 ppm, 02:14, "));
        let body = english.body(link);
        assert!(body.contains("Time: 2026-11-24 02:14:07") && body.ends_with(link), "{body}");
    }

    #[test]
    fn delayed_and_late_messages_say_so() {
        let mut incident = incident(None, "", IMMEDIATE);
        incident.late = true;
        let late = message(&incident, Language::Zh);
        assert!(late.sms("x").contains("迟到数据") && late.sms("x").contains("地点不明，传感器S-000123"));
        let delayed = Message { is_delayed: true, ..message(&incident, Language::En) };
        assert!(delayed.sms("x").contains("delayed notice") && delayed.body("x").contains("delayed by an outage"));
    }

    #[test]
    fn an_address_cannot_add_a_mail_header() {
        let incident = incident(Some("Road 1\r\nBcc: x@example.org"), "", IMMEDIATE);
        assert!(!message(&incident, Language::En).subject().contains(['\r', '\n']));
    }

    fn any_decision() -> impl Strategy<Value = Decision> {
        let ppm = 0.0f32..=1_000_000.0;
        prop_oneof![
            ppm.clone().prop_map(|ppm| Decision::Immediate { ppm, limit_ppm: 300.0 }),
            prop::option::of(ppm.clone()).prop_map(|ppm| Decision::SensorAlarm { ppm }),
            ppm.clone().prop_map(|ppm| Decision::Dose { ppm, profile: "en50291" }),
            (ppm, 0i64..60 * MINUTE).prop_map(|(last_ppm, silent_ms)| Decision::SilentAtRisk { last_ppm, silent_ms }),
        ]
    }

    proptest! {
        /// Whatever the address, a text fits two parts and ends with the whole link.
        #[test]
        fn a_text_fits_two_parts(
            address in prop::option::of("\\PC{0,300}"),
            room in "\\PC{0,40}",
            decision in any_decision(),
            is_zh in any::<bool>(),
            late in any::<bool>(),
            is_delayed in any::<bool>(),
            link in "http://[a-z0-9.:/]{10,25}/a/[A-Za-z0-9_-]{36}",
        ) {
            let mut incident = incident(address.as_deref(), &room, decision);
            incident.late = late;
            let language = if is_zh { Language::Zh } else { Language::En };
            let text = Message { is_delayed, ..message(&incident, language) }.sms(&link);
            prop_assert!(text.ends_with(&link));
            prop_assert!(fits(&text), "{} units: {text}", text.encode_utf16().count());
        }
    }
}
