//! The native form: the envelope lies in Kafka headers, the value is the data (S20); and `raw`, the same
//! with the topic's name for the command.
//!
//! All but the command may also stand beside any other form and then stand over what that one says:
//! so a record that was put aside with its due time keeps it (S53), and a raw one can be delayed.

use super::envelope::{Encoded, Envelope};
use crate::domain::headers::{self, Headers};
use crate::domain::message::NEVER_MS;
use crate::domain::record::Record;

/// What the message is routed by. A record that has it is of the native form.
pub const COMMAND: &str = "drover-command";
pub const LOG_ID: &str = "drover-log-id";
pub const HASH_KEY: &str = "drover-hash-key";
/// In ms, from the time of production.
pub const DELAY_MS: &str = "drover-delay-ms";
/// In ms since 1970; stands over the delay.
pub const DUE_MS: &str = "drover-due-ms";
/// In ms since 1970; 0 or less is never.
pub const EXPIRES_MS: &str = "drover-expires-ms";
/// The address that the message itself names.
pub const URL: &str = "drover-url";
/// The number of the first attempt to come, where there are attempts behind it.
pub const ATTEMPT: &str = "drover-attempt";

const NAMES: [&str; 8] = [COMMAND, LOG_ID, HASH_KEY, DELAY_MS, DUE_MS, EXPIRES_MS, URL, ATTEMPT];
const PREFIX: &[u8] = b"drover-";

/// What a record's headers say, by the order of `NAMES`: of each the first one that is not null.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a>([Option<&'a [u8]>; NAMES.len()]);

impl<'a> Said<'a> {
    /// One pass; records without headers of ours cost a comparison for each header.
    pub fn in_headers(block: &'a [u8]) -> Self {
        let mut said = Self::default();
        for header in Headers::new(block) {
            if let Some(at) = slot(header.name)
                && said.0[at].is_none()
            {
                // A command that is null is there, and is a mistake: it is not to be taken for raw.
                said.0[at] = header.value.or((NAMES[at] == COMMAND).then_some(b""));
            }
        }
        said
    }

    pub fn has_command(&self) -> bool {
        self.0[0].is_some()
    }

    /// Lays what the headers say over what another form said.
    pub fn complete(&self, mut envelope: Envelope) -> Result<Envelope, String> {
        if self.0[1..].iter().all(Option::is_none) {
            return Ok(envelope);
        }
        let text = |at: usize| text(NAMES[at], self.0[at]);
        let number = |at: usize| number(NAMES[at], self.0[at]);
        envelope.log_id = text(1)?.or(envelope.log_id);
        envelope.hash_key = text(2)?.or(envelope.hash_key);
        envelope.delay_ms = number(3)?.unwrap_or(envelope.delay_ms);
        envelope.due_ms = number(4)?.or(envelope.due_ms);
        envelope.url = text(6)?.or(envelope.url);
        if let Some(expires) = self.0[5] {
            envelope.expires_ms = expiry(expires)?;
        }
        if let Some(attempt) = self.0[7] {
            envelope.attempt = attempt_of(attempt)?;
        }
        Ok(envelope)
    }
}

/// The envelope but for what [`Said::complete`] adds.
pub(super) fn read(record: &Record, said: &Said<'_>) -> Result<Envelope, String> {
    match said.0[0].map(std::str::from_utf8) {
        None | Some(Ok("")) => Err(format!("the header {COMMAND} is missing or empty")),
        Some(Err(_)) => Err(format!("the header {COMMAND} is no UTF-8")),
        Some(Ok(command)) => Ok(bare(record, command)),
    }
}

/// The topic's name is the command.
pub(super) fn raw(record: &Record) -> Envelope {
    bare(record, &record.topic)
}

fn bare(record: &Record, command: &str) -> Envelope {
    Envelope { headers: record.headers_shared(), ..Envelope::new(command, record.value_shared()) }
}

