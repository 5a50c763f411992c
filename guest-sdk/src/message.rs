//! Reading a message and a response.

use std::cell::OnceCell;

use serde::de::DeserializeOwned;

use crate::headers::Headers;
use crate::{Error, Response, Result, context};

/// As the contract has a message: without its value.
#[doc(hidden)]
pub use crate::bindings::imports::drover::plugin::types::Message as Received;

/// A Kafka record after its envelope was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where it was read.
    pub topic: String,
    /// Of the topic.
    pub partition: u32,
    /// In the partition.
    pub offset: u64,
    /// The consumer group that delivers it.
    pub group: String,
    /// When it was produced, in ms since 1970, where the record says so.
    pub timestamp_ms: Option<u64>,
    /// When this host read it from Kafka, in ms since 1970.
    pub received_ms: u64,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The envelope's hash key, where it differs from the record's key.
    pub hash_key: Option<String>,
    /// The delay that the producer asked for; it is over by now.
    pub delay_ms: u64,
    /// The envelope's data without its wrapping. Read by [`Message::value`] and its kin.
    pub value: Value,
    /// A header block; [`Message::headers`] unpacks it.
    pub headers: Vec<u8>,
    /// What it was routed by.
    pub command: String,
    /// Follows the message from end to end.
    pub log_id: String,
    /// The address that the message itself names (bigpipe's envelope).
    pub url: Option<String>,
    /// 1 for the first delivery.
    pub attempt: u32,
}

/// A message's value: copied from the host when it is first read, and not at all where nobody reads it. In tests it is
/// given: `Value::from(b"...")`, of text, of bytes, or `None` for a tombstone.
#[derive(Clone, Debug)]
pub struct Value {
    /// None for a tombstone, of which the host need not be asked.
    length: Option<u64>,
    bytes: OnceCell<Vec<u8>>,
}

impl Value {
    /// The host's, of which only the length is known.
    fn of_host(length: Option<u64>) -> Self {
        Self { length, bytes: OnceCell::new() }
    }

    /// The bytes; none for a tombstone. The host is asked once.
    pub fn get(&self) -> Option<&[u8]> {
        self.length?;
        Some(self.bytes.get_or_init(|| context::value().unwrap_or_default()))
    }

    /// How many bytes it has, without reading it; none for a tombstone.
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}

/// No bytes; not a tombstone.
impl Default for Value {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.get() == other.get()
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self { length: Some(bytes.len() as u64), bytes: OnceCell::from(bytes) }
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl<const LENGTH: usize> From<&[u8; LENGTH]> for Value {
    fn from(bytes: &[u8; LENGTH]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::from(text.into_bytes())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

/// None is a tombstone.
impl From<Option<Vec<u8>>> for Value {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        bytes.map_or_else(|| Self::of_host(None), Self::from)
    }
}

impl Message {
    /// The value's bytes; none for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.get()
    }

    /// The value as JSON. An error is a rejection with the code `bad-json`; a tombstone is one too.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let Some(value) = self.value() else {
            return Err(Error::reject("bad-json", "the message has no value"));
        };
        serde_json::from_slice(value).map_err(|error| Error::reject("bad-json", error.to_string()))
    }

    /// The value's bytes; empty for a tombstone.
    pub fn bytes(&self) -> &[u8] {
        self.value().unwrap_or_default()
    }

    /// The value as text; none for a tombstone or where it is no UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.value()?).ok()
    }

    /// The first header of this name as text. ASCII case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().text_of(name)
    }

    /// All headers, in order.
    pub fn headers(&self) -> Headers<'_> {
        Headers::new(&self.headers)
    }

    /// `topic/partition/offset`: names the record, whoever delivers it and however often.
    pub fn coordinates(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl From<Received> for Message {
    fn from(it: Received) -> Self {
        Self {
            topic: it.topic,
            partition: it.partition,
            offset: it.offset,
            group: it.group,
            timestamp_ms: it.timestamp_ms,
            received_ms: it.received_ms,
            key: it.key,
            hash_key: it.hash_key,
            delay_ms: it.delay_ms,
            value: Value::of_host(it.value_bytes),
            headers: it.headers,
            command: it.command,
            log_id: it.log_id,
            url: it.url,
            attempt: it.attempt,
        }
    }
}

/// A message for tests: topic `test`, first attempt, all else empty.
impl Default for Message {
    fn default() -> Self {
        Self {
            topic: "test".to_string(),
            partition: 0,
            offset: 0,
            group: "test".to_string(),
            timestamp_ms: None,
            received_ms: 0,
            key: None,
            hash_key: None,
            delay_ms: 0,
            value: Value::default(),
            headers: Vec::new(),
            command: "test".to_string(),
            log_id: String::new(),
            url: None,
            attempt: 1,
        }
    }
}

impl Response {
    /// The body as JSON. An error is a retry.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The first header of this name as text. ASCII case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().text_of(name)
    }

    /// All headers, in order.
    pub fn headers(&self) -> Headers<'_> {
        Headers::new(&self.headers)
    }

    /// `Retry-After` in ms, where it is a number of seconds (a date is not read).
    pub fn retry_after_ms(&self) -> Option<u32> {
        let seconds: u64 = self.header("retry-after")?.trim().parse().ok()?;
        Some(u32::try_from(seconds.saturating_mul(1_000)).unwrap_or(u32::MAX))
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// An answer for tests: 200, all else empty.
impl Default for Response {
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: Vec::new(), server: String::new(), took_ms: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::MockHost;

    fn of_host(value_bytes: Option<u64>) -> Message {
        Message { value: Value::of_host(value_bytes), ..Message::default() }
    }

    #[test]
    fn the_host_is_asked_for_a_value_once_and_late() {
        let message = of_host(Some(8));
        let _host = MockHost::new().value("[1, 2,3]");
        assert_eq!(message.json::<[u8; 3]>().unwrap(), [1, 2, 3]);
        let _host = MockHost::new().value("another");
        assert_eq!((message.text(), message.value.length()), (Some("[1, 2,3]"), Some(8)));
    }

    #[test]
    fn a_tombstone_has_no_value_whatever_the_host_says() {
        let _host = MockHost::new().value("7");
        for message in [of_host(None), Message { value: None.into(), ..Message::default() }] {
            assert_eq!((message.value(), message.bytes(), message.text()), (None, &[][..], None));
            assert_eq!(message.json::<u8>().unwrap_err().code(), Some("bad-json"));
        }
    }

    #[test]
    fn a_test_gives_the_value() {
        for value in [b"ab".into(), "ab".into(), b"ab".to_vec().into(), Value::from(&b"ab"[..])] {
            let message = Message { value, ..Message::default() };
            assert_eq!(message.value(), Some(&b"ab"[..]));
        }
        assert_eq!(Message::default().value(), Some(&[][..]));
    }
}
