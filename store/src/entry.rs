//! What the journal holds.

use bytes::Bytes;
use model::decode::RejectCode;
use model::{DeviceId, Reading, Stamp};
use smol_str::SmolStr;

/// One message as the front door took it. Everything that changes the world enters as an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Decoded readings of one message.
    Readings { sensor: DeviceId, received: Stamp, readings: Vec<Reading> },
    /// A message on another device channel, raw: status, replies, checks, visits.
    Message { client: DeviceId, topic: SmolStr, received: Stamp, payload: Bytes },
    /// A message, or the part of one, that could not be understood: for quarantine.
    Rejected { client: DeviceId, topic: SmolStr, received: Stamp, payload: Bytes, code: RejectCode, detail: String },
}
