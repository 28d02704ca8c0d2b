//! The MQTT contract's topics, `gas/v1/...`, and topic filters.

use crate::id::{DeviceId, IdError};

pub const PREFIX: &str = "gas/v1/";

/// What a device topic carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// `sensors/{sensor}/readings`, sensor ->
    Readings,
    /// `sensors/{sensor}/status`, sensor ->, retained, also its will
    Status,
    /// `sensors/{sensor}/replies`, sensor ->
    Replies,
    /// `sensors/{sensor}/commands`, -> sensor
    Commands,
    /// `scanners/{scanner}/checks`, scanner ->
    Checks,
    /// `scanners/{scanner}/visits`, scanner ->
    Visits,
    /// `scanners/{scanner}/receipts`, -> scanner
    Receipts,
}

impl Channel {
    const ALL: [(Channel, &'static str, &'static str); 7] = [
        (Channel::Readings, "sensors", "readings"),
        (Channel::Status, "sensors", "status"),
        (Channel::Replies, "sensors", "replies"),
        (Channel::Commands, "sensors", "commands"),
        (Channel::Checks, "scanners", "checks"),
        (Channel::Visits, "scanners", "visits"),
        (Channel::Receipts, "scanners", "receipts"),
    ];

    /// True where the device sends, false where it is sent to.
    pub fn is_from_device(self) -> bool {
        !matches!(self, Channel::Commands | Channel::Receipts)
    }

    /// The full topic of this channel for one device.
    pub fn topic(self, id: &DeviceId) -> String {
        let (_, family, leaf) = Channel::ALL[self as usize];
        format!("{PREFIX}{family}/{id}/{leaf}")
    }
}

/// A parsed device topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic<'a> {
    pub channel: Channel,
    pub id: &'a str,
}

/// Why a topic name cannot be used at all, by anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    #[error("the topic is empty")]
    Empty,
    #[error("the topic has {0} bytes, at most 256 are allowed")]
    TooLong(usize),
    #[error("the topic has {0:?}; only printable ASCII is allowed")]
    Character(char),
    #[error("the topic has {0:?}, which is for filters only")]
    Wildcard(char),
    #[error("{0:?} may only stand alone as a level, and # only as the last one")]
    MisplacedWildcard(char),
}

const MOST_BYTES: usize = 256;

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MOST_BYTES {
        return Err(TopicError::TooLong(text.len()));
    }
    match text.chars().find(|c| !(' '..='~').contains(c)) {
        Some(bad) => Err(TopicError::Character(bad)),
        None => Ok(()),
    }
}

/// Checks the grammar of a topic name to publish to: 1-256 bytes of printable ASCII, no wildcard.
///
/// # Errors
/// [`TopicError`] says what is wrong.
pub fn check_name(name: &str) -> Result<(), TopicError> {
    check_text(name)?;
    match name.chars().find(|c| matches!(c, '+' | '#')) {
        Some(wildcard) => Err(TopicError::Wildcard(wildcard)),
        None => Ok(()),
    }
}

/// Checks the grammar of a topic filter to subscribe with. `$share/...` is not looked into.
///
/// # Errors
/// [`TopicError`] says what is wrong.
pub fn check_filter(filter: &str) -> Result<(), TopicError> {
    check_text(filter)?;
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if let Some(wildcard) = level.chars().find(|c| matches!(c, '+' | '#')) {
            let is_alone = level.len() == 1;
            let is_last = levels.peek().is_none();
            if !is_alone || (wildcard == '#' && !is_last) {
                return Err(TopicError::MisplacedWildcard(wildcard));
            }
        }
    }
    Ok(())
}

