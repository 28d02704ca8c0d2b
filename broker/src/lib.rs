//! The MQTT front door.
