//! A front door on port 0, clients of raw bytes, and a journal that can be held back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::rights::Role;
use model::{DeviceId, Stamp};
use registry::secrets::Secrets;
use registry::sensors::Presence;
use registry::{Credentials, Registry};
use store::journal::{Position, Record};
use store::{Clock, Entry, Journal, Ledger, StoreError};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::intake::{Appending, Durable, Intake};
use crate::{FrontDoor, Settings};

pub(crate) const START: Stamp = Stamp(1_780_000_000_000);
/// Far more than anything here takes; reached only where a test fails.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) const READINGS: &str = "gas/v1/sensors/S1/readings";
pub(crate) const STATUS: &str = "gas/v1/sensors/S1/status";
pub(crate) const COMMANDS: &str = "gas/v1/sensors/S1/commands";
pub(crate) const ALL_READINGS: &str = "gas/v1/sensors/+/readings";
pub(crate) const INCIDENTS: &str = "gas/v1/incidents/#";

/// What a [`Gate`] does with tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Works,
    /// Takes entries, but they do not get durable.
    Hangs,
    Fails,
}

/// The real journal behind a switch.
struct Gate {
    journal: Journal,
    disk: watch::Receiver<Disk>,
}

fn disk_error() -> StoreError {
    StoreError::Closed("disk full".to_owned())
}

impl Intake for Gate {
    fn append(&self, entries: Vec<Entry>) -> Appending<'_> {
        let mut disk = self.disk.clone();
        Box::pin(async move {
            let ticket = self.journal.append(entries).await?;
            let durable: Durable = Box::pin(async move {
                ticket.durable().await?;
                match disk.wait_for(|disk| *disk != Disk::Hangs).await.map(|disk| *disk) {
                    Ok(Disk::Works) => Ok(()),
                    _ => Err(disk_error()),
                }
            });
            Ok(durable)
        })
    }
}

pub(crate) struct House {
    pub(crate) front_door: FrontDoor,
    pub(crate) address: SocketAddr,
    pub(crate) journal: Journal,
    pub(crate) credentials: Credentials,
    pub(crate) presence: mpsc::Receiver<Presence>,
    pub(crate) disk: watch::Sender<Disk>,
    _directory: TempDir,
}

pub(crate) fn id(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

impl House {
    /// Sensors S1 and S2, scanner N1, integrations I1 and I2.
    pub(crate) async fn open() -> House {
        House::open_with(Settings::default()).await
    }

    pub(crate) async fn open_with(settings: Settings) -> House {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open_file(&directory.path().join("ledger.db")).await.unwrap();
        ledger.migrate(&[registry::SCHEMA]).await.unwrap();
        let keys = Secrets::generate().unwrap().fleet;
        let credentials = Credentials::load(&Registry::new(ledger), keys).await.unwrap();
        let filters: Vec<String> =
            [ALL_READINGS, INCIDENTS, "gas/v1/sensors/+/status"].iter().map(|filter| (*filter).to_owned()).collect();
        for (name, role) in [("S1", Role::Sensor), ("S2", Role::Sensor), ("N1", Role::Scanner)] {
            credentials.enrol(&id(name), role, &[]).await.unwrap();
        }
        for name in ["I1", "I2"] {
            credentials.enrol(&id(name), Role::Integration, &filters).await.unwrap();
        }
        let journal = Journal::open(&directory.path().join("journal.db")).unwrap();
        let (disk, switch) = watch::channel(Disk::Works);
        let gate = Arc::new(Gate { journal: journal.clone(), disk: switch });
        let (events, presence) = mpsc::channel(1_000);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = Clock::manual(START);
        let front_door =
            FrontDoor::start_with(listener, gate, credentials.clone(), clock, events, settings).await.unwrap();
        House { front_door, address, journal, credentials, presence, disk, _directory: directory }
    }

    pub(crate) fn secret(&self, name: &str) -> String {
        self.credentials.secret(&id(name)).unwrap()
    }

    pub(crate) async fn socket(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.unwrap(), 4)
    }

    /// A client that has been let in.
    pub(crate) async fn client(&self, name: &str, level: u8) -> Client<TcpStream> {
        self.client_with(Hello::new(level, name, &self.secret(name))).await
    }

    pub(crate) async fn client_with(&self, hello: Hello) -> Client<TcpStream> {
        let mut client = self.socket().await;
        client.level = hello.level;
        client.send(&hello.packet()).await;
        let (first, body) = client.packet().await;
        assert_eq!((first, body[1]), (0x20, 0), "CONNACK {body:?}");
        client
    }

    /// The next entries of the journal, exactly `count` of them.
    pub(crate) async fn journalled(&self, count: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        while entries.len() < count {
            let after = Position(entries.len() as u64);
            let records = timeout(LONG, self.journal.next(after, count)).await.expect("entries").unwrap();
            entries.extend(records.iter().map(|Record { entry, .. }| entry.clone()));
        }
        assert_eq!(entries.len(), count);
        entries
    }

    pub(crate) async fn presence(&mut self) -> (String, bool, String) {
        let event = timeout(LONG, self.presence.recv()).await.expect("a presence event").unwrap();
        (event.device.to_string(), event.online, event.detail)
    }
}

