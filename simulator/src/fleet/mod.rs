//! All sensors of the district as MQTT 3.1.1 clients, one connection each.

mod device;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::id::DeviceId;
use model::time::SECOND;
use model::topic::Channel;
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::SimClock;
use crate::random::Random;
use crate::world::World;
use device::Device;

/// What the fleet has done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Readings handed to a connection, repeats included.
    pub(crate) sent: AtomicU64,
    /// Readings whose message was acknowledged, each once.
    pub(crate) acknowledged: AtomicU64,
    /// Readings given up because too many were waiting.
    pub(crate) dropped: AtomicU64,
    /// Sensors connected at the moment.
    pub(crate) connected: AtomicU64,
}

pub(crate) struct Fleet {
    pub(crate) world: Arc<World>,
    pub(crate) clock: SimClock,
    pub(crate) mqtt: SocketAddr,
    /// Passwords by sensor id.
    pub(crate) secrets: HashMap<String, String>,
    /// Whether to leave a will `{"online":false}` with the broker.
    pub(crate) wills: bool,
    pub(crate) seed: u64,
    pub(crate) tally: Tally,
}

/// Sensors are switched on over this much of the simulated clock.
const START_WITHIN: i64 = 30 * SECOND;
const ONLINE: &str = r#"{"online":true,"firmware":"sim"}"#;
const OFFLINE: &str = r#"{"online":false}"#;
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const FAREWELL: Duration = Duration::from_secs(1);
const CONNECT_SECONDS: u64 = 10;

impl Fleet {
    /// Runs all sensors that have a secret until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut sensors = JoinSet::new();
        for index in 0..self.world.homes().len() {
            sensors.spawn(self.clone().run_sensor(index, stop.clone()));
        }
        sensors.join_all().await;
    }

    async fn run_sensor(self: Arc<Self>, home: usize, stop: CancellationToken) {
        let sensor = &self.world.homes()[home].sensor;
        let Some(secret) = self.secrets.get(sensor.id.as_str()) else {
            tracing::warn!(sensor = %sensor.id, "no secret for this sensor, it stays off");
            return;
        };
        let mut random = Random::stream(self.seed, (2 << 32) + home as u64);
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.clock.sleep((random.fraction() * START_WITHIN as f64) as i64) => {}
        }
        let (client, eventloop) = self.client(&sensor.id, secret);
        let line = Line {
            fleet: &self,
            home,
            readings_topic: Channel::Readings.topic(&sensor.id),
            status_topic: Channel::Status.topic(&sensor.id),
            device: Device::new(sensor, self.clock.now(), random.clone()),
            client,
            is_connected: false,
            failures: 0,
            random,
        };
        line.run(eventloop, &stop).await;
    }

    fn client(&self, id: &DeviceId, secret: &str) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(id.as_str(), self.mqtt.ip().to_string(), self.mqtt.port());
        options.set_keep_alive(KEEP_ALIVE).set_credentials(id.as_str(), secret);
        if self.wills {
            options.set_last_will(LastWill::new(Channel::Status.topic(id), OFFLINE, QoS::AtLeastOnce, true));
        }
        let (client, mut eventloop) = AsyncClient::new(options, 4);
        eventloop.network_options.set_connection_timeout(CONNECT_SECONDS);
        (client, eventloop)
    }
}

/// One sensor's connection.
struct Line<'f> {
    fleet: &'f Fleet,
    home: usize,
    readings_topic: String,
    status_topic: String,
    device: Device,
    client: AsyncClient,
    is_connected: bool,
    /// Failed connections in a row.
    failures: u32,
    random: Random,
}

impl Line<'_> {
    async fn run(mut self, mut eventloop: EventLoop, stop: &CancellationToken) {
        loop {
            let pause = self.pause();
            let outcome = {
                // polled to its end: a dropped poll could lose a packet or a connection attempt
                let link = async {
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    eventloop.poll().await
                };
                tokio::pin!(link);
                loop {
                    tokio::select! {
                        () = stop.cancelled() => break None,
                        outcome = &mut link => break Some(outcome),
                        () = self.fleet.clock.sleep_until(self.device.due()) => self.sample(),
                    }
                }
            };
            match outcome {
                None => break,
                Some(Ok(Event::Incoming(Packet::ConnAck(_)))) => self.connected(),
                Some(Ok(Event::Incoming(Packet::PubAck(_)))) => self.acknowledged(),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.lost(&error.to_string());
                    // the device itself repeats what was not acknowledged
                    eventloop.pending.clear();
                }
            }
        }
        if self.is_connected {
            self.fleet.tally.connected.fetch_sub(1, Ordering::Relaxed);
            self.say_goodbye(eventloop).await;
        }
    }

    fn pause(&mut self) -> Duration {
        if self.is_connected || self.failures == 0 {
            return Duration::ZERO;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_PAUSE);
        doubled.mul_f64(self.random.between(0.5, 1.0))
    }

    fn sample(&mut self) {
        let before = self.device.dropped;
        self.device.sample(self.fleet.world.measure(self.home, self.fleet.clock.now()));
        self.fleet.tally.dropped.fetch_add(self.device.dropped - before, Ordering::Relaxed);
        self.send();
    }

    fn send(&mut self) {
        if !self.is_connected {
            return;
        }
        let Some(message) = self.device.next_message() else { return };
        if self.client.try_publish(self.readings_topic.as_str(), QoS::AtLeastOnce, false, message.payload).is_err() {
            self.device.disconnected();
            return;
        }
        self.fleet.tally.sent.fetch_add(message.readings as u64, Ordering::Relaxed);
        if message.is_danger {
            self.fleet.world.danger_published(self.home, Instant::now());
        }
    }

    fn connected(&mut self) {
        self.is_connected = true;
        self.fleet.tally.connected.fetch_add(1, Ordering::Relaxed);
        if self.client.try_publish(self.status_topic.as_str(), QoS::AtLeastOnce, true, ONLINE).is_ok() {
            self.device.sent_status();
        }
    }

    fn acknowledged(&mut self) {
        self.failures = 0;
        self.fleet.tally.acknowledged.fetch_add(self.device.acknowledged() as u64, Ordering::Relaxed);
        self.send();
    }

    fn lost(&mut self, reason: &str) {
        if self.failures == 0 {
            let sensor = &self.fleet.world.homes()[self.home].sensor.id;
            tracing::warn!(%sensor, reason, "a sensor has no connection, it tries again");
        }
        self.failures = self.failures.saturating_add(1);
        if std::mem::take(&mut self.is_connected) {
            self.fleet.tally.connected.fetch_sub(1, Ordering::Relaxed);
        }
        self.device.disconnected();
    }

    async fn say_goodbye(self, mut eventloop: EventLoop) {
        if self.client.try_disconnect().is_err() {
            return;
        }
        let leave =
            async { while !matches!(eventloop.poll().await, Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_)) {} };
        // the sensor goes either way
        let _ = tokio::time::timeout(FAREWELL, leave).await;
    }
}

#[cfg(test)]
mod tests;
