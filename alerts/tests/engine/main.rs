//! The engine from readings to text messages, against a temporary ledger and an SMS gateway in this
//! process, on a clock turned by hand.

mod escalation;
mod incidents;
mod mail;
mod replay;
mod world;
