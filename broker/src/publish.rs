//! The main path, from socket to journal to acknowledgement.
//!
//! [`Session::read`] takes every whole packet from the bytes of one read, checks rights, decodes
//! payloads and gathers what is to be journalled, with the acknowledgements in the order of the
//! PUBLISH packets, refusing ones among them. The connection appends the batch to the journal at
//! once, goes on reading, and sends the acknowledgements when the batch is on disk
//! ([`Pending::poll`]). Nothing is acknowledged that is not on disk, but for one case: see
//! [`Session::refuse`].

use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use model::Stamp;
use model::decode::{self, Reject};
use model::rights::{Refusal, Rights};
use model::topic::Channel;
use smol_str::SmolStr;
use store::{Entry, StoreError};

use crate::Shared;
use crate::directory::Mailbox;
use crate::encode;
use crate::end::End;
use crate::intake::Durable;
use crate::packet::{self, Fault, Frame, Publish, Subscribe, Unsubscribe, Version};
use crate::router::LiveCopy;

/// Rejects named in a quarantine entry; the others are counted only.
const MOST_REJECTS_NAMED: usize = 8;

/// Who is connected, and what it can take.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) rights: Arc<Rights>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) version: Version,
    pub(crate) receive_maximum: u16,
    pub(crate) most_packet: usize,
    pub(crate) wants_reasons: bool,
    /// PUBLISH packets refused so far.
    pub(crate) refusals: u32,
}

/// What one read brought.
#[derive(Default)]
pub(crate) struct Batch {
    /// Whole packets seen.
    pub(crate) packets: usize,
    pub(crate) entries: Vec<Entry>,
    /// Encoded PUBACKs.
    pub(crate) acks: Vec<u8>,
    pub(crate) live: Vec<LiveCopy>,
    pub(crate) requests: Vec<Request>,
    /// The connection ends after all this.
    pub(crate) end: Option<End>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    publishes: u64,
    readings: u64,
    rejected: u64,
    acks: u64,
}

/// Anything but a PUBLISH.
#[derive(Debug)]
pub(crate) enum Request {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Ping,
    Acknowledged(u16),
}

/// A batch on its way to disk.
pub(crate) struct Pending {
    /// `None` where nothing was to be journalled.
    pub(crate) durable: Option<Durable>,
    pub(crate) acks: Vec<u8>,
    pub(crate) live: Vec<LiveCopy>,
}

