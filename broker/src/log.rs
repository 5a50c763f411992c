//! One partition: its segments, its offsets, its producers, and who waits for its next record.
use crate::batch::{HEADER_LEN, Header, Records, marks_commit};
use crate::codec::Codec;
use crate::error::{Answer, Refusal};
use crate::producers::{Producers, Sequence};
use crate::segment::{Entry, OpenFiles, Segment};
use crate::settings::Settings;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use tokio::sync::Notify;

/// No batch unpacks into more; it bounds what one request can make us hold.
pub(crate) const UNPACKED_MAX: usize = 256 << 20;
/// Buffers in memory double while they grow, so they are kept short.
const MEMORY_SEGMENT_BYTES: u64 = 8 << 20;

pub(crate) struct Log {
    /// None: in memory.
    directory: Option<PathBuf>,
    partition: i32,
    fsync: bool,
    open_files: OpenFiles,
    pub(crate) segments: VecDeque<Segment>,
    /// The first offset that may be read.
    pub start: i64,
    /// The next offset to be written; also the high watermark, as there are no followers to wait for.
    pub end: i64,
    pub producers: Producers,
    waiters: Vec<Weak<Notify>>,
}

/// Where a log's files are, if they are.
#[derive(Clone)]
pub(crate) struct Place {
    pub directory: Option<PathBuf>,
    pub fsync: bool,
    pub open_files: OpenFiles,
}

pub(crate) struct Appended {
    pub base_offset: i64,
}

/// Whole batches, and the offset after the last of them.
pub(crate) struct Slice {
    pub records: Bytes,
    pub up_to: i64,
}

impl Log {
    pub fn new(place: &Place, partition: i32) -> Log {
        Log {
            directory: place.directory.clone(),
            partition,
            fsync: place.fsync,
            open_files: place.open_files.clone(),
            segments: VecDeque::new(),
            start: 0,
            end: 0,
            producers: Producers::default(),
            waiters: Vec::new(),
        }
    }

    /// From its files, with their base offsets.
    pub fn open(
        place: &Place,
        partition: i32,
        mut files: Vec<(i64, PathBuf)>,
        now_ms: i64,
    ) -> io::Result<Log> {
        let mut log = Log::new(place, partition);
        files.sort();
        let last = files.len().saturating_sub(1);
        log.start = files.first().map_or(0, |(base_offset, _)| *base_offset);
        for (nth, (base_offset, path)) in files.iter().enumerate() {
            let producers = &mut log.producers;
            // only the last one can be torn: the others were whole before it began
            let mut segment = Segment::open(
                path,
                *base_offset,
                nth == last,
                now_ms,
                &place.open_files,
                |header, bytes| {
                    if header.control() {
                        producers.note_marker(header, marks_commit(&bytes[HEADER_LEN..]), now_ms);
                    } else {
                        producers.note_batch(header, now_ms);
                    }
                },
            )?;
            log.end = segment.entries.last().map_or(*base_offset, |entry| entry.last_offset + 1).max(log.end);
            if nth != last {
                segment.seal();
            }
            log.segments.push_back(segment);
        }
        Ok(log)
    }

    /// Below this offset all transactions are decided.
    pub fn last_stable(&self) -> i64 {
        self.producers.first_open().unwrap_or(self.end)
    }
    /// How far a reader may see.
    pub fn limit(&self, committed_only: bool) -> i64 {
        if committed_only { self.last_stable() } else { self.end }
    }
    pub fn partition(&self) -> i32 {
        self.partition
    }
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Appends one batch whose bytes have been validated.
    pub fn append(
        &mut self,
        header: &Header,
        batch: &[u8],
        settings: &Settings,
        now_ms: i64,
    ) -> Answer<Appended> {
        if let Sequence::Repeated(base_offset) = self.producers.check(header)? {
            return Ok(Appended { base_offset });
        }
        let header = self.write(header, batch, settings, now_ms)?;
        self.producers.note_batch(&header, now_ms);
        Ok(Appended { base_offset: header.base_offset })
    }

    /// Ends a transaction here.
    pub fn append_marker(
        &mut self,
        marker: &[u8],
        commit: bool,
        settings: &Settings,
        now_ms: i64,
    ) -> Answer<()> {
        let header = Header::parse(marker).ok_or(kafka_protocol::ResponseError::CorruptMessage)?;
        let header = self.write(&header, marker, settings, now_ms)?;
        self.producers.note_marker(&header, commit, now_ms);
        Ok(())
    }

    fn write(
        &mut self,
        header: &Header,
        batch: &[u8],
        settings: &Settings,
        now_ms: i64,
    ) -> Result<Header, Refusal> {
        let mut header = *header;
        header.base_offset = self.end;
        self.roll_if_due(header.len as u64, settings, now_ms)?;
        let Some(active) = self.segments.back_mut() else {
            return Err(kafka_protocol::ResponseError::KafkaStorageError.into());
        };
        active.append(&header, batch, now_ms)?;
        if self.fsync {
            active.sync()?;
        }
        self.end = header.last_offset() + 1;
        self.wake();
        Ok(header)
    }

    fn roll_if_due(&mut self, coming: u64, settings: &Settings, now_ms: i64) -> io::Result<()> {
        let largest = match self.directory {
            Some(_) => settings.segment_bytes,
            None => settings.segment_bytes.min(MEMORY_SEGMENT_BYTES),
        };
        let due = self.segments.back().is_none_or(|active| {
            active.size > 0
                && (active.size + coming > largest || now_ms - active.since_ms >= settings.segment_ms)
        });
        if due { self.roll(now_ms) } else { Ok(()) }
    }

