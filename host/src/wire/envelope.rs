//! What every form says of a message, whatever it looks like on the wire.

use bytes::Bytes;

use crate::domain::headers::{self, Headers};
use crate::domain::message::{Message, NEVER_MS};
use crate::domain::record::Record;

/// An envelope as it was read, or as it is to be written; a message is this and the record it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What the message is routed by.
    pub command: Box<str>,
    pub log_id: Option<Box<str>>,
    /// The key for order, placement and consistent hashing.
    pub hash_key: Option<Box<str>>,
    /// From the time of production, in ms; 0 is none.
    pub delay_ms: u64,
    /// In ms since 1970; stands over the delay.
    pub due_ms: Option<u64>,
    /// In ms since 1970; none says nothing, `NEVER_MS` says never.
    pub expires_ms: Option<u64>,
    /// The address that the message itself names (bigpipe).
    pub url: Option<Box<str>>,
    /// None is a tombstone, which is not the same as no bytes.
    pub data: Option<Bytes>,
    /// Header block: the sender's own headers, the trace context among them.
    pub headers: Bytes,
    /// The number of the first attempt to come, from 1.
    pub attempt: u32,
}

/// A record's parts, as a form wants them written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// Header block.
    pub headers: Vec<u8>,
}

impl Envelope {
    pub fn new(command: impl Into<Box<str>>, data: Option<Bytes>) -> Self {
        Self {
            command: command.into(),
            log_id: None,
            hash_key: None,
            delay_ms: 0,
            due_ms: None,
            expires_ms: None,
            url: None,
            data,
            headers: Bytes::new(),
            attempt: 1,
        }
    }

    /// Of a message that is to be written again: to a rung, or in another form.
    pub fn of(message: &Message) -> Self {
        Self {
            command: message.command.clone(),
            log_id: Some(message.log_id.clone()),
            hash_key: message.hash_key.clone(),
            delay_ms: message.delay_ms,
            due_ms: message.due_ms,
            expires_ms: message.expires_ms,
            url: message.url.clone(),
            data: message.value.clone(),
            headers: message.headers.clone(),
            attempt: message.attempt,
        }
    }

    /// The message of this record.
    pub(super) fn message(self, record: Record) -> Message {
        let due_ms = self.due_ms.or_else(|| due_after(&record, self.delay_ms));
        Message {
            command: self.command,
            log_id: self.log_id.unwrap_or_else(|| record.coordinates().into()),
            // Most often it is the record's key once more: then nothing is to be told apart.
            hash_key: self.hash_key.filter(|it| record.key() != Some(it.as_bytes())),
            delay_ms: self.delay_ms,
            due_ms,
            expires_ms: self.expires_ms,
            url: self.url,
            value: self.data,
            headers: self.headers,
            attempt: self.attempt,
            past: None,
            record,
        }
    }

    /// The hash key as a record's key; an empty one is none.
    pub(super) fn key(&self) -> Option<Bytes> {
        let key = self.hash_key.as_deref().filter(|it| !it.is_empty())?;
        Some(Bytes::copy_from_slice(key.as_bytes()))
    }

    /// For forms that hold the data as text.
    pub(super) fn text(&self, form: &str) -> Result<&str, String> {
        let data = self.data.as_deref().unwrap_or_default();
        std::str::from_utf8(data).map_err(|_| {
            format!("{form} holds its data as text, and these are no UTF-8: send them in the native form")
        })
    }

    /// Refuses what a form has no place for, rather than lose it.
    pub(super) fn refuse_timing(&self, form: &str, delay: bool) -> Result<(), String> {
        let lacks = |what: &str| Err(format!("{form} has no place for {what}: use the native form"));
        match self {
            Self { delay_ms: 1.., .. } if !delay => lacks("a delay"),
            Self { delay_ms: 0, due_ms: Some(_), .. } => lacks("a due time"),
            Self { expires_ms: Some(at), .. } if *at != NEVER_MS => lacks("an expiry"),
            _ => Ok(()),
        }
    }

    /// The same for headers. The trace context may be let go: it is an aid, not part of the message.
    pub(super) fn refuse_headers(&self, form: &str) -> Result<(), String> {
        let trace = |name: &[u8]| TRACE.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()));
        match Headers::new(&self.headers).find(|it| !trace(it.name)) {
            None => Ok(()),
            Some(it) => Err(format!(
                "{form} has no place for headers (there is {:?}): use the native form",
                String::from_utf8_lossy(it.name)
            )),
        }
    }
}

/// W3C trace context.
pub(super) const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// S54: a delay counts from the time of production. None with a delay: the record does not say when that
/// was, so that only its reader can count, from the time it read it.
pub(super) fn due_after(record: &Record, delay_ms: u64) -> Option<u64> {
    let produced = record.timestamp_ms.and_then(|it| u64::try_from(it).ok())?;
    (delay_ms > 0).then(|| produced.saturating_add(delay_ms))
}

/// A block of what a form carried as headers, followed by the record's own.
pub(super) fn with_headers(record: &Record, first: &[(&str, &str)]) -> Bytes {
    if first.is_empty() {
        return record.headers_shared();
    }
    let mut block = Vec::with_capacity(record.headers().len() + 256);
    for (name, value) in first {
        headers::push(&mut block, name.as_bytes(), Some(value.as_bytes()));
    }
    block.extend_from_slice(record.headers());
    block.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{T0, record};

    /// S54.
    #[test]
    fn a_delay_counts_from_the_time_of_production() {
        let mut it = record(None, Some(b"v"), &[]);
        assert_eq!(due_after(&it, 5_000), Some(T0 + 5_000));
        assert_eq!(due_after(&it, 0), None);
        assert_eq!(due_after(&it, u64::MAX), Some(u64::MAX));
        for unknown in [None, Some(-1)] {
            it.timestamp_ms = unknown;
            assert_eq!(due_after(&it, 5_000), None);
        }
    }

    #[test]
    fn a_message_comes_back_as_its_envelope() {
        let mut envelope = Envelope::new("pay", Some(Bytes::from_static(b"v")));
        envelope.log_id = Some("l".into());
        envelope.hash_key = Some("h".into());
        envelope.delay_ms = 5;
        envelope.expires_ms = Some(9);
        envelope.url = Some("http://a/".into());
        envelope.attempt = 4;
        let message = envelope.clone().message(record(Some(b"k"), None, &[]));
        envelope.due_ms = Some(T0 + 5);
        assert_eq!(Envelope::of(&message), envelope);
    }

    #[test]
    fn the_hash_key_is_told_apart_from_the_key_only_where_it_differs() {
        for (key, apart) in [(None, true), (Some(&b"h"[..]), false), (Some(&b"k"[..]), true)] {
            let mut envelope = Envelope::new("pay", None);
            envelope.hash_key = Some("h".into());
            assert_eq!(envelope.message(record(key, None, &[])).hash_key.is_some(), apart, "{key:?}");
        }
    }

    #[test]
    fn the_coordinates_are_the_log_id_of_who_has_none() {
        let message = Envelope::new("pay", None).message(record(None, None, &[]));
        assert_eq!(&*message.log_id, "orders[3]@42");
    }
}
