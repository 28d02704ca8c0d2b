//! Messages to a client: packet identifiers, the window of unacknowledged ones, and what waits for
//! room in it. Boxed and made on first use, because most connections only send.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::counters::Tally;
use crate::directory::Delivery;
use crate::encode;
use crate::packet::Version;
use crate::router::Subscription;

/// Unacknowledged QoS 1 messages at a time, or fewer if the client asks for that.
const MOST_UNACKNOWLEDGED: usize = 100;
/// Messages between the router and the connection.
const CHANNEL: usize = 256;

pub(crate) struct Outbound {
    version: Version,
    window: usize,
    most_packet: usize,
    last_id: u16,
    unacknowledged: Vec<u16>,
    waiting: VecDeque<Delivery>,
    /// Filters of an integration.
    pub(crate) subscriptions: Vec<(String, Subscription)>,
    from_router: Option<(mpsc::Sender<Delivery>, mpsc::Receiver<Delivery>)>,
}

impl Outbound {
    pub(crate) fn new(version: Version, receive_maximum: u16, most_packet: usize) -> Outbound {
        Outbound {
            version,
            window: MOST_UNACKNOWLEDGED.min(usize::from(receive_maximum)),
            most_packet,
            last_id: 0,
            unacknowledged: Vec::new(),
            waiting: VecDeque::new(),
            subscriptions: Vec::new(),
            from_router: None,
        }
    }

    /// Where the router is to put messages.
    pub(crate) fn from_router(&mut self) -> mpsc::Sender<Delivery> {
        self.from_router.get_or_insert_with(|| mpsc::channel(CHANNEL)).0.clone()
    }

    /// The next message from the router; never ready without a subscription.
    pub(crate) async fn next(&mut self) -> Delivery {
        if let Some((_, receiver)) = &mut self.from_router
            && let Some(delivery) = receiver.recv().await
        {
            return delivery;
        }
        std::future::pending().await
    }

    /// Takes what else the router has put there, so that all goes out in one write.
    pub(crate) fn take_more(&mut self) {
        if let Some((_, receiver)) = &mut self.from_router {
            while self.waiting.len() < CHANNEL
                && let Ok(delivery) = receiver.try_recv()
            {
                self.waiting.push_back(delivery);
            }
        }
    }

    pub(crate) fn push(&mut self, delivery: Delivery) {
        self.waiting.push_back(delivery);
    }

    /// Whether more may be taken in.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.unacknowledged.len() < self.window
    }

    /// Encodes what waits, as far as the window and `most` unsent bytes in `out` allow.
    pub(crate) fn send(&mut self, out: &mut Vec<u8>, most: usize, tally: &Tally) {
        while out.len() < most
            && let Some(next) = self.waiting.front()
        {
            if next.qos > 0 && self.unacknowledged.len() >= self.window {
                return;
            }
            let Some(delivery) = self.waiting.pop_front() else { return };
            let has_id = delivery.qos > 0;
            let size = encode::publish_size(self.version, delivery.topic.len(), delivery.payload.len(), has_id);
            if size > self.most_packet {
                tally.deliveries_too_large.one();
                continue;
            }
            let id = has_id.then(|| self.next_id());
            encode::publish(out, self.version, &delivery.topic, &delivery.payload, id, delivery.retained);
            tally.deliveries.one();
        }
    }

    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.unacknowledged.contains(&self.last_id) {
                self.unacknowledged.push(self.last_id);
                return self.last_id;
            }
        }
    }

    pub(crate) fn acknowledged(&mut self, id: u16) {
        self.unacknowledged.retain(|other| *other != id);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn delivery(qos: u8) -> Delivery {
        Delivery { topic: Bytes::from_static(b"t"), payload: Bytes::from_static(b"p"), qos, retained: false }
    }

    proptest! {
        /// However messages and acknowledgements mix, the window holds and no identifier is used twice.
        #[test]
        fn the_window_holds(window in 1u16..8, steps in prop::collection::vec(any::<Option<prop::sample::Index>>(), 1..200)) {
            let tally = Tally::default();
            let mut outbound = Outbound::new(Version::V4, window, usize::MAX);
            let mut sent = 0;
            let mut pushed = 0;
            for step in steps {
                match step {
                    None => {
                        outbound.push(delivery(1));
                        pushed += 1;
                    }
                    Some(index) if !outbound.unacknowledged.is_empty() => {
                        let id = *index.get(&outbound.unacknowledged);
                        outbound.acknowledged(id);
                    }
                    Some(_) => {}
                }
                let mut out = Vec::new();
                outbound.send(&mut out, usize::MAX, &tally);
                // 2 header, 2 + 1 topic, 2 identifier, 1 payload
                sent += out.len() / 8;
                prop_assert!(outbound.unacknowledged.len() <= usize::from(window));
                let mut ids = outbound.unacknowledged.clone();
                ids.sort_unstable();
                ids.dedup();
                prop_assert_eq!(ids.len(), outbound.unacknowledged.len());
                prop_assert_eq!(sent + outbound.waiting.len(), pushed);
                prop_assert!(outbound.waiting.is_empty() || outbound.unacknowledged.len() == usize::from(window));
            }
        }
    }

    #[test]
    fn identifiers_in_use_are_skipped_and_0_is_none() {
        let tally = Tally::default();
        let mut outbound = Outbound::new(Version::V5, 100, usize::MAX);
        outbound.last_id = u16::MAX - 1;
        outbound.unacknowledged.push(1);
        outbound.push(delivery(1));
        outbound.push(delivery(1));
        outbound.send(&mut Vec::new(), usize::MAX, &tally);
        assert_eq!(outbound.unacknowledged, [1, u16::MAX, 2]);
    }

    #[test]
    fn a_message_too_large_for_the_client_is_counted_and_skipped() {
        let tally = Tally::default();
        let mut outbound = Outbound::new(Version::V4, 100, 5);
        outbound.push(delivery(0));
        outbound.push(Delivery { topic: Bytes::new(), ..delivery(0) });
        let mut out = Vec::new();
        outbound.send(&mut out, usize::MAX, &tally);
        assert_eq!(out, [0x30, 3, 0, 0, b'p']);
        assert_eq!(tally.deliveries_too_large.get(), 1);
    }
}
