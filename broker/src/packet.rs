//! Packets as they come off the wire.
//!
//! PUBLISH, PUBACK and DISCONNECT are read here, in place; CONNECT, SUBSCRIBE and UNSUBSCRIBE go
//! through rumqttd's codecs, which see one complete packet of exactly one of these types and nothing
//! else (they panic on CONNACK, for one). Whatever they object to is malformed.

use std::num::NonZeroU16;

use bytes::BytesMut;
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{self, Protocol, RetainForwardRule};

/// Told apart by the level byte in CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V5,
}

/// What a client did that ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    #[error("topic name not valid")]
    TopicName,
    #[error("topic alias, of which none is allowed")]
    TopicAlias,
    #[error("packet too large")]
    TooLarge,
    #[error("QoS 2 is not supported")]
    QoS2,
    #[error("subscription identifiers are not supported")]
    SubscriptionId,
}

impl Fault {
    /// The MQTT 5 reason code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Fault::Malformed(_) => 0x81,
            Fault::Protocol(_) => 0x82,
            Fault::TopicName => 0x90,
            Fault::TopicAlias => 0x94,
            Fault::TooLarge => 0x95,
            Fault::QoS2 => 0x9B,
            Fault::SubscriptionId => 0xA1,
        }
    }
}

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const UNSUBSCRIBE: u8 = 10;
pub(crate) const PINGREQ: u8 = 12;
pub(crate) const DISCONNECT: u8 = 14;

/// One complete packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Type and flags.
    pub(crate) first: u8,
    /// Without the fixed header.
    pub(crate) body: &'a [u8],
    pub(crate) whole: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The packet at the start of `bytes`, or `None` while it is not complete. `most` is the largest
    /// packet allowed, in bytes; a larger one is a fault as soon as its header is there.
    pub(crate) fn next(bytes: &'a [u8], most: usize) -> Result<Option<Frame<'a>>, Fault> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let mut cursor = Cursor(rest);
        let length = match cursor.varint() {
            Some(length) => length,
            None if rest.len() < 4 => return Ok(None),
            None => return Err(Fault::Malformed("remaining length")),
        };
        let header = bytes.len() - cursor.0.len();
        if header + length > most {
            return Err(Fault::TooLarge);
        }
        Ok(bytes.get(..header + length).map(|whole| Frame { first, body: &whole[header..], whole }))
    }

    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// Checks the flags of a type that has fixed ones.
    pub(crate) fn expect_flags(&self, flags: u8) -> Result<(), Fault> {
        if self.first & 0x0F == flags { Ok(()) } else { Err(Fault::Malformed("flags of the fixed header")) }
    }
}

/// Reads from the front; `None` where the bytes end too early.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Bytes behind a two-byte length.
    fn binary(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A variable byte integer of at most four bytes.
    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for place in 0..4 {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// A PUBLISH of QoS 0 or 1, still in the read buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    /// Present with QoS 1.
    pub(crate) id: Option<NonZeroU16>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Publish<'a> {
    pub(crate) fn parse(frame: &Frame<'a>, version: Version) -> Result<Publish<'a>, Fault> {
        const CUT: Fault = Fault::Malformed("PUBLISH ends too early");
        let mut cursor = Cursor(frame.body);
        let topic = str::from_utf8(cursor.binary().ok_or(CUT)?).map_err(|_| Fault::Malformed("topic is not UTF-8"))?;
        let id = match (frame.first >> 1) & 3 {
            0 => None,
            1 => {
                let id = NonZeroU16::new(cursor.u16().ok_or(CUT)?);
                Some(id.ok_or(Fault::Malformed("packet identifier 0"))?)
            }
            2 => return Err(Fault::QoS2),
            _ => return Err(Fault::Malformed("QoS 3")),
        };
        if version == Version::V5 {
            let length = cursor.varint().ok_or(CUT)?;
            check_properties(cursor.take(length).ok_or(CUT)?)?;
        }
        Ok(Publish { topic, id, payload: cursor.0 })
    }
}

/// Walks over the properties of a PUBLISH. None of them means anything to us.
fn check_properties(properties: &[u8]) -> Result<(), Fault> {
    const BAD: Fault = Fault::Malformed("PUBLISH properties");
    let mut cursor = Cursor(properties);
    while let Some(property) = cursor.u8() {
        match property {
            // payload format indicator
            0x01 => cursor.take(1).map(drop),
            // message expiry interval
            0x02 => cursor.take(4).map(drop),
            // content type, response topic
            0x03 | 0x08 => cursor.binary().filter(|text| str::from_utf8(text).is_ok()).map(drop),
            // correlation data
            0x09 => cursor.binary().map(drop),
            // user property
            0x26 => cursor.binary().and_then(|_| cursor.binary()).map(drop),
            0x23 => return Err(Fault::TopicAlias),
            0x0B => return Err(Fault::Protocol("a client must not send a subscription identifier")),
            _ => None,
        }
        .ok_or(BAD)?;
    }
    Ok(())
}

/// The packet identifier of a PUBACK.
pub(crate) fn puback_id(body: &[u8]) -> Result<u16, Fault> {
    Cursor(body).u16().ok_or(Fault::Malformed("PUBACK ends too early"))
}

/// True when the client asks for its will not to be published.
pub(crate) fn disconnect_is_normal(body: &[u8]) -> bool {
    body.first().is_none_or(|reason| *reason == 0)
}

/// CONNECT, as far as we use it.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: String,
    /// Seconds; 0 is none.
    pub(crate) keep_alive: u16,
    pub(crate) clean_start: bool,
    pub(crate) will: Option<protocol::LastWill>,
    /// How many unacknowledged QoS 1 packets the client takes.
    pub(crate) receive_maximum: u16,
    /// The largest packet the client takes, in bytes.
    pub(crate) most_packet: usize,
    /// Whether reason strings are welcome.
    pub(crate) wants_reasons: bool,
    pub(crate) has_authentication_method: bool,
}

/// A CONNECT that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadConnect {
    /// A protocol level we do not speak; the version says in which form to answer.
    Level(Version),
    Fault(Fault),
}

