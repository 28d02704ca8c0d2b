//! Ids that devices sign in with.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Id of a sensor, scanner or integration: `[A-Za-z0-9_-]{1,64}`. It is also its MQTT client id and
/// user name, and a level of its topics, so nothing that MQTT or a path gives a meaning is allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct DeviceId(SmolStr);

/// Why a text is no [`DeviceId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("the id is empty")]
    Empty,
    #[error("the id has {0} characters, at most 64 are allowed")]
    TooLong(usize),
    #[error("the id has {0:?}, only A-Z a-z 0-9 _ - are allowed")]
    Character(char),
}

impl DeviceId {
    /// # Errors
    /// [`IdError`] says which rule the text breaks.
    pub fn new(text: &str) -> Result<DeviceId, IdError> {
        check(text)?;
        Ok(DeviceId(SmolStr::new(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '-')) {
        return Err(IdError::Character(bad));
    }
    if text.len() > 64 {
        return Err(IdError::TooLong(text.len()));
    }
    Ok(())
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for DeviceId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for DeviceId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<DeviceId, IdError> {
        DeviceId::new(text)
    }
}

impl TryFrom<SmolStr> for DeviceId {
    type Error = IdError;
    fn try_from(text: SmolStr) -> Result<DeviceId, IdError> {
        check(&text)?;
        Ok(DeviceId(text))
    }
}

impl From<DeviceId> for SmolStr {
    fn from(id: DeviceId) -> SmolStr {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_characters_pass() {
        assert!(DeviceId::new("S-440111_0007").is_ok());
        assert!(DeviceId::new(&"a".repeat(64)).is_ok());
        assert_eq!(DeviceId::new(""), Err(IdError::Empty));
        assert_eq!(DeviceId::new(&"a".repeat(65)), Err(IdError::TooLong(65)));
        assert_eq!(DeviceId::new("a/b"), Err(IdError::Character('/')));
        assert_eq!(DeviceId::new("传感器"), Err(IdError::Character('传')));
        assert!(serde_json::from_str::<DeviceId>("\"a+b\"").is_err());
    }
}
