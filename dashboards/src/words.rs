//! Times, ages, numbers and names as people read them.

use jiff::tz::TimeZone;
use model::time::{DAY, HOUR, MINUTE, SECOND};
use model::{Hazard, Level, SensorState, Stamp};
use registry::people::{Language, StaffRole, mask_name};

use crate::texts::{Texts, fill};

/// The words of one language at one moment in the district's zone.
#[derive(Clone)]
pub(crate) struct Words {
    pub(crate) t: &'static Texts,
    pub(crate) language: Language,
    pub(crate) zone: TimeZone,
    pub(crate) now: Stamp,
}

/// An instant as a page shows it: absolute and as an age.
#[derive(Clone, Debug, Default)]
pub(crate) struct When {
    /// `02:14:07` today, else `2026-11-23 02:14`.
    pub(crate) at: String,
    /// `3 s ago`.
    pub(crate) age: String,
    /// Epoch milliseconds, for the script that keeps ages going.
    pub(crate) ms: i64,
    /// RFC 3339, for `<time datetime>`.
    pub(crate) iso: String,
}

impl Words {
    fn local(&self, at: Stamp) -> Option<jiff::civil::DateTime> {
        Some(self.zone.to_datetime(jiff::Timestamp::from_millisecond(at.0).ok()?))
    }

    /// `02:14:07`
    pub(crate) fn clock(&self, at: Stamp) -> String {
        self.local(at).map_or_else(String::new, |local| {
            format!("{:02}:{:02}:{:02}", local.hour(), local.minute(), local.second())
        })
    }

    /// `2026-11-23 02:14:07`
    pub(crate) fn moment(&self, at: Stamp) -> String {
        self.local(at).map_or_else(String::new, |local| format!("{} {}", local.date(), self.clock(at)))
    }

    /// `2026-11-23`
    pub(crate) fn day(&self, at: Stamp) -> String {
        self.local(at).map_or_else(String::new, |local| local.date().to_string())
    }

    /// `02:14:07` on the current day, else `2026-11-23 02:14`.
    pub(crate) fn short(&self, at: Stamp) -> String {
        match (self.local(at), self.local(self.now)) {
            (Some(local), Some(now)) if local.date() == now.date() => self.clock(at),
            (Some(local), _) => format!("{} {:02}:{:02}", local.date(), local.hour(), local.minute()),
            (None, _) => String::new(),
        }
    }

    pub(crate) fn when(&self, at: Stamp) -> When {
        When { at: self.short(at), age: self.age(at), ms: at.0, iso: at.to_rfc3339().unwrap_or_default() }
    }

    /// `4 min 10 s ago`
    pub(crate) fn age(&self, at: Stamp) -> String {
        fill(self.t.ago, &[&self.span(self.now.since(at))])
    }

    /// `in 23 s`, or "now" when it is due.
    pub(crate) fn ahead(&self, at: Stamp) -> String {
        let left = at.since(self.now);
        if left < SECOND { self.t.due_now.to_owned() } else { fill(self.t.in_time, &[&self.span(left)]) }
    }

    /// A duration in its two largest units.
    pub(crate) fn span(&self, milliseconds: i64) -> String {
        let ms = milliseconds.max(0);
        if ms < MINUTE {
            fill(self.t.seconds, &[&(ms / SECOND)])
        } else if ms < 10 * MINUTE && ms % MINUTE >= SECOND {
            fill(self.t.minutes_seconds, &[&(ms / MINUTE), &(ms % MINUTE / SECOND)])
        } else if ms < HOUR {
            fill(self.t.minutes, &[&(ms / MINUTE)])
        } else if ms < 2 * DAY {
            fill(self.t.hours_minutes, &[&(ms / HOUR), &format!("{:02}", ms % HOUR / MINUTE)])
        } else {
            fill(self.t.days_hours, &[&(ms / DAY), &(ms % DAY / HOUR)])
        }
    }

