//! A living district to run Gaswatch against, and load generators. It knows nothing but the public
//! contract: MQTT topics and payloads, HTTP pages and forms, and Kannel's SMS interface.

pub mod clock;
pub mod district;
pub mod events;
pub mod http;
pub mod phones;
pub mod room;

mod html;
mod random;
#[cfg(test)]
mod testing;
mod world;

pub use district::District;
