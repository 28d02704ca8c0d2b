//! A column of integers in few bits.
//!
//! The values, their differences or the differences of those, whichever is smallest, are written as
//! distances from the least of them in as many bits as the greatest needs. A steady clock or a constant
//! column thus takes no bits at all. All arithmetic wraps, so every `i64` is fine.

use crate::binary::{Cursor, put_signed, varint_length, zigzag};

const ORDERS: usize = 3;
const WIDTHS: usize = 65;

/// One way to write a column: differences of some order.
struct Form {
    /// First value of each lower order, from the plain values up.
    heads: Vec<i64>,
    rest: Vec<i64>,
    least: i64,
    width: usize,
}

impl Form {
    fn new(heads: Vec<i64>, rest: Vec<i64>) -> Form {
        let least = rest.iter().copied().min().unwrap_or(0);
        let most = rest.iter().copied().max().unwrap_or(0);
        let spread = most.wrapping_sub(least) as u64;
        Form { heads, rest, least, width: 64 - spread.leading_zeros() as usize }
    }

    fn bytes(&self) -> usize {
        let signed = |value: &i64| varint_length(zigzag(*value));
        self.heads.iter().map(signed).sum::<usize>() + signed(&self.least) + (self.rest.len() * self.width).div_ceil(8)
    }

    /// The form of the next order.
    fn differences(&self) -> Option<Form> {
        let (first, _) = self.rest.split_first()?;
        let mut heads = self.heads.clone();
        heads.push(*first);
        Some(Form::new(heads, self.rest.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect()))
    }
}

pub(super) fn put(out: &mut Vec<u8>, values: &[i64]) {
    if values.is_empty() {
        return;
    }
    let mut best = Form::new(Vec::new(), values.to_vec());
    let mut next = best.differences();
    while let Some(form) = next {
        next = if form.heads.len() + 1 < ORDERS { form.differences() } else { None };
        if form.bytes() < best.bytes() {
            best = form;
        }
    }
    out.push((best.heads.len() * WIDTHS + best.width) as u8);
    for head in &best.heads {
        put_signed(out, *head);
    }
    put_signed(out, best.least);
    put_bits(out, best.rest.iter().map(|value| value.wrapping_sub(best.least) as u64), best.width);
}

/// Takes `count` values; `None` when the bytes are not a column of that many.
pub(super) fn take(bytes: &mut Cursor<'_>, count: usize) -> Option<Vec<i64>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let header = usize::from(bytes.byte()?);
    let (order, width) = (header / WIDTHS, header % WIDTHS);
    if order >= ORDERS || order > count {
        return None;
    }
    let mut heads = [0; ORDERS];
    for head in heads.iter_mut().take(order) {
        *head = bytes.signed()?;
    }
    let least = bytes.signed()?;
    let mut values = take_bits(bytes, count - order, width)?;
    for value in &mut values {
        *value = value.wrapping_add(least);
    }
    for head in heads.iter().take(order).rev() {
        let mut sum = *head;
        for value in &mut values {
            let step = std::mem::replace(value, sum);
            sum = sum.wrapping_add(step);
        }
        values.push(sum);
    }
    Some(values)
}

fn put_bits(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: usize) {
    let mut waiting = 0_u128;
    let mut bits = 0;
    for value in values {
        waiting |= u128::from(value) << bits;
        bits += width;
        while bits >= 8 {
            out.push(waiting as u8);
            waiting >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(waiting as u8);
    }
}

fn take_bits(bytes: &mut Cursor<'_>, count: usize, width: usize) -> Option<Vec<i64>> {
    let mut packed = bytes.take(count.checked_mul(width)?.div_ceil(8))?.iter();
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    let mut values = Vec::with_capacity(count + ORDERS);
    let mut waiting = 0_u128;
    let mut bits = 0;
    for _ in 0..count {
        while bits < width {
            waiting |= u128::from(*packed.next()?) << bits;
            bits += 8;
        }
        values.push((waiting as u64 & mask) as i64);
        waiting >>= width;
        bits -= width;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(values: &[i64]) -> usize {
        let mut out = Vec::new();
        put(&mut out, values);
        out.len()
    }

    proptest! {
        #[test]
        fn columns_come_back(values in prop_oneof![
            prop::collection::vec(any::<i64>(), 0..40),
            prop::collection::vec(-3_i64..3, 0..40),
            (any::<i64>(), any::<i64>(), 0_i64..40).prop_map(|(start, step, count)| {
                (0..count).map(|i| start.wrapping_add(step.wrapping_mul(i))).collect()
            }),
            prop::collection::vec(prop::sample::select(vec![i64::MIN, -1, 0, i64::MAX]), 0..9),
        ]) {
            let mut out = Vec::new();
            put(&mut out, &values);
            let mut cursor = Cursor(&out);
            prop_assert_eq!(take(&mut cursor, values.len()), Some(values));
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn no_bytes_can_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0_usize..70) {
            take(&mut Cursor(&bytes), count);
        }
    }

    #[test]
    fn what_is_regular_takes_no_room() {
        assert!(size(&[7; 1_000]) <= 3);
        let ticks: Vec<i64> = (0..1_000).map(|i| 1_780_000_000_000 + i * 60_000).collect();
        assert!(size(&ticks) <= 12, "{}", size(&ticks));
        let jitter: Vec<i64> = ticks.iter().enumerate().map(|(i, tick)| tick + (i as i64 * 7_919) % 500).collect();
        assert!(size(&jitter) <= 1_000 * 11 / 8 + 20, "{}", size(&jitter));
    }
}
