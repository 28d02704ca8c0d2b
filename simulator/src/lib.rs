//! A living district to run Gaswatch against, and load generators. It knows nothing but the public
//! contract: MQTT topics and payloads, HTTP pages and forms, and Kannel's SMS interface.

pub mod clock;
pub mod district;
pub mod http;
pub mod room;

mod random;
#[cfg(test)]
mod testing;

pub use district::District;
