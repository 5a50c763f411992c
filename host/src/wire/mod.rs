//! A message as bytes: what a record's envelope says, in each of the forms that producers write.
//!
//! Pure: bytes in, value out. Everything above this floor is blind to formats. What `auto` goes by, in this
//! order; the first that fits decides, and a record that is broken in the form it was taken for is an
//! error (S24), never something else:
//!
//! 1. the header `drover-command` is there: **native**;
//! 2. a header `ce_specversion`, `ce_id`, `ce_source` or `ce_type` is there, or `content-type` begins with
//!    `application/cloudevents`: **CloudEvents**;
//! 3. the value begins like a JSON object, and among its top-level names (up to the first fault of its
//!    syntax, in exactly this spelling unless said otherwise) are
//!    - `Headers`, `Url`, `Data` and one of `Topic`, `Partition`, `CreateTime`: **bigpipe**;
//!    - `TaskID`, `Topic`, `Value`: **dispatcher**;
//!    - `ErrStr` and `Message`, an object that has `Value`: **dispatcher**, an error of its old form;
//!    - `specversion`, `id`, `source`, `type`: **CloudEvents**, structured, without its content type;
//!    - `Cmd` and `Data`: **alpaca**; in any other spelling only if the values of both are strings;
//! 4. else **raw**: the topic's name is the command, the value is the data, whatever it is.
//!
//! So ordinary JSON is raw. Where it happens to look like an envelope, the group's `format: raw` says so.

pub mod alpaca;
pub mod bigpipe;
pub mod cloudevents;
pub mod dispatcher;
mod envelope;
pub mod events_out;
mod json;
pub mod native;
pub mod receipts;
pub mod rung;
#[cfg(test)]
mod samples;
pub mod task;
pub mod time;

use bytes::Bytes;

pub use envelope::{Encoded, Envelope};
use json::Fields;
use native::Said;

use crate::domain::message::Message;
use crate::domain::outcome::{Failure, Stage};
use crate::domain::record::Record;

/// How the records of a group's topics are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Recognised record by record.
    #[default]
    Auto,
    /// Kafka headers carry the envelope, the value is the data. S20.
    Native,
    /// The topic's name is the command, the value is the data.
    Raw,
    /// alpaca-mq's JSON. S17.
    Alpaca,
    /// bigpipe's JSON. S18.
    Bigpipe,
    /// dispatcher's JSON, and its old forms. S19.
    Dispatcher,
    /// CloudEvents 1.0, binary and structured.
    CloudEvents,
}

/// Reads a record's envelope.
///
/// # Errors
/// A lasting failure of the stage `decode`: the record comes back as it was, for the dead letters (S24).
pub fn decode(format: Format, record: Record) -> Result<Message, (Record, Failure)> {
    match read(format, &record) {
        Ok(envelope) => Ok(envelope.message(record)),
        Err(detail) => Err((record, Failure::lasting(Stage::Decode, detail))),
    }
}

fn read(format: Format, record: &Record) -> Result<Envelope, String> {
    let said = Said::in_headers(record.headers());
    let value = record.value_shared();
    let envelope = match format {
        Format::Auto => recognised(record, &said, value.as_ref()),
        Format::Native => native::read(record, &said),
        Format::Raw => Ok(native::raw(record)),
        Format::Alpaca => alpaca::read(record, &fields("alpaca-mq's form", value.as_ref())?),
        Format::Bigpipe => bigpipe::read(record, &fields("bigpipe's form", value.as_ref())?),
        Format::Dispatcher => dispatcher::read(record, value.as_ref().and_then(Fields::scan).as_ref()),
        Format::CloudEvents => cloudevents::read(record, value.as_ref()),
    };
    said.complete(envelope?)
}

fn recognised(record: &Record, said: &Said<'_>, value: Option<&Bytes>) -> Result<Envelope, String> {
    if said.has_command() {
        return native::read(record, said);
    }
    if cloudevents::is(record.headers()) {
        return cloudevents::read(record, value);
    }
    let Some(fields) = value.and_then(Fields::scan) else { return Ok(native::raw(record)) };
    if bigpipe::is(&fields) {
        bigpipe::read(record, &fields)
    } else if dispatcher::is(&fields) {
        dispatcher::read(record, Some(&fields))
    } else if cloudevents::is_structured(&fields) {
        cloudevents::read(record, value)
    } else if alpaca::is(&fields) {
        alpaca::read(record, &fields)
    } else {
        Ok(native::raw(record))
    }
}

