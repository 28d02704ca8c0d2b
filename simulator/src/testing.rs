//! Small servers for tests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};

use crate::load::packet::{self, Partial, kind};

/// Serves routes on a free port until the test's runtime ends; returns the base URL.
pub(crate) async fn serve(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    base
}

/// A PUBLISH as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

/// How the acceptor behaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manners {
    /// Ends the first connections so many times at their first reading, unacknowledged.
    pub(crate) hang_ups: usize,
    /// Takes publishes and never acknowledges them.
    pub(crate) is_mute: bool,
    /// Passwords by user name; without any everybody is let in.
    pub(crate) passwords: HashMap<String, String>,
}

/// The least MQTT server that a client can talk to.
pub(crate) struct Acceptor {
    pub(crate) address: SocketAddr,
    pub(crate) published: mpsc::Receiver<Published>,
    /// The CONNECT bodies that arrived.
    pub(crate) connects: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Acknowledgements from subscribers, of [`Acceptor::relay`]'s messages.
    pub(crate) subscriber_acks: Arc<AtomicUsize>,
    /// Connections that ended with DISCONNECT.
    goodbyes: watch::Receiver<usize>,
    relayed: broadcast::Sender<Vec<u8>>,
}

impl Acceptor {
    pub(crate) async fn start(manners: Manners) -> Acceptor {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, published) = mpsc::channel(100_000);
        let (goodbye, goodbyes) = watch::channel(0);
        let talk = Talk {
            sender,
            connects: Arc::default(),
            subscriber_acks: Arc::default(),
            hang_ups: Arc::new(AtomicUsize::new(manners.hang_ups)),
            manners: Arc::new(manners),
            goodbye,
            relayed: broadcast::Sender::new(16),
        };
        let acceptor = Acceptor {
            address,
            published,
            connects: talk.connects.clone(),
            subscriber_acks: talk.subscriber_acks.clone(),
            goodbyes,
            relayed: talk.relayed.clone(),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk.clone().serve(stream));
            }
        });
        acceptor
    }

    /// Sends so many messages at QoS 1 to every connection that is up.
    pub(crate) fn relay(&self, topic: &str, payload: &[u8], count: u16) {
        let mut out = Vec::new();
        for packet_id in 1..=count {
            let at = out.len();
            let at = at + packet::publish(&mut out, 1, topic, payload);
            out[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        self.relayed.send(out).unwrap();
    }

    /// Waits until so many connections have taken their leave.
    pub(crate) async fn goodbyes(&mut self, count: usize) {
        self.goodbyes.wait_for(|said| *said >= count).await.unwrap();
    }
}

#[derive(Clone)]
struct Talk {
    sender: mpsc::Sender<Published>,
    connects: Arc<Mutex<Vec<Vec<u8>>>>,
    subscriber_acks: Arc<AtomicUsize>,
    hang_ups: Arc<AtomicUsize>,
    manners: Arc<Manners>,
    goodbye: watch::Sender<usize>,
    relayed: broadcast::Sender<Vec<u8>>,
}

impl Talk {
    async fn serve(self, mut stream: TcpStream) {
        let mut partial = Partial::default();
        let mut buffer = vec![0; 8_192];
        let mut relayed = self.relayed.subscribe();
        loop {
            let mut out = Vec::new();
            tokio::select! {
                read = stream.read(&mut buffer) => {
                    let Ok(read @ 1..) = read else { return };
                    let mut frames = Vec::new();
                    partial.feed(&buffer[..read], |frame| frames.push((frame.first, frame.body.to_vec()))).unwrap();
                    for (first, body) in frames {
                        if self.answer(first, &body, &mut out).await.is_break() {
                            return;
                        }
                    }
                }
                message = relayed.recv() => out = message.unwrap(),
            }
            if stream.write_all(&out).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, first: u8, body: &[u8], out: &mut Vec<u8>) -> ControlFlow<()> {
        let frame = packet::Frame { first, body, length: 0 };
        match frame.kind() {
            kind::CONNECT => {
                let is_welcome = self.is_welcome(body);
                self.connects.lock().unwrap().push(body.to_vec());
                out.extend([0x20, 2, 0, if is_welcome { 0 } else { 5 }]);
            }
            kind::PUBLISH => {
                let (topic, packet_id, payload) = frame.publish().unwrap();
                let topic = String::from_utf8(topic.to_vec()).unwrap();
                let take = |left: usize| left.checked_sub(1);
                if topic.ends_with("/readings")
                    && self.hang_ups.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
                {
                    return ControlFlow::Break(());
                }
                if let Some(packet_id) = packet_id.filter(|_| !self.manners.is_mute) {
                    packet::puback(out, packet_id);
                }
                let published =
                    Published { topic, payload: payload.to_vec(), qos: frame.qos(), retain: first & 1 == 1 };
                // a test that has seen enough stops listening
                let _ = self.sender.send(published).await;
            }
            kind::PUBACK => {
                self.subscriber_acks.fetch_add(1, Ordering::SeqCst);
            }
            kind::SUBSCRIBE => out.extend([0x90, 3, body[0], body[1], 1]),
            kind::PINGREQ => out.extend([0xd0, 0]),
            kind::DISCONNECT => {
                self.goodbye.send_modify(|said| *said += 1);
                return ControlFlow::Break(());
            }
            other => panic!("a client sent a packet of type {other}"),
        }
        ControlFlow::Continue(())
    }

    fn is_welcome(&self, connect: &[u8]) -> bool {
        let (_, user, password) = signed_in_as(connect);
        self.manners.passwords.is_empty() || self.manners.passwords.get(&user) == Some(&password)
    }
}

/// Client id, user name and password of a CONNECT body; a will is skipped.
pub(crate) fn signed_in_as(connect: &[u8]) -> (String, String, String) {
    let flags = connect[7];
    let mut rest = &connect[10..];
    let mut string = || {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let text = String::from_utf8(rest[2..2 + length].to_vec()).unwrap();
        rest = &rest[2 + length..];
        text
    };
    let id = string();
    if flags & 4 != 0 {
        string();
        string();
    }
    let user = if flags & 0x80 != 0 { string() } else { String::new() };
    let password = if flags & 0x40 != 0 { string() } else { String::new() };
    (id, user, password)
}
