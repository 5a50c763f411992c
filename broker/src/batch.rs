//! A record batch (magic 2) as bytes: its header, its checksum, its records.
//!
//! Batches are stored and served as they came: nothing in here re-encodes a record. Only the base offset, the
//! leader epoch (both outside the checksum) and, where a topic's settings ask for it, the timestamps are written.
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before the first record.
pub(crate) const HEADER_LEN: usize = 61;
/// The length field counts from here on.
const AFTER_LENGTH: usize = 12;
const CRC_AT: usize = 17;
/// The checksum covers from here on.
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const CODEC_BITS: i16 = 0x07;
const LOG_APPEND_TIME_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;

/// What a batch says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub base_offset: i64,
    /// The whole batch, header included, in bytes.
    pub len: usize,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

impl Header {
    /// None where these bytes cannot be the start of a batch of magic 2.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        if bytes.len() < HEADER_LEN || magic(bytes) != Some(2) {
            return None;
        }
        let mut from = bytes;
        let base_offset = from.get_i64();
        let len = usize::try_from(from.get_i32()).ok()? + AFTER_LENGTH;
        if len < HEADER_LEN {
            return None;
        }
        from.advance(ATTRIBUTES_AT - AFTER_LENGTH);
        Some(Header {
            base_offset,
            len,
            attributes: from.get_i16(),
            last_offset_delta: from.get_i32(),
            base_timestamp: from.get_i64(),
            max_timestamp: from.get_i64(),
            producer_id: from.get_i64(),
            producer_epoch: from.get_i16(),
            base_sequence: from.get_i32(),
            count: from.get_i32(),
        })
    }
    pub fn codec(&self) -> i16 {
        self.attributes & CODEC_BITS
    }
    pub fn log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME_BIT != 0
    }
    pub fn transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }
    pub fn control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }
    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }
    /// Sequences wrap around to 0 after the largest i32.
    pub fn last_sequence(&self) -> i32 {
        advance_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// The header's bytes; the checksum is left empty.
    fn write(&self, out: &mut BytesMut) {
        out.put_i64(self.base_offset);
        out.put_i32((self.len - AFTER_LENGTH) as i32);
        out.put_i32(0); // leader epoch: there is one leader, for ever
        out.put_i8(2);
        out.put_u32(0);
        out.put_i16(self.attributes);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.count);
    }
}

/// The format version, which stands at the same place in every format there ever was.
pub(crate) fn magic(bytes: &[u8]) -> Option<u8> {
    bytes.get(16).copied()
}

pub(crate) fn advance_sequence(from: i32, by: i32) -> i32 {
    ((i64::from(from) + i64::from(by)) % (i64::from(i32::MAX) + 1)) as i32
}

/// A batch made of a header and its (already compressed) records.
pub(crate) fn build(mut header: Header, body: &[u8]) -> BytesMut {
    header.len = HEADER_LEN + body.len();
    let mut out = BytesMut::with_capacity(header.len);
    header.write(&mut out);
    out.put_slice(body);
    seal(&mut out);
    out
}

/// Writes the checksum of what is there.
fn seal(batch: &mut [u8]) {
    let sum = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&sum.to_be_bytes());
}

pub(crate) fn checksum_holds(batch: &[u8]) -> bool {
    batch.len() >= HEADER_LEN
        && crc32c::crc32c(&batch[ATTRIBUTES_AT..]) == (&batch[CRC_AT..ATTRIBUTES_AT]).get_u32()
}

/// The same batch with another latest timestamp, as the broker's own (`append_time`) or as the producer's.
pub(crate) fn with_max_timestamp(batch: &[u8], timestamp: i64, append_time: bool) -> BytesMut {
    let mut out = BytesMut::from(batch);
    let mut attributes = (&out[ATTRIBUTES_AT..]).get_i16() & !LOG_APPEND_TIME_BIT;
    if append_time {
        attributes |= LOG_APPEND_TIME_BIT;
    }
    out[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    out[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&timestamp.to_be_bytes());
    seal(&mut out);
    out
}

/// One record inside a batch's uncompressed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// The record as it stands, its length in front.
    pub raw: &'a [u8],
}

