//! Live copies for integrations, through rumqttd's router.
//!
//! The router runs in a thread of its own and is used for one thing: which filter takes which
//! message. It sees QoS 0 only, no retained message, no client's properties, ids and topics of plain
//! ASCII, and one link per filter; QoS, packet identifiers, shares and retained messages are ours.
//! That keeps its known defects out of reach: it panics on a topic that starts with a character
//! outside ASCII, on properties towards MQTT 3.1.1, and when a share's last member leaves with
//! something unacknowledged; it drops a link that acknowledges out of order, and forgets all shares
//! of a link when that unsubscribes from anything. Filters it has seen it never frees, so their
//! number is limited.
//!
//! The journal is the truth and this is a view of it: when the router is behind, copies are dropped
//! and counted.

mod feed;
mod publisher;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Router, RouterConfig};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::counters::Tally;
use crate::directory::Delivery;
use feed::{Feed, Member};
use publisher::Job;

/// A message that is on disk, for whoever listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveCopy {
    /// Passed `model::topic::check_name`.
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
    /// As published: 0 or 1.
    pub(crate) qos: u8,
}

/// Links at a time.
const MOST_LINKS: usize = 512;
/// Different filters in the life of the process.
const MOST_FILTERS: usize = 256;
/// Memory per filter: segments of this many bytes, this many of them.
const SEGMENT: (usize, usize) = (512 << 10, 4);

type Connect = dyn Fn(&str) -> Result<(LinkTx, LinkRx), LinkError> + Send + Sync;

pub(crate) struct LiveRouter {
    connect: Arc<Connect>,
    jobs: mpsc::Sender<Job>,
    /// Copies on their way to the publisher.
    queued: Arc<AtomicU64>,
    next_member: AtomicU64,
    link_numbers: LinkNumbers,
    filters: Mutex<HashSet<String>>,
    shares: Mutex<HashMap<String, Arc<Feed>>>,
    tally: Arc<Tally>,
    failed: watch::Sender<Option<&'static str>>,
    stop: CancellationToken,
}

/// Why a filter cannot be subscribed to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscribeError {
    #[error("too many subscriptions")]
    Quota,
    #[error("the router does not answer")]
    Router,
}

/// A filter with its share, if it has one: `$share/{group}/{filter}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter<'a> {
    pub(crate) group: Option<&'a str>,
    pub(crate) plain: &'a str,
}

impl<'a> Filter<'a> {
    pub(crate) fn of(text: &'a str) -> Filter<'a> {
        match text.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
            Some((group, plain)) => Filter { group: Some(group), plain },
            None => Filter { group: None, plain: text },
        }
    }
}

/// Ends when dropped.
pub(crate) struct Subscription {
    router: Arc<LiveRouter>,
    share: Option<String>,
    feed: Arc<Feed>,
    member: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut shares = self.router.shares();
        if self.feed.remove(self.member)
            && let Some(share) = &self.share
            && shares.get(share).is_some_and(|feed| Arc::ptr_eq(feed, &self.feed))
        {
            shares.remove(share);
        }
    }
}

impl LiveRouter {
    /// Starts the router's thread, the publisher's and a watch over both. `probe` is how often the
    /// router must answer; after five times that it counts as failed.
    pub(crate) async fn start(tally: Arc<Tally>, probe: Duration) -> Result<Arc<LiveRouter>, SubscribeError> {
        let config = RouterConfig {
            max_connections: MOST_LINKS,
            max_outgoing_packet_count: 100,
            max_segment_size: SEGMENT.0,
            max_segment_count: SEGMENT.1,
            ..RouterConfig::default()
        };
        let events = Router::new(0, config).spawn();
        let connect: Arc<Connect> =
            Arc::new(move |id| LinkBuilder::new(id, events.clone()).build().map(|(tx, rx, _)| (tx, rx)));
        let (tx, rx) = link(&connect, "publisher".to_owned()).await?;
        let (jobs, queue) = mpsc::channel(publisher::MOST_JOBS);
        let router = Arc::new(LiveRouter {
            connect,
            jobs,
            queued: Arc::default(),
            next_member: AtomicU64::new(0),
            link_numbers: LinkNumbers::default(),
            filters: Mutex::default(),
            shares: Mutex::default(),
            tally,
            failed: watch::Sender::new(None),
            stop: CancellationToken::new(),
        });
        publisher::start(&router, queue, tx).map_err(|_| SubscribeError::Router)?;
        tokio::spawn(publisher::watch(router.clone(), rx, probe));
        Ok(router)
    }

    /// Whether anybody listens, so that copies are worth making.
    pub(crate) fn has_listeners(&self) -> bool {
        self.tally.subscriptions_now.get() > 0
    }

