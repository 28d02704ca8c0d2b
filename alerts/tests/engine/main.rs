//! The engine from readings to text messages, against a temporary ledger and an SMS gateway in this
//! process, on a clock turned by hand.

#[cfg(test)]
mod escalation;
#[cfg(test)]
mod incidents;
#[cfg(test)]
mod mail;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod world;