/// The bytes do not follow the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The records of an uncompressed body, one after the other.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub fn new(body: &'a [u8]) -> Records<'a> {
        Records { rest: body }
    }
    fn next_record(&mut self) -> Result<Record<'a>, Malformed> {
        let mut from = self.rest;
        let len = usize::try_from(varint(&mut from)?).map_err(|_| Malformed)?;
        if len > from.len() {
            return Err(Malformed);
        }
        let whole = self.rest.len() - from.len() + len;
        let raw = &self.rest[..whole];
        self.rest = &self.rest[whole..];
        let mut from = &from[..len];
        if !from.has_remaining() {
            return Err(Malformed);
        }
        from.advance(1); // attributes: none are in use
        let timestamp_delta = varint(&mut from)?;
        let offset_delta = i32::try_from(varint(&mut from)?).map_err(|_| Malformed)?;
        let key = sized(&mut from)?;
        let value = sized(&mut from)?;
        let headers = varint(&mut from)?;
        if headers < 0 {
            return Err(Malformed);
        }
        for _ in 0..headers {
            sized(&mut from)?.ok_or(Malformed)?;
            sized(&mut from)?;
        }
        if from.has_remaining() {
            return Err(Malformed);
        }
        Ok(Record { timestamp_delta, offset_delta, key, value, raw })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.next_record();
        if record.is_err() {
            self.rest = &[]; // there is no way to find the next one
        }
        Some(record)
    }
}

/// A zigzag integer of up to ten bytes.
fn varint(from: &mut &[u8]) -> Result<i64, Malformed> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let (&byte, rest) = from.split_first().ok_or(Malformed)?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
        shift += 7;
        if shift > 63 {
            return Err(Malformed);
        }
    }
}

fn sized<'a>(from: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let len = varint(from)?;
    if len == -1 {
        return Ok(None);
    }
    let len = usize::try_from(len).map_err(|_| Malformed)?;
    if len > from.len() {
        return Err(Malformed);
    }
    let (head, rest) = from.split_at(len);
    *from = rest;
    Ok(Some(head))
}

pub(crate) fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// A record without headers, its length in front.
pub(crate) fn put_record(
    out: &mut BytesMut,
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    let mut inner = BytesMut::new();
    inner.put_u8(0);
    put_varint(&mut inner, timestamp_delta);
    put_varint(&mut inner, i64::from(offset_delta));
    for part in [key, value] {
        put_varint(&mut inner, part.map_or(-1, |p| p.len() as i64));
        inner.put_slice(part.unwrap_or_default());
    }
    put_varint(&mut inner, 0);
    put_varint(out, inner.len() as i64);
    out.put_slice(&inner);
}

/// The control batch that ends a transaction in one partition.
pub(crate) fn end_marker(producer_id: i64, producer_epoch: i16, commit: bool, now_ms: i64) -> Bytes {
    let mut body = BytesMut::new();
    let key = [0, 0, 0, u8::from(commit)]; // version 0; type 0 abort, 1 commit
    let value = [0, 0, 0, 0, 0, 0]; // version 0; coordinator epoch 0
    put_record(&mut body, 0, 0, Some(&key), Some(&value));
    let header = Header {
        base_offset: 0,
        len: 0,
        attributes: TRANSACTIONAL_BIT | CONTROL_BIT,
        last_offset_delta: 0,
        base_timestamp: now_ms,
        max_timestamp: now_ms,
        producer_id,
        producer_epoch,
        base_sequence: -1,
        count: 1,
    };
    build(header, &body).freeze()
}

/// Whether a control batch's body says "commit".
pub(crate) fn marks_commit(body: &[u8]) -> bool {
    let first = Records::new(body).next();
    matches!(first, Some(Ok(record)) if record.key.is_some_and(|key| key.get(2..4) == Some(&[0, 1])))
}