    /// Begins a new segment, so that the one before it can be deleted or compacted.
    pub fn roll(&mut self, now_ms: i64) -> io::Result<()> {
        if self.segments.back().is_some_and(|active| active.size == 0) {
            return Ok(());
        }
        let fresh =
            Segment::create(self.directory.as_deref(), self.partition, self.end, now_ms, &self.open_files)?;
        if let Some(active) = self.segments.back_mut() {
            active.seal();
        }
        if self.fsync
            && let Some(directory) = &self.directory
        {
            std::fs::File::open(directory)?.sync_all()?; // the new file's name
        }
        self.segments.push_back(fresh);
        Ok(())
    }

    /// Where to look for an offset: a segment, and a place among its entries.
    fn find(&self, offset: i64) -> Option<(usize, usize)> {
        let after = self.segments.partition_point(|segment| segment.base_offset <= offset);
        (after.saturating_sub(1)..self.segments.len()).find_map(|nth| {
            let entries = &self.segments[nth].entries;
            let entry = entries.partition_point(|entry| entry.last_offset < offset);
            (entry < entries.len()).then_some((nth, entry))
        })
    }

    /// Bytes from an offset to a limit; counting ends when there are `enough`.
    pub fn available(&self, offset: i64, limit: i64, enough: usize) -> usize {
        let Some((first, mut entry)) = self.find(offset) else { return 0 };
        let mut bytes = 0;
        for segment in self.segments.range(first..) {
            let end = segment.entries.partition_point(|entry| entry.base_offset < limit);
            if end <= entry {
                break;
            }
            let last = &segment.entries[end - 1];
            bytes += (last.at + last.len - segment.entries[entry].at) as usize;
            entry = 0;
            if bytes >= enough {
                break;
            }
        }
        bytes
    }

    /// Batches from the one that holds `offset`, below `limit`, of one segment; `at_least_one` may pass `max_bytes`.
    pub fn read(&self, offset: i64, limit: i64, max_bytes: usize, at_least_one: bool) -> io::Result<Slice> {
        let nothing = Slice { records: Bytes::new(), up_to: offset };
        let Some((nth, first)) = self.find(offset) else { return Ok(nothing) };
        let segment = &self.segments[nth];
        let (mut len, mut up_to) = (0u32, offset);
        for entry in &segment.entries[first..] {
            let fits = len as usize + entry.len as usize <= max_bytes || (at_least_one && len == 0);
            if entry.base_offset >= limit || !fits {
                break;
            }
            len += entry.len;
            up_to = entry.last_offset + 1;
        }
        if len == 0 {
            return Ok(nothing);
        }
        let records = segment.read(segment.entries[first].at, len)?;
        Ok(Slice { records, up_to })
    }

    /// The first offset whose timestamp is at or after this one, and that timestamp.
    pub fn offset_for_time(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        for segment in self.segments.iter().filter(|segment| segment.max_timestamp >= timestamp) {
            for entry in segment.entries.iter().filter(|entry| entry.max_timestamp >= timestamp) {
                if entry.last_offset < self.start {
                    continue;
                }
                let found = records_of(&segment.read_entry(entry)?)?
                    .into_iter()
                    .find(|(offset, at)| *at >= timestamp && *offset >= self.start);
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// The offset with the latest timestamp (the first of them), and that timestamp.
    pub fn offset_of_latest_time(&self) -> io::Result<Option<(i64, i64)>> {
        let readable = |entry: &&Entry| entry.last_offset >= self.start && entry.max_timestamp >= 0;
        let all = self
            .segments
            .iter()
            .flat_map(|segment| segment.entries.iter().filter(readable).map(move |entry| (segment, entry)));
        // of equal ones the first: max_by_key would take the last
        let latest = all.rev().max_by_key(|(_, entry)| entry.max_timestamp);
        let Some((segment, entry)) = latest else { return Ok(None) };
        let records = records_of(&segment.read_entry(entry)?)?;
        Ok(records.into_iter().rev().max_by_key(|(_, timestamp)| *timestamp))
    }

    /// Moves the first readable offset up; segments that are wholly below it are deleted.
    pub fn truncate_before(&mut self, offset: i64) {
        self.start = self.start.max(offset.min(self.end));
        while self.segments.len() > 1 && self.segments[1].base_offset <= self.start {
            if let Some(gone) = self.segments.pop_front() {
                gone.remove();
            }
        }
        self.producers.forget_before(self.start);
    }

    /// Wakes whoever waits for records.
    fn wake(&mut self) {
        for waiter in self.waiters.drain(..) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.notify_one();
            }
        }
    }
    /// Calls once, when something is appended, a transaction ends, or the topic goes.
    pub fn call_me(&mut self, waiter: &Rc<Notify>) {
        self.waiters.retain(|known| known.strong_count() > 0);
        let waiter = Rc::downgrade(waiter);
        if !self.waiters.iter().any(|known| known.ptr_eq(&waiter)) {
            self.waiters.push(waiter);
        }
    }
}

/// Who waits for a deleted topic's records learns that there is no such topic.
impl Drop for Log {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Offsets and timestamps of a batch's records. A transaction's marker is one of them: it may be the latest there is.
fn records_of(batch: &Bytes) -> io::Result<Vec<(i64, i64)>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a stored batch cannot be read");
    let header = Header::parse(batch).ok_or_else(damaged)?;
    let codec = Codec::of_bits(header.codec()).ok_or_else(damaged)?;
    let body = codec.decompress(&batch.slice(HEADER_LEN..), UNPACKED_MAX)?;
    let at = |delta: i64| {
        if header.log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.saturating_add(delta)
        }
    };
    Records::new(&body)
        .map(|record| {
            let record = record.map_err(|_| damaged())?;
            Ok((header.base_offset + i64::from(record.offset_delta), at(record.timestamp_delta)))
        })
        .collect()
}
