//! One link of the router, and who gets what comes through it: one subscriber, or the members of a
//! share in turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rumqttd::Notification;
use rumqttd::local::{LinkRx, LinkTx};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::LiveRouter;
use crate::directory::Delivery;

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) number: u64,
    pub(super) qos: u8,
    pub(super) deliveries: mpsc::Sender<Delivery>,
}

#[derive(Debug)]
pub(super) struct Feed {
    members: Mutex<Members>,
    changed: Notify,
    empty: CancellationToken,
}

#[derive(Debug)]
struct Members {
    list: Vec<Member>,
    turn: usize,
}

impl Feed {
    pub(super) fn new(first: Member) -> Feed {
        Feed {
            members: Mutex::new(Members { list: vec![first], turn: 0 }),
            changed: Notify::new(),
            empty: CancellationToken::new(),
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when the feed has ended already.
    pub(super) fn add(&self, member: Member) -> bool {
        let mut members = self.members();
        if self.empty.is_cancelled() {
            return false;
        }
        members.list.push(member);
        self.changed.notify_one();
        true
    }

    /// True when that was the last one and the feed ends.
    pub(super) fn remove(&self, number: u64) -> bool {
        let mut members = self.members();
        members.list.retain(|member| member.number != number);
        if members.list.is_empty() {
            self.empty.cancel();
        }
        self.changed.notify_one();
        members.list.is_empty()
    }

    /// Gives a message to the next member that has room; waits while none has.
    async fn hand_out(&self, message: &Delivery) {
        loop {
            let Some(slowest) = self.offer(message) else { return };
            tokio::select! {
                room = slowest.reserve() => drop(room),
                () = self.changed.notified() => {}
            }
        }
    }

    /// `None` when it was taken, or there is nobody to take it; else whom to wait for.
    fn offer(&self, message: &Delivery) -> Option<mpsc::Sender<Delivery>> {
        let mut members = self.members();
        members.list.retain(|member| !member.deliveries.is_closed());
        let count = members.list.len();
        for step in 0..count {
            let place = (members.turn + step) % count;
            let member = &members.list[place];
            let delivery = Delivery { qos: message.qos.min(member.qos), ..message.clone() };
            match member.deliveries.try_send(delivery) {
                Ok(()) => {
                    members.turn = place + 1;
                    return None;
                }
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {}
            }
        }
        let next = members.turn.checked_rem(count)?;
        Some(members.list[next].deliveries.clone())
    }
}

/// Carries messages from the router to the members until there are none.
pub(super) async fn run(feed: Arc<Feed>, tx: LinkTx, rx: LinkRx, link_number: usize, router: Arc<LiveRouter>) {
    let is_over = tokio::select! {
        () = feed.empty.cancelled() => false,
        () = router.stop.cancelled() => false,
        () = carry(&feed, rx) => true,
    };
    router.tally.subscriptions_now.less_one();
    if is_over {
        router.fail("the router closed a subscriber's link");
    } else {
        router.hang_up(tx, link_number).await;
    }
}

/// Ends when the router has dropped the link.
async fn carry(feed: &Feed, mut rx: LinkRx) {
    loop {
        match rx.next().await {
            Ok(Some(Notification::Forward(forward))) => {
                let published = forward.properties.and_then(|properties| properties.payload_format_indicator);
                let message = Delivery {
                    topic: forward.publish.topic,
                    payload: forward.publish.payload,
                    qos: published.unwrap_or(0),
                    retained: false,
                };
                feed.hand_out(&message).await;
            }
            // The router has filled the link's buffer and waits for this word.
            Ok(Some(Notification::Unschedule)) if rx.wake().await.is_err() => return,
            Ok(Some(Notification::Disconnect(..))) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
