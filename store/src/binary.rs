//! The small binary words that the journal and the readings share: varints, zigzag, one reading.

use model::reading::Flags;
use model::{Reading, SensorState, Stamp};

/// LEB128: seven bits a byte, the lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A varint that is short for numbers near zero of either sign.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Reads what the `put_` functions wrote; `None` when the bytes are not that.
#[derive(Debug)]
pub(crate) struct Cursor<'b>(pub(crate) &'b [u8]);

impl<'b> Cursor<'b> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn f32(&mut self) -> Option<f32> {
        Some(f32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The stored code of a state: never reuse one.
pub(crate) fn state_code(state: SensorState) -> u8 {
    match state {
        SensorState::Normal => 0,
        SensorState::Warmup => 1,
        SensorState::Test => 2,
        SensorState::Alarm => 3,
        SensorState::Fault => 4,
        SensorState::EndOfLife => 5,
    }
}

pub(crate) fn state_of(code: u8) -> Option<SensorState> {
    SensorState::ALL.into_iter().find(|state| state_code(*state) == code)
}

/// The six measured values, in their stored order.
pub(crate) fn values(reading: &Reading) -> [Option<f32>; 6] {
    [
        reading.co_ppm,
        reading.lel_pct,
        reading.temperature_c,
        reading.humidity_pct,
        reading.battery_pct,
        reading.signal_dbm,
    ]
}

pub(crate) fn set_values(reading: &mut Reading, values: [Option<f32>; 6]) {
    [
        reading.co_ppm,
        reading.lel_pct,
        reading.temperature_c,
        reading.humidity_pct,
        reading.battery_pct,
        reading.signal_dbm,
    ] = values;
}

const HAS_SEQ: u8 = 1 << 6;
const HAS_STATE: u8 = 1 << 7;

/// One reading: time as the distance from `received`, a bit per field that is there, then those.
pub(crate) fn put_reading(out: &mut Vec<u8>, received: Stamp, reading: &Reading) {
    put_signed(out, received.0.wrapping_sub(reading.time.0));
    let values = values(reading);
    let mut present = 0;
    for (bit, value) in values.iter().enumerate() {
        present |= u8::from(value.is_some()) << bit;
    }
    if reading.seq.is_some() {
        present |= HAS_SEQ;
    }
    if reading.state.is_some() {
        present |= HAS_STATE;
    }
    out.push(present);
    put_varint(out, u64::from(reading.flags.0));
    for value in values.into_iter().flatten() {
        out.extend_from_slice(&value.to_le_bytes());
    }
    if let Some(seq) = reading.seq {
        put_varint(out, seq);
    }
    if let Some(state) = reading.state {
        out.push(state_code(state));
    }
}

pub(crate) fn take_reading(bytes: &mut Cursor<'_>, received: Stamp) -> Option<Reading> {
    let time = Stamp(received.0.wrapping_sub(bytes.signed()?));
    let present = bytes.byte()?;
    let flags = Flags(u16::try_from(bytes.varint()?).ok()?);
    let mut reading = Reading { time, flags, ..Reading::default() };
    let mut values = [None; 6];
    for (bit, value) in values.iter_mut().enumerate() {
        if present & (1 << bit) != 0 {
            *value = Some(bytes.f32()?);
        }
    }
    set_values(&mut reading, values);
    if present & HAS_SEQ != 0 {
        reading.seq = Some(bytes.varint()?);
    }
    if present & HAS_STATE != 0 {
        reading.state = Some(state_of(bytes.byte()?)?);
    }
    Some(reading)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any bit pattern, NaNs and negative zero too, with plain decimals in between.
    pub(crate) fn any_f32() -> impl Strategy<Value = f32> {
        prop_oneof![
            any::<u32>().prop_map(f32::from_bits),
            (-50_000_i32..50_000, 0_i32..4).prop_map(|(whole, k)| (f64::from(whole) / 10_f64.powi(k)) as f32),
            Just(-0.0),
            Just(f32::INFINITY),
        ]
    }

    pub(crate) fn any_reading(time: impl Strategy<Value = i64>) -> impl Strategy<Value = Reading> {
        let value = || prop::option::of(any_f32());
        let values = (value(), value(), value(), value(), value(), value());
        let state = prop::option::of(prop::sample::select(&SensorState::ALL[..]));
        (time, values, prop::option::of(any::<u64>()), state, any::<u16>()).prop_map(
            |(time, (a, b, c, d, e, f), seq, state, flags)| {
                let mut reading = Reading { time: Stamp(time), seq, state, flags: Flags(flags), ..Reading::default() };
                set_values(&mut reading, [a, b, c, d, e, f]);
                reading
            },
        )
    }

    type Exact = (i64, [Option<u32>; 6], Option<u64>, Option<SensorState>, u16);

    /// Equality that tells NaNs apart by their bits.
    pub(crate) fn exact(readings: &[Reading]) -> Vec<Exact> {
        let bits = |r: &Reading| values(r).map(|value| value.map(f32::to_bits));
        readings.iter().map(|r| (r.time.0, bits(r), r.seq, r.state, r.flags.0)).collect()
    }

    proptest! {
        #[test]
        fn numbers_come_back(value in any::<u64>(), signed in any::<i64>()) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_length(value));
            put_signed(&mut out, signed);
            let mut cursor = Cursor(&out);
            prop_assert_eq!(cursor.varint(), Some(value));
            prop_assert_eq!(cursor.signed(), Some(signed));
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn any_reading_comes_back_bit_for_bit(reading in any_reading(any::<i64>()), received in any::<i64>()) {
            let mut out = Vec::new();
            put_reading(&mut out, Stamp(received), &reading);
            let mut cursor = Cursor(&out);
            let back = take_reading(&mut cursor, Stamp(received)).unwrap();
            prop_assert!(cursor.is_empty());
            prop_assert_eq!(exact(&[back]), exact(&[reading]));
        }
    }

    #[test]
    fn varints_longer_than_64_bits_are_refused() {
        assert_eq!(Cursor(&[0xff; 11]).varint(), None);
        let mut too_much = [0x80_u8; 10];
        too_much[9] = 2;
        assert_eq!(Cursor(&too_much).varint(), None);
    }
}
