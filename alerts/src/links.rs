//! Signed acknowledge links: single-purpose, for one person and incident, and they expire.
//!
//! A token is base64url of expiry (4 bytes, minutes since 1970), incident (8 bytes without leading
//! zeros, after their count), person and the first 16 bytes of an HMAC-SHA256 over the purpose and
//! all of that: short, because it travels by SMS.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use model::Stamp;
use model::time::{DAY, MINUTE};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::Alerts;

/// How long a link is good for, milliseconds.
pub(crate) const GOOD_FOR: i64 = DAY;

const PURPOSE: &[u8] = b"gaswatch acknowledge 1\0";
const TAG: usize = 16;

/// What a good link stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckLink {
    pub incident: i64,
    pub person: String,
    pub expires: Stamp,
}

/// Why a link does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("this link is not one of ours")]
    Forged,
    #[error("this link has expired")]
    Expired,
}

impl Alerts {
    /// Checks the token of `/a/{token}`, in constant time.
    pub fn read_link(&self, token: &str) -> Result<AckLink, LinkError> {
        read(&self.settings().link_key, token, self.clock().now())
    }
}

impl AckLink {
    /// The token of this link. The expiry is rounded up to a minute.
    pub(crate) fn token(&self, key: &[u8; 32]) -> String {
        let minutes = u32::try_from((self.expires.0 + MINUTE - 1) / MINUTE).unwrap_or(u32::MAX);
        let incident = self.incident.to_be_bytes();
        let incident = &incident[incident.iter().take_while(|byte| **byte == 0).count()..];
        let mut token = minutes.to_be_bytes().to_vec();
        token.push(incident.len() as u8);
        token.extend_from_slice(incident);
        token.extend_from_slice(self.person.as_bytes());
        let tag = tag(key, &token);
        token.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(token)
    }
}

pub(crate) fn read(key: &[u8; 32], token: &str, now: Stamp) -> Result<AckLink, LinkError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| LinkError::Forged)?;
    let split = bytes.len().checked_sub(TAG).ok_or(LinkError::Forged)?;
    let (signed, given) = bytes.split_at(split);
    if !bool::from(tag(key, signed).ct_eq(given)) {
        return Err(LinkError::Forged);
    }
    let link = parse(signed).ok_or(LinkError::Forged)?;
    if now >= link.expires { Err(LinkError::Expired) } else { Ok(link) }
}

fn parse(signed: &[u8]) -> Option<AckLink> {
    let (minutes, rest) = signed.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first()?;
    let (incident, person) = rest.split_at_checked(usize::from(*length))?;
    let incident =
        incident.iter().try_fold(0_i64, |value, byte| value.checked_mul(256)?.checked_add(i64::from(*byte)))?;
    Some(AckLink {
        incident,
        person: String::from_utf8(person.to_vec()).ok()?,
        expires: Stamp(i64::from(u32::from_be_bytes(*minutes)) * MINUTE),
    })
}

fn tag(key: &[u8; 32], signed: &[u8]) -> [u8; TAG] {
    // HMAC fills a short key up with zeros; filled up here, no length can be wrong
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(PURPOSE);
    mac.update(signed);
    let mut short = [0; TAG];
    short.copy_from_slice(&mac.finalize().into_bytes()[..TAG]);
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const NOW: Stamp = Stamp(1_780_000_000_000);

    #[test]
    fn a_link_expires_and_another_key_does_not_open_it() {
        let link = AckLink { incident: 42, person: "p1".to_owned(), expires: NOW + GOOD_FOR };
        let token = link.token(&KEY);
        assert!(token.len() <= 36, "{token}");
        let read_at = |now| read(&KEY, &token, now);
        let expires = read_at(NOW).unwrap().expires;
        assert!((0..MINUTE).contains(&expires.since(link.expires)));
        assert!(read_at(expires - 1).is_ok());
        assert_eq!(read_at(expires), Err(LinkError::Expired));
        assert_eq!(read(&[8; 32], &token, NOW), Err(LinkError::Forged));
        assert_eq!(read(&KEY, "", NOW), Err(LinkError::Forged));
        assert_eq!(read(&KEY, "石井", NOW), Err(LinkError::Forged));
    }

    proptest! {
        #[test]
        fn links_come_back_as_made(incident in 0i64.., person in "\\PC{0,40}") {
            let token = AckLink { incident, person: person.clone(), expires: NOW + GOOD_FOR }.token(&KEY);
            let link = read(&KEY, &token, NOW).unwrap();
            prop_assert_eq!((link.incident, link.person), (incident, person));
        }

        #[test]
        fn any_changed_byte_is_a_forgery(incident in 0i64..1_000_000, place in any::<prop::sample::Index>(), flip in 1u8..) {
            let token = AckLink { incident, person: "p-17".to_owned(), expires: NOW + GOOD_FOR }.token(&KEY);
            let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
            *place.get_mut(&mut bytes) ^= flip;
            prop_assert_eq!(read(&KEY, &URL_SAFE_NO_PAD.encode(bytes), NOW), Err(LinkError::Forged));
        }
    }
}
