//! Messages of the server that new subscribers get at once: the incidents that are open.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::topic;

#[derive(Debug, Default)]
pub(crate) struct Retained {
    messages: Mutex<BTreeMap<String, Bytes>>,
}

impl Retained {
    fn messages(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `payload` as the last of `topic`; an empty one clears it.
    pub(crate) fn keep(&self, topic: &str, payload: &Bytes) {
        if payload.is_empty() {
            self.messages().remove(topic);
        } else {
            self.messages().insert(topic.to_owned(), payload.clone());
        }
    }

    /// All that `filter` matches, by topic.
    pub(crate) fn matching(&self, filter: &str) -> Vec<(Bytes, Bytes)> {
        self.messages()
            .iter()
            .filter(|(name, _)| topic::matches(filter, name))
            .map(|(name, payload)| (Bytes::copy_from_slice(name.as_bytes()), payload.clone()))
            .collect()
    }
}
