//! The newest committed batches, for readers that keep up.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::{Position, Record};

type Slice = (Arc<Vec<Record>>, Range<usize>);

#[derive(Debug)]
pub(super) struct Ring {
    batches: VecDeque<Held>,
    weight: usize,
    most_weight: usize,
}

#[derive(Debug)]
struct Held {
    last: Position,
    weight: usize,
    records: Arc<Vec<Record>>,
}

#[derive(Debug)]
pub(super) enum Found {
    Slices(Vec<Slice>),
    /// No longer, or not yet, in memory.
    Older,
}

impl Ring {
    pub(super) fn new(most_weight: usize) -> Ring {
        Ring { batches: VecDeque::new(), weight: 0, most_weight }
    }

    pub(super) fn push(&mut self, records: Vec<Record>, weight: usize) {
        let Some(last) = records.last().map(|record| record.position) else { return };
        self.weight += weight;
        self.batches.push_back(Held { last, weight, records: Arc::new(records) });
        while self.weight > self.most_weight
            && let Some(oldest) = self.batches.pop_front()
        {
            self.weight -= oldest.weight;
        }
    }

    /// Up to `most` records after `after`, as slices in order.
    pub(super) fn find(&self, after: Position, most: usize) -> Found {
        let reaches_back = self.batches.front().and_then(|held| held.records.first());
        if reaches_back.is_none_or(|oldest| oldest.position.0 > after.0.saturating_add(1)) {
            return Found::Older;
        }
        let mut left = most;
        let mut slices = Vec::new();
        let start = self.batches.partition_point(|held| held.last <= after);
        for held in self.batches.range(start..) {
            let from = held.records.partition_point(|record| record.position <= after);
            let to = held.records.len().min(from + left.min(held.records.len()));
            left -= to - from;
            slices.push((held.records.clone(), from..to));
            if left == 0 {
                break;
            }
        }
        if slices.is_empty() { Found::Older } else { Found::Slices(slices) }
    }
}

/// One list of the slices' records; a single whole batch is shared, not copied.
pub(super) fn join(slices: Vec<Slice>) -> Arc<Vec<Record>> {
    if let [(records, range)] = slices.as_slice()
        && range.len() == records.len()
    {
        return records.clone();
    }
    let mut joined = Vec::with_capacity(slices.iter().map(|(_, range)| range.len()).sum());
    for (records, range) in slices {
        joined.extend_from_slice(&records[range]);
    }
    Arc::new(joined)
}
