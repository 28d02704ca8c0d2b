//! A bare MQTT client: it sends exactly the bytes a test wants, and knows exactly what was acknowledged.

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::PATIENCE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Reason code, as the version has it.
    ConnAck(u8),
    /// Packet id, reason code (0 where the version has none) and reason string.
    PubAck(u16, u8, Option<String>),
    PingResp,
    /// MQTT 5 only.
    Disconnect(u8),
    /// First byte and body of anything else.
    Other(u8, Vec<u8>),
}

/// Success without subscribers is 0x10, which is a success too.
pub(crate) fn is_success(reason: u8) -> bool {
    reason == 0 || reason == 0x10
}

#[derive(Debug)]
pub(crate) struct Reader {
    version: Version,
    socket: BufReader<OwnedReadHalf>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    version: Version,
    socket: OwnedWriteHalf,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Mqtt {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

impl Mqtt {
    /// Connects and signs in as the device `id`.
    ///
    /// # Errors
    /// Also when the server refuses.
    pub(crate) async fn connect(port: u16, version: Version, id: &str, secret: &str) -> anyhow::Result<Mqtt> {
        let (mqtt, answer) = Mqtt::try_connect(port, version, id, secret).await?;
        ensure!(answer == Packet::ConnAck(0), "{id} was refused: {answer:?}");
        Ok(mqtt)
    }

    /// Connects and returns the answer to CONNECT, whatever it is.
    pub(crate) async fn try_connect(
        port: u16,
        version: Version,
        id: &str,
        secret: &str,
    ) -> anyhow::Result<(Mqtt, Packet)> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        let (read, write) = socket.into_split();
        let mut mqtt = Mqtt {
            reader: Reader { version, socket: BufReader::new(read) },
            writer: Writer { version, socket: write },
        };
        mqtt.writer.send(&connect(version, id, secret)).await?;
        let answer = mqtt.reader.packet().await?.context("the server closed the connection instead of CONNACK")?;
        Ok((mqtt, answer))
    }

    /// Publishes with QoS 1 and returns reason code and reason string of the PUBACK.
    ///
    /// # Errors
    /// When anything else comes.
    pub(crate) async fn publish(
        &mut self,
        topic: &str,
        payload: impl AsRef<[u8]>,
    ) -> anyhow::Result<(u8, Option<String>)> {
        self.writer.publish(topic.as_bytes(), 1, payload.as_ref()).await?;
        match self.reader.packet().await? {
            Some(Packet::PubAck(1, reason, words)) => Ok((reason, words)),
            Some(other) => bail!("expected PUBACK, got {other:?}"),
            None => bail!("the server closed the connection instead of PUBACK"),
        }
    }
}

impl Reader {
    /// The next packet; `None` when the connection is closed.
    ///
    /// # Errors
    /// When nothing comes within a generous time, or what comes is malformed.
    pub(crate) async fn packet(&mut self) -> anyhow::Result<Option<Packet>> {
        timeout(PATIENCE, self.read()).await.with_context(|| format!("nothing came in {PATIENCE:?}"))?
    }

    async fn read(&mut self) -> anyhow::Result<Option<Packet>> {
        let mut first = [0];
        match self.socket.read_exact(&mut first).await {
            Ok(_) => {}
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut length = 0_usize;
        for shift in [0, 7, 14, 21] {
            let byte = self.socket.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await?;
        parse(self.version, first[0], &body).map(Some)
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn parse(version: Version, first: u8, body: &[u8]) -> anyhow::Result<Packet> {
    let short = || format!("packet {first:#x} is too short: {body:?}");
    Ok(match first >> 4 {
        2 => Packet::ConnAck(*body.get(1).with_context(short)?),
        4 => {
            let id = u16::from_be_bytes([*body.first().with_context(short)?, *body.get(1).with_context(short)?]);
            let reason = body.get(2).copied().unwrap_or(0);
            let words = if version == Version::V5 { reason_string(body.get(3..).unwrap_or_default())? } else { None };
            Packet::PubAck(id, reason, words)
        }
        13 => Packet::PingResp,
        14 => Packet::Disconnect(body.first().copied().unwrap_or(0)),
        _ => Packet::Other(first, body.to_vec()),
    })
}

/// Finds the reason string in an MQTT 5 property list that may hold nothing but it and user properties.
fn reason_string(properties: &[u8]) -> anyhow::Result<Option<String>> {
    const REASON_STRING: u8 = 0x1f;
    let Some((&length, rest)) = properties.split_first() else { return Ok(None) };
    let rest = if length & 0x80 == 0 { rest } else { rest.get(1..).unwrap_or_default() };
    let Some((&id, text)) = rest.split_first() else { return Ok(None) };
    if id != REASON_STRING {
        return Ok(None);
    }
    let (size, text) = text.split_first_chunk::<2>().context("a reason string without length")?;
    let text = text.get(..usize::from(u16::from_be_bytes(*size))).context("a reason string that breaks off")?;
    Ok(Some(String::from_utf8(text.to_vec())?))
}

impl Writer {
    pub(crate) async fn publish(&mut self, topic: &[u8], id: u16, payload: &[u8]) -> anyhow::Result<()> {
        self.send(&publish(self.version, topic, id, payload)).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.socket.write_all(bytes).await?)
    }
}

fn connect(version: Version, id: &str, secret: &str) -> Vec<u8> {
    const CLEAN_WITH_USER_AND_PASSWORD: u8 = 0b1100_0010;
    let mut body = text(b"MQTT");
    body.push(if version == Version::V5 { 5 } else { 4 });
    body.push(CLEAN_WITH_USER_AND_PASSWORD);
    body.extend([0, 60]);
    if version == Version::V5 {
        body.push(0);
    }
    for field in [id, id, secret] {
        body.extend(text(field.as_bytes()));
    }
    packet(0x10, &body)
}

/// A PUBLISH with QoS 1.
pub(crate) fn publish(version: Version, topic: &[u8], id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(payload);
    packet(0x32, &body)
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        bytes.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}
