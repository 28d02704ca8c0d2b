//! What the tests of the binary share: the binary itself as a process, real clients and real servers.
//!
//! Waiting is always for something that can be seen (a file, an answer, a packet), polled within a bound
//! that is generous by far, so that a slow machine does not fail.
#![allow(dead_code, reason = "every test file uses its own part")]

pub(crate) mod gaswatch;
pub(crate) mod mqtt;
pub(crate) mod process;

#[cfg(feature = "live")]
pub(crate) mod browser;
#[cfg(feature = "live")]
pub(crate) mod kannel;
#[cfg(feature = "live")]
pub(crate) mod mosquitto;
#[cfg(feature = "live")]
pub(crate) mod smtp;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

/// How long anything may take that should take an instant.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until there is something, or `within` has passed.
///
/// # Errors
/// What was waited for, with what the last look said.
pub(crate) async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + within;
    loop {
        let last = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => anyhow::anyhow!("it was not there"),
            Err(error) => error,
        };
        if Instant::now() >= end {
            return Err(last.context(format!("waited {within:?} for {what}")));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Ports that were free a moment ago, all different.
pub(crate) fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut ports = [0; N];
    // held together, so that none is given twice
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("asking for a free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// A file of `testdata/`.
pub(crate) fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(name)
}

/// An HTTP client as a stranger would have it.
pub(crate) fn http_client() -> anyhow::Result<reqwest::Client> {
    // an error only means that another test of this process has set it
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?)
}

/// Small random numbers from a seed (SplitMix64), so that a failed run can be repeated.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from `0..most`.
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }
}
