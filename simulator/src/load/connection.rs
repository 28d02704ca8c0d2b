//! One publishing connection.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::packet::{self, Partial, kind};
use super::payload::Messages;
use super::{Broken, LoadOptions, Qos, Run};

pub(super) struct Connection {
    stream: TcpStream,
    qos: Qos,
    window: usize,
    messages: Messages,
    /// Packet ids that may be used.
    free: Vec<u16>,
    /// By packet id: when it was sent; `None` while unused.
    sent_at: Vec<Option<u64>>,
    out: Vec<u8>,
    written: usize,
    partial: Partial,
    arrived: Arrived,
}

/// What the last read brought.
#[derive(Default)]
struct Arrived {
    acknowledged: Vec<u16>,
    pongs: usize,
}

/// Some thousand acknowledgements.
const READ: usize = 16 * 1024;

/// Opens a connection and waits for the broker's consent.
pub(super) async fn open(
    address: std::net::SocketAddr,
    id: &str,
    credentials: Option<&(String, String)>,
) -> Result<TcpStream, Broken> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut out = Vec::new();
    packet::connect(&mut out, id, credentials);
    stream.write_all(&out).await?;
    let mut answer = [0; 4];
    if let Err(error) = stream.read_exact(&mut answer).await {
        return Err(if error.kind() == io::ErrorKind::UnexpectedEof { Broken::Closed } else { error.into() });
    }
    match answer {
        [first, 2, _, 0] if first >> 4 == kind::CONNACK => Ok(stream),
        [first, 2, _, code] if first >> 4 == kind::CONNACK => Err(Broken::Refused(code)),
        [first, ..] => Err(Broken::Unexpected(first >> 4)),
    }
}

impl Connection {
    pub(super) async fn open(options: &LoadOptions, id: String) -> Result<Connection, Broken> {
        let credentials = options.credentials.as_ref().map(|of| of(&id));
        let stream = open(options.address, &id, credentials.as_ref()).await?;
        let topic = options.topic.replace("{id}", &id);
        let ids = if options.qos == Qos::AtLeastOnce { options.window } else { 0 };
        Ok(Connection {
            stream,
            qos: options.qos,
            window: usize::from(options.window),
            messages: Messages::new(id, topic, options.qos.level(), &options.payload),
            free: (1..=ids).rev().collect(),
            sent_at: vec![None; usize::from(ids) + 1],
            out: Vec::new(),
            written: 0,
            partial: Partial::default(),
            arrived: Arrived::default(),
        })
    }

    /// Publishes until the run is over and everything has been acknowledged.
    pub(super) async fn drive(mut self, run: Arc<Run>, shard: usize) -> Result<(), Broken> {
        match self.qos {
            Qos::AtLeastOnce => self.keep_window_full(&run, shard).await?,
            Qos::AtMostOnce => self.pour(&run, shard).await?,
        }
        self.out.extend(packet::DISCONNECT);
        // the run is over whether or not the broker hears this
        let _ = std::future::poll_fn(|cx| self.poll_flush(cx)).await;
        Ok(())
    }

    async fn keep_window_full(&mut self, run: &Run, shard: usize) -> Result<(), Broken> {
        let mut now_us = run.now_us();
        loop {
            let granted = run.grant(self.free.len(), now_us);
            let time = run.stamp(now_us);
            for packet_id in self.free.drain(self.free.len() - granted..) {
                self.sent_at[usize::from(packet_id)] = Some(now_us);
                self.messages.append(&mut self.out, packet_id, time);
            }
            if granted > 0 {
                run.shard(shard).sent += granted as u64;
            }
            if self.free.len() == self.window {
                return Ok(());
            }
            std::future::poll_fn(|cx| self.poll_exchange(cx)).await?;
            now_us = run.now_us();
            self.record(run, shard, now_us);
        }
    }

    fn record(&mut self, run: &Run, shard: usize, now_us: u64) {
        let is_measured = run.is_measured(now_us);
        let mut shard = run.shard(shard);
        for packet_id in self.arrived.acknowledged.drain(..) {
            match self.sent_at.get_mut(usize::from(packet_id)).and_then(Option::take) {
                Some(sent_us) => {
                    shard.count(1, now_us, is_measured);
                    if is_measured {
                        shard.latency.saturating_record(now_us.saturating_sub(sent_us));
                    }
                    self.free.push(packet_id);
                }
                None => shard.unexpected += 1,
            }
        }
    }

    /// QoS 0: writes as fast as the socket takes it, then waits for the answer to a ping.
    async fn pour(&mut self, run: &Run, shard: usize) -> Result<(), Broken> {
        loop {
            let now_us = run.now_us();
            let granted = run.grant(self.window, now_us);
            if granted == 0 {
                break;
            }
            let time = run.stamp(now_us);
            for _ in 0..granted {
                self.messages.append(&mut self.out, 0, time);
            }
            std::future::poll_fn(|cx| self.poll_flush(cx)).await?;
            let now_us = run.now_us();
            let is_measured = run.is_measured(now_us);
            let mut shard = run.shard(shard);
            shard.sent += granted as u64;
            shard.count(granted as u64, now_us, is_measured);
        }
        self.out.extend(packet::PING);
        while self.arrived.pongs == 0 {
            std::future::poll_fn(|cx| self.poll_exchange(cx)).await?;
        }
        Ok(())
    }

    /// Ready once something has arrived; writes what there is to write meanwhile.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        self.poll_read(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while self.written < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Broken::Closed)),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(Broken::Closed));
        }
        let arrived = &mut self.arrived;
        let mut unexpected = None;
        self.partial.feed(buffer.filled(), |frame| match (frame.kind(), frame.packet_id()) {
            (kind::PUBACK, Some(packet_id)) => arrived.acknowledged.push(packet_id),
            (kind::PINGRESP, _) => arrived.pongs += 1,
            (other, _) => unexpected = Some(other),
        })?;
        Poll::Ready(unexpected.map_or(Ok(()), |kind| Err(Broken::Unexpected(kind))))
    }
}
