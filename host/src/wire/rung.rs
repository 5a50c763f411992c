//! A record on a rung of its group's ladder: key, value and headers as they came, and behind those headers ours,
//! which say where it came from and what it has behind it. So it is read in the form that it was written in, its
//! delivery id stays what it was, and its dead letter is that of the original.
//!
//! ```text
//! [ the record's own headers | drover-rung: <release> | drover-origin-… | drover-attempt | … ]
//! ```

use std::sync::Arc;

use crate::domain::headers::{self, Header, Headers};
use crate::domain::ladder::RELEASE;
use crate::domain::message::Past;
use crate::domain::record::Record;

const ORIGIN_TOPIC: &str = "drover-origin-topic";
const ORIGIN_PARTITION: &str = "drover-origin-partition";
const ORIGIN_OFFSET: &str = "drover-origin-offset";
const ORIGIN_TIMESTAMP: &str = "drover-origin-timestamp-ms";
const ATTEMPT: &str = "drover-attempt";
const DUE: &str = "drover-due-ms";
const FIRST_SEEN: &str = "drover-first-seen-ms";
const FIRST_FAILED: &str = "drover-first-failed-ms";
const FIRST_REASON: &str = "drover-first-reason";
const REASON: &str = "drover-reason";
const THROTTLED: &str = "drover-throttled";
const REDRIVEN: &str = "drover-redriven";

/// Longest reason that is written, in bytes.
const REASON_MAX: usize = 1_024;

/// What a record takes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stay {
    /// The number of the next attempt, from 1.
    pub attempt: u32,
    /// Not to be tried before, in ms since 1970.
    pub due_ms: u64,
    pub past: Past,
    /// Why it waits, for people.
    pub reason: Option<String>,
}

/// The header block of a record that goes to a rung which lets it go at `release_ms`.
pub fn headers_of(record: &Record, release_ms: u64, stay: &Stay) -> Vec<u8> {
    let mut block = Vec::with_capacity(record.headers().len() + 512);
    block.extend_from_slice(record.headers());
    headers::push(&mut block, RELEASE, Some(release_ms.to_string().as_bytes()));
    let mut add =
        |name: &str, value: &str| headers::push(&mut block, name.as_bytes(), Some(value.as_bytes()));
    add(ORIGIN_TOPIC, &record.topic);
    add(ORIGIN_PARTITION, &record.partition.to_string());
    add(ORIGIN_OFFSET, &record.offset.to_string());
    let Past { first_seen_ms, first_failed_ms, first_reason, throttled, redriven } = &stay.past;
    let numbers = [
        (ORIGIN_TIMESTAMP, record.timestamp_ms.map(|it| it.to_string())),
        (ATTEMPT, Some(stay.attempt.to_string())),
        (DUE, Some(stay.due_ms.to_string())),
        (FIRST_SEEN, Some(first_seen_ms.to_string())),
        (FIRST_FAILED, first_failed_ms.map(|it| it.to_string())),
        (THROTTLED, (*throttled > 0).then(|| throttled.to_string())),
        (REDRIVEN, (*redriven > 0).then(|| redriven.to_string())),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            add(name, &value);
        }
    }
    for (name, text) in [(FIRST_REASON, first_reason), (REASON, &stay.reason)] {
        if let Some(text) = text {
            add(name, headers::cut(text, REASON_MAX));
        }
    }
    block
}

/// The record as it was before it went to the ladder, at its place in the source. `topic` finds the shared name of
/// one.
///
/// # Errors
/// The record as it is, and what is wrong with it: drover did not write it, or somebody has changed it.
pub fn restore(
    record: Record,
    topic: impl FnOnce(&str) -> Arc<str>,
) -> Result<(Record, Stay), (Record, String)> {
    match read(record.headers()) {
        Ok(Read { own, place, timestamp_ms, stay }) => {
            let place = (topic(place.0), place.1, place.2);
            Ok((record.moved(place, timestamp_ms, own), stay))
        }
        Err(detail) => {
            let detail = format!("{detail}: only drover writes to this topic");
            Err((record, detail))
        }
    }
}

struct Read<'a> {
    /// Length of the record's own headers.
    own: usize,
    place: (&'a str, i32, i64),
    timestamp_ms: Option<i64>,
    stay: Stay,
}

fn read(block: &[u8]) -> Result<Read<'_>, String> {
    let own = own_len(block).ok_or("the header drover-rung is missing")?;
    let ours = &block[own..];
    let (attempt, due_ms) = (needed(ours, ATTEMPT)?, needed(ours, DUE)?);
    let text = |name| headers::find_str(ours, name).map(str::to_owned);
    Ok(Read {
        own,
        place: (
            headers::find_str(ours, ORIGIN_TOPIC).ok_or_else(|| missing(ORIGIN_TOPIC))?,
            needed(ours, ORIGIN_PARTITION)?,
            needed(ours, ORIGIN_OFFSET)?,
        ),
        timestamp_ms: number(ours, ORIGIN_TIMESTAMP)?,
        stay: Stay {
            attempt,
            due_ms,
            past: Past {
                first_seen_ms: needed(ours, FIRST_SEEN)?,
                first_failed_ms: number(ours, FIRST_FAILED)?,
                first_reason: text(FIRST_REASON),
                throttled: number(ours, THROTTLED)?.unwrap_or(0),
                redriven: number(ours, REDRIVEN)?.unwrap_or(0),
            },
            reason: text(REASON),
        },
    })
}