/// The fields of a value that has to be a JSON object.
fn fields<'a>(form: &str, value: Option<&'a Bytes>) -> Result<Fields<'a>, String> {
    let Some(value) = value else {
        return Err(format!("{form} is a JSON object, and this record has no value"));
    };
    Fields::scan(value).ok_or_else(|| {
        let start = String::from_utf8_lossy(&value[..value.len().min(24)]);
        format!("{form} is a JSON object, and this value begins with {start:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::events_out::Mode;
    use super::samples::{random, record, value};
    use super::*;
    use crate::domain::headers;

    const FORMATS: [Format; 7] = [
        Format::Auto,
        Format::Native,
        Format::Raw,
        Format::Alpaca,
        Format::Bigpipe,
        Format::Dispatcher,
        Format::CloudEvents,
    ];

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    const ALPACA: &str = r#"{"Cmd":"c","LogId":"l","HashKey":"k","Data":"d","Delay":0}"#;
    const BIGPIPE: &str = r#"{"Headers":{"a":["b","c"]},"Url":"http://u/","Data":"d","Topic":"t","Partition":0,"CreateTime":1}"#;
    const DISPATCHER: &str = r#"{"TaskID":"i","Topic":"t","Key":"k","Value":"ZA==","IsReplyMessage":true}"#;
    const OLD_ERROR: &str = r#"{"Message":{"Value":"ZA=="},"ErrStr":"e"}"#;
    const EVENT: &str = r#"{"specversion":"1.0","id":"i","source":"/s","type":"c","data":{"a":[1]}}"#;
    const CE: [(&str, &str); 4] =
        [("ce_specversion", "1.0"), ("ce_id", "i"), ("ce_source", "/s"), ("ce_type", "c")];

    /// The command tells how a record was read: `c` by an envelope, `orders` by the topic.
    fn command(headers: &[(&str, &str)], value: &str) -> Result<String, String> {
        let read = decode(Format::Auto, record(None, Some(value.as_bytes()), headers));
        read.map(|it| format!("{} {}", it.command, String::from_utf8_lossy(&it.value.unwrap_or_default())))
            .map_err(|it| it.1.detail)
    }

    /// S17 to S20: the rule in the head of this file, a case for each of its lines.
    #[test]
    fn auto_recognises_every_form() {
        let cases: &[(Pairs<'_>, &str, &str)] = &[
            (&[("drover-command", "c")], "v", "c v"),
            (&[("drover-command", "c"), ("ce_type", "x")], ALPACA, &format!("c {ALPACA}")),
            (&CE, "v", "c v"),
            (&CE, ALPACA, &format!("c {ALPACA}")),
            (&[("content-type", "Application/CloudEvents+json; charset=utf-8")], EVENT, "c {\"a\":[1]}"),
            (&[], EVENT, "c {\"a\":[1]}"),
            (&[("content-type", "application/json")], EVENT, "c {\"a\":[1]}"),
            (&[], ALPACA, "c d"),
            (&[("other", "header")], ALPACA, "c d"),
            (&[], BIGPIPE, "orders d"),
            (&[], DISPATCHER, "orders d"),
            (&[], OLD_ERROR, "orders d"),
        ];
        for (headers, value, read) in cases {
            assert_eq!(command(headers, value).as_deref(), Ok(*read));
        }
    }

    /// Ordinary JSON that only looks similar is data.
    #[test]
    fn auto_leaves_other_values_alone() {
        let cases = [
            "",
            "{",
            "{}",
            "{\"Cmd\"",
            "{\"Cmd\":\"c\"}",
            "{not json",
            "{\"Data\":\"d\"}",
            r#"{"Data":"d","LogId":"l","Delay":1}"#,
            r#"{"cmd":"c","data":{"a":1}}"#,
            r#"{"cmd":7,"data":"d"}"#,
            r#"{"Cmd":"c","data":["d"]}"#,
            r#"{"a":{"Cmd":"c","Data":"d"}}"#,
            r#"[{"Cmd":"c","Data":"d"}]"#,
            r#""{\"Cmd\":\"c\",\"Data\":\"d\"}""#,
            r#"{"a":1}{"Cmd":"c","Data":"d"}"#,
            r#"{"Headers":{},"Url":"u","Data":"d"}"#,
            r#"{"headers":{},"url":"u","data":"d","topic":"t"}"#,
            r#"{"Url":"u","Data":"d","Topic":"t","Partition":0,"CreateTime":1}"#,
            r#"{"TaskID":"i","Value":"ZA=="}"#,
            r#"{"TaskId":"i","Topic":"t","Value":"ZA=="}"#,
            r#"{"Message":"m","ErrStr":"e"}"#,
            r#"{"Message":{"value":"ZA=="},"ErrStr":"e"}"#,
            r#"{"specversion":"1.0","id":"i","type":"c"}"#,
            r#"{"id":"i","source":"s","type":"c","data":1}"#,
            "\u{feff}{\"a\":1}",
        ];
        for value in cases {
            assert_eq!(command(&[], value), Ok(format!("orders {value}")));
        }
    }

    /// S24: what was taken for an envelope and is broken in it is an error, not data.
    #[test]
    fn auto_does_not_fall_back() {
        let cases: &[(Pairs<'_>, &str)] = &[
            (&[("drover-command", "")], "v"),
            (&[("ce_id", "i")], "v"),
            (&CE[1..], ALPACA),
            (&[("content-type", "application/cloudevents+json")], "v"),
            (&[("content-type", "application/cloudevents-batch+json")], "[]"),
            (&[("drover-delay-ms", "x")], "v"),
            (&[], r#"{"Cmd":"c","Data":"d","Delay":"5"}"#),
            (&[], r#"{"Cmd":"c","Data":"unfinished"#),
            (&[], r#"{"Headers":{},"Url":"u","Data":"d","Topic":"t"}"#),
            (&[], r#"{"TaskID":"i","Topic":"t","Value":"?"}"#),
            (&[], r#"{"Message":{"Value":"?"},"ErrStr":"e"}"#),
            (&[], r#"{"specversion":"0.3","id":"i","source":"s","type":"c"}"#),
        ];
        for (headers, value) in cases {
            assert!(command(headers, value).is_err(), "{headers:?} {value}");
        }
    }

    #[test]
    fn a_form_that_was_set_is_not_guessed() {
        let cases = [
            (Format::Native, "the header drover-command is missing or empty"),
            (Format::Alpaca, "alpaca-mq's form is a JSON object, and this value begins with \"plain\""),
            (Format::Bigpipe, "bigpipe's form is a JSON object, and this value begins with \"plain\""),
            (
                Format::CloudEvents,
                "CloudEvents: there is neither a header ce_specversion nor the content-type \
                 application/cloudevents+json",
            ),
        ];
        for (format, detail) in cases {
            assert_eq!(decode(format, value("plain")).unwrap_err().1.detail, detail);
        }
        for format in [Format::Raw, Format::Dispatcher] {
            assert_eq!(&*decode(format, value("plain")).unwrap().command, "orders");
        }
    }

    /// Tombstones and empty values; the dead letters get them as they were.
    #[test]
    fn no_value_and_an_empty_one() {
        for format in FORMATS {
            for value in [None, Some(&b""[..])] {
                match decode(format, record(Some(b"k"), value, &[])) {
                    Ok(it) => assert_eq!(it.value.as_deref(), value, "{format:?}"),
                    Err((it, failure)) => {
                        assert_eq!((it.value(), failure.transient), (value, false), "{format:?}");
                    }
                }
            }
        }
        let detail = decode(Format::Alpaca, record(None, None, &[])).unwrap_err().1.detail;
        assert_eq!(detail, "alpaca-mq's form is a JSON object, and this record has no value");
    }

    /// A record that was put aside keeps its due time, whatever its form (S53).
    #[test]
    fn our_headers_stand_over_any_form() {
        let beside = [("drover-due-ms", "77"), ("drover-attempt", "3"), ("drover-log-id", "mine")];
        for value in [ALPACA, BIGPIPE, DISPATCHER, OLD_ERROR, EVENT, "v"] {
            let it = decode(Format::Auto, record(None, Some(value.as_bytes()), &beside)).unwrap();
            assert_eq!((it.due_ms, it.attempt, &*it.log_id), (Some(77), 3, "mine"), "{value}");
        }
    }

    /// Any message that was read can be written again in the native form, and is the same message then.
    #[test]
    fn every_form_survives_a_rung() {
        for value in [ALPACA, BIGPIPE, DISPATCHER, OLD_ERROR, EVENT, "v"] {
            let first =
                decode(Format::Auto, record(Some(b"key"), Some(value.as_bytes()), &[("h", "v")])).unwrap();
            let block = native::headers_of(&Envelope::of(&first), first.record.key());
            let key = first.record.key();
            let rung = ("group.retry.60s".into(), 0, 7);
            let again = Record::new(rung, Some(9), key, first.value.as_deref(), &block);
            let again = decode(Format::Auto, again).unwrap();
            let ours = |it: &headers::Header<'_>| {
                !["drover-command", "drover-log-id", "drover-hash-key", "drover-url"]
                    .iter()
                    .any(|n| n.as_bytes() == it.name)
            };
            let rest = |block: &[u8]| {
                let mut rest = Vec::new();
                let all = headers::Headers::new(block).filter(ours);
                all.for_each(|it| headers::push(&mut rest, it.name, it.value));
                Bytes::from(rest)
            };
            let mut after = Envelope::of(&again);
            after.headers = rest(&after.headers);
            let mut before = Envelope::of(&first);
            before.headers = rest(&before.headers);
            assert_eq!(after, before);
        }
    }

    /// S24: whatever comes, nothing panics, a refused record comes back as it was, and what is read is either
    /// the value as it was or part of an envelope.
    #[test]
    fn mutations_never_panic_and_never_lose_a_byte() {
        let values = [ALPACA, BIGPIPE, DISPATCHER, OLD_ERROR, EVENT];
        let splices =
            ["\"", "{", "}", "[", ",", "\\", "\\u", "null", "1e999", "\u{0}", "é", "-", "Cmd", "ce_id"];
        for seed in 0..6_000 {
            let mut random = random(seed);
            let mut value = values[random(values.len())].as_bytes().to_vec();
            let mut block = Vec::new();
            if random(3) == 0 {
                for (name, text) in CE {
                    headers::push(&mut block, name.as_bytes(), Some(text.as_bytes()));
                }
            }
            for _ in 0..1 + random(4) {
                let target = if random(4) == 0 { &mut block } else { &mut value };
                let at = random(target.len());
                match random(5) {
                    0 => target.truncate(at),
                    1 if at < target.len() => target[at] = random(256) as u8,
                    2 if at < target.len() => drop(target.remove(at)),
                    3 => drop(target.splice(at..at, splices[random(splices.len())].bytes())),
                    _ => {
                        let other = values[random(values.len())].as_bytes();
                        let from = random(other.len());
                        drop(target.splice(at..at, other[from..].iter().copied()));
                    }
                }
            }
            let format = FORMATS[random(FORMATS.len())];
            let record = Record::new(("orders".into(), 3, 42), Some(1), Some(b"k"), Some(&value), &block);
            match decode(format, record) {
                Ok(it) => {
                    assert!(!it.command.is_empty() && !it.log_id.is_empty(), "seed {seed}");
                    assert_eq!(it.record.value(), Some(&value[..]), "seed {seed}");
                }
                Err((it, failure)) => {
                    assert_eq!((it.key(), it.value()), (Some(&b"k"[..]), Some(&value[..])), "seed {seed}");
                    assert_eq!((it.headers(), it.coordinates()), (&block[..], "orders[3]@42".to_owned()));
                    assert!(!failure.transient && failure.detail.len() < 1_000, "seed {seed}: {failure:?}");
                }
            }
        }
    }

    /// Texts of all kinds, written in each form and recognised again.
    #[test]
    fn random_texts_come_back_from_every_form() {
        let parts =
            ["", "a", "\"", "\\", "\\u0041", "{\"Cmd\":", "\u{0}", "\n", "é", "发", "😀", "\u{feff}", "</>&"];
        for seed in 0..500 {
            let mut random = random(seed);
            let mut text =
                |most: usize| -> String { (0..random(most)).map(|_| parts[random(parts.len())]).collect() };
            let (command, data) = (format!("c{}", text(4)), text(12));
            let mut envelope = Envelope::new(command, Some(data.clone().into()));
            envelope.log_id = Some(format!("l{}", text(4)).into());
            let place = bigpipe::Place { topic: "orders", partition: 3, created_ms: 1 };
            let task =
                task::Task { id: "i".into(), topic: text(3), value: Some(data.into()), ..task::Task::none() };
            let all = [
                (native::encode(&envelope), true),
                (alpaca::encode(&envelope).unwrap(), true),
                (events_out::encode(&envelope, "/s", Mode::Binary).unwrap(), true),
                (events_out::encode(&envelope, "/s", Mode::Structured).unwrap(), true),
                (bigpipe::encode(&envelope, place).unwrap(), false),
                (task.encode().unwrap(), false),
            ];
            for (at, (Encoded { key, value, headers }, has_command)) in all.into_iter().enumerate() {
                let record =
                    Record::new(("orders".into(), 3, 42), None, key.as_deref(), value.as_deref(), &headers);
                let message = decode(Format::Auto, record).unwrap();
                assert_eq!(message.value, envelope.data, "seed {seed}, form {at}");
                let command = if has_command { &*envelope.command } else { "orders" };
                let log_id = if has_command { envelope.log_id.as_deref() } else { Some("orders[3]@42") };
                assert_eq!(
                    (&*message.command, Some(&*message.log_id)),
                    (command, log_id),
                    "seed {seed}, form {at}"
                );
            }
        }
    }
}
