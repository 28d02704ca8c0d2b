//! The front door as clients see it, over real sockets, with the real journal and registry.

mod acknowledging;
mod delivery;
mod hostile;
mod kit;
mod libraries;
mod lifecycle;
mod sign_in;
mod silence;

pub(crate) use kit::{Hello, packet, publish, subscribe, unsubscribe};
