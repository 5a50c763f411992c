//! A decoded record: what its envelope says, whatever form it came in.

use bytes::Bytes;

use crate::domain::record::Record;

/// As an expiry: the sender said that there is none, and no route's default stands for it (S86).
pub const NEVER_MS: u64 = u64::MAX;

/// A record whose envelope was read.
#[derive(Clone, Debug)]
pub struct Message {
    pub record: Record,
    /// What it is routed by.
    pub command: Box<str>,
    /// Follows it from end to end; made from the coordinates where the envelope has none.
    pub log_id: Box<str>,
    /// Where the envelope names one that differs from the record's key.
    pub hash_key: Option<Box<str>>,
    /// The delay asked for, in ms; 0 is none.
    pub delay_ms: u64,
    /// Not before this time, in ms since 1970; what the delay and the time of production make together.
    /// None with a delay: the record does not say when it was produced, so the delay counts from its receipt.
    pub due_ms: Option<u64>,
    /// Not after this time, in ms since 1970; none: the sender says nothing of it.
    pub expires_ms: Option<u64>,
    /// The address that the message itself names (bigpipe).
    pub url: Option<Box<str>>,
    /// Data without its wrapping; none for a tombstone.
    pub value: Option<Bytes>,
    /// Header block of the envelope and the record.
    pub headers: Bytes,
    /// The number of the first attempt to come: 1, or more where a record has attempts behind it.
    pub attempt: u32,
    /// Of one that has waited on a rung.
    pub past: Option<Box<Past>>,
}

/// What a message that was put on a rung has behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// When it was first taken from Kafka, in ms since 1970.
    pub first_seen_ms: u64,
    /// When its first attempt failed, in ms since 1970, and why.
    pub first_failed_ms: Option<u64>,
    pub first_reason: Option<String>,
    /// Deliveries in a row that were throttled, which are no attempts (S84).
    pub throttled: u32,
    /// How often it was sent again from the dead letters.
    pub redriven: u32,
}
