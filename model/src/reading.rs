//! What a sensor says.

use serde::{Deserialize, Serialize};

use crate::time::Stamp;

/// No room can hold more than pure CO: 1,000,000 ppm. A higher value is a broken sensor, but one
/// that still means "very much".
pub const MOST_PPM: f32 = 1_000_000.0;

/// The sensor's own word for how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorState {
    Normal,
    Warmup,
    Test,
    Alarm,
    Fault,
    EndOfLife,
}

impl SensorState {
    pub const ALL: [SensorState; 6] = [
        SensorState::Normal,
        SensorState::Warmup,
        SensorState::Test,
        SensorState::Alarm,
        SensorState::Fault,
        SensorState::EndOfLife,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            SensorState::Normal => "normal",
            SensorState::Warmup => "warmup",
            SensorState::Test => "test",
            SensorState::Alarm => "alarm",
            SensorState::Fault => "fault",
            SensorState::EndOfLife => "end_of_life",
        }
    }

    /// Reads the contract's words, in any letter case.
    pub fn parse(text: &str) -> Option<SensorState> {
        SensorState::ALL.into_iter().find(|state| text.trim().eq_ignore_ascii_case(state.as_str()))
    }
}

/// One measurement. Values that the sensor did not send, or sent wrongly, are `None`; `flags` says
/// which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// When it was measured, by the sensor's clock unless `flags` says otherwise.
    pub time: Stamp,
    /// Carbon monoxide, ppm, `0..=MOST_PPM`.
    pub co_ppm: Option<f32>,
    /// Combustible gas, % of the lower explosive limit.
    pub lel_pct: Option<f32>,
    /// Degrees Celsius.
    pub temperature_c: Option<f32>,
    /// Relative humidity, %.
    pub humidity_pct: Option<f32>,
    /// Remaining battery, %.
    pub battery_pct: Option<f32>,
    /// Received radio signal, dBm.
    pub signal_dbm: Option<f32>,
    /// The sensor's own running number.
    pub seq: Option<u64>,
    pub state: Option<SensorState>,
    pub flags: Flags,
}

/// What is unusual about a [`Reading`], a set of bits. They are stored: never reuse a bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// `time` is the time of receipt: the sensor sent none.
    pub const TIME_OF_RECEIPT: Flags = Flags(1);
    /// The sensor sent a time that cannot be; `time` is the time of receipt.
    pub const TIME_UNUSABLE: Flags = Flags(1 << 1);
    /// The batch was ahead of our clock and has been shifted back as one.
    pub const TIME_SHIFTED: Flags = Flags(1 << 2);
    /// Received more than 10 minutes after its time.
    pub const LATE: Flags = Flags(1 << 3);
    /// CO was NaN, infinite, negative or no number: a fault, not a value.
    pub const CO_UNUSABLE: Flags = Flags(1 << 4);
    /// CO was at or above what can be measured: at least `co_ppm`.
    pub const CO_SATURATED: Flags = Flags(1 << 5);
    /// An optional field was wrong and has been dropped.
    pub const FIELD_DROPPED: Flags = Flags(1 << 6);
    /// The payload broke off or was malformed after this reading's CO or state.
    pub const SALVAGED: Flags = Flags(1 << 7);

    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn add(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    /// The words for the API, in bit order.
    pub fn names(self) -> Vec<&'static str> {
        const NAMES: [(Flags, &str); 8] = [
            (Flags::TIME_OF_RECEIPT, "time_of_receipt"),
            (Flags::TIME_UNUSABLE, "time_unusable"),
            (Flags::TIME_SHIFTED, "time_shifted"),
            (Flags::LATE, "late"),
            (Flags::CO_UNUSABLE, "co_unusable"),
            (Flags::CO_SATURATED, "co_saturated"),
            (Flags::FIELD_DROPPED, "field_dropped"),
            (Flags::SALVAGED, "salvaged"),
        ];
        NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect()
    }
}
