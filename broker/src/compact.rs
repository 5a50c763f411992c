//! Compaction: of records with the same key the last one stays, offsets stay, tombstones go after a while.
//!
//! ```text
//!  segments   clean | clean | dirty | dirty | active
//!  1. read the dirty ones: the last offset of every key
//!  2. rewrite all of them, in order, without the records that have a later one
//! ```
//!
//! Never touched: the active segment, and what is not decided yet (at or above the last stable offset). Records keep
//! their offsets, so batches get holes. A record of an aborted transaction goes; a transaction's marker goes when
//! nothing it decides is left. Each segment is replaced by a rename, from the oldest on, so a crash in between leaves a
//! log that is compacted in part and right as a whole.
use crate::batch::{HEADER_LEN, Header, Record, Records, build};
use crate::codec::Codec;
use crate::log::{Log, UNPACKED_MAX};
use crate::segment::Segment;
use crate::settings::Settings;
use bytes::{Bytes, BytesMut};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io;

/// Keys that one pass remembers, at about 40 bytes each; more than these wait for the next pass.
const KEYS_MAX: usize = 2_000_000;

/// The last offset of each key, by the key's hash: 128 bits of it, so that two keys do not meet.
struct LastOffsets {
    by_key: HashMap<u128, i64>,
    hashers: [RandomState; 2],
    /// Segments from this offset on were not read.
    end: i64,
}

impl LastOffsets {
    fn hash(&self, key: &[u8]) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(key)));
        high << 64 | low
    }
    fn is_last(&self, key: &[u8], offset: i64) -> bool {
        self.by_key.get(&self.hash(key)).is_none_or(|last| *last <= offset)
    }
}

/// One pass over a log.
struct Pass<'a> {
    last: LastOffsets,
    settings: &'a Settings,
    now_ms: i64,
    /// Producers with records, of the transaction that is being read, that stay.
    deciding: HashSet<i64>,
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a stored batch cannot be read")
}

/// A batch's records, unpacked.
fn unpack(header: &Header, batch: &Bytes) -> io::Result<Bytes> {
    let codec = Codec::of_bits(header.codec()).ok_or_else(damaged)?;
    codec.decompress(&batch.slice(HEADER_LEN..), UNPACKED_MAX)
}

impl Log {
    /// Compacts, if there is enough to gain or something is overdue.
    pub fn compact(&mut self, settings: &Settings, now_ms: i64) -> io::Result<()> {
        let end = self.compactable(settings, now_ms);
        if !self.compaction_is_due(end, settings, now_ms) {
            return Ok(());
        }
        let last = self.last_offsets(end)?;
        let mut pass = Pass { last, settings, now_ms, deciding: HashSet::new() };
        let (before, until) = (self.size(), pass.last.end);
        let mut nth = 0;
        while nth < self.segments.len() && self.segments[nth].base_offset < until {
            self.compact_segment(nth, &mut pass)?;
            if nth > 0 && self.segments[nth].entries.is_empty() {
                if let Some(empty) = self.segments.remove(nth) {
                    empty.remove();
                }
            } else {
                nth += 1; // the first one stays: its name says where the log starts
            }
        }
        tracing::debug!(partition = self.partition(), before, after = self.size(), "compacted a partition");
        Ok(())
    }

    /// How many segments, from the first, may be compacted.
    fn compactable(&self, settings: &Settings, now_ms: i64) -> usize {
        let stable = self.last_stable();
        let sealed = self.segments.len().saturating_sub(1);
        let young = |segment: &Segment| now_ms - segment.written_ms < settings.min_compaction_lag_ms;
        let may = |segment: &&Segment| {
            let decided = segment.entries.last().is_none_or(|entry| entry.last_offset < stable);
            decided && !young(segment)
        };
        self.segments.iter().take(sealed).take_while(may).count()
    }

    fn compaction_is_due(&self, end: usize, settings: &Settings, now_ms: i64) -> bool {
        let (mut dirty, mut total, mut overdue) = (0, 0, false);
        for segment in self.segments.iter().take(end) {
            total += segment.size;
            if !segment.clean {
                dirty += segment.size;
                overdue |= now_ms - segment.since_ms >= settings.max_compaction_lag_ms && segment.size > 0;
            }
            overdue |= segment.passing && now_ms - segment.written_ms >= settings.delete_retention_ms;
        }
        overdue || (dirty > 0 && dirty as f64 >= total as f64 * settings.min_cleanable_ratio)
    }