/// A record to be produced: its key is the hash key.
pub fn encode(envelope: &Envelope) -> Encoded {
    let key = envelope.key();
    let headers = headers_of(envelope, key.as_deref());
    Encoded { key, value: envelope.data.clone(), headers }
}

/// The header block of a record that has this key already, as one that is written again has.
pub fn headers_of(envelope: &Envelope, key: Option<&[u8]>) -> Vec<u8> {
    let mut block = Vec::with_capacity(envelope.headers.len() + 256);
    headers::push(&mut block, COMMAND.as_bytes(), Some(envelope.command.as_bytes()));
    push_rest(&mut block, envelope, key);
    block
}

/// All but the command: what stands beside another form that has no place for it.
pub(super) fn push_rest(block: &mut Vec<u8>, envelope: &Envelope, key: Option<&[u8]>) {
    let mut add = |name: &str, value: &str| headers::push(block, name.as_bytes(), Some(value.as_bytes()));
    if let Some(log_id) = &envelope.log_id {
        add(LOG_ID, log_id);
    }
    if let Some(hash_key) = envelope.hash_key.as_deref().filter(|it| key != Some(it.as_bytes())) {
        add(HASH_KEY, hash_key);
    }
    if envelope.delay_ms > 0 {
        add(DELAY_MS, &envelope.delay_ms.to_string());
    }
    if let Some(due_ms) = envelope.due_ms {
        add(DUE_MS, &due_ms.to_string());
    }
    match envelope.expires_ms {
        None => {}
        Some(NEVER_MS) => add(EXPIRES_MS, "-1"),
        Some(expires_ms) => add(EXPIRES_MS, &expires_ms.to_string()),
    }
    if let Some(url) = &envelope.url {
        add(URL, url);
    }
    if envelope.attempt > 1 {
        add(ATTEMPT, &envelope.attempt.to_string());
    }
    // What the sender's own headers say of the envelope is said above, and may be old.
    for header in Headers::new(&envelope.headers).filter(|it| slot(it.name).is_none()) {
        headers::push(block, header.name, header.value);
    }
}

