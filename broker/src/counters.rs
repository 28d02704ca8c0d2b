//! What the front door counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// The counters at one moment. All but those called "now" only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Each number with its name and what it counts.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),*), self.$name),)*].into_iter()
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $name: Count,)*
        }

        impl Tally {
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Clients connected now.
    connections_now,
    /// Clients that have been let in.
    connections,
    /// CONNECTs refused for wrong or missing credentials.
    refused_credentials,
    /// CONNECTs refused for another reason: version, client id, will.
    refused_connects,
    /// Sockets closed because no CONNECT came in time, or something else came first.
    no_connect,
    /// Sockets closed because the limit of connections was reached.
    too_many_connections,
    /// PUBLISH packets accepted.
    publishes,
    /// Readings in them.
    readings,
    /// Messages with a part that could not be understood, sent to quarantine.
    rejected,
    /// PUBACKs queued for sending, refusing ones included.
    acks,
    /// PUBLISH packets to a topic the client has no right to. Nothing is journalled of them.
    refused_rights,
    /// PUBLISH packets to a topic name that breaks the grammar.
    refused_topic_names,
    /// Filters refused in SUBSCRIBE.
    refused_filters,
    /// Connections closed for a malformed or forbidden packet.
    faults,
    /// Connections closed because the client went silent.
    silent,
    /// Connections taken over by a newer one with the same id.
    takeovers,
    /// Wills journalled.
    wills,
    /// Batches the journal could not take; their connections were closed unacknowledged.
    journal_failures,
    /// Presence events dropped because the receiver was behind.
    presence_dropped,
    /// Router subscriptions now.
    subscriptions_now,
    /// Live copies handed to the router.
    live_copies,
    /// Live copies dropped because the router was behind.
    live_copies_dropped,
    /// Messages sent to subscribers and devices.
    deliveries,
    /// Messages not sent because the receiver takes no packets of that size.
    deliveries_too_large,
}

/// One number, counted from any thread.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn less_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
