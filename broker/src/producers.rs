//! What one partition knows of its producers: their sequences (idempotence) and their transactions (isolation).
//!
//! It is rebuilt from the batches' headers when a log is opened, so nothing of it is stored.
use crate::batch::{Header, advance_sequence};
use crate::error::Answer;
use kafka_protocol::ResponseError;
use std::collections::{HashMap, VecDeque};

/// A producer may have so many requests under way, so a repetition is one of the last so many batches.
const REMEMBERED_BATCHES: usize = 5;

#[derive(Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// Producer to the first offset of its open transaction.
    open: HashMap<i64, i64>,
    /// Ended by an abort, in the order of their markers.
    aborted: Vec<Aborted>,
}

#[derive(Default, Clone)]
pub(crate) struct Producer {
    pub epoch: i16,
    recent: VecDeque<Written>,
    /// Known by a marker only, its batches are gone: any sequence is believed.
    unsure: bool,
    pub last_timestamp: i64,
    seen_ms: i64,
}

#[derive(Clone, Copy)]
struct Written {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
    /// The marker's.
    pub last_offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    Next,
    /// Written before, at this offset.
    Repeated(i64),
}

impl Producer {
    pub fn last_sequence(&self) -> i32 {
        self.recent.back().map_or(-1, |written| written.last_sequence)
    }
}

impl Producers {
    /// Whether a producer's batch is the one that comes next.
    pub fn check(&self, batch: &Header) -> Answer<Sequence> {
        if batch.producer_id < 0 {
            return Ok(Sequence::Next);
        }
        // a producer that this partition never met may begin anywhere: its past may have been deleted
        let Some(known) = self.by_id.get(&batch.producer_id) else { return Ok(Sequence::Next) };
        if batch.producer_epoch < known.epoch {
            return Err(ResponseError::InvalidProducerEpoch.into());
        }
        if batch.producer_epoch > known.epoch {
            return in_order(batch.base_sequence == 0);
        }
        let repeated = known.recent.iter().find(|written| {
            written.first_sequence == batch.base_sequence && written.last_sequence == batch.last_sequence()
        });
        if let Some(written) = repeated {
            return Ok(Sequence::Repeated(written.base_offset));
        }
        match known.recent.back() {
            Some(last) => in_order(batch.base_sequence == advance_sequence(last.last_sequence, 1)),
            None => in_order(known.unsure || batch.base_sequence == 0),
        }
    }

    /// Takes note of a batch of records that is in the log.
    pub fn note_batch(&mut self, batch: &Header, now_ms: i64) {
        if batch.producer_id < 0 {
            return;
        }
        if batch.transactional() {
            self.open.entry(batch.producer_id).or_insert(batch.base_offset);
        }
        let producer = self.by_id.entry(batch.producer_id).or_default();
        if batch.producer_epoch != producer.epoch {
            producer.epoch = batch.producer_epoch;
            producer.recent.clear();
        }
        producer.unsure = false;
        producer.seen_ms = now_ms;
        producer.last_timestamp = batch.max_timestamp;
        producer.recent.push_back(Written {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset,
        });
        if producer.recent.len() > REMEMBERED_BATCHES {
            producer.recent.pop_front();
        }
    }

    /// Takes note of a marker that is in the log.
    pub fn note_marker(&mut self, marker: &Header, commit: bool, now_ms: i64) {
        if let Some(first_offset) = self.open.remove(&marker.producer_id)
            && !commit
        {
            self.aborted.push(Aborted {
                producer_id: marker.producer_id,
                first_offset,
                last_offset: marker.base_offset,
            });
        }
        let producer = self.by_id.entry(marker.producer_id).or_insert_with(|| Producer {
            unsure: true,
            epoch: marker.producer_epoch,
            ..Producer::default()
        });
        producer.seen_ms = now_ms;
        producer.last_timestamp = marker.max_timestamp;
        if marker.producer_epoch > producer.epoch {
            producer.epoch = marker.producer_epoch;
            producer.recent.clear();
        }
    }

    /// The first offset that is not decided yet.
    pub fn first_open(&self) -> Option<i64> {
        self.open.values().min().copied()
    }
    pub fn open_since(&self, producer_id: i64) -> Option<i64> {
        self.open.get(&producer_id).copied()
    }
    /// The aborted transactions with records in [from, to).
    pub fn aborted_between(&self, from: i64, to: i64) -> impl Iterator<Item = &Aborted> {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        self.aborted[first..].iter().filter(move |aborted| aborted.first_offset < to)
    }
    /// Whether an offset of this producer belongs to an aborted transaction.
    pub fn is_aborted(&self, producer_id: i64, offset: i64) -> bool {
        self.aborted_between(offset, offset + 1).any(|aborted| aborted.producer_id == producer_id)
    }
    pub fn all(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }
    /// Forgets what lies before the log's first offset.
    pub fn forget_before(&mut self, offset: i64) {
        self.aborted.retain(|aborted| aborted.last_offset >= offset);
    }
    /// Forgets producers that were silent since then and have nothing open.
    pub fn forget_idle(&mut self, since_ms: i64) {
        let open = &self.open;
        self.by_id.retain(|id, producer| producer.seen_ms >= since_ms || open.contains_key(id));
    }
    /// Whether this batch is the last that its producer wrote here.
    pub fn is_latest(&self, batch: &Header) -> bool {
        let known = self.by_id.get(&batch.producer_id);
        known.is_some_and(|p| p.epoch == batch.producer_epoch && p.last_sequence() == batch.last_sequence())
    }
}

fn in_order(it_is: bool) -> Answer<Sequence> {
    if it_is { Ok(Sequence::Next) } else { Err(ResponseError::OutOfOrderSequenceNumber.into()) }
}
