//! Records to write with the outcome.

use crate::headers;
use crate::{Error, Result};

pub use crate::bindings::imports::drover::plugin::producer::{Error as EmitError, Output};

/// Writes a record once the message is done or skipped, and before its offset is committed.
///
/// Errors: the topic is not granted (a rejection with the code `emit-denied`), the record too large
/// (`emit-too-large`), more records than a message may emit (`emit-quota`); anything else is a retry.
pub fn emit(output: &Output) -> Result<()> {
    try_emit(output).map_err(|error| match error {
        EmitError::Denied(why) => Error::reject("emit-denied", why),
        EmitError::TooLarge => Error::reject("emit-too-large", format!("for topic {}", output.topic)),
        EmitError::Quota => Error::reject("emit-quota", "too many records for one message"),
        EmitError::Other(why) => Error::retry(why),
    })
}

/// Like [`emit`], with the host's own error.
///
/// Errors: see [`EmitError`].
pub fn try_emit(output: &Output) -> std::result::Result<(), EmitError> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::imports::drover::plugin::producer::emit(output);
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| match &host.emit_error {
        Some(error) => Err(error.clone()),
        None => {
            host.emitted.push(output.clone());
            Ok(())
        }
    });
}

impl Output {
    /// A record for a topic, without key or headers; the partition follows from the key.
    pub fn new(topic: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.into(),
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
            partition: None,
        }
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        headers::push(&mut self.headers, name.as_bytes(), Some(value.as_ref()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::MockHost;

    #[test]
    fn a_record_reaches_the_host_or_says_why_not() {
        let host = MockHost::new();
        let record = Output::new("audit", "x").key("k").header("h", "1");
        emit(&record).unwrap();
        assert_eq!(host.emitted(), std::slice::from_ref(&record));
        let _host = MockHost::new().emit_error(EmitError::Quota);
        assert_eq!(emit(&record).unwrap_err().code(), Some("emit-quota"));
    }
}