    fn last_offsets(&self, segments: usize) -> io::Result<LastOffsets> {
        let mut last = LastOffsets { by_key: HashMap::new(), hashers: Default::default(), end: 0 };
        for segment in self.segments.iter().take(segments) {
            if last.by_key.len() >= KEYS_MAX {
                return Ok(last); // the rest comes in the next pass
            }
            last.end = segment.entries.last().map_or(segment.base_offset, |entry| entry.last_offset) + 1;
            if segment.clean {
                continue;
            }
            for entry in &segment.entries {
                let batch = segment.read_entry(entry)?;
                let header = Header::parse(&batch).ok_or_else(damaged)?;
                if header.control() || self.is_aborted(&header) {
                    continue;
                }
                for record in Records::new(&unpack(&header, &batch)?) {
                    let record = record.map_err(|_| damaged())?;
                    if let Some(key) = record.key {
                        last.by_key
                            .insert(last.hash(key), header.base_offset + i64::from(record.offset_delta));
                    }
                }
            }
        }
        Ok(last)
    }

    fn is_aborted(&self, batch: &Header) -> bool {
        batch.transactional() && self.producers.is_aborted(batch.producer_id, batch.base_offset)
    }

    fn compact_segment(&mut self, nth: usize, pass: &mut Pass<'_>) -> io::Result<()> {
        let segment = &self.segments[nth];
        // what may go now, and what may go later
        let expired = pass.now_ms - segment.written_ms >= pass.settings.delete_retention_ms;
        let (mut kept, mut changed, mut passing) = (Vec::new(), false, false);
        for entry in &segment.entries {
            let batch = segment.read_entry(entry)?;
            let header = Header::parse(&batch).ok_or_else(damaged)?;
            let outcome = if header.control() {
                passing = true;
                let decides = pass.deciding.remove(&header.producer_id);
                (decides || !expired || entry.last_offset + 1 == self.end).then(|| (header, batch.clone()))
            } else {
                self.compact_batch(header, &batch, pass, expired, &mut passing)?
            };
            changed |= outcome.as_ref().is_none_or(|(_, after)| *after != batch);
            kept.extend(outcome);
        }
        let segment = &mut self.segments[nth];
        if changed {
            segment.replace(&kept)?;
        }
        segment.clean = true;
        segment.passing = passing;
        Ok(())
    }

    /// What is left of a batch of records.
    fn compact_batch(
        &self,
        header: Header,
        batch: &Bytes,
        pass: &mut Pass<'_>,
        expired: bool,
        passing: &mut bool,
    ) -> io::Result<Option<(Header, Bytes)>> {
        let aborted = self.is_aborted(&header);
        let body = unpack(&header, batch)?;
        let (mut left, mut count, mut latest) = (BytesMut::new(), 0, i64::MIN);
        for record in Records::new(&body) {
            let record = record.map_err(|_| damaged())?;
            if aborted || !stays(&record, &header, pass, expired) {
                continue;
            }
            *passing |= record.value.is_none();
            left.extend_from_slice(record.raw);
            latest = latest.max(header.base_timestamp.saturating_add(record.timestamp_delta));
            count += 1;
        }
        if count > 0 && header.transactional() {
            pass.deciding.insert(header.producer_id);
        }
        if count == header.count {
            return Ok(Some((header, batch.clone())));
        }
        let mut after = header;
        after.count = count;
        if count == 0 {
            // its producer's sequence, and the log's end, are remembered by an empty batch
            if !self.producers.is_latest(&header) && header.last_offset() + 1 != self.end {
                return Ok(None);
            }
            // uncompressed, and of no transaction: its marker may go
            after.attributes = 0;
            let empty = build(after, &[]).freeze();
            after.len = empty.len();
            return Ok(Some((after, empty)));
        }
        if !header.log_append_time() {
            after.max_timestamp = latest;
        }
        let codec = Codec::of_bits(header.codec()).ok_or_else(damaged)?;
        let smaller = build(after, &codec.compress(&left)?).freeze();
        after.len = smaller.len();
        Ok(Some((after, smaller)))
    }
}

fn stays(record: &Record<'_>, header: &Header, pass: &Pass<'_>, expired: bool) -> bool {
    // keyless records were written before the topic was compacted
    let Some(key) = record.key else { return false };
    let is_last = pass.last.is_last(key, header.base_offset + i64::from(record.offset_delta));
    is_last && (record.value.is_some() || !expired)
}
