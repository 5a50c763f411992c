//! Reading a message and a response.

use serde::de::DeserializeOwned;

use crate::headers::Headers;
use crate::{Error, Message, Response, Result};

impl Message {
    /// The value as JSON. An error is a rejection with the code `bad-json`; a tombstone is one too.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let Some(value) = &self.value else {
            return Err(Error::reject("bad-json", "the message has no value"));
        };
        serde_json::from_slice(value).map_err(|error| Error::reject("bad-json", error.to_string()))
    }

    /// The value's bytes; empty for a tombstone.
    pub fn bytes(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// The value as text; none for a tombstone or where it is no UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.value.as_deref()?).ok()
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
            value: Some(Vec::new()),
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
