//! The one link that publishes, in a thread of its own because giving to the router can block, and
//! the watch over it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rumqttd::local::{LinkRx, LinkTx};
use rumqttd::protocol::{Packet, PingReq, Publish, PublishProperties};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{LiveCopy, LiveRouter};

pub(super) const MOST_JOBS: usize = 1_024;
/// Copies that may wait for the publisher, and again as many for the router.
pub(super) const MOST_COPIES: u64 = 50_000;

pub(super) enum Job {
    Copies(Vec<LiveCopy>),
    /// Ask the router whether it is alive.
    Probe,
}

pub(super) fn start(router: &Arc<LiveRouter>, mut queue: mpsc::Receiver<Job>, mut tx: LinkTx) -> io::Result<()> {
    let handle = Handle::current();
    // Weak, so that this thread ends when the last user of the router is gone.
    let router = Arc::downgrade(router);
    thread::Builder::new().name("live-copies".to_owned()).spawn(move || {
        while let Some(job) = queue.blocking_recv() {
            let Some(router) = router.upgrade() else { return };
            let last = match job {
                Job::Probe => Packet::PingReq(PingReq),
                Job::Copies(copies) => {
                    let count = copies.len() as u64;
                    router.queued.fetch_sub(count, Ordering::Relaxed);
                    let mut packets = copies.into_iter().map(packet);
                    let Some(last) = packets.next_back() else { continue };
                    let mut buffer = tx.buffer();
                    if buffer.len() as u64 > MOST_COPIES {
                        router.tally.live_copies_dropped.add(count);
                        continue;
                    }
                    // One event for all: the router takes the whole buffer at once.
                    buffer.extend(packets);
                    router.tally.live_copies.add(count);
                    last
                }
            };
            // `send` is async in name only: it blocks while the router's queue is full.
            if handle.block_on(tx.send(last)).is_err() {
                return router.fail("the router is gone");
            }
        }
    })?;
    Ok(())
}

/// The router overwrites the QoS with the subscriber's, so the published one travels in a property
/// that nobody else uses here.
fn packet(copy: LiveCopy) -> Packet {
    let properties = PublishProperties { payload_format_indicator: Some(copy.qos), ..PublishProperties::default() };
    Packet::Publish(Publish::new(copy.topic, copy.payload, false), Some(properties))
}

/// Asks the router every `period`, and calls it failed when it is silent for five of them or closes
/// the publisher's link.
pub(super) async fn watch(router: Arc<LiveRouter>, mut rx: LinkRx, period: Duration) {
    tokio::select! {
        () = router.stop.cancelled() => {}
        why = watch_for_failure(&router, &mut rx, period) => router.fail(why),
    }
}

async fn watch_for_failure(router: &LiveRouter, rx: &mut LinkRx, period: Duration) -> &'static str {
    let mut next = Instant::now() + period;
    loop {
        match timeout_at(next, rx.next()).await {
            Ok(Ok(_)) => continue,
            Ok(Err(_)) => return "the router is gone",
            Err(_) => next = Instant::now() + period,
        }
        let deadline = Instant::now() + period * 5;
        let asked = timeout_at(deadline, router.jobs.send(Job::Probe)).await;
        if !matches!(asked, Ok(Ok(()))) {
            return "the router takes nothing";
        }
        match timeout_at(deadline, rx.next()).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return "the router is gone",
            Err(_) => return "the router does not answer",
        }
    }
}
