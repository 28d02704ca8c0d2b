//! The narrow place where the front door meets the journal, so that tests can hold back an fsync.

use std::future::Future;
use std::pin::Pin;

use store::{Entry, Journal, StoreError};

/// Resolves when the appended entries are on disk, or cannot be.
pub(crate) type Durable = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

pub(crate) type Appending<'a> = Pin<Box<dyn Future<Output = Result<Durable, StoreError>> + Send + 'a>>;

pub(crate) trait Intake: Send + Sync {
    /// Queues entries behind all that were queued before.
    fn append(&self, entries: Vec<Entry>) -> Appending<'_>;
}

impl Intake for Journal {
    fn append(&self, entries: Vec<Entry>) -> Appending<'_> {
        Box::pin(async move {
            let ticket = Journal::append(self, entries).await?;
            let durable: Durable = Box::pin(async move { ticket.durable().await.map(drop) });
            Ok(durable)
        })
    }
}
