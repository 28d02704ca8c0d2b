//! Readings and timers in, ledger rows out.

use std::future::Future;
use std::sync::Arc;

use model::{DeviceId, Reading, Stamp};
use registry::Registry;
use store::{Clock, Position};
use tokio::sync::broadcast;

use crate::AlertError;
use crate::notify::Providers;

/// One reading on its way through the rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    pub position: Position,
    pub sensor: DeviceId,
    pub received: Stamp,
    pub reading: Reading,
}

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Dose profile name, for example `en50291`.
    pub profile: &'static model::dose::Profile,
    /// Address of the console as phones reach it, without a slash at the end; acknowledge links
    /// begin with it.
    pub public_url: String,
    /// Signs acknowledge links.
    pub link_key: [u8; 32],
    /// IANA zone that times in messages are told in.
    pub time_zone: String,
}

/// The alert engine. A cheap handle.
#[derive(Clone, Debug)]
pub struct Alerts {
    _inner: Arc<()>,
}

impl Alerts {
    /// Reads dose states and position from the ledger, which must have been migrated.
    pub async fn open(
        registry: Registry,
        clock: Clock,
        settings: Settings,
        providers: Providers,
    ) -> Result<Alerts, AlertError> {
        let _ = (registry, clock, settings, providers);
        todo!()
    }

    /// Takes readings in journal order. Returns when every decision they caused is committed with
    /// its notifications. Observations at or before [`Alerts::applied`] are skipped.
    pub async fn observe(&self, observations: &[Observation]) -> Result<(), AlertError> {
        let _ = observations;
        todo!()
    }

    /// Notes that the journal up to and including `position` needs no replay, and saves changed
    /// dose states in the same transaction.
    pub async fn checkpoint(&self, position: Position) -> Result<(), AlertError> {
        let _ = position;
        todo!()
    }

    /// The position of the last committed checkpoint or decision.
    pub fn applied(&self) -> Position {
        todo!()
    }

    /// Fires timers and sends notifications until `stop` resolves.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) -> Result<(), AlertError> {
        stop.await;
        todo!()
    }

    /// Ids of incidents, each time something about them changed.
    pub fn changes(&self) -> broadcast::Receiver<i64> {
        todo!()
    }
}
