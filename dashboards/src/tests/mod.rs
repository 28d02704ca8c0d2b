//! The console over a real ledger, alert engine and time series, asked as a browser would.

mod api;
mod gallery;
mod live;
mod pages;
mod security;
mod world;
