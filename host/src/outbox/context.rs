//! The headers that a dead or parked message carries: enough to know what happened, to find the original
//! and to send it again. The record's own headers stand before them, its key and value are as they were.

use crate::domain::headers;
use crate::domain::record::Record;

/// How a message ended that was not delivered.
pub struct Ended<'a> {
    pub record: &'a Record,
    pub group: &'a str,
    pub command: Option<&'a str>,
    pub log_id: Option<&'a str>,
    pub route: Option<&'a str>,
    /// Plugin and digest of the handler, where it came so far.
    pub plugin: Option<&'a str>,
    pub stage: &'a str,
    /// A label of few values.
    pub code: &'a str,
    pub reason: &'a str,
    pub first_reason: Option<&'a str>,
    pub attempts: u32,
    /// How often it was sent again from the dead letters.
    pub redriven: u32,
    /// In ms since 1970.
    pub first_seen_ms: u64,
    pub ended_ms: u64,
    /// The value was too large for the topic and is cut: so many bytes it had.
    pub truncated_from: Option<usize>,
    /// Even so it was too large: so many bytes the record's own headers, and its key, had.
    pub headers_left_out: Option<usize>,
    pub key_left_out: Option<usize>,
}

/// Longest reason that is written, in bytes.
const REASON_MAX: usize = 1_024;

/// The header block of a dead letter or a parked message.
pub fn dead_headers(it: &Ended<'_>) -> Vec<u8> {
    let record = it.record;
    let own = if it.headers_left_out.is_some() { &[][..] } else { record.headers() };
    let mut block = Vec::with_capacity(own.len() + 512);
    block.extend_from_slice(own);
    let mut add =
        |name: &str, value: &str| headers::push(&mut block, name.as_bytes(), Some(value.as_bytes()));
    add("drover-origin-topic", &record.topic);
    add("drover-origin-partition", &record.partition.to_string());
    add("drover-origin-offset", &record.offset.to_string());
    if let Some(timestamp_ms) = record.timestamp_ms {
        add("drover-origin-timestamp-ms", &timestamp_ms.to_string());
    }
    add("drover-group", it.group);
    let optional = [
        ("drover-origin-command", it.command),
        ("drover-origin-log-id", it.log_id),
        ("drover-route", it.route),
        ("drover-plugin", it.plugin),
        ("drover-first-reason", it.first_reason),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            add(name, headers::cut(value, REASON_MAX));
        }
    }
    add("drover-stage", it.stage);
    add("drover-code", it.code);
    add("drover-reason", headers::cut(it.reason, REASON_MAX));
    add("drover-attempts", &it.attempts.to_string());
    if it.redriven > 0 {
        add("drover-redriven", &it.redriven.to_string());
    }
    add("drover-first-seen-ms", &it.first_seen_ms.to_string());
    add("drover-ended-ms", &it.ended_ms.to_string());
    let left_out = [
        ("drover-truncated-from-bytes", it.truncated_from),
        ("drover-headers-left-out-bytes", it.headers_left_out),
        ("drover-key-left-out-bytes", it.key_left_out),
    ];
    for (name, bytes) in left_out {
        if let Some(bytes) = bytes {
            add(name, &bytes.to_string());
        }
    }
    block
}