/// What goes into a CONNECT.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) level: u8,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) keep_alive: u16,
    pub(crate) clean: bool,
    pub(crate) will: Option<(String, Vec<u8>, u8)>,
    pub(crate) properties: Vec<u8>,
}

impl Hello {
    pub(crate) fn new(level: u8, name: &str, secret: &str) -> Hello {
        Hello {
            level,
            client_id: name.to_owned(),
            username: Some(name.to_owned()),
            password: Some(secret.as_bytes().to_vec()),
            keep_alive: 60,
            clean: true,
            will: None,
            properties: Vec::new(),
        }
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut flags = if self.clean { 2 } else { 0 };
        let mut payload = text(&self.client_id);
        if let Some((topic, message, will_flags)) = &self.will {
            flags |= 4 | will_flags;
            if self.level == 5 {
                payload.push(0);
            }
            payload.extend(text(topic));
            payload.extend(binary(message));
        }
        if let Some(username) = &self.username {
            flags |= 0x80;
            payload.extend(text(username));
        }
        if let Some(password) = &self.password {
            flags |= 0x40;
            payload.extend(binary(password));
        }
        let mut body = text("MQTT");
        body.extend([self.level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.level == 5 {
            body.push(self.properties.len() as u8);
            body.extend(&self.properties);
        }
        body.extend(payload);
        packet(0x10, &body)
    }
}

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let low = (length & 0x7F) as u8;
        length >>= 7;
        packet.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

pub(crate) fn publish(level: u8, topic: &str, payload: &[u8], packet_id: u16) -> Vec<u8> {
    let mut body = text(topic);
    if packet_id > 0 {
        body.extend(packet_id.to_be_bytes());
    }
    if level == 5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(if packet_id > 0 { 0x32 } else { 0x30 }, &body)
}

pub(crate) fn subscribe(level: u8, packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if level == 5 {
        body.push(0);
    }
    for (filter, options) in filters {
        body.extend(text(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

pub(crate) fn unsubscribe(level: u8, packet_id: u16, filter: &str) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if level == 5 {
        body.push(0);
    }
    body.extend(text(filter));
    packet(0xA2, &body)
}

pub(crate) const PING: [u8; 2] = [0xC0, 0];
pub(crate) const PONG: (u8, Vec<u8>) = (0xD0, Vec::new());

/// A message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) packet_id: Option<u16>,
    pub(crate) retained: bool,
}

pub(crate) struct Client<S> {
    pub(crate) stream: S,
    pub(crate) level: u8,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S, level: u8) -> Client<S> {
        Client { stream, level }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a PUBLISH, QoS 1 unless `packet_id` is 0.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str, packet_id: u16) {
        let packet = publish(self.level, topic, payload.as_bytes(), packet_id);
        self.send(&packet).await;
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        self.send(&subscribe(self.level, 77, &[(filter, qos)])).await;
        let (first, body) = self.packet().await;
        assert_eq!((first, &body[..2]), (0x90, &77u16.to_be_bytes()[..]), "SUBACK {body:?}");
        *body.last().unwrap()
    }

    /// First byte and body of the next packet.
    pub(crate) async fn packet(&mut self) -> (u8, Vec<u8>) {
        self.packet_or_end().await.expect("a packet, not the end")
    }

    /// `None` when the server has closed.
    pub(crate) async fn packet_or_end(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(LONG, async {
            let first = self.stream.read_u8().await.ok()?;
            let (mut length, mut shift) = (0, 0);
            loop {
                let byte = self.stream.read_u8().await.ok()?;
                length |= usize::from(byte & 0x7F) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((first, body))
        })
        .await
        .expect("an answer")
    }

    /// Packet identifier and reason code of the next packet, a PUBACK.
    pub(crate) async fn puback(&mut self) -> (u16, u8) {
        let (first, body) = self.packet().await;
        assert_eq!(first, 0x40, "{body:?}");
        (u16::from_be_bytes([body[0], body[1]]), body.get(2).copied().unwrap_or(0))
    }

    pub(crate) async fn message(&mut self) -> Got {
        let (first, body) = self.packet().await;
        assert_eq!(first & 0xF0, 0x30, "PUBLISH {first:#x} {body:?}");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let mut rest = &body[2 + length..];
        let packet_id = (first & 6 != 0).then(|| {
            let packet_id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
            packet_id
        });
        if self.level == 5 {
            assert_eq!(rest[0], 0, "no properties");
            rest = &rest[1..];
        }
        Got { topic, payload: String::from_utf8(rest.to_vec()).unwrap(), packet_id, retained: first & 1 != 0 }
    }

    pub(crate) async fn acknowledge(&mut self, packet_id: u16) {
        let packet = packet(0x40, &packet_id.to_be_bytes());
        self.send(&packet).await;
    }

    /// Everything sent before has been taken in, and nothing but the answer to this comes back.
    pub(crate) async fn ping(&mut self) {
        self.send(&PING).await;
        assert_eq!(self.packet().await, PONG);
    }

    /// The reason code of a DISCONNECT (version 5), then the end; without one, `None`.
    pub(crate) async fn ending(&mut self) -> Option<u8> {
        let code = match self.packet_or_end().await {
            Some((0xE0, body)) => Some(body[0]),
            Some(other) => panic!("{other:?} instead of the end"),
            None => return None,
        };
        assert_eq!(self.packet_or_end().await, None);
        code
    }
}
