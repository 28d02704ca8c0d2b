//! One connection, from the accepted CONNECT to its end.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use smol_str::SmolStr;
use store::{Entry, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::Shared;
use crate::directory::{Delivery, Mail, Will};
use crate::encode;
use crate::end::End;
use crate::outbound::Outbound;
use crate::packet::Version;
use crate::publish::{Batch, Pending, Request, Session};
use crate::router::LiveCopy;
use crate::socket::{Got, Socket};

/// Batches, of one read each, on their way to disk; beyond that the socket is not read.
const MOST_PENDING: usize = 16;
/// Unsent bytes beyond which the socket is not read and nothing is delivered.
const MOST_UNSENT: usize = 256 << 10;
/// How long an ending connection waits for its last batches.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);
/// How long a closing socket may take to send the rest.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct Connection<S> {
    pub(crate) socket: Socket<S>,
    pub(crate) session: Session,
    pending: VecDeque<Pending>,
    outbound: Option<Box<Outbound>>,
    /// The longest silence, of which `timer` is the next check.
    silence: Duration,
    last_heard: Instant,
    timer: Pin<Box<Sleep>>,
    /// Set at the end; for the presence event.
    reason: Option<End>,
}

enum Event {
    Mail(Mail),
    Read(io::Result<Got<Batch>>),
    /// There is room again in the out buffer.
    Drained,
    Failed(StoreError),
    Delivery(Delivery),
    Timer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(mut socket: Socket<S>, session: Session, silence: Duration) -> Connection<S> {
        socket.look_first();
        let last_heard = Instant::now();
        Connection {
            socket,
            session,
            pending: VecDeque::new(),
            outbound: None,
            silence,
            last_heard,
            timer: Box::pin(sleep_until(last_heard + silence)),
            reason: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let end = loop {
            if let Some(end) = self.step().await {
                break end;
            }
        };
        self.reason = Some(end);
        Box::pin(self.finish(end)).await;
    }

    async fn step(&mut self) -> Option<End> {
        if let Some(outbound) = &mut self.outbound {
            outbound.send(self.socket.out(), MOST_UNSENT, &self.session.shared.tally);
        }
        match self.next_event().await {
            Event::Mail(Mail::End(end)) => Some(end),
            Event::Mail(Mail::Delivery(delivery)) => {
                self.outbound().push(delivery);
                None
            }
            Event::Delivery(delivery) => {
                let outbound = self.outbound();
                outbound.push(delivery);
                outbound.take_more();
                None
            }
            Event::Read(Ok(Got::Bytes(batch))) => self.accept(batch).await,
            Event::Read(Ok(Got::End)) => Some(End::Closed),
            Event::Read(Err(error)) => Some(End::Lost(error.kind())),
            Event::Failed(error) => Some(self.journal_failed(&error)),
            Event::Timer => self.check_silence(),
            Event::Drained => None,
        }
    }

    async fn next_event(&mut self) -> Event {
        let Connection { socket, session, pending, outbound, timer, .. } = self;
        let mailbox = session.mailbox.clone();
        let was_full = socket.unsent() >= MOST_UNSENT;
        let may_deliver = !was_full && outbound.as_ref().is_none_or(|outbound| outbound.has_room());
        tokio::select! {
            biased;
            mail = mailbox.next(may_deliver) => Event::Mail(mail),
            event = poll_fn(|cx| poll_work(cx, socket, session, pending, was_full)) => event,
            delivery = next_delivery(outbound), if may_deliver => Event::Delivery(delivery),
            () = timer.as_mut() => Event::Timer,
        }
    }

    /// Gives a batch to the journal and serves the other packets in it.
    async fn accept(&mut self, batch: Batch) -> Option<End> {
        if batch.packets > 0 {
            self.last_heard = Instant::now();
        }
        let durable = if batch.entries.is_empty() {
            None
        } else {
            match self.session.shared.intake.append(batch.entries).await {
                Ok(durable) => Some(durable),
                Err(error) => return Some(self.journal_failed(&error)),
            }
        };
        if durable.is_some() || !batch.acks.is_empty() {
            self.pending.push_back(Pending { durable, acks: batch.acks, live: batch.live });
        }
        for request in batch.requests {
            match request {
                Request::Ping => encode::pingresp(self.socket.out()),
                Request::Acknowledged(id) => {
                    if let Some(outbound) = &mut self.outbound {
                        outbound.acknowledged(id);
                    }
                }
                Request::Subscribe(subscribe) => Box::pin(self.subscribe(subscribe)).await,
                Request::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe),
            }
        }
        batch.end
    }

    pub(crate) fn outbound(&mut self) -> &mut Outbound {
        let session = &self.session;
        self.outbound.get_or_insert_with(|| {
            Box::new(Outbound::new(session.version, session.receive_maximum, session.most_packet))
        })
    }

    fn journal_failed(&self, error: &StoreError) -> End {
        self.session.shared.tally.journal_failures.one();
        tracing::error!(id = %self.session.rights.id, %error, "journal failed; closing unacknowledged");
        End::Journal
    }

