//! A stream with its buffers. Reading goes through one buffer per thread: a connection owns only the
//! start of a packet whose rest has not come yet, and what could not be written at once.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Bytes taken from a socket at a time.
const READ_SIZE: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: S,
    /// Read, but not yet a whole packet.
    partial: Vec<u8>,
    /// `partial` may hold whole packets: look before reading more.
    look_first: bool,
    out: Vec<u8>,
    written: usize,
    must_flush: bool,
}

/// What reading brought.
#[derive(Debug)]
pub(crate) enum Got<T> {
    Bytes(T),
    /// The peer has closed.
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(crate) fn new(stream: S) -> Socket<S> {
        Socket { stream, partial: Vec::new(), look_first: false, out: Vec::new(), written: 0, must_flush: false }
    }

    /// Where to put what is to be sent; it goes out with the next [`Socket::poll`] or
    /// [`Socket::flush`].
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes waiting to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len() - self.written
    }

    /// The next read is preceded by a look at what is already here.
    pub(crate) fn look_first(&mut self) {
        self.look_first = !self.partial.is_empty();
    }

    /// Writes what waits, then, with `may_read`, reads once and gives the bytes to `take`, which says
    /// how many it has used. Ready when something was read or the stream failed.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        may_read: bool,
        take: impl FnOnce(&[u8]) -> (usize, T),
    ) -> Poll<io::Result<Got<T>>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(error));
        }
        if !may_read {
            return Poll::Pending;
        }
        if std::mem::take(&mut self.look_first) {
            return Poll::Ready(Ok(Got::Bytes(self.take_from_partial(take))));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(READ_SIZE, 0);
            let mut room = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
            let bytes = room.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(Got::End));
            }
            Poll::Ready(Ok(Got::Bytes(if self.partial.is_empty() {
                let (used, result) = take(bytes);
                self.partial = bytes.get(used..).unwrap_or_default().to_vec();
                result
            } else {
                self.partial.extend_from_slice(bytes);
                self.take_from_partial(take)
            })))
        })
    }

    fn take_from_partial<T>(&mut self, take: impl FnOnce(&[u8]) -> (usize, T)) -> T {
        let (used, result) = take(&self.partial);
        if used > 0 {
            // A new, small one: the rest of a packet is not worth the room that a read takes.
            self.partial = self.partial.get(used..).unwrap_or_default().to_vec();
        }
        result
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() && !self.must_flush {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.out.len() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.must_flush = true;
        }
        self.out = Vec::new();
        self.written = 0;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.must_flush = false;
        Poll::Ready(Ok(()))
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_write(cx)).await
    }

    /// Sends what waits and closes. Reads on until the peer closes too: closing with unread bytes
    /// would reset the connection and could take the last packet from the peer.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        const MOST_DISCARDED: usize = 4 << 20;
        self.flush().await?;
        self.stream.shutdown().await?;
        let mut discarded = 0;
        while discarded < MOST_DISCARDED {
            let read = |bytes: &[u8]| (bytes.len(), bytes.len());
            match std::future::poll_fn(|cx| self.poll(cx, true, read)).await? {
                Got::Bytes(count) => discarded += count,
                Got::End => break,
            }
        }
        Ok(())
    }
}
