//! The console: pages for the duty desk, a phone page to acknowledge from, and the HTTP API.
//!
//! Pages are rendered on the server and work without script; the project's own ES modules only make
//! them live. Every route says in `routes` who may use it; what says nothing does not exist.
//!
//! # Layout
//!
//! * `routes`: the table of routes, and the guards in front of them.
//! * `frame`: what surrounds every answer: language, theme, security headers, faults as pages or JSON.
//! * `texts`, `words`: the words of the screens in two languages; times, ages, numbers, masks.
//! * `chrome`: what every signed-in page shows around its content.
//! * `alarms`, `incident`, `sensors`, `quarantine`, `roster`, `sign_in`, `answer`: one page each.
//! * `curve`, `chart`: CO over time as SVG geometry, with caption and table.
//! * `fleet`: what the screens ask about all sensors at once, remembered for some seconds.
//! * `live`: the stream that keeps pages fresh.
//! * `api`, `service`: JSON for integrations; health, metrics, provider callbacks.
//! * `assets`: styles and scripts, embedded.

mod alarms;
mod answer;
mod api;
mod assets;
mod chart;
mod chrome;
mod curve;
mod fault;
mod fleet;
mod frame;
mod incident;
mod live;
mod quarantine;
mod roster;
mod routes;
mod sensors;
mod service;
mod sign_in;
mod texts;
mod words;

#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;

use alerts::Alerts;
use jiff::tz::TimeZone;
use registry::{Credentials, Registry};
use store::{Clock, Readings};
use tokio::sync::watch;

/// Everything the console shows and does goes through these handles.
#[derive(Clone)]
pub struct Console {
    pub registry: Registry,
    pub alerts: Alerts,
    pub readings: Readings,
    pub credentials: Credentials,
    pub clock: Clock,
    pub settings: Settings,
    /// What keeps the system from being ready, in words; empty = ready. Live streams end when the
    /// sender is dropped.
    pub problems: watch::Receiver<Vec<String>>,
    /// The text of `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// IANA zone that times are told in; an unknown one falls back to UTC.
    pub time_zone: String,
    /// The district's name, as shown.
    pub district: String,
    /// Everything on screen is simulated, and says so.
    pub demo: bool,
    /// Part of the providers' callback addresses; empty turns callbacks off.
    pub callback_secret: String,
    /// Session cookies travel over HTTPS only.
    pub secure_cookies: bool,
}

/// The console's routes, ready to serve.
pub fn router(console: Console) -> axum::Router {
    routes::build(Shared::new(console))
}

/// What handlers share. A cheap handle.
#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    console: Console,
    zone: TimeZone,
    fleet: fleet::Fleet,
}

impl Shared {
    fn new(console: Console) -> Shared {
        let zone = TimeZone::get(&console.settings.time_zone).unwrap_or_else(|error| {
            tracing::error!(zone = console.settings.time_zone, %error, "unknown time zone, showing UTC");
            TimeZone::UTC
        });
        Shared(Arc::new(Inner { console, zone, fleet: fleet::Fleet::default() }))
    }

    fn zone(&self) -> &TimeZone {
        &self.0.zone
    }

    fn fleet(&self) -> &fleet::Fleet {
        &self.0.fleet
    }
}

impl Deref for Shared {
    type Target = Console;
    fn deref(&self) -> &Console {
        &self.0.console
    }
}