    /// Hands copies on without waiting; drops them when the router is behind.
    pub(crate) fn publish(&self, copies: Vec<LiveCopy>) {
        let count = copies.len() as u64;
        if count == 0 || !self.has_listeners() {
            return;
        }
        let waiting = self.queued.fetch_add(count, Ordering::Relaxed);
        if waiting > publisher::MOST_COPIES || self.jobs.try_send(Job::Copies(copies)).is_err() {
            self.queued.fetch_sub(count, Ordering::Relaxed);
            self.tally.live_copies_dropped.add(count);
        }
    }

    /// Sends what `filter` takes, and members of the same share do not get, to `deliveries`, at
    /// `qos` or less. Must have passed `Rights::subscribe`.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        filter: &str,
        qos: u8,
        deliveries: mpsc::Sender<Delivery>,
    ) -> Result<Subscription, SubscribeError> {
        let Filter { group, plain } = Filter::of(filter);
        self.admit(plain)?;
        let number = self.next_member.fetch_add(1, Ordering::Relaxed);
        let member = Member { number, qos, deliveries };
        let share = group.map(|group| format!("{group}/{plain}"));
        if let Some(subscription) = share.as_ref().and_then(|share| self.join(share, &member)) {
            return Ok(subscription);
        }
        let link_number = self.link_numbers.take();
        let (mut tx, rx) = link(&self.connect, format!("subscriber-{link_number}")).await?;
        let plain = plain.to_owned();
        let tx = tokio::task::spawn_blocking(move || tx.subscribe(plain).map(|_| tx))
            .await
            .map_err(|_| SubscribeError::Router)?
            .map_err(|_| SubscribeError::Router)?;
        // Another member may have opened the same share meanwhile.
        if let Some(subscription) = share.as_ref().and_then(|share| self.join(share, &member)) {
            self.hang_up(tx, link_number).await;
            return Ok(subscription);
        }
        let feed = Arc::new(Feed::new(member));
        if let Some(share) = &share {
            self.shares().insert(share.clone(), feed.clone());
        }
        self.tally.subscriptions_now.one();
        tokio::spawn(feed::run(feed.clone(), tx, rx, link_number, self.clone()));
        Ok(Subscription { router: self.clone(), share, feed, member: number })
    }

    fn join(self: &Arc<Self>, share: &str, member: &Member) -> Option<Subscription> {
        let shares = self.shares();
        let feed = shares.get(share)?;
        feed.add(member.clone()).then(|| Subscription {
            router: self.clone(),
            share: Some(share.to_owned()),
            feed: feed.clone(),
            member: member.number,
        })
    }

    fn admit(&self, plain: &str) -> Result<(), SubscribeError> {
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        // The router answers no other filter that starts with a dollar, and drops who asks for it.
        let is_full = filters.len() >= MOST_FILTERS && !filters.contains(plain);
        if is_full || plain.starts_with('$') || self.tally.subscriptions_now.get() as usize >= MOST_LINKS - 1 {
            return Err(SubscribeError::Quota);
        }
        filters.insert(plain.to_owned());
        Ok(())
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<String, Arc<Feed>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, why: &'static str) {
        if !self.stop.is_cancelled() && self.failed.send_if_modified(|failed| failed.replace(why).is_none()) {
            tracing::error!(why, "live copies have stopped");
        }
    }

    /// Resolves with the reason once the router has died or stopped answering.
    pub(crate) async fn failed(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(why) => why.unwrap_or("unknown"),
            Err(_) => std::future::pending().await,
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// A link has no `Drop`: the router keeps it until it is told.
    async fn hang_up(&self, mut tx: LinkTx, link_number: usize) {
        let handle = tokio::runtime::Handle::current();
        let told = tokio::task::spawn_blocking(move || {
            let disconnect = Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection };
            // `send` is async in name only: it blocks while the router's queue is full.
            handle.block_on(tx.send(Packet::Disconnect(disconnect, None))).is_ok()
        });
        if told.await.unwrap_or(false) {
            self.link_numbers.give_back(link_number);
        }
    }
}

async fn link(connect: &Arc<Connect>, id: String) -> Result<(LinkTx, LinkRx), SubscribeError> {
    let connect = connect.clone();
    tokio::task::spawn_blocking(move || connect(&id))
        .await
        .map_err(|_| SubscribeError::Router)?
        .map_err(|_| SubscribeError::Router)
}

/// The router remembers every link id it has seen, so ids are used again.
#[derive(Debug, Default)]
struct LinkNumbers(Mutex<Vec<bool>>);

impl LinkNumbers {
    fn used(&self) -> MutexGuard<'_, Vec<bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> usize {
        let mut used = self.used();
        let free = used.iter().position(|is_used| !is_used).unwrap_or(used.len());
        if free == used.len() {
            used.push(true);
        } else {
            used[free] = true;
        }
        free
    }

    fn give_back(&self, number: usize) {
        if let Some(is_used) = self.used().get_mut(number) {
            *is_used = false;
        }
    }
}

#[cfg(test)]
mod tests;
