//! Logs go to standard error; standard output is for what a command was asked to print.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config;

/// Starts logging; `RUST_LOG` wins over the configured filter.
pub(crate) fn start(log: &config::Log) {
    let filter = EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(&log.filter))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // a second start, as in tests, changes nothing
    let _ = if log.json {
        builder.json().try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}