    pub(crate) fn level(&self, level: Level) -> &'static str {
        match level {
            Level::Danger => self.t.danger,
            Level::Urgent => self.t.urgent,
            Level::Notice => self.t.notice,
        }
    }

    pub(crate) fn hazard(&self, hazard: Hazard) -> &'static str {
        match hazard {
            Hazard::Co => self.t.hazard_co,
            Hazard::Gas => self.t.hazard_gas,
        }
    }

    pub(crate) fn hazard_short(&self, hazard: Hazard) -> &'static str {
        match hazard {
            Hazard::Co => self.t.hazard_co_short,
            Hazard::Gas => self.t.hazard_gas_short,
        }
    }

    pub(crate) fn own_state(&self, state: SensorState) -> &'static str {
        match state {
            SensorState::Normal => self.t.own_normal,
            SensorState::Warmup => self.t.own_warmup,
            SensorState::Test => self.t.own_test,
            SensorState::Alarm => self.t.own_alarm,
            SensorState::Fault => self.t.own_fault,
            SensorState::EndOfLife => self.t.own_end_of_life,
        }
    }

    /// The words of a reading's flags, joined.
    pub(crate) fn flags(&self, flags: model::reading::Flags) -> String {
        let t = self.t;
        let words = flags.names().into_iter().map(|name| match name {
            "time_of_receipt" => t.fl_time_of_receipt,
            "time_unusable" => t.fl_time_unusable,
            "time_shifted" => t.fl_time_shifted,
            "late" => t.fl_late,
            "co_unusable" => t.fl_co_unusable,
            "co_saturated" => t.fl_co_saturated,
            "field_dropped" => t.fl_field_dropped,
            "salvaged" => t.fl_salvaged,
            other => other,
        });
        words.collect::<Vec<_>>().join(if self.language == Language::Zh { "，" } else { ", " })
    }

    pub(crate) fn post(&self, post: alerts::plan::Post) -> &'static str {
        use alerts::plan::Post;
        match post {
            Post::DutyOfficer => self.t.post_duty,
            Post::Deputy => self.t.post_deputy,
            Post::Supervisor => self.t.post_supervisor,
            Post::DistrictLead => self.t.post_lead,
        }
    }

    pub(crate) fn posts(&self, posts: &[alerts::plan::Post]) -> String {
        let words: Vec<_> = posts.iter().map(|post| self.post(*post)).collect();
        words.join(if self.language == Language::Zh { "、" } else { ", " })
    }
}

/// CO as people read it: whole from 100 on, else at most one decimal.
pub(crate) fn ppm(value: f32) -> String {
    number(value, if value >= 100.0 { 0 } else { 1 })
}

/// At most `decimals` decimals, none that says nothing.
pub(crate) fn number(value: f32, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let text = if text == "-0" { "0" } else { text };
    text.replace('-', "\u{2212}")
}

/// 1234567 as `1,234,567`.
pub(crate) fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `duty@example.org` as `d***@example.org`.
pub(crate) fn masked_email(email: &str) -> String {
    match email.trim().rsplit_once('@') {
        Some((local, domain)) => format!("{}***@{domain}", local.chars().next().map(String::from).unwrap_or_default()),
        None => mask_name(email),
    }
}

/// What a role may do in the console. Everything not said here is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// See alarms, sensors and rosters.
    Watch,
    /// Acknowledge and resolve.
    Answer,
    /// See a household's name and phone in full.
    Contacts,
    /// See raw messages in quarantine.
    Raw,
}

pub(crate) fn may(role: StaffRole, right: Right) -> bool {
    let watches = role.may_acknowledge() || matches!(role, StaffRole::Reviewer | StaffRole::Auditor);
    match right {
        Right::Watch => watches,
        Right::Answer => role.may_acknowledge() && role.may_resolve(),
        Right::Contacts => watches && role.may_see_personal_data(),
        Right::Raw => role.may_acknowledge() || role == StaffRole::Auditor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(now: &str) -> Words {
        Words {
            t: Texts::of(Language::En),
            language: Language::En,
            zone: TimeZone::get("Asia/Shanghai").unwrap(),
            now: Stamp::parse_rfc3339(now).unwrap(),
        }
    }

    #[test]
    fn times_are_told_in_the_districts_zone() {
        let words = words("2026-11-23T18:14:07Z");
        assert_eq!(words.short(words.now - 1_000), "02:14:06");
        assert_eq!(words.short(words.now - 3 * HOUR), "2026-11-23 23:14");
        assert_eq!(words.age(words.now - 250 * SECOND), "4 min 10 s ago");
        assert_eq!(words.age(words.now - 125 * MINUTE), "2 h 05 min ago");
        assert_eq!(words.ahead(words.now - 1), "now");
        assert_eq!(words.age(words.now + 5_000), "0 s ago");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(ppm(412.4), "412");
        assert_eq!(ppm(8.5), "8.5");
        assert_eq!(ppm(9.0), "9");
        assert_eq!(number(-71.0, 0), "\u{2212}71");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
    }

    #[test]
    fn inspectors_do_not_see_the_duty_desk() {
        for right in [Right::Watch, Right::Answer, Right::Contacts, Right::Raw] {
            assert!(!may(StaffRole::Inspector, right) && !may(StaffRole::GridWorker, right));
            assert!(may(StaffRole::DutyOfficer, right));
        }
        assert!(!may(StaffRole::Auditor, Right::Answer));
    }

    #[test]
    fn a_mail_address_keeps_its_first_letter_and_domain() {
        assert_eq!(masked_email("duty@example.org"), "d***@example.org");
        assert_eq!(masked_email("@x"), "***@x");
        assert_eq!(masked_email("王建国"), "王**");
        assert_eq!(masked_email(""), "");
    }
}