impl<'a> Topic<'a> {
    /// Finds the device channel a topic name means, or `None` for any other topic. The id is only
    /// cut out: whoever needs a [`DeviceId`] calls [`Topic::device`].
    pub fn parse(name: &'a str) -> Option<Topic<'a>> {
        let mut levels = name.strip_prefix(PREFIX)?.split('/');
        let (family, id, leaf) = (levels.next()?, levels.next()?, levels.next()?);
        if levels.next().is_some() || id.is_empty() {
            return None;
        }
        Channel::ALL
            .into_iter()
            .find(|(_, its_family, its_leaf)| *its_family == family && *its_leaf == leaf)
            .map(|(channel, _, _)| Topic { channel, id })
    }

    /// # Errors
    /// [`IdError`] when the id level is no device id.
    pub fn device(&self) -> Result<DeviceId, IdError> {
        DeviceId::new(self.id)
    }
}

/// True when `filter` takes messages published to `name`. As MQTT says, a wildcard in the first
/// level does not match topics that begin with `$`.
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        match (level, names.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// True when every topic that `asked` can match is also matched by `granted`.
pub fn covers(granted: &str, asked: &str) -> bool {
    if asked.starts_with('$') && granted.starts_with(['+', '#']) {
        return false;
    }
    let mut asked_levels = asked.split('/');
    for level in granted.split('/') {
        match (level, asked_levels.next()) {
            ("#", _) => return true,
            ("+", Some(asked)) if asked != "#" => {}
            (level, Some(asked)) if level == asked => {}
            _ => return false,
        }
    }
    asked_levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_channel_survives_the_round_trip() {
        let id = DeviceId::new("S1").unwrap();
        for (channel, _, _) in Channel::ALL {
            let name = channel.topic(&id);
            assert_eq!(Topic::parse(&name), Some(Topic { channel, id: "S1" }), "{name}");
        }
    }

    #[test]
    fn neighbours_of_a_device_topic_are_not_device_topics() {
        for name in [
            "gas/v1/sensors/S1",
            "gas/v1/sensors/S1/readings/x",
            "gas/v1/sensors//readings",
            "gas/v2/sensors/S1/readings",
            "gas/v1/scanners/S1/readings",
            "/gas/v1/sensors/S1/readings",
        ] {
            assert_eq!(Topic::parse(name), None, "{name}");
        }
    }

    #[test]
    fn grammar_names_the_offending_character() {
        assert_eq!(check_name("气/x"), Err(TopicError::Character('气')));
        assert_eq!(check_name("a\u{0}b"), Err(TopicError::Character('\u{0}')));
        assert_eq!(check_name("a/+/b"), Err(TopicError::Wildcard('+')));
        assert_eq!(check_filter("a/+b"), Err(TopicError::MisplacedWildcard('+')));
        assert_eq!(check_filter("a/#/b"), Err(TopicError::MisplacedWildcard('#')));
        assert_eq!(check_filter("a/+/#"), Ok(()));
    }

    #[test]
    fn matching_follows_the_mqtt_examples() {
        assert!(matches("sport/tennis/player1/#", "sport/tennis/player1"));
        assert!(matches("sport/+", "sport/"));
        assert!(!matches("sport/+", "sport"));
        assert!(!matches("#", "$SYS/x"));
        assert!(matches("$SYS/#", "$SYS/x"));
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "+"])
    }

    fn filter() -> impl Strategy<Value = String> {
        (prop::collection::vec(level(), 1..4), any::<bool>()).prop_map(|(levels, open)| {
            let mut text = levels.join("/");
            if open {
                text.push_str("/#");
            }
            text
        })
    }

    proptest! {
        /// The promise behind every SUBSCRIBE check: nothing outside the grant can be received.
        #[test]
        fn what_is_covered_is_matched(granted in filter(), asked in filter(),
                                      name in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..5)) {
            let name = name.join("/");
            if covers(&granted, &asked) && matches(&asked, &name) {
                prop_assert!(matches(&granted, &name), "{granted} should match {name}");
            }
        }

        #[test]
        fn grammar_never_panics(text in ".*") {
            let _ = check_name(&text);
            let _ = check_filter(&text);
            let _ = Topic::parse(&text);
        }
    }
}
