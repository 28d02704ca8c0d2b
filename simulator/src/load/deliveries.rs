//! A subscriber that only counts, for measuring how fast a relay delivers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::packet::{self, Partial, kind};
use super::{Broken, LoadError, Qos, connection};

/// What to subscribe to.
#[derive(Clone, Debug)]
pub struct DeliveryOptions {
    pub address: SocketAddr,
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    pub filter: String,
    /// The most that is asked for; the broker may grant less.
    pub qos: Qos,
}

/// A subscription that counts.
#[derive(Debug)]
pub struct Deliveries {
    count: Arc<AtomicU64>,
    changed: watch::Receiver<u64>,
    task: JoinHandle<Tail>,
}

/// What has been delivered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeliveryReport {
    pub delivered: u64,
    /// Bytes of the payloads.
    pub payload_bytes: u64,
    /// From the first to the last message.
    pub seconds: f64,
    /// `delivered` by `seconds`.
    pub per_second: f64,
    /// Why the connection ended, if it did by itself.
    pub error: Option<String>,
}

#[derive(Debug, Default)]
struct Tail {
    payload_bytes: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    error: Option<String>,
}

const READ: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);
const SUBSCRIPTION: u16 = 1;

/// Subscribes and counts messages until [`Deliveries::finish`].
///
/// # Errors
/// When the connection or the subscription is refused.
pub async fn count_deliveries(options: DeliveryOptions) -> Result<Deliveries, LoadError> {
    let id = options.client_id.clone();
    let opened = tokio::time::timeout(PATIENCE, subscribe(&options)).await.unwrap_or(Err(Broken::Silent));
    let (stream, partial) = opened.map_err(|broken| LoadError::Connect { id, reason: broken.to_string() })?;
    let count = Arc::new(AtomicU64::new(0));
    let (signal, changed) = watch::channel(0);
    let task = tokio::spawn(receive(stream, partial, count.clone(), signal));
    Ok(Deliveries { count, changed, task })
}

async fn subscribe(options: &DeliveryOptions) -> Result<(TcpStream, Partial), Broken> {
    let mut stream = connection::open(options.address, &options.client_id, options.credentials.as_ref()).await?;
    let mut out = Vec::new();
    packet::subscribe(&mut out, SUBSCRIPTION, &options.filter, options.qos.level());
    stream.write_all(&out).await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    match answer {
        [first, 3, _, _, granted] if first >> 4 == kind::SUBACK && granted < 3 => Ok((stream, Partial::default())),
        [first, 3, _, _, refused] if first >> 4 == kind::SUBACK => Err(Broken::Refused(refused)),
        [first, ..] => Err(Broken::Unexpected(first >> 4)),
    }
}

impl Deliveries {
    /// Messages so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until so many messages have come; false when the connection ends before.
    pub async fn reach(&mut self, messages: u64) -> bool {
        self.changed.wait_for(|count| *count >= messages).await.is_ok() || self.count() >= messages
    }

    /// Ends the subscription.
    pub async fn finish(self) -> DeliveryReport {
        let Deliveries { count, changed, task } = self;
        // the receiving task ends when nobody watches its count
        drop(changed);
        let tail = task.await.unwrap_or_else(|error| Tail { error: Some(error.to_string()), ..Tail::default() });
        let delivered = count.load(Ordering::Relaxed);
        let seconds = match (tail.first, tail.last) {
            (Some(first), Some(last)) => last.duration_since(first).as_secs_f64(),
            _ => 0.0,
        };
        let per_second = if seconds > 0.0 { delivered as f64 / seconds } else { 0.0 };
        DeliveryReport { delivered, payload_bytes: tail.payload_bytes, seconds, per_second, error: tail.error }
    }
}

async fn receive(
    mut stream: TcpStream,
    mut partial: Partial,
    count: Arc<AtomicU64>,
    signal: watch::Sender<u64>,
) -> Tail {
    let mut tail = Tail::default();
    tokio::select! {
        () = signal.closed() => {
            // the broker may be gone already
            let _ = stream.write_all(&packet::DISCONNECT).await;
        }
        broken = receive_all(&mut stream, &mut partial, &count, &signal, &mut tail) => {
            tail.error = Some(broken.to_string());
        }
    }
    tail
}

async fn receive_all(
    stream: &mut TcpStream,
    partial: &mut Partial,
    count: &AtomicU64,
    signal: &watch::Sender<u64>,
    tail: &mut Tail,
) -> Broken {
    let mut buffer = vec![0; READ];
    let mut acknowledgements = Vec::new();
    loop {
        let read = match stream.read(&mut buffer).await {
            Ok(0) => return Broken::Closed,
            Ok(read) => read,
            Err(error) => return error.into(),
        };
        let mut delivered = 0;
        let fed = partial.feed(&buffer[..read], |frame| {
            if let (kind::PUBLISH, Some((_, packet_id, payload))) = (frame.kind(), frame.publish()) {
                delivered += 1;
                tail.payload_bytes += payload.len() as u64;
                if let Some(packet_id) = packet_id {
                    packet::puback(&mut acknowledgements, packet_id);
                }
            }
        });
        if let Err(malformed) = fed {
            return malformed.into();
        }
        if delivered > 0 {
            let now = Instant::now();
            tail.first.get_or_insert(now);
            tail.last = Some(now);
            count.fetch_add(delivered, Ordering::Relaxed);
        }
        if !acknowledgements.is_empty() {
            if let Err(error) = stream.write_all(&acknowledgements).await {
                return error.into();
            }
            acknowledgements.clear();
        }
        // last, because whoever has seen enough ends this at once
        signal.send_replace(count.load(Ordering::Relaxed));
    }
}