fn slot(name: &[u8]) -> Option<usize> {
    let prefix = name.get(..PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    NAMES.iter().position(|it| it.as_bytes().eq_ignore_ascii_case(name))
}

fn text(name: &str, value: Option<&[u8]>) -> Result<Option<Box<str>>, String> {
    let Some(value) = value.filter(|it| !it.is_empty()) else { return Ok(None) };
    let text = std::str::from_utf8(value).map_err(|_| format!("the header {name} is no UTF-8"))?;
    Ok(Some(text.into()))
}

fn number(name: &str, value: Option<&[u8]>) -> Result<Option<u64>, String> {
    let Some(value) = value else { return Ok(None) };
    let wrong = || wrong(name, value, "a whole number of milliseconds");
    trimmed(value).and_then(|it| it.parse().ok()).map(Some).ok_or_else(wrong)
}

/// S86: -1 and 0 mean never, and mean it.
fn expiry(value: &[u8]) -> Result<Option<u64>, String> {
    let number = trimmed(value).and_then(|it| it.parse::<i64>().ok());
    let number =
        number.ok_or_else(|| wrong(EXPIRES_MS, value, "milliseconds since 1970, or -1 for never"))?;
    Ok(Some(u64::try_from(number).ok().filter(|it| *it > 0).unwrap_or(NEVER_MS)))
}

fn attempt_of(value: &[u8]) -> Result<u32, String> {
    let number = trimmed(value).and_then(|it| it.parse().ok()).filter(|it| *it > 0);
    number.ok_or_else(|| wrong(ATTEMPT, value, "a whole number from 1"))
}

fn trimmed(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().map(str::trim)
}

fn wrong(name: &str, value: &[u8], wanted: &str) -> String {
    let start = &value[..value.len().min(64)];
    format!("the header {name} is {:?}, it has to be {wanted}", String::from_utf8_lossy(start))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::samples::{T0, block, record, shown};
    use crate::wire::{Format, decode};

    fn detail(headers: &[(&str, &str)]) -> String {
        decode(Format::Auto, record(None, Some(b"v"), headers)).unwrap_err().1.detail
    }

    /// S20, S21.
    #[test]
    fn headers_say_it_all_in_any_case() {
        let all = [
            ("Drover-Command", "pay"),
            ("drover-log-id", "l-1"),
            ("drover-hash-key", "k-1"),
            ("drover-delay-ms", " 1500 "),
            ("drover-expires-ms", "1700000009000"),
            ("drover-url", "http://a/b"),
            ("drover-attempt", "3"),
            ("traceparent", "00-aa-bb-01"),
        ];
        let it = decode(Format::Auto, record(Some(b"k"), Some(b"\x00\xff{"), &all)).unwrap();
        assert_eq!((&*it.command, &*it.log_id, it.hash_key.as_deref()), ("pay", "l-1", Some("k-1")));
        assert_eq!(
            (it.delay_ms, it.due_ms, it.expires_ms),
            (1_500, Some(T0 + 1_500), Some(1_700_000_009_000))
        );
        assert_eq!((it.url.as_deref(), it.attempt), (Some("http://a/b"), 3));
        assert_eq!(it.value.as_deref(), Some(&b"\x00\xff{"[..]));
        assert_eq!(it.headers, block(&all));
    }

    /// The hot path copies nothing: value and headers are parts of the record's own buffer.
    #[test]
    fn nothing_is_copied() {
        let record = record(Some(b"k"), Some(b"value"), &[("drover-command", "pay"), ("a", "b")]);
        let (value, block) = (record.value().unwrap().as_ptr(), record.headers().as_ptr());
        let it = decode(Format::Native, record).unwrap();
        assert_eq!((it.value.unwrap().as_ptr(), it.headers.as_ptr()), (value, block));
    }

    /// S24: what the producer's author reads.
    #[test]
    fn broken_headers_say_what_is_wrong() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("drover-command", "")], "the header drover-command is missing or empty"),
            (
                &[("drover-command", "c"), ("drover-delay-ms", "1.5")],
                "the header drover-delay-ms is \"1.5\", it has to be a whole number of milliseconds",
            ),
            (
                &[("drover-command", "c"), ("drover-due-ms", "-1")],
                "the header drover-due-ms is \"-1\", it has to be a whole number of milliseconds",
            ),
            (
                &[("drover-command", "c"), ("drover-delay-ms", "18446744073709551616")],
                "the header drover-delay-ms is \"18446744073709551616\", it has to be a whole number of \
                 milliseconds",
            ),
            (
                &[("drover-command", "c"), ("drover-expires-ms", "soon")],
                "the header drover-expires-ms is \"soon\", it has to be milliseconds since 1970, or -1 for \
                 never",
            ),
            (
                &[("drover-command", "c"), ("drover-attempt", "0")],
                "the header drover-attempt is \"0\", it has to be a whole number from 1",
            ),
        ];
        for (headers, text) in cases {
            assert_eq!(detail(headers), *text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_by_name() {
        for name in [COMMAND, LOG_ID, HASH_KEY, URL] {
            let mut block = Vec::new();
            headers::push(&mut block, name.as_bytes(), Some(b"\xff"));
            headers::push(&mut block, COMMAND.as_bytes(), Some(b"c"));
            let record = Record::new(("t".into(), 0, 0), None, None, None, &block);
            let detail = decode(Format::Native, record).unwrap_err().1.detail;
            assert_eq!(detail, format!("the header {name} is no UTF-8"));
        }
    }

    #[test]
    fn a_null_header_is_none_but_a_null_command_is_a_mistake() {
        let mut block = Vec::new();
        headers::push(&mut block, LOG_ID.as_bytes(), None);
        let raw = Record::new(("t".into(), 0, 7), None, None, Some(b"v"), &block);
        assert_eq!(&*decode(Format::Auto, raw).unwrap().log_id, "t[0]@7");
        headers::push(&mut block, COMMAND.as_bytes(), None);
        let native = Record::new(("t".into(), 0, 7), None, None, Some(b"v"), &block);
        let detail = decode(Format::Auto, native).unwrap_err().1.detail;
        assert_eq!(detail, "the header drover-command is missing or empty");
    }

    /// S86.
    #[test]
    fn never_means_never_and_of_doubles_the_first_counts() {
        for never in ["0", "-1", "-9223372036854775808"] {
            let all = [("drover-command", "c"), ("drover-expires-ms", never), ("drover-expires-ms", "5")];
            assert_eq!(decode(Format::Auto, record(None, None, &all)).unwrap().expires_ms, Some(NEVER_MS));
        }
    }

    #[test]
    fn a_due_time_stands_over_the_delay() {
        let all = [("drover-command", "c"), ("drover-delay-ms", "5"), ("drover-due-ms", "77")];
        assert_eq!(decode(Format::Auto, record(None, None, &all)).unwrap().due_ms, Some(77));
    }

    #[test]
    fn raw_takes_the_topics_name_and_leaves_the_value_alone() {
        let values: [Option<&[u8]>; 5] =
            [None, Some(b""), Some(b"\xff\x00"), Some(b"{\"Cmd\":\"c\",\"Data\":\"d\"}"), Some(b"[")];
        for value in values {
            let it = decode(Format::Raw, record(Some(b"k"), value, &[])).unwrap();
            assert_eq!((&*it.command, &*it.log_id), ("orders", "orders[3]@42"));
            assert_eq!(it.value.as_deref(), value);
            assert_eq!((it.delay_ms, it.due_ms, it.attempt), (0, None, 1));
        }
        let delayed = decode(Format::Raw, record(None, Some(b"v"), &[("drover-delay-ms", "9")])).unwrap();
        assert_eq!((&*delayed.command, delayed.due_ms), ("orders", Some(T0 + 9)));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut envelope = Envelope::new("pay", Some(Bytes::from_static(b"\xff")));
        let golden = encode(&envelope);
        assert_eq!((golden.key, shown(&golden.headers)), (None, vec!["drover-command: pay".to_owned()]));
        envelope.log_id = Some("l".into());
        envelope.hash_key = Some("h".into());
        envelope.delay_ms = 1;
        envelope.due_ms = Some(2);
        envelope.expires_ms = Some(3);
        envelope.url = Some("http://a/".into());
        envelope.attempt = 4;
        // Old words of the envelope among the sender's headers are replaced, all else is kept.
        envelope.headers = block(&[("DROVER-ATTEMPT", "1"), ("x", "y"), ("drover-task-id", "t"), ("x", "z")]);
        let Encoded { key, value, headers } = encode(&envelope);
        let golden = [
            "drover-command: pay",
            "drover-log-id: l",
            "drover-delay-ms: 1",
            "drover-due-ms: 2",
            "drover-expires-ms: 3",
            "drover-url: http://a/",
            "drover-attempt: 4",
            "x: y",
            "drover-task-id: t",
            "x: z",
        ];
        assert_eq!(shown(&headers), golden);
        assert_eq!(shown(&headers_of(&envelope, Some(b"k")))[2], "drover-hash-key: h");
        let record = Record::new(("t".into(), 0, 0), Some(7), key.as_deref(), value.as_deref(), &headers);
        let message = decode(Format::Auto, record).unwrap();
        let again = Envelope::of(&message);
        assert_eq!(
            Envelope { hash_key: Some("h".into()), headers: envelope.headers.clone(), ..again },
            envelope
        );
        assert_eq!(message.record.key(), Some(&b"h"[..]));
    }
}
