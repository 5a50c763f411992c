//! What Kafka holds: one record, copied out of the client's memory, in one allocation.

use std::sync::Arc;

use bytes::Bytes;

/// A Kafka record. Key, value and headers lie in one buffer, so that a record costs one allocation
/// and holding it holds nothing of the client's fetch buffers.
#[derive(Clone, Debug)]
pub struct Record {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// When it was produced, in ms since 1970, if the record says so.
    pub timestamp_ms: Option<i64>,
    /// key, value, header block, one behind the other.
    data: Bytes,
    /// Length of the key, or `ABSENT`.
    key: u32,
    /// Length of the value, or `ABSENT`.
    value: u32,
}

const ABSENT: u32 = u32::MAX;

impl Record {
    /// `headers` is a header block (see [`crate::domain::headers`]).
    pub fn new(
        (topic, partition, offset): (Arc<str>, i32, i64),
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[u8],
    ) -> Self {
        let len = |it: Option<&[u8]>| it.map_or(ABSENT, |it| it.len() as u32);
        let parts = [key.unwrap_or_default(), value.unwrap_or_default(), headers];
        let mut data = Vec::with_capacity(parts.iter().map(|it| it.len()).sum());
        for part in parts {
            data.extend_from_slice(part);
        }
        Self { topic, partition, offset, timestamp_ms, data: data.into(), key: len(key), value: len(value) }
    }

    pub fn key(&self) -> Option<&[u8]> {
        (self.key != ABSENT).then(|| &self.data[..self.key as usize])
    }

    pub fn value(&self) -> Option<&[u8]> {
        (self.value != ABSENT).then(|| &self.data[self.key_end()..self.value_end()])
    }

    /// The key without a copy: it shares the record's buffer.
    pub fn key_shared(&self) -> Option<Bytes> {
        (self.key != ABSENT).then(|| self.data.slice(..self.key as usize))
    }

    /// The value without a copy: it shares the record's buffer.
    pub fn value_shared(&self) -> Option<Bytes> {
        (self.value != ABSENT).then(|| self.data.slice(self.key_end()..self.value_end()))
    }

    /// The header block.
    pub fn headers(&self) -> &[u8] {
        &self.data[self.value_end()..]
    }

    /// The header block without a copy: it shares the record's buffer.
    pub fn headers_shared(&self) -> Bytes {
        self.data.slice(self.value_end()..)
    }

    /// What it weighs in the byte budgets.
    pub fn bytes(&self) -> usize {
        self.data.len() + std::mem::size_of::<Self>()
    }

    /// `topic[partition]@offset`, as it is named in logs and errors.
    ///
    /// Every message without a log id of its own gets this one, so it is written into its exact size
    /// rather than formatted: one allocation, and none more when the string is boxed.
    pub fn coordinates(&self) -> String {
        let (partition, offset) = (i64::from(self.partition), self.offset);
        let length = self.topic.len() + decimal_len(partition) + decimal_len(offset) + "[]@".len();
        let mut text = String::with_capacity(length);
        text.push_str(&self.topic);
        text.push('[');
        push_decimal(&mut text, partition);
        text.push_str("]@");
        push_decimal(&mut text, offset);
        text
    }

    /// Writes `group/topic/partition/offset`: one for each delivery that is owed, the same on every attempt.
    pub fn write_delivery_id(&self, group: &str, text: &mut String) {
        text.push_str(group);
        text.push('/');
        text.push_str(&self.topic);
        text.push('/');
        push_decimal(text, i64::from(self.partition));
        text.push('/');
        push_decimal(text, self.offset);
    }

    /// The same record at the place that it came from, with the first `headers` bytes of its header block.
    pub fn moved(self, place: (Arc<str>, i32, i64), timestamp_ms: Option<i64>, headers: usize) -> Self {
        let (topic, partition, offset) = place;
        let end = (self.value_end() + headers).min(self.data.len());
        let data = self.data.slice(..end);
        Self { topic, partition, offset, timestamp_ms, data, ..self }
    }

    fn key_end(&self) -> usize {
        if self.key == ABSENT { 0 } else { self.key as usize }
    }

    fn value_end(&self) -> usize {
        self.key_end() + if self.value == ABSENT { 0 } else { self.value as usize }
    }
}

fn decimal_len(number: i64) -> usize {
    let digits = number.unsigned_abs().checked_ilog10().map_or(1, |it| it as usize + 1);
    digits + usize::from(number < 0)
}

fn push_decimal(text: &mut String, number: i64) {
    if number < 0 {
        text.push('-');
    }
    push_number(text, number.unsigned_abs());
}

/// Its digits, at the end of a text.
pub fn push_number(text: &mut String, number: u64) {
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text.extend(digits[first..].iter().map(|it| char::from(*it)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_not_empty() {
        type Bytes<'a> = Option<&'a [u8]>;
        let cases: &[(Bytes<'_>, Bytes<'_>)] =
            &[(None, None), (Some(b""), Some(b"")), (Some(b"k"), None), (None, Some(b"v"))];
        for (key, value) in cases {
            let it = Record::new(("t".into(), 1, 2), None, *key, *value, b"headers");
            assert_eq!((it.key(), it.value(), it.headers()), (*key, *value, &b"headers"[..]));
            assert_eq!(it.value_shared().as_deref(), *value);
            assert_eq!(it.key_shared().as_deref(), *key);
            assert_eq!(&it.headers_shared()[..], b"headers");
        }
    }

    #[test]
    fn coordinates_are_written_into_their_exact_size() {
        let numbers = [0, 1, 9, 10, 99, 100, 12_345, i64::MAX, -1, -1001, i64::MIN];
        for offset in numbers {
            for partition in [0, 7, 10, i32::MAX, -1, i32::MIN] {
                let it = Record::new(("orders".into(), partition, offset), None, None, None, b"");
                let text = it.coordinates();
                assert_eq!(text, format!("orders[{partition}]@{offset}"));
                assert_eq!(text.len(), text.capacity(), "{text}");
                let mut text = "before ".to_owned();
                it.write_delivery_id("g", &mut text);
                assert_eq!(text, format!("before g/orders/{partition}/{offset}"));
            }
        }
    }
}