/// Where the record's own headers end: at the last of our marks, for a producer may have written one too.
fn own_len(block: &[u8]) -> Option<usize> {
    let mut all = Headers::new(block);
    let mut found = None;
    loop {
        let before = block.len() - all.rest().len();
        match all.next() {
            Some(Header { name, .. }) if name == RELEASE => found = Some(before),
            Some(_) => {}
            None => return found,
        }
    }
}

fn missing(name: &str) -> String {
    format!("the header {name} is missing")
}

fn needed<T: std::str::FromStr>(block: &[u8], name: &str) -> Result<T, String> {
    number(block, name)?.ok_or_else(|| missing(name))
}

fn number<T: std::str::FromStr>(block: &[u8], name: &str) -> Result<Option<T>, String> {
    let Some(value) = headers::find(block, name) else { return Ok(None) };
    let text = std::str::from_utf8(value).ok();
    text.and_then(|it| it.parse().ok()).map(Some).ok_or_else(|| format!("the header {name} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ladder::release_ms;
    use crate::wire::samples::block;

    fn record(headers: &[u8]) -> Record {
        Record::new(("orders".into(), 3, 77), Some(5), Some(b"key"), Some(b"value"), headers)
    }

    fn on_a_rung(record: &Record, headers: &[u8]) -> Record {
        Record::new(("g.orders.retry.1s".into(), 3, 0), Some(9), record.key(), record.value(), headers)
    }

    fn stay() -> Stay {
        let past = Past {
            first_seen_ms: 1,
            first_failed_ms: Some(2),
            first_reason: Some("refused".to_owned()),
            throttled: 3,
            redriven: 1,
        };
        Stay { attempt: 4, due_ms: 5_000, past, reason: Some("500".to_owned()) }
    }

    /// P26: what a message has behind it goes with it, and its identity stays, over as many rungs as it takes.
    #[test]
    fn it_comes_back_as_it_was() {
        let own =
            block(&[("drover-command", "pay"), ("drover-attempt", "9"), ("drover-rung", "1"), ("x", "y")]);
        let mut now = record(&own);
        for turn in 0..3_u32 {
            let stay = Stay { attempt: turn + 2, ..stay() };
            let headers = headers_of(&now, 4_000 + u64::from(turn), &stay);
            assert_eq!(release_ms(&headers), 4_000 + u64::from(turn));
            let (back, read) = restore(on_a_rung(&now, &headers), |it| it.into()).unwrap();
            assert_eq!(read, stay);
            assert_eq!(
                (&*back.topic, back.partition, back.offset, back.timestamp_ms),
                ("orders", 3, 77, Some(5))
            );
            assert_eq!((back.key(), back.value(), back.headers()), (now.key(), now.value(), &own[..]));
            now = back;
        }
        let bare = Stay { attempt: 1, due_ms: 0, ..Stay::default() };
        let mut record = record(&[]);
        record.timestamp_ms = None;
        let headers = headers_of(&record, 0, &bare);
        let (back, read) = restore(on_a_rung(&record, &headers), |it| it.into()).unwrap();
        assert_eq!((back.timestamp_ms, back.headers(), read), (None, &[][..], bare));
    }

    #[test]
    fn what_drover_did_not_write_is_refused() {
        let whole = headers_of(&record(&[]), 1, &stay());
        let without = |name: &str| {
            let mut left = Vec::new();
            for it in Headers::new(&whole).filter(|it| it.name != name.as_bytes()) {
                headers::push(&mut left, it.name, it.value);
            }
            left
        };
        let refused =
            |headers: &[u8]| restore(on_a_rung(&record(&[]), headers), |it| it.into()).unwrap_err().1;
        assert!(refused(&[]).starts_with("the header drover-rung is missing"));
        for name in [ORIGIN_TOPIC, ORIGIN_PARTITION, ORIGIN_OFFSET, ATTEMPT, DUE, FIRST_SEEN] {
            assert!(refused(&without(name)).starts_with(&format!("the header {name} is missing")), "{name}");
        }
        let mut wrong = without(ATTEMPT);
        headers::push(&mut wrong, ATTEMPT.as_bytes(), Some(b"-1"));
        assert!(refused(&wrong).starts_with("the header drover-attempt is no number"));
        assert!(restore(on_a_rung(&record(&[]), &without(THROTTLED)), |it| it.into()).is_ok());
    }
}