impl Pending {
    /// Ready when the batch is on disk.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        if let Some(durable) = &mut self.durable {
            ready!(durable.as_mut().poll(cx))?;
            self.durable = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl Session {
    /// Takes all whole packets from `bytes`; also says how many bytes those had.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> (usize, Batch) {
        let received = self.shared.clock.now();
        let mut batch = Batch::default();
        let mut used = 0;
        while batch.end.is_none() {
            let taken = match Frame::next(&bytes[used..], self.shared.settings.most_packet) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    used += frame.whole.len();
                    batch.packets += 1;
                    self.packet(&frame, received, &mut batch)
                }
                Err(fault) => Err(fault),
            };
            if let Err(fault) = taken {
                batch.end = Some(End::Fault(fault));
            }
        }
        let (counts, tally) = (&batch.counts, &self.shared.tally);
        if counts.publishes > 0 {
            tally.publishes.add(counts.publishes);
            tally.readings.add(counts.readings);
            tally.rejected.add(counts.rejected);
        }
        if counts.acks > 0 {
            tally.acks.add(counts.acks);
        }
        (used, batch)
    }

    fn packet(&mut self, frame: &Frame<'_>, received: Stamp, batch: &mut Batch) -> Result<(), Fault> {
        match frame.kind() {
            packet::PUBLISH => return self.publish(&Publish::parse(frame, self.version)?, received, batch),
            packet::PUBACK => {
                frame.expect_flags(0)?;
                batch.requests.push(Request::Acknowledged(packet::puback_id(frame.body)?));
            }
            packet::PINGREQ => {
                frame.expect_flags(0)?;
                batch.requests.push(Request::Ping);
            }
            packet::SUBSCRIBE => batch.requests.push(Request::Subscribe(Subscribe::parse(frame, self.version)?)),
            packet::UNSUBSCRIBE => batch.requests.push(Request::Unsubscribe(Unsubscribe::parse(frame, self.version)?)),
            packet::DISCONNECT => {
                frame.expect_flags(0)?;
                let is_normal = self.version == Version::V4 || packet::disconnect_is_normal(frame.body);
                batch.end = Some(if is_normal { End::Disconnected } else { End::DisconnectedWithWill });
            }
            packet::CONNECT => return Err(Fault::Protocol("a second CONNECT")),
            _ => return Err(Fault::Protocol("a packet type that is not for clients, or not supported")),
        }
        Ok(())
    }

    fn publish(&mut self, publish: &Publish<'_>, received: Stamp, batch: &mut Batch) -> Result<(), Fault> {
        let refusal = match self.rights.publish(publish.topic) {
            Ok(Channel::Readings) => self.readings(publish, received, batch),
            Ok(_) => {
                batch.entries.push(Entry::Message {
                    client: self.rights.id.clone(),
                    topic: SmolStr::new(publish.topic),
                    received,
                    payload: Bytes::copy_from_slice(publish.payload),
                });
                None
            }
            Err(refusal) => return self.refuse(publish, &refusal, batch),
        };
        batch.counts.publishes += 1;
        if refusal.is_none() && self.shared.router.has_listeners() {
            batch.live.push(LiveCopy {
                topic: Bytes::copy_from_slice(publish.topic.as_bytes()),
                payload: Bytes::copy_from_slice(publish.payload),
                qos: u8::from(publish.id.is_some()),
            });
        }
        self.acknowledge(publish.id, refusal.as_ref().map(|words| (0x99, words.as_str())), batch);
        Ok(())
    }

    /// Decodes a payload of readings. What was not understood is journalled for quarantine, in one
    /// entry per message. Returns words for the client when nothing was understood.
    fn readings(&self, publish: &Publish<'_>, received: Stamp, batch: &mut Batch) -> Option<String> {
        let decoded = decode::readings(publish.payload, received);
        let has_readings = !decoded.readings.is_empty();
        if has_readings {
            batch.counts.readings += decoded.readings.len() as u64;
            batch.entries.push(Entry::Readings {
                sensor: self.rights.id.clone(),
                received,
                readings: decoded.readings,
            });
        }
        let first = decoded.rejects.first()?;
        batch.counts.rejected += 1;
        batch.entries.push(Entry::Rejected {
            client: self.rights.id.clone(),
            topic: SmolStr::new(publish.topic),
            received,
            payload: Bytes::copy_from_slice(publish.payload),
            code: first.code,
            detail: words_for(&decoded.rejects),
        });
        (!has_readings).then(|| first.to_string())
    }

    /// A topic that this client must not use. Nothing is journalled.
    ///
    /// A version 5 client is told so, in the turn of its PUBLISH. A version 3.1.1 client cannot be
    /// told: the standard leaves a PUBACK or closing. For a topic outside its rights it gets the
    /// PUBACK, because closing would make it come back and send the same again, and its readings
    /// would wait behind that for ever; it is counted and logged instead. A topic name that nobody
    /// can use is a broken client, and closes.
    fn refuse(&mut self, publish: &Publish<'_>, refusal: &Refusal, batch: &mut Batch) -> Result<(), Fault> {
        let tally = &self.shared.tally;
        let code = match refusal {
            Refusal::Grammar(_) => {
                tally.refused_topic_names.one();
                0x90
            }
            Refusal::NotAllowed { .. } | Refusal::SharedByDevice => {
                tally.refused_rights.one();
                0x87
            }
        };
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals.is_power_of_two() {
            let topic = publish.topic.chars().take(80).collect::<String>();
            tracing::warn!(id = %self.rights.id, ?topic, %refusal, so_far = self.refusals, "PUBLISH refused");
        }
        if code == 0x90 && self.version == Version::V4 {
            return Err(Fault::TopicName);
        }
        self.acknowledge(publish.id, Some((code, &refusal.to_string())), batch);
        Ok(())
    }

    /// Queues the PUBACK of a QoS 1 message behind those before it.
    fn acknowledge(&self, id: Option<NonZeroU16>, refusal: Option<(u8, &str)>, batch: &mut Batch) {
        let Some(id) = id else { return };
        batch.counts.acks += 1;
        match refusal {
            Some((code, words)) if self.version == Version::V5 => {
                encode::puback_refusal(&mut batch.acks, id.get(), code, self.wants_reasons.then_some(words));
            }
            _ => encode::puback(&mut batch.acks, id.get()),
        }
    }
}

fn words_for(rejects: &[Reject]) -> String {
    let mut words = rejects.iter().take(MOST_REJECTS_NAMED).map(Reject::to_string).collect::<Vec<_>>().join("; ");
    if let Some(more) = rejects.len().checked_sub(MOST_REJECTS_NAMED).filter(|more| *more > 0) {
        words.push_str(&format!("; and {more} more"));
    }
    words
}
