//! A living district to run Gaswatch against, and load generators. It knows nothing but the public
//! contract: MQTT topics and payloads, HTTP pages and forms, and Kannel's SMS interface.
//!
//! # Layout
//!
//! * [`district`]: areas, homes, sensors and staff as plain data, the same for the same seed.
//! * [`room`]: how CO builds up in a room and what a sensor makes of it.
//! * [`clock`]: the clock of the system under test, learned over HTTP.
//! * [`events`]: what goes wrong and when, and the truth about it.
//! * [`phones`]: a mobile network with Kannel's HTTP interface.
//! * [`run`](run()): sensors, events, phones and duty staff against a running system.
//! * [`load`]: closed-loop load for any MQTT 3.1.1 broker.

pub mod clock;
pub mod district;
pub mod events;
pub mod http;
pub mod load;
pub mod phones;
pub mod room;

mod fleet;
mod html;
mod people;
mod random;
mod run;
#[cfg(test)]
mod testing;
mod world;

pub use district::District;
pub use events::{Poisoning, Rates};
pub use people::Login;
pub use phones::{Phones, PhonesOptions, Sms};
pub use run::{Options, SimulatorError, Summary, run};
