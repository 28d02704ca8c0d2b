//! The MQTT front door: identity, topic rights, durable acknowledgement, delivery.
//!
//! One TCP port for MQTT 3.1.1 and 5, told apart by the level byte in CONNECT. QoS 0 and 1. A PUBACK
//! leaves only after the message is on disk, in the order of the PUBLISH packets; refusals wait their
//! turn in the same queue.
//!
//! # What it answers
//!
//! | what | MQTT 5 | MQTT 3.1.1 |
//! |---|---|---|
//! | no user name | CONNACK 0x87 | CONNACK 5 |
//! | wrong, unknown or revoked credentials | CONNACK 0x86 | CONNACK 4 |
//! | client id that is neither the user name nor empty | CONNACK 0x85 | CONNACK 2 |
//! | other protocol level | CONNACK 0x84 | CONNACK 1 |
//! | will to another topic than the device's own status | CONNACK 0x87 | CONNACK 5 |
//! | PUBLISH outside the rights | PUBACK 0x87, nothing kept | PUBACK, nothing kept, counted and logged |
//! | PUBLISH to a name that breaks the grammar | PUBACK 0x90, nothing kept | closed |
//! | payload of which nothing is understood | PUBACK 0x99, in quarantine | PUBACK, in quarantine |
//! | filter outside the rights | SUBACK 0x87 | SUBACK 0x80 |
//! | malformed, oversized, QoS 2, not for clients | DISCONNECT with its code | closed |
//! | second connection with the same id | the first gets DISCONNECT 0x8E | the first is closed |
//! | journal failed | DISCONNECT 0x89, unacknowledged | closed, unacknowledged |
//!
//! A will is journalled when the connection ends other than by a DISCONNECT with reason 0; when it is
//! taken over, before anything the newer connection sends; not when the server stops, for then the
//! device is not gone. There are no sessions beyond a connection, and no retained messages of devices:
//! a RETAIN flag on `status` is accepted and means nothing here. Version 5 clients are told all that in
//! CONNACK. Open incidents are retained ([`FrontDoor::publish`]).
//!
//! # Layout
//!
//! * `publish`: **start here**, the way of a message from socket to journal to PUBACK.
//! * `listener`, `connect`, `connection`: accepting, signing in, serving, ending; any stream will do.
//! * `packet`, `encode`, `socket`: bytes.
//! * `subscribe`, `outbound`, `directory`, `retained`: messages to clients.
//! * `router`: live copies for integrations, through rumqttd's router.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::DeviceId;
use model::topic::{self, Channel, TopicError};
use registry::Credentials;
use registry::sensors::Presence;
use store::{Clock, Journal};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

mod connect;
mod connection;
mod counters;
mod directory;
mod encode;
mod end;
mod intake;
mod listener;
mod outbound;
mod packet;
mod publish;
mod retained;
mod router;
mod socket;
mod subscribe;
#[cfg(test)]
mod tests;

pub use counters::Counters;

use counters::Tally;
use directory::Directory;
use end::End;
use intake::Intake;
use retained::Retained;
use router::{LiveCopy, LiveRouter};

/// How long [`FrontDoor::stop`] waits for its connections.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What the front door stands on.
pub struct Parts {
    pub journal: Journal,
    pub credentials: Credentials,
    pub clock: Clock,
    /// Connections and their ends. An event that finds it full is dropped and counted.
    pub presence: mpsc::Sender<Presence>,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a client may take to send its CONNECT.
    pub connect_timeout: Duration,
    /// Longest silence of a client that asks for no keep-alive.
    pub idle_limit: Duration,
    /// Largest packet, bytes.
    pub most_packet: usize,
    /// What version 5 clients are told to keep unacknowledged at most.
    pub receive_maximum: u16,
    /// Sockets beyond this are closed at once.
    pub most_connections: usize,
    /// How often the router of live copies must answer; silent for five of these, it counts as failed.
    pub router_probe: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            connect_timeout: Duration::from_secs(10),
            idle_limit: Duration::from_secs(2 * 3_600),
            most_packet: 256 << 10,
            receive_maximum: 4_096,
            most_connections: 200_000,
            router_probe: Duration::from_secs(2),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Threads or memory are short.
    #[error("the router of live copies did not start")]
    Router,
}

