//! Packets that the server sends.
//!
//! Written here and not by rumqttd's codecs: those panic on a code that MQTT 3.1.1 does not have and
//! on properties towards a 3.1.1 client, write a wrong length for DISCONNECT, and cannot make a
//! PUBLISH of QoS 1.

use crate::packet::Version;

/// Longest text put into a reason string, bytes.
const LONGEST_REASON: usize = 200;

fn varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn varint_size(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    varint(out, body.len());
    out.extend_from_slice(body);
}

/// Reason string property: no control characters, cut at [`LONGEST_REASON`].
fn reason_property(words: &str) -> Vec<u8> {
    let mut text = String::new();
    for character in words.chars().filter(|character| !character.is_control()) {
        if text.len() + character.len_utf8() > LONGEST_REASON {
            break;
        }
        text.push(character);
    }
    let mut property = vec![0x1F];
    binary(&mut property, text.as_bytes());
    property
}

/// What a version 5 client is told about the server with a successful CONNACK.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) receive_maximum: u16,
    pub(crate) most_packet: u32,
    pub(crate) assigned_id: Option<&'a str>,
    /// Seconds, when it is not what the client asked for.
    pub(crate) keep_alive: Option<u16>,
    /// Retained messages, wildcard and shared subscriptions.
    pub(crate) for_integrations: bool,
}

pub(crate) fn connack_v4(out: &mut Vec<u8>, code: u8) {
    packet(out, 0x20, &[0, code]);
}

pub(crate) fn connack_v5(out: &mut Vec<u8>, offer: &Offer<'_>) {
    let available = u8::from(offer.for_integrations);
    let mut properties = Vec::with_capacity(64);
    // session expiry interval, receive maximum, maximum QoS, retain available
    properties.extend_from_slice(&[0x11, 0, 0, 0, 0]);
    properties.push(0x21);
    properties.extend_from_slice(&offer.receive_maximum.to_be_bytes());
    properties.extend_from_slice(&[0x24, 1, 0x25, available]);
    // maximum packet size, topic alias maximum
    properties.push(0x27);
    properties.extend_from_slice(&offer.most_packet.to_be_bytes());
    properties.extend_from_slice(&[0x22, 0, 0]);
    // wildcard subscriptions, subscription identifiers, shared subscriptions
    properties.extend_from_slice(&[0x28, available, 0x29, 0, 0x2A, available]);
    if let Some(id) = offer.assigned_id {
        properties.push(0x12);
        binary(&mut properties, id.as_bytes());
    }
    if let Some(seconds) = offer.keep_alive {
        properties.push(0x13);
        properties.extend_from_slice(&seconds.to_be_bytes());
    }
    let mut body = vec![0, 0];
    varint(&mut body, properties.len());
    body.extend_from_slice(&properties);
    packet(out, 0x20, &body);
}

pub(crate) fn connack_v5_refusal(out: &mut Vec<u8>, code: u8, words: &str) {
    let property = reason_property(words);
    let mut body = vec![0, code];
    varint(&mut body, property.len());
    body.extend_from_slice(&property);
    packet(out, 0x20, &body);
}

/// An accepting PUBACK, the same in both versions.
pub(crate) fn puback(out: &mut Vec<u8>, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[0x40, 2, high, low]);
}

/// A version 5 PUBACK that refuses.
pub(crate) fn puback_refusal(out: &mut Vec<u8>, id: u16, code: u8, words: Option<&str>) {
    let property = words.map(reason_property).unwrap_or_default();
    let mut body = id.to_be_bytes().to_vec();
    body.push(code);
    varint(&mut body, property.len());
    body.extend_from_slice(&property);
    packet(out, 0x40, &body);
}

pub(crate) fn suback(out: &mut Vec<u8>, version: Version, id: u16, codes: &[u8]) {
    acknowledge_filters(out, 0x90, version, id, codes);
}

/// `codes` are left out towards a version 4 client, which has none.
pub(crate) fn unsuback(out: &mut Vec<u8>, version: Version, id: u16, codes: &[u8]) {
    let codes = if version == Version::V4 { &[] } else { codes };
    acknowledge_filters(out, 0xB0, version, id, codes);
}

fn acknowledge_filters(out: &mut Vec<u8>, first: u8, version: Version, id: u16, codes: &[u8]) {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(codes);
    packet(out, first, &body);
}

pub(crate) fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xD0, 0]);
}

/// A server's DISCONNECT, which only version 5 has.
pub(crate) fn disconnect(out: &mut Vec<u8>, code: u8, words: &str) {
    let property = reason_property(words);
    let mut body = vec![code];
    varint(&mut body, property.len());
    body.extend_from_slice(&property);
    packet(out, 0xE0, &body);
}

/// A PUBLISH; `id` makes it QoS 1.
pub(crate) fn publish(
    out: &mut Vec<u8>,
    version: Version,
    topic: &[u8],
    payload: &[u8],
    id: Option<u16>,
    retained: bool,
) {
    out.push(0x30 | if id.is_some() { 2 } else { 0 } | u8::from(retained));
    varint(out, publish_body_size(version, topic.len(), payload.len(), id.is_some()));
    binary(out, topic);
    if let Some(id) = id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    if version == Version::V5 {
        out.push(0);
    }
    out.extend_from_slice(payload);
}

fn publish_body_size(version: Version, topic: usize, payload: usize, has_id: bool) -> usize {
    2 + topic + usize::from(has_id) * 2 + usize::from(version == Version::V5) + payload
}

/// Size of the whole packet that [`publish`] writes, bytes.
pub(crate) fn publish_size(version: Version, topic: usize, payload: usize, has_id: bool) -> usize {
    let body = publish_body_size(version, topic, payload, has_id);
    1 + varint_size(body) + body
}
