//! Who is connected, and how to reach them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::DeviceId;
use model::topic::Channel;
use tokio::sync::Notify;

use crate::end::End;

/// A message on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
    /// 0 or 1.
    pub(crate) qos: u8,
    pub(crate) retained: bool,
}

/// What a client asked to be published when it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
}

/// What others want from a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mail {
    End(End),
    Delivery(Delivery),
}

/// Where others leave things for a connection. Small, because there is one per connection.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    end: Option<End>,
    deliveries: VecDeque<Delivery>,
    /// Subscription of a device to the one channel it may hear, with its QoS.
    hears: Option<(Channel, u8)>,
    will: Option<Box<Will>>,
}

/// Deliveries that may wait for one connection.
const MOST_WAITING: usize = 64;

impl Mailbox {
    pub(crate) fn new(will: Option<Box<Will>>) -> Mailbox {
        Mailbox { state: Mutex::new(State { will, ..State::default() }), arrived: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn end(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.arrived.notify_one();
    }

    /// Whoever gets the will publishes it; there is one getter only.
    pub(crate) fn take_will(&self) -> Option<Box<Will>> {
        self.state().will.take()
    }

    /// Sets or, with `None`, removes a device's subscription; true when there was one before.
    pub(crate) fn hear(&self, subscription: Option<(Channel, u8)>) -> bool {
        std::mem::replace(&mut self.state().hears, subscription).is_some()
    }

    fn deliver(&self, channel: Channel, topic: Bytes, payload: Bytes) -> bool {
        let mut state = self.state();
        let Some((heard, qos)) = state.hears else { return false };
        if heard != channel || state.end.is_some() || state.deliveries.len() >= MOST_WAITING {
            return false;
        }
        state.deliveries.push_back(Delivery { topic, payload, qos, retained: false });
        drop(state);
        self.arrived.notify_one();
        true
    }

    fn take(&self, with_deliveries: bool) -> Option<Mail> {
        let mut state = self.state();
        if let Some(end) = state.end {
            return Some(Mail::End(end));
        }
        if !with_deliveries {
            return None;
        }
        let delivery = state.deliveries.pop_front()?;
        if state.deliveries.is_empty() {
            state.deliveries = VecDeque::new();
        }
        Some(Mail::Delivery(delivery))
    }

    /// The next thing that was left here. Without `with_deliveries` those are left where they are.
    pub(crate) async fn next(&self, with_deliveries: bool) -> Mail {
        loop {
            if let Some(mail) = self.take(with_deliveries) {
                return mail;
            }
            self.arrived.notified().await;
        }
    }
}

/// Mailboxes of the connected clients, by id.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    mailboxes: Mutex<HashMap<DeviceId, Arc<Mailbox>>>,
}

impl Directory {
    fn mailboxes(&self) -> MutexGuard<'_, HashMap<DeviceId, Arc<Mailbox>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection and returns the one it replaces. `tell` is called before anybody else can
    /// enter or leave, so that news of one device go out in the order of the events.
    pub(crate) fn enter(&self, id: &DeviceId, mailbox: Arc<Mailbox>, tell: impl FnOnce()) -> Option<Arc<Mailbox>> {
        let mut mailboxes = self.mailboxes();
        tell();
        mailboxes.insert(id.clone(), mailbox)
    }

    /// Removes a connection, and calls `tell`, unless it has left before or another has replaced it.
    pub(crate) fn leave(&self, id: &DeviceId, mailbox: &Arc<Mailbox>, tell: impl FnOnce()) {
        let mut mailboxes = self.mailboxes();
        if mailboxes.get(id).is_some_and(|entered| Arc::ptr_eq(entered, mailbox)) {
            mailboxes.remove(id);
            tell();
        }
    }

    pub(crate) fn contains(&self, id: &DeviceId) -> bool {
        self.mailboxes().contains_key(id)
    }

    /// Leaves a message for a device; false when it is not connected, has not subscribed to
    /// `channel`, or does not keep up.
    pub(crate) fn send(&self, id: &DeviceId, channel: Channel, payload: Bytes) -> bool {
        let mailbox = self.mailboxes().get(id).cloned();
        mailbox.is_some_and(|mailbox| mailbox.deliver(channel, channel.topic(id).into(), payload))
    }

    pub(crate) fn end_all(&self, end: End) {
        for mailbox in self.mailboxes().values() {
            mailbox.end(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DeviceId {
        DeviceId::new(text).unwrap()
    }

    #[test]
    fn a_replaced_connection_cannot_remove_its_successor() {
        let directory = Directory::default();
        let (old, new) = (Arc::new(Mailbox::default()), Arc::new(Mailbox::default()));
        assert!(directory.enter(&id("S1"), old.clone(), || ()).is_none());
        assert!(Arc::ptr_eq(&directory.enter(&id("S1"), new.clone(), || ()).unwrap(), &old));
        directory.leave(&id("S1"), &old, || panic!("it is not the one connected"));
        assert!(directory.contains(&id("S1")));
        let mut told = 0;
        directory.leave(&id("S1"), &new, || told += 1);
        directory.leave(&id("S1"), &new, || told += 1);
        assert_eq!(told, 1);
        assert!(!directory.contains(&id("S1")));
    }

    #[test]
    fn only_a_subscribed_device_that_keeps_up_gets_messages() {
        let directory = Directory::default();
        let mailbox = Arc::new(Mailbox::default());
        let send = || directory.send(&id("S1"), Channel::Commands, Bytes::from_static(b"x"));
        assert!(!send(), "not connected");
        directory.enter(&id("S1"), mailbox.clone(), || ());
        assert!(!send(), "not subscribed");
        mailbox.hear(Some((Channel::Commands, 1)));
        assert!(!directory.send(&id("S1"), Channel::Receipts, Bytes::new()), "another channel");
        assert_eq!((0..MOST_WAITING + 5).filter(|_| send()).count(), MOST_WAITING);
        let Some(Mail::Delivery(first)) = mailbox.take(true) else { panic!("no delivery") };
        assert_eq!(&first.topic[..], b"gas/v1/sensors/S1/commands");
        assert!(send(), "there is room again");
        assert_eq!(mailbox.take(false), None);
        mailbox.end(End::Stopping);
        assert_eq!(mailbox.take(false), Some(Mail::End(End::Stopping)));
        assert!(!send(), "ending");
    }

    #[tokio::test]
    async fn mail_left_while_nobody_waits_is_found_later() {
        let mailbox = Mailbox::default();
        mailbox.end(End::TakenOver);
        mailbox.end(End::Stopping);
        assert_eq!(mailbox.next(false).await, Mail::End(End::TakenOver), "the first reason stays");
    }
}