    fn check_silence(&mut self) -> Option<End> {
        let now = Instant::now();
        // While we do not read, we cannot know whether the client is silent.
        if !may_read(&self.socket, &self.pending) {
            self.last_heard = now;
        }
        let due = self.last_heard + self.silence;
        if now >= due {
            return Some(End::Silent);
        }
        self.timer.as_mut().reset(due);
        None
    }

    async fn finish(mut self, end: End) {
        let shared = self.session.shared.clone();
        match end {
            End::Fault(fault) => {
                shared.tally.faults.one();
                tracing::info!(id = %self.session.rights.id, %fault, "closing");
            }
            End::Silent => shared.tally.silent.one(),
            End::TakenOver => shared.tally.takeovers.one(),
            _ => {}
        }
        if end != End::Journal {
            let Connection { socket, session, pending, .. } = &mut self;
            let drained = poll_fn(|cx| poll_durable(cx, socket, &session.shared, pending));
            if !matches!(timeout(DRAIN_LIMIT, drained).await, Ok(Ok(()))) {
                tracing::warn!(id = %session.rights.id, "ended before all it sent was on disk; that is unacknowledged");
            }
        }
        if let Some(code) = end.code().filter(|_| self.session.version == Version::V5) {
            encode::disconnect(self.socket.out(), code, &end.to_string());
        }
        self.leave();
        if end.publishes_will()
            && let Some(will) = self.session.mailbox.take_will()
        {
            publish_will(&shared, &self.session, *will).await;
        }
        if !matches!(end, End::Lost(_)) {
            // A client that does not listen loses nothing but the reason.
            let _ = timeout(CLOSE_LIMIT, self.socket.close()).await;
        }
    }
}

impl<S> Connection<S> {
    /// Leaves the directory, if it has not yet.
    fn leave(&self) {
        let Session { shared, rights, mailbox, .. } = &self.session;
        shared.directory.leave(&rights.id, mailbox, || {
            let reason = self.reason.map_or_else(|| "ended".to_owned(), |end| end.to_string());
            shared.tell_presence(&rights.id, false, reason);
        });
    }
}

/// Also when the task is dropped or panics: nobody must be shown as connected who is not.
impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.leave();
        self.session.shared.tally.connections_now.less_one();
    }
}

async fn next_delivery(outbound: &mut Option<Box<Outbound>>) -> Delivery {
    match outbound {
        Some(outbound) => outbound.next().await,
        None => std::future::pending().await,
    }
}

fn may_read<S: AsyncRead + AsyncWrite + Unpin>(socket: &Socket<S>, pending: &VecDeque<Pending>) -> bool {
    pending.len() < MOST_PENDING && socket.unsent() < MOST_UNSENT
}

/// Acknowledges what has reached the disk, writes, and reads the next batch if there is room.
fn poll_work<S: AsyncRead + AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    socket: &mut Socket<S>,
    session: &mut Session,
    pending: &mut VecDeque<Pending>,
    was_full: bool,
) -> Poll<Event> {
    if let Poll::Ready(Err(error)) = poll_durable(cx, socket, &session.shared, pending) {
        return Poll::Ready(Event::Failed(error));
    }
    let may_read = may_read(socket, pending);
    match socket.poll(cx, may_read, |bytes| session.read(bytes)) {
        Poll::Ready(read) => Poll::Ready(Event::Read(read)),
        Poll::Pending if was_full && socket.unsent() < MOST_UNSENT => Poll::Ready(Event::Drained),
        Poll::Pending => Poll::Pending,
    }
}

/// Takes batches that have reached the disk from the front of `pending`; ready when none is left.
fn poll_durable<S: AsyncRead + AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    socket: &mut Socket<S>,
    shared: &Shared,
    pending: &mut VecDeque<Pending>,
) -> Poll<Result<(), StoreError>> {
    while let Some(oldest) = pending.front_mut() {
        std::task::ready!(oldest.poll(cx))?;
        socket.out().append(&mut oldest.acks);
        shared.router.publish(std::mem::take(&mut oldest.live));
        pending.pop_front();
    }
    *pending = VecDeque::new();
    Poll::Ready(Ok(()))
}

/// Journals a will, and copies it to listeners once it is on disk.
pub(crate) async fn publish_will(shared: &Shared, session: &Session, will: Will) {
    let entry = Entry::Message {
        client: session.rights.id.clone(),
        topic: SmolStr::new(&will.topic),
        received: shared.clock.now(),
        payload: will.payload.clone(),
    };
    let on_disk = async { shared.intake.append(vec![entry]).await?.await };
    match on_disk.await {
        Ok(()) => {
            shared.tally.wills.one();
            shared.router.publish(vec![LiveCopy { topic: will.topic.into(), payload: will.payload, qos: 1 }]);
        }
        Err(error) => {
            shared.tally.journal_failures.one();
            tracing::error!(id = %session.rights.id, %error, "a will could not be journalled");
        }
    }
}