/// What every connection uses.
pub(crate) struct Shared {
    intake: Arc<dyn Intake>,
    credentials: Credentials,
    clock: Clock,
    presence: mpsc::Sender<Presence>,
    settings: Settings,
    tally: Arc<Tally>,
    directory: Directory,
    retained: Retained,
    router: Arc<LiveRouter>,
    stop: CancellationToken,
}

impl Shared {
    fn tell_presence(&self, device: &DeviceId, online: bool, detail: String) {
        let event = Presence { device: device.clone(), at: self.clock.now(), online, detail };
        if self.presence.try_send(event).is_err() {
            self.tally.presence_dropped.one();
        }
    }
}

/// A cheap handle on the running front door.
#[derive(Clone)]
pub struct FrontDoor {
    shared: Arc<Shared>,
    /// Closes when the last task has ended.
    ended: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl FrontDoor {
    /// Starts serving `listener`.
    ///
    /// # Errors
    /// [`StartError`] when a thread cannot be started.
    pub async fn start(listener: TcpListener, parts: Parts, settings: Settings) -> Result<FrontDoor, StartError> {
        let Parts { journal, credentials, clock, presence } = parts;
        FrontDoor::start_with(listener, Arc::new(journal), credentials, clock, presence, settings).await
    }

    async fn start_with(
        listener: TcpListener,
        intake: Arc<dyn Intake>,
        credentials: Credentials,
        clock: Clock,
        presence: mpsc::Sender<Presence>,
        settings: Settings,
    ) -> Result<FrontDoor, StartError> {
        let tally = Arc::new(Tally::default());
        let router = LiveRouter::start(tally.clone(), settings.router_probe).await.map_err(|_| StartError::Router)?;
        let shared = Arc::new(Shared {
            intake,
            credentials,
            clock,
            presence,
            settings,
            tally,
            directory: Directory::default(),
            retained: Retained::default(),
            router,
            stop: CancellationToken::new(),
        });
        let (alive, ended) = mpsc::channel(1);
        tokio::spawn(listener::run(listener, shared.clone(), alive));
        Ok(FrontDoor { shared, ended: Arc::new(Mutex::new(ended)) })
    }

    /// Stops accepting, lets the connections finish what they have taken in, tells them why
    /// (DISCONNECT 0x8B) and closes. Returns within 5 s, also when a client or the journal hangs.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.directory.end_all(End::Stopping);
        let mut ended = self.ended.lock().await;
        if timeout(STOP_LIMIT, ended.recv()).await.is_err() {
            let left = self.shared.tally.connections_now.get();
            tracing::warn!(left, "some connections did not end in time");
        }
        self.shared.router.stop();
    }

    /// Resolves with the reason once live copies have stopped for good: the process should restart.
    pub async fn failed(&self) -> &'static str {
        self.shared.router.failed().await
    }

    pub fn counters(&self) -> Counters {
        self.shared.tally.read()
    }

    pub fn is_connected(&self, device: &DeviceId) -> bool {
        self.shared.directory.contains(device)
    }

    /// Sends to a device's own `commands` or `receipts`. False when the device is not connected, has
    /// not subscribed to that, or does not keep up; true promises no more than that it was handed to
    /// the connection.
    pub fn send_to_device(&self, device: &DeviceId, channel: Channel, payload: impl Into<Bytes>) -> bool {
        self.shared.directory.send(device, channel, payload.into())
    }

    /// Publishes a message of the server to the integrations that listen. With `retain`, those that
    /// subscribe later get it too, until it is replaced; an empty payload clears it.
    ///
    /// # Errors
    /// [`TopicError`] when the topic breaks the grammar.
    pub fn publish(&self, topic: &str, payload: impl Into<Bytes>, retain: bool) -> Result<(), TopicError> {
        topic::check_name(topic)?;
        let payload = payload.into();
        if retain {
            // Before the live copy, so that a new subscriber gets one or the other, or both.
            self.shared.retained.keep(topic, &payload);
        }
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        self.shared.router.publish(vec![LiveCopy { topic, payload, qos: 1 }]);
        Ok(())
    }
}
