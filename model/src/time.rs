//! Instants. Everything inside Gaswatch is UTC epoch milliseconds; RFC 3339 exists on the wire only.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// An instant, in milliseconds since 1970-01-01T00:00:00Z. Durations are plain `i64` milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub i64);

impl Stamp {
    /// The earliest and latest instants a device can mean; anything else is a broken clock.
    pub const EARLIEST: Stamp = Stamp(946_684_800_000); // 2000-01-01
    pub const LATEST: Stamp = Stamp(4_102_444_800_000); // 2100-01-01

    pub fn is_plausible(self) -> bool {
        (Self::EARLIEST..Self::LATEST).contains(&self)
    }

    /// Reads RFC 3339 with an offset, such as `2026-11-24T02:14:07.250+08:00`.
    pub fn parse_rfc3339(text: &str) -> Option<Stamp> {
        let instant: jiff::Timestamp = text.trim().parse().ok()?;
        Some(Stamp(instant.as_millisecond()))
    }

    /// RFC 3339 in UTC with milliseconds; instants outside year -9999..9999 give `None`.
    pub fn to_rfc3339(self) -> Option<String> {
        let instant = jiff::Timestamp::from_millisecond(self.0).ok()?;
        Some(format!("{instant:.3}"))
    }

    /// Milliseconds from `earlier` to `self`, negative when `earlier` is later.
    pub fn since(self, earlier: Stamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<i64> for Stamp {
    type Output = Stamp;
    fn add(self, milliseconds: i64) -> Stamp {
        Stamp(self.0.saturating_add(milliseconds))
    }
}

impl Sub<i64> for Stamp {
    type Output = Stamp;
    fn sub(self, milliseconds: i64) -> Stamp {
        Stamp(self.0.saturating_sub(milliseconds))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_rfc3339() {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_keeps_the_instant_across_offsets() {
        let local = Stamp::parse_rfc3339("2026-11-24T02:14:07.250+08:00").unwrap();
        let utc = Stamp::parse_rfc3339("2026-11-23T18:14:07.250Z").unwrap();
        assert_eq!(local, utc);
        assert_eq!(utc.to_string(), "2026-11-23T18:14:07.250Z");
    }

    #[test]
    fn local_time_without_a_zone_is_not_an_instant() {
        assert_eq!(Stamp::parse_rfc3339("2021-08-23T10:22:13"), None);
    }
}
