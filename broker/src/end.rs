//! Why a connection ends.

use std::fmt;
use std::io;

use crate::packet::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client said DISCONNECT and wants no will published.
    Disconnected,
    /// The client said DISCONNECT with another reason than 0.
    DisconnectedWithWill,
    /// The client closed the socket.
    Closed,
    Lost(io::ErrorKind),
    Silent,
    Fault(Fault),
    /// A newer connection has the same id; it has published the will.
    TakenOver,
    /// The journal took or kept no more.
    Journal,
    Stopping,
}

impl End {
    /// The reason code of the DISCONNECT that a version 5 client gets, if it gets one.
    pub(crate) fn code(self) -> Option<u8> {
        match self {
            End::Disconnected | End::DisconnectedWithWill | End::Closed | End::Lost(_) => None,
            End::Silent => Some(0x8D),
            End::Fault(fault) => Some(fault.code()),
            End::TakenOver => Some(0x8E),
            End::Journal => Some(0x89),
            End::Stopping => Some(0x8B),
        }
    }

    /// False where the device is not gone, only the connection or the server is.
    pub(crate) fn publishes_will(self) -> bool {
        !matches!(self, End::Disconnected | End::TakenOver | End::Stopping)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Disconnected => f.write_str("disconnected"),
            End::DisconnectedWithWill => f.write_str("disconnected, asking for its will"),
            End::Closed => f.write_str("closed without DISCONNECT"),
            End::Lost(kind) => write!(f, "connection lost: {kind}"),
            End::Silent => f.write_str("silent for longer than its keep-alive allows"),
            End::Fault(fault) => fault.fmt(f),
            End::TakenOver => f.write_str("taken over by a newer connection"),
            End::Journal => f.write_str("the journal accepts nothing"),
            End::Stopping => f.write_str("the server is stopping"),
        }
    }
}
