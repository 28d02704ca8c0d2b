//! The first packet: who is it, and is it let in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::rights::{Rights, Role};
use model::topic::Channel;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::Shared;
use crate::connection::{Connection, publish_will};
use crate::directory::{Mailbox, Will};
use crate::encode::{self, Offer};
use crate::end::End;
use crate::packet::{self, BadConnect, Connect, Fault, Frame, Version};
use crate::publish::Session;
use crate::socket::{Got, Socket};

/// Largest CONNECT, bytes: what a stranger can make us keep.
const MOST_CONNECT: usize = 16 << 10;
/// How long a refused client may take to read why.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);
/// A version 5 client that takes no larger packets than this gets no reason strings.
const LEAST_FOR_REASONS: usize = 512;

/// Why a CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Denial {
    #[error("protocol version not supported; use MQTT 3.1.1 or 5")]
    Version,
    #[error("user name and password are needed")]
    NoCredentials,
    #[error("wrong user name or password")]
    WrongCredentials,
    #[error("the client id must be the user name, or empty")]
    ClientId,
    #[error("there is no other authentication than user name and password")]
    Authentication,
    #[error("a will may be published to the device's own status topic only")]
    WillTopic,
    #[error("a will may have QoS 0 or 1")]
    WillQoS,
    #[error("the server is stopping")]
    Stopping,
}

impl Denial {
    /// CONNACK codes of versions 3.1.1 and 5.
    fn code(self, version: Version) -> u8 {
        let (v4, v5) = match self {
            Denial::Version => (1, 0x84),
            Denial::NoCredentials => (5, 0x87),
            Denial::WrongCredentials => (4, 0x86),
            Denial::ClientId => (2, 0x85),
            Denial::Authentication => (5, 0x8C),
            Denial::WillTopic => (5, 0x87),
            Denial::WillQoS => (5, 0x9B),
            Denial::Stopping => (3, 0x88),
        };
        if version == Version::V4 { v4 } else { v5 }
    }
}

/// Serves one socket from its first byte to its end.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: SocketAddr, shared: Arc<Shared>) {
    // Boxed, so that an idle connection does not keep the room that signing in needs.
    if let Some(connection) = Box::pin(greet(Socket::new(stream), peer, &shared)).await {
        connection.run().await;
    }
}

async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: Socket<S>,
    peer: SocketAddr,
    shared: &Arc<Shared>,
) -> Option<Connection<S>> {
    let first = tokio::select! {
        first = timeout(shared.settings.connect_timeout, read_connect(&mut socket)) => first.ok().flatten(),
        () = shared.stop.cancelled() => return None,
    };
    let (version, denial) = match first {
        Some(Ok(connect)) => match admit(&connect, peer, shared) {
            Ok((rights, will)) => return Some(enter(socket, peer, shared, &connect, rights, will).await),
            Err(denial) => (connect.version, denial),
        },
        Some(Err(BadConnect::Level(version))) => (version, Denial::Version),
        Some(Err(BadConnect::Fault(fault))) => {
            shared.tally.no_connect.one();
            tracing::info!(%peer, %fault, "closed: no valid CONNECT");
            return None;
        }
        None => {
            shared.tally.no_connect.one();
            tracing::debug!(%peer, "closed: no CONNECT");
            return None;
        }
    };
    match denial {
        Denial::NoCredentials | Denial::WrongCredentials => shared.tally.refused_credentials.one(),
        _ => {
            shared.tally.refused_connects.one();
            tracing::info!(%peer, reason = %denial, "CONNECT refused");
        }
    }
    match version {
        Version::V4 => encode::connack_v4(socket.out(), denial.code(version)),
        Version::V5 => encode::connack_v5_refusal(socket.out(), denial.code(version), &denial.to_string()),
    }
    // A client that does not listen loses nothing but the reason.
    let _ = timeout(REFUSAL_LIMIT, socket.close()).await;
    None
}

/// `None` when the client has gone.
async fn read_connect<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
) -> Option<Result<Connect, BadConnect>> {
    loop {
        match std::future::poll_fn(|cx| socket.poll(cx, true, take_connect)).await {
            Ok(Got::Bytes(Some(connect))) => return Some(connect),
            Ok(Got::Bytes(None)) => {}
            Ok(Got::End) | Err(_) => return None,
        }
    }
}

