use std::path::PathBuf;

/// Why something could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The journal's or the readings' database failed, for example because the disk is full.
    #[error("{path}: {source}", path = .path.display())]
    File { path: PathBuf, source: rusqlite::Error },
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("ledger: {0}")]
    Ledger(#[from] sqlx::Error),
    /// A stored record does not have the checksum or form it was written with.
    #[error("damaged data in {place}: {what}")]
    Damaged { place: String, what: &'static str },
    /// Data written by a newer Gaswatch.
    #[error("{place} has format {found}, this version knows up to {known}: use the newer version of gaswatch")]
    TooNew { place: String, found: i64, known: i64 },
    /// The store has been closed, or stopped after a disk error; nothing was accepted.
    #[error("the store is closed: {0}")]
    Closed(String),
}
