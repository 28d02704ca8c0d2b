//! What went through the pipeline since the process started.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Counters {
    /// Readings handed to the rules and the store.
    pub readings: Counter,
    /// Readings recognised as sent again.
    pub repeats: Counter,
    /// Entries put in quarantine.
    pub quarantined: Counter,
    /// Journal position up to which everything has been taken.
    pub position: Counter,
    /// Failed tries to hand a batch on; each is retried, nothing is skipped.
    pub retries: Counter,
}

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
