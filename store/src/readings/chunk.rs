//! Readings of one sensor as compressed columns.
//!
//! A chunk is a codec byte, the count, and the columns: times, the six values, seq, state, flags. An
//! optional column starts with a byte that says whether it is absent, complete or has a bitmap of
//! where it is; values are integers of 1, 0.1, 0.01 or 0.001 where that is exact to the bit, else the
//! bits of the floats.

use model::reading::Flags;
use model::{Reading, Stamp};

use super::integers;
use crate::binary::{Cursor, put_varint, set_values, state_code, state_of, values};

/// Delta and bit-packing, for short chunks. A codec for long ones gets the next id.
const CODEC: u8 = 1;

/// A chunk never has more readings, which bounds what a damaged count can reserve.
pub(super) const MOST_READINGS: usize = 4_096;

const ABSENT: u8 = 0;
const COMPLETE: u8 = 1;
const PARTIAL: u8 = 2;

const SCALES: [f64; 4] = [1.0, 10.0, 100.0, 1_000.0];
const RAW_BITS: u8 = SCALES.len() as u8;

/// Beyond this a scaled integer takes more bits than the float.
const MOST_SCALED: f64 = (1_u32 << 30) as f64;

/// At most [`MOST_READINGS`] of them.
pub(super) fn encode(readings: &[Reading]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + readings.len() * 4);
    out.push(CODEC);
    put_varint(&mut out, readings.len() as u64);
    integers::put(&mut out, &column(readings, |reading| reading.time.0));
    for field in 0..6 {
        let (presence, present) = split(readings, |reading| values(reading)[field]);
        let scale = SCALES.iter().position(|scale| present.iter().all(|value| scaled(*value, *scale).is_some()));
        let kind = scale.map_or(RAW_BITS, |scale| scale as u8);
        put_presence(&mut out, kind, &presence, present.len());
        let numbers: Vec<i64> = match scale {
            Some(scale) => present.iter().filter_map(|value| scaled(*value, SCALES[scale])).collect(),
            None => present.iter().map(|value| i64::from(value.to_bits())).collect(),
        };
        integers::put(&mut out, &numbers);
    }
    let (presence, present) = split(readings, |reading| reading.seq);
    put_presence(&mut out, 0, &presence, present.len());
    integers::put(&mut out, &column(&present, |seq| *seq as i64));
    let (presence, present) = split(readings, |reading| reading.state);
    put_presence(&mut out, 0, &presence, present.len());
    integers::put(&mut out, &column(&present, |state| i64::from(state_code(*state))));
    integers::put(&mut out, &column(readings, |reading| i64::from(reading.flags.0)));
    out
}

/// The readings of a chunk; `None` when the bytes are not one.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Reading>> {
    let mut cursor = Cursor(bytes);
    if cursor.byte()? != CODEC {
        return None;
    }
    let count = cursor.length().filter(|count| *count <= MOST_READINGS)?;
    let times = integers::take(&mut cursor, count)?;
    let mut columns = Vec::with_capacity(6);
    for _ in 0..6 {
        columns.push(take_values(&mut cursor, count)?);
    }
    let (_, presence) = take_presence(&mut cursor, count)?;
    let seqs = take_optional(&mut cursor, &presence, |number| Some(number as u64))?;
    let (_, presence) = take_presence(&mut cursor, count)?;
    let states = take_optional(&mut cursor, &presence, |number| state_of(u8::try_from(number).ok()?))?;
    let flags = integers::take(&mut cursor, count)?;
    if !cursor.is_empty() {
        return None;
    }
    (0..count)
        .map(|index| {
            let mut reading = Reading {
                time: Stamp(times[index]),
                seq: seqs[index],
                state: states[index],
                flags: Flags(u16::try_from(flags[index]).ok()?),
                ..Reading::default()
            };
            set_values(&mut reading, std::array::from_fn(|field| columns[field][index]));
            Some(reading)
        })
        .collect()
}

fn column<T>(items: &[T], number: impl Fn(&T) -> i64) -> Vec<i64> {
    items.iter().map(number).collect()
}

/// Where the field is there, and the values that are.
fn split<T>(readings: &[Reading], field: impl Fn(&Reading) -> Option<T>) -> (Vec<bool>, Vec<T>) {
    let all: Vec<Option<T>> = readings.iter().map(field).collect();
    (all.iter().map(Option::is_some).collect(), all.into_iter().flatten().collect())
}

/// The value as a whole number of 1/`scale`, when that gives back the very same bits.
fn scaled(value: f32, scale: f64) -> Option<i64> {
    let whole = (f64::from(value) * scale).round();
    let is_exact = whole.abs() <= MOST_SCALED && unscaled(whole as i64, scale).to_bits() == value.to_bits();
    is_exact.then_some(whole as i64)
}

fn unscaled(whole: i64, scale: f64) -> f32 {
    (whole as f64 / scale) as f32
}

