//! Who may publish and subscribe to what. Deny by default.

use serde::{Deserialize, Serialize};

use crate::id::DeviceId;
use crate::topic::{self, Channel, Topic, TopicError};

/// What kind of client a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Sensor,
    Scanner,
    /// Another system that listens, within the filters its credential lists.
    Integration,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Sensor, Role::Scanner, Role::Integration];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Sensor => "sensor",
            Role::Scanner => "scanner",
            Role::Integration => "integration",
        }
    }

    pub fn parse(text: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// An authenticated client's rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    pub id: DeviceId,
    pub role: Role,
    /// What an integration may subscribe to; empty for devices.
    pub filters: Vec<String>,
}

/// Why a PUBLISH or SUBSCRIBE is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Grammar(#[from] TopicError),
    #[error("{id} ({role}) has no right to this topic", role = .role.as_str())]
    NotAllowed { id: DeviceId, role: Role },
    #[error("shared subscriptions are not for devices")]
    SharedByDevice,
}

impl Rights {
    /// The device channel that this client may publish to under `name`.
    ///
    /// # Errors
    /// [`Refusal`], with words fit for an MQTT 5 reason string.
    pub fn publish(&self, name: &str) -> Result<Channel, Refusal> {
        topic::check_name(name)?;
        match Topic::parse(name) {
            Some(topic) if topic.channel.is_from_device() && self.owns(&topic) => Ok(topic.channel),
            _ => Err(self.denied()),
        }
    }

    /// Whether this client may subscribe with `filter`.
    ///
    /// # Errors
    /// [`Refusal`], with words fit for an MQTT 5 reason string.
    pub fn subscribe(&self, filter: &str) -> Result<(), Refusal> {
        topic::check_filter(filter)?;
        let is_device = self.role != Role::Integration;
        let plain = match filter.strip_prefix("$share/") {
            Some(_) if is_device => return Err(Refusal::SharedByDevice),
            Some(shared) => match shared.split_once('/') {
                Some((group, plain)) if !group.is_empty() && !group.contains(['+', '#']) && !plain.is_empty() => plain,
                _ => return Err(self.denied()),
            },
            None => filter,
        };
        let allowed = if is_device {
            Topic::parse(plain).is_some_and(|topic| !topic.channel.is_from_device() && self.owns(&topic))
        } else {
            self.filters.iter().any(|granted| topic::covers(granted, plain))
        };
        if allowed { Ok(()) } else { Err(self.denied()) }
    }

    fn owns(&self, topic: &Topic<'_>) -> bool {
        let family = match topic.channel {
            Channel::Readings | Channel::Status | Channel::Replies | Channel::Commands => Role::Sensor,
            Channel::Checks | Channel::Visits | Channel::Receipts => Role::Scanner,
        };
        self.role == family && topic.id == self.id.as_str()
    }

    fn denied(&self) -> Refusal {
        Refusal::NotAllowed { id: self.id.clone(), role: self.role }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rights(role: Role, filters: &[&str]) -> Rights {
        Rights { id: DeviceId::new("S1").unwrap(), role, filters: filters.iter().map(|f| (*f).to_owned()).collect() }
    }

    #[test]
    fn a_sensor_speaks_under_its_own_name_only() {
        let sensor = rights(Role::Sensor, &[]);
        assert_eq!(sensor.publish("gas/v1/sensors/S1/readings"), Ok(Channel::Readings));
        assert_eq!(sensor.publish("gas/v1/sensors/S1/status"), Ok(Channel::Status));
        for name in [
            "gas/v1/sensors/S2/readings",
            "gas/v1/sensors/S1/commands",
            "gas/v1/scanners/S1/visits",
            "gas/v1/incidents/a/1",
            "$SYS/x",
            "x",
        ] {
            assert!(matches!(sensor.publish(name), Err(Refusal::NotAllowed { .. })), "{name}");
        }
        assert!(matches!(sensor.publish("气体/S1"), Err(Refusal::Grammar(_))));
    }

    #[test]
    fn a_sensor_hears_its_own_commands_only() {
        let sensor = rights(Role::Sensor, &[]);
        assert_eq!(sensor.subscribe("gas/v1/sensors/S1/commands"), Ok(()));
        for filter in ["gas/v1/sensors/+/commands", "#", "gas/v1/sensors/S1/readings", "gas/v1/sensors/S1/#"] {
            assert!(sensor.subscribe(filter).is_err(), "{filter}");
        }
        assert_eq!(sensor.subscribe("$share/g/gas/v1/sensors/S1/commands"), Err(Refusal::SharedByDevice));
    }

    #[test]
    fn an_integration_hears_what_its_credential_lists_and_never_publishes() {
        let integration = rights(Role::Integration, &["gas/v1/sensors/+/readings"]);
        assert_eq!(integration.subscribe("gas/v1/sensors/+/readings"), Ok(()));
        assert_eq!(integration.subscribe("gas/v1/sensors/S9/readings"), Ok(()));
        assert_eq!(integration.subscribe("$share/g/gas/v1/sensors/+/readings"), Ok(()));
        assert!(integration.subscribe("gas/v1/sensors/#").is_err());
        assert!(integration.subscribe("$share/+/gas/v1/sensors/+/readings").is_err());
        assert!(integration.subscribe("$share/g").is_err());
        assert!(integration.publish("gas/v1/sensors/S1/readings").is_err());
    }

    proptest! {
        #[test]
        fn a_sensor_can_publish_to_exactly_three_topics(name in "gas/v1/(sensors|scanners)/S[12]/(readings|status|replies|commands|checks|visits|receipts)") {
            let allowed = ["gas/v1/sensors/S1/readings", "gas/v1/sensors/S1/status", "gas/v1/sensors/S1/replies"];
            prop_assert_eq!(rights(Role::Sensor, &[]).publish(&name).is_ok(), allowed.contains(&name.as_str()));
        }
    }
}