fn take_connect(bytes: &[u8]) -> (usize, Option<Result<Connect, BadConnect>>) {
    if bytes.first().is_some_and(|first| first >> 4 != packet::CONNECT) {
        return (0, Some(Err(Fault::Protocol("the first packet is not CONNECT").into())));
    }
    match Frame::next(bytes, MOST_CONNECT) {
        Ok(None) => (0, None),
        Ok(Some(frame)) => (frame.whole.len(), Some(Connect::parse(&frame))),
        Err(fault) => (0, Some(Err(fault.into()))),
    }
}

fn admit(connect: &Connect, peer: SocketAddr, shared: &Shared) -> Result<(Arc<Rights>, Option<Box<Will>>), Denial> {
    if connect.has_authentication_method {
        return Err(Denial::Authentication);
    }
    let Some(username) = connect.username.as_deref().filter(|username| !username.is_empty()) else {
        tracing::info!(%peer, "sign-in refused: no user name");
        return Err(Denial::NoCredentials);
    };
    let rights = shared.credentials.authenticate(username, connect.password.as_bytes()).map_err(|error| {
        let id = username.chars().take(64).collect::<String>();
        tracing::info!(?id, %peer, %error, "sign-in refused");
        Denial::WrongCredentials
    })?;
    // MQTT 3.1.1 wants an empty client id refused unless the session is clean.
    let may_be_empty = connect.version == Version::V5 || connect.clean_start;
    if connect.client_id != username && !(connect.client_id.is_empty() && may_be_empty) {
        return Err(Denial::ClientId);
    }
    let will = connect.will.as_ref().map(|will| {
        let topic = str::from_utf8(&will.topic).map_err(|_| Denial::WillTopic)?;
        if rights.publish(topic) != Ok(Channel::Status) {
            return Err(Denial::WillTopic);
        }
        if will.qos as u8 > 1 {
            return Err(Denial::WillQoS);
        }
        Ok(Box::new(Will { topic: topic.to_owned(), payload: will.message.clone() }))
    });
    let will = will.transpose()?;
    if shared.stop.is_cancelled() {
        return Err(Denial::Stopping);
    }
    Ok((rights, will))
}

async fn enter<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: Socket<S>,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    connect: &Connect,
    rights: Arc<Rights>,
    will: Option<Box<Will>>,
) -> Connection<S> {
    let mailbox = Arc::new(Mailbox::new(will));
    let session = Session {
        shared: shared.clone(),
        rights,
        mailbox,
        version: connect.version,
        receive_maximum: connect.receive_maximum,
        most_packet: connect.most_packet,
        wants_reasons: connect.wants_reasons && connect.most_packet >= LEAST_FOR_REASONS,
        refusals: 0,
    };
    let settings = &shared.settings;
    let idle_seconds = u16::try_from(settings.idle_limit.as_secs()).unwrap_or(u16::MAX);
    let silence = match (connect.keep_alive, connect.version) {
        (0, Version::V4) => settings.idle_limit,
        (0, Version::V5) => Duration::from_secs(u64::from(idle_seconds)) * 3 / 2,
        (seconds, _) => Duration::from_secs(u64::from(seconds)) * 3 / 2,
    };
    shared.tally.connections.one();
    shared.tally.connections_now.one();
    let id = &session.rights.id;
    let tell = || shared.tell_presence(id, true, peer.to_string());
    let replaced = shared.directory.enter(id, session.mailbox.clone(), tell);
    if let Some(replaced) = replaced {
        // Its will comes before anything that this connection sends.
        let will = replaced.take_will();
        replaced.end(End::TakenOver);
        if let Some(will) = will {
            publish_will(shared, &session, *will).await;
        }
    }
    // `stop` may have looked through the directory just before we were in it.
    if shared.stop.is_cancelled() {
        session.mailbox.end(End::Stopping);
    }
    match connect.version {
        Version::V4 => encode::connack_v4(socket.out(), 0),
        Version::V5 => encode::connack_v5(
            socket.out(),
            &Offer {
                receive_maximum: settings.receive_maximum,
                most_packet: u32::try_from(settings.most_packet).unwrap_or(u32::MAX),
                assigned_id: connect.client_id.is_empty().then_some(session.rights.id.as_str()),
                keep_alive: (connect.keep_alive == 0).then_some(idle_seconds),
                for_integrations: session.rights.role == Role::Integration,
            },
        ),
    }
    Connection::new(socket, session, silence)
}