fn put_presence(out: &mut Vec<u8>, kind: u8, presence: &[bool], present: usize) {
    let how = match present {
        0 => ABSENT,
        all if all == presence.len() => COMPLETE,
        _ => PARTIAL,
    };
    out.push(how | kind << 2);
    if how == PARTIAL {
        out.extend(
            presence
                .chunks(8)
                .map(|bits| bits.iter().enumerate().fold(0, |byte, (bit, is_there)| byte | u8::from(*is_there) << bit)),
        );
    }
}

fn take_presence(bytes: &mut Cursor<'_>, count: usize) -> Option<(u8, Vec<bool>)> {
    let header = bytes.byte()?;
    let presence = match header & 3 {
        ABSENT => vec![false; count],
        COMPLETE => vec![true; count],
        PARTIAL => {
            let bitmap = bytes.take(count.div_ceil(8))?;
            (0..count).map(|index| bitmap[index / 8] >> (index % 8) & 1 == 1).collect()
        }
        _ => return None,
    };
    Some((header >> 2, presence))
}

fn take_optional<T>(
    bytes: &mut Cursor<'_>,
    presence: &[bool],
    value: impl Fn(i64) -> Option<T>,
) -> Option<Vec<Option<T>>> {
    let present = presence.iter().filter(|is_there| **is_there).count();
    let mut numbers = integers::take(bytes, present)?.into_iter();
    let mut all = Vec::with_capacity(presence.len());
    for is_there in presence {
        all.push(if *is_there { Some(value(numbers.next()?)?) } else { None });
    }
    Some(all)
}

fn take_values(bytes: &mut Cursor<'_>, count: usize) -> Option<Vec<Option<f32>>> {
    let (kind, presence) = take_presence(bytes, count)?;
    if kind == RAW_BITS {
        return take_optional(bytes, &presence, |number| Some(f32::from_bits(u32::try_from(number).ok()?)));
    }
    let scale = *SCALES.get(usize::from(kind))?;
    take_optional(bytes, &presence, |number| Some(unscaled(number, scale)))
}

#[cfg(test)]
mod tests {
    use model::SensorState;
    use proptest::prelude::*;

    use super::*;
    use crate::binary::tests::{any_f32, any_reading, exact};

    proptest! {
        #[test]
        fn any_readings_come_back_bit_for_bit(readings in prop::collection::vec(any_reading(any::<i64>()), 0..30)) {
            prop_assert_eq!(exact(&decode(&encode(&readings)).unwrap()), exact(&readings));
        }

        #[test]
        fn any_float_comes_back_bit_for_bit(values in prop::collection::vec(any_f32(), 1..60)) {
            let readings: Vec<Reading> =
                values.iter().map(|value| Reading { co_ppm: Some(*value), ..Reading::default() }).collect();
            prop_assert_eq!(exact(&decode(&encode(&readings)).unwrap()), exact(&readings));
        }

        #[test]
        fn decimals_are_kept_as_integers(tenths in prop::collection::vec(0_i32..5_000, 100..101)) {
            let readings: Vec<Reading> = tenths
                .iter()
                .map(|tenth| Reading { co_ppm: Some(*tenth as f32 / 10.0), ..Reading::default() })
                .collect();
            let data = encode(&readings);
            // 13 bits a value and a few bytes for all that is absent or constant.
            prop_assert!(data.len() <= 100 * 13 / 8 + 30, "{}", data.len());
            prop_assert_eq!(exact(&decode(&data).unwrap()), exact(&readings));
        }

        #[test]
        fn no_bytes_can_break_the_reader(mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            decode(&bytes);
            bytes.insert(0, CODEC);
            decode(&bytes);
        }

        #[test]
        fn a_cut_or_changed_chunk_never_breaks_the_reader(
            readings in prop::collection::vec(any_reading(0..100_000_i64), 1..20),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut data = encode(&readings);
            prop_assert!(decode(&data[..at.index(data.len())]).is_none());
            let index = at.index(data.len());
            data[index] = byte;
            decode(&data);
        }
    }

    #[test]
    fn a_day_of_one_sensor_takes_few_bytes() {
        let readings: Vec<Reading> = (0..1_440_i64)
            .map(|minute| Reading {
                time: Stamp(1_780_000_000_000 + minute * 60_000 + minute * 7_919 % 200),
                co_ppm: Some((minute * 31 % 4) as f32),
                temperature_c: Some(20.0 + (minute * 17 % 20) as f32 / 10.0),
                humidity_pct: Some(55.0 + (minute * 13 % 8) as f32),
                battery_pct: Some(88.0),
                seq: Some(minute as u64),
                state: Some(SensorState::Normal),
                ..Reading::default()
            })
            .collect();
        let data = encode(&readings);
        assert!(data.len() <= 1_440 * 3, "{} bytes", data.len());
        assert_eq!(decode(&data).unwrap(), readings);
    }
}