impl From<Fault> for BadConnect {
    fn from(fault: Fault) -> BadConnect {
        BadConnect::Fault(fault)
    }
}

impl Connect {
    pub(crate) fn parse(frame: &Frame<'_>) -> Result<Connect, BadConnect> {
        const CUT: Fault = Fault::Malformed("CONNECT ends too early");
        frame.expect_flags(0)?;
        let mut cursor = Cursor(frame.body);
        let name = cursor.binary().ok_or(CUT)?;
        let level = cursor.u8().ok_or(CUT)?;
        let version = match (name, level) {
            (b"MQTT", 4) => Version::V4,
            (b"MQTT", 5) => Version::V5,
            (b"MQTT", 6..) => return Err(BadConnect::Level(Version::V5)),
            (b"MQTT" | b"MQIsdp", _) => return Err(BadConnect::Level(Version::V4)),
            _ => return Err(Fault::Protocol("this is not MQTT").into()),
        };
        let flags = cursor.u8().ok_or(CUT)?;
        if flags & 1 != 0 {
            return Err(Fault::Malformed("reserved CONNECT flag").into());
        }
        if version == Version::V4 && flags & 0xC0 == 0x40 {
            return Err(Fault::Malformed("a password without a user name").into());
        }
        let protocol::Packet::Connect(connect, properties, will, _, login) = through_codec(frame, version)? else {
            return Err(Fault::Malformed("CONNECT").into());
        };
        let (username, password) = login.map(|login| (login.username, login.password)).unwrap_or_default();
        let receive_maximum = properties.as_ref().and_then(|p| p.receive_maximum).unwrap_or(u16::MAX);
        let most_packet = properties.as_ref().and_then(|p| p.max_packet_size).unwrap_or(u32::MAX);
        if receive_maximum == 0 || most_packet == 0 {
            return Err(Fault::Protocol("a limit of 0 in CONNECT").into());
        }
        Ok(Connect {
            version,
            client_id: connect.client_id,
            username: (flags & 0x80 != 0).then_some(username),
            password,
            keep_alive: connect.keep_alive,
            clean_start: connect.clean_session,
            will,
            receive_maximum,
            most_packet: most_packet as usize,
            wants_reasons: version == Version::V5
                && properties.as_ref().and_then(|p| p.request_problem_info).unwrap_or(1) != 0,
            has_authentication_method: properties.is_some_and(|p| p.authentication_method.is_some()),
        })
    }
}

/// SUBSCRIBE.
#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) id: u16,
    pub(crate) filters: Vec<Asked>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) filter: String,
    pub(crate) qos: u8,
    pub(crate) retained: RetainForwardRule,
}

impl Subscribe {
    pub(crate) fn parse(frame: &Frame<'_>, version: Version) -> Result<Subscribe, Fault> {
        frame.expect_flags(2)?;
        let protocol::Packet::Subscribe(subscribe, properties) = through_codec(frame, version)? else {
            return Err(Fault::Malformed("SUBSCRIBE"));
        };
        if properties.is_some_and(|properties| properties.id.is_some()) {
            return Err(Fault::SubscriptionId);
        }
        let filters = subscribe
            .filters
            .into_iter()
            .map(|one| Asked { filter: one.path, qos: one.qos as u8, retained: one.retain_forward_rule })
            .collect();
        Ok(Subscribe { id: not_zero(subscribe.pkid)?, filters })
    }
}

/// UNSUBSCRIBE.
#[derive(Debug)]
pub(crate) struct Unsubscribe {
    pub(crate) id: u16,
    pub(crate) filters: Vec<String>,
}

impl Unsubscribe {
    pub(crate) fn parse(frame: &Frame<'_>, version: Version) -> Result<Unsubscribe, Fault> {
        frame.expect_flags(2)?;
        let protocol::Packet::Unsubscribe(unsubscribe, _) = through_codec(frame, version)? else {
            return Err(Fault::Malformed("UNSUBSCRIBE"));
        };
        if unsubscribe.filters.is_empty() {
            return Err(Fault::Protocol("UNSUBSCRIBE without a filter"));
        }
        Ok(Unsubscribe { id: not_zero(unsubscribe.pkid)?, filters: unsubscribe.filters })
    }
}

fn not_zero(id: u16) -> Result<u16, Fault> {
    if id == 0 { Err(Fault::Malformed("packet identifier 0")) } else { Ok(id) }
}

fn through_codec(frame: &Frame<'_>, version: Version) -> Result<protocol::Packet, Fault> {
    if !matches!(frame.kind(), CONNECT | SUBSCRIBE | UNSUBSCRIBE) {
        return Err(Fault::Protocol("packet type"));
    }
    let mut bytes = BytesMut::from(frame.whole);
    let size = bytes.len();
    match version {
        Version::V4 => V4.read_mut(&mut bytes, size),
        Version::V5 => V5.read_mut(&mut bytes, size),
    }
    .map_err(|error| {
        tracing::debug!(%error, "codec");
        Fault::Malformed(match frame.kind() {
            CONNECT => "CONNECT",
            SUBSCRIBE => "SUBSCRIBE",
            _ => "UNSUBSCRIBE",
        })
    })
}

#[cfg(test)]
mod tests;
