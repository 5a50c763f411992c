//! CloudEvents 1.0, by its Kafka binding: binary (attributes in headers `ce_*`, the value is the data) and
//! structured (all of it is JSON in the value). `type` is the command, `id` the log id, the extension
//! `partitionkey` the hash key, `expirytime` the expiry.
//!
//! A structured event is shown as the same event in binary mode would be: its attributes as headers `ce_*`,
//! its data's type as `content-type`. Strict where the specification makes an event invalid for everybody
//! (its four required attributes), lenient in what drover does not go by (`time`, spelling of extensions).

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::envelope::{Envelope, TRACE, with_headers};
use super::json::{self, Fields, excerpt};
use super::time;
use crate::domain::headers::{self, Headers};
use crate::domain::record::Record;

pub(super) const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
const PREFIX: &[u8] = b"ce_";
pub(super) const CONTENT_TYPE: &str = "content-type";
pub(super) const MEDIA_TYPE: &str = "application/cloudevents";
const JSON: &str = "application/json";

type Attributes<'a> = BTreeMap<String, &'a RawValue>;

/// Whether a record's headers call it a CloudEvent.
pub(super) fn is(block: &[u8]) -> bool {
    Headers::new(block).any(|it| {
        if it.name.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()) {
            return is_cloudevents(it.value.unwrap_or_default());
        }
        attribute_of(it.name)
            .is_some_and(|it| REQUIRED.iter().any(|one| it.eq_ignore_ascii_case(one.as_bytes())))
    })
}

/// Whether an object is a structured event, broken or not.
pub(super) fn is_structured(fields: &Fields<'_>) -> bool {
    fields.have(&REQUIRED)
}

pub(super) fn read(record: &Record, value: Option<&Bytes>) -> Result<Envelope, String> {
    let content_type = headers::find(record.headers(), CONTENT_TYPE).unwrap_or_default();
    if is_cloudevents(content_type) {
        let format = media_type(content_type);
        return match &format.as_bytes()[MEDIA_TYPE.len()..] {
            b"" | b"+json" => structured(record, value),
            it if it.starts_with(b"-batch") => {
                Err("CloudEvents: a batch is not one message, and a record is \
                                                    settled as one: send each event in a record of its own"
                    .to_owned())
            }
            _ => Err(format!("CloudEvents: of structured events only +json is read, this is {format}")),
        };
    }
    if is(record.headers()) {
        return binary(record, value);
    }
    match value.filter(|it| json::object(it).is_some()) {
        Some(_) => structured(record, value),
        None => Err(format!(
            "CloudEvents: there is neither a header ce_specversion nor the {CONTENT_TYPE} {MEDIA_TYPE}+json"
        )),
    }
}

fn binary(record: &Record, value: Option<&Bytes>) -> Result<Envelope, String> {
    let block = record.headers();
    let attribute = |name: &str| {
        let mut all = Headers::new(block);
        let found =
            all.find(|it| attribute_of(it.name).is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes())));
        let Some(found) = found.and_then(|it| it.value) else { return Ok(None) };
        let text = std::str::from_utf8(found);
        text.map(|it| Some(Cow::Borrowed(it)))
            .map_err(|_| format!("CloudEvents: the header ce_{name} is no UTF-8"))
    };
    let mut envelope = envelope(attribute, value.cloned())?;
    let mut trace = Vec::new();
    for name in TRACE {
        // The record's own trace context is that of the last hop, the event's that of its origin.
        if headers::find(block, name).is_none() {
            trace.extend(attribute(name)?.map(|it| (name, it)));
        }
    }
    let trace: Vec<_> = trace.iter().map(|(name, text)| (*name, &**text)).collect();
    envelope.headers = with_headers(record, &trace);
    Ok(envelope)
}

fn structured(record: &Record, value: Option<&Bytes>) -> Result<Envelope, String> {
    let Some(value) = value else {
        return Err(
            "CloudEvents: a structured event is a JSON object, and this record has no value".to_owned()
        );
    };
    let Some(object) = json::object(value) else {
        let start = String::from_utf8_lossy(&value[..value.len().min(24)]);
        return Err(format!(
            "CloudEvents: a structured event is a JSON object, and this begins with {start:?}"
        ));
    };
    let all: Attributes<'_> = serde_json::from_slice(object)
        .map_err(|fault| format!("CloudEvents: the value is no whole JSON object: {fault}"))?;
    let data = data(&all, value)?;
    let json_by_default = all.contains_key("data");
    let mut envelope = envelope(|name| attribute_text(&all, name), data)?;
    envelope.headers = block(record, &all, json_by_default)?;
    Ok(envelope)
}

/// What both modes say, once their attributes can be asked for.
fn envelope<'a>(
    attribute: impl Fn(&str) -> Result<Option<Cow<'a, str>>, String>,
    data: Option<Bytes>,
) -> Result<Envelope, String> {
    let full = |name: &str| attribute(name).map(|it| it.filter(|it| !it.is_empty()));
    let needed = |name: &str| {
        full(name)?.ok_or_else(|| {
            format!("CloudEvents: {name} is missing or empty; all of {} are needed", REQUIRED.join(", "))
        })
    };
    let version = needed("specversion")?;
    if version != "1.0" {
        return Err(format!("CloudEvents: specversion is {:?}; only 1.0 is read", excerpt(&version)));
    }
    needed("source")?;
    let id = needed("id")?;
    let mut envelope = Envelope::new(needed("type")?, data);
    envelope.log_id = Some(id.into());
    envelope.hash_key = full("partitionkey")?.map(Box::from);
    if let Some(text) = full("expirytime")? {
        let at_ms = time::parse(&text).ok_or_else(|| {
            format!(
                "CloudEvents: expirytime has to be a time like 2018-04-05T17:31:00Z, it is {:?}",
                excerpt(&text)
            )
        })?;
        // Before 1970 is as much over as any time that is past.
        envelope.expires_ms = Some(u64::try_from(at_ms).unwrap_or(1));
    }
    Ok(envelope)
}

fn attribute_text<'a>(all: &Attributes<'a>, name: &str) -> Result<Option<Cow<'a, str>>, String> {
    let Some(value) = all.get(name).copied().filter(|it| it.get() != "null") else { return Ok(None) };
    match json::string(value) {
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(fault)) => Err(format!("CloudEvents: {name} is no valid string: {fault}")),
        None => Err(format!("CloudEvents: {name} has to be a string, it is {}", excerpt(value.get()))),
    }
}

/// The data as the same event in binary mode would have it: JSON as it is written (a string with its
/// quotes, a null as `null`), text without its quotes, base64 decoded.
fn data(all: &Attributes<'_>, value: &Bytes) -> Result<Option<Bytes>, String> {
    let encoded = attribute_text(all, "data_base64")?;
    match (all.get("data"), encoded) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err("CloudEvents: there is data and data_base64; it has to be one of them".to_owned())
        }
        (None, Some(text)) => match STANDARD.decode(text.as_bytes()) {
            Ok(data) => Ok(Some(data.into())),
            Err(fault) => Err(format!("CloudEvents: data_base64 is no base64: {fault}")),
        },
        (Some(data), None) => {
            let content_type = attribute_text(all, "datacontenttype")?.unwrap_or(Cow::Borrowed(JSON));
            if is_json(&content_type) {
                return Ok(Some(value.slice_ref(data.get().as_bytes())));
            }
            let not_text = || {
                let start = excerpt(data.get());
                format!(
                    "CloudEvents: data has to be a string, for datacontenttype is {content_type:?}; it is {start}"
                )
            };
            let text = json::string(data).ok_or_else(not_text)?;
            text.map(|it| Some(it.into_owned().into()))
                .map_err(|it| format!("CloudEvents: data is no valid string: {it}"))
        }
    }
}

/// The headers that the event would have in binary mode, then those of the record that say nothing of it.
fn block(record: &Record, all: &Attributes<'_>, json_by_default: bool) -> Result<Bytes, String> {
    let mut block = Vec::with_capacity(record.headers().len() + 512);
    let mut add = |name: &str, text: &str| headers::push(&mut block, name.as_bytes(), Some(text.as_bytes()));
    for (name, value) in all {
        if ["data", "data_base64", "datacontenttype"].contains(&&**name) || value.get() == "null" {
            continue;
        }
        if name.len() > 1_024 {
            return Err(format!("CloudEvents: the attribute {}… has too long a name", excerpt(name)));
        }
        let text = match (json::string(value), value.get().as_bytes().first()) {
            (None, Some(b'{' | b'[')) => {
                return Err(format!(
                    "CloudEvents: the attribute {name} has to be a string, a whole number or true or false"
                ));
            }
            // Numbers and flags: as they are written.
            (None, _) => Cow::Borrowed(value.get()),
            (Some(_), _) => attribute_text(all, name)?.unwrap_or_default(),
        };
        add(&format!("ce_{name}"), &text);
        if TRACE.contains(&&**name) && headers::find(record.headers(), name).is_none() {
            add(name, &text);
        }
    }
    match attribute_text(all, "datacontenttype")? {
        Some(text) => add(CONTENT_TYPE, &text),
        None if json_by_default => add(CONTENT_TYPE, JSON),
        None => {}
    }
    let says_of_it =
        |name: &[u8]| attribute_of(name).is_some() || name.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes());
    for header in Headers::new(record.headers()).filter(|it| !says_of_it(it.name)) {
        headers::push(&mut block, header.name, header.value);
    }
    Ok(block.into())
}

/// The attribute that a header is.
pub(super) fn attribute_of(name: &[u8]) -> Option<&[u8]> {
    let (prefix, attribute) = name.split_at_checked(PREFIX.len())?;
    (prefix.eq_ignore_ascii_case(PREFIX) && !attribute.is_empty()).then_some(attribute)
}

fn is_cloudevents(content_type: &[u8]) -> bool {
    content_type.get(..MEDIA_TYPE.len()).is_some_and(|it| it.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes()))
}

/// Without its parameters, in lower case.
fn media_type(content_type: &[u8]) -> String {
    let end = content_type.iter().position(|it| *it == b';').unwrap_or(content_type.len());
    String::from_utf8_lossy(content_type[..end].trim_ascii()).to_ascii_lowercase()
}

pub(super) fn is_json(content_type: &str) -> bool {
    let media_type = media_type(content_type.as_bytes());
    media_type.split_once('/').is_some_and(|(_, it)| it == "json" || it.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{block, record, shown, value};
    use crate::wire::{Format, decode};

    const REQUIRED_HEADERS: [(&str, &str); 4] =
        [("ce_specversion", "1.0"), ("ce_id", "A-1"), ("ce_source", "/s"), ("ce_type", "order.paid")];
    const STRUCTURED: [(&str, &str); 1] = [("content-type", "application/cloudevents+json; charset=UTF-8")];

    fn event(more: &str) -> String {
        format!(r#"{{"specversion":"1.0","id":"A-1","source":"/s","type":"order.paid"{more}}}"#)
    }

    fn detail(headers: &[(&str, &str)], value: &str) -> String {
        decode(Format::Auto, record(None, Some(value.as_bytes()), headers)).unwrap_err().1.detail
    }

    #[test]
    fn binary_leaves_the_value_alone() {
        let mut headers = REQUIRED_HEADERS.to_vec();
        headers.extend([
            ("ce_partitionkey", "k-1"),
            ("ce_expirytime", "2023-11-14T22:13:20Z"),
            ("ce_time", "not looked at"),
            ("content-type", "application/avro"),
            ("traceparent", "00-last-hop"),
            ("ce_traceparent", "00-origin"),
        ]);
        for data in [None, Some(&b""[..]), Some(b"\xff\x00"), Some(br#"{"Cmd":"c","Data":"d"}"#)] {
            let it = decode(Format::Auto, record(Some(b"k"), data, &headers)).unwrap();
            assert_eq!(
                (&*it.command, &*it.log_id, it.hash_key.as_deref()),
                ("order.paid", "A-1", Some("k-1"))
            );
            assert_eq!((it.value.as_deref(), it.expires_ms), (data, Some(1_700_000_000_000)));
            assert_eq!(it.headers, block(&headers));
        }
    }

    #[test]
    fn the_events_trace_is_the_messages_where_the_record_has_none() {
        let mut headers = REQUIRED_HEADERS.to_vec();
        headers.extend([("ce_traceparent", "00-origin"), ("ce_tracestate", "a=b")]);
        let it = decode(Format::Auto, record(None, None, &headers)).unwrap();
        assert_eq!(shown(&it.headers)[..2], ["traceparent: 00-origin", "tracestate: a=b"]);
        assert_eq!(shown(&it.headers).len(), 8);
        let text = event(r#","traceparent":"00-origin""#);
        let it = decode(Format::Auto, record(None, Some(text.as_bytes()), &STRUCTURED)).unwrap();
        assert_eq!(headers::find_str(&it.headers, "traceparent"), Some("00-origin"));
    }

    /// As the specification's own examples map from the one mode to the other.
    #[test]
    fn structured_reads_as_binary_would() {
        // more of the event, data, content type
        let cases: [(&str, Option<&str>, Option<&str>); 9] = [
            ("", None, None),
            (r#","data":{"a": [1, 2]}"#, Some(r#"{"a": [1, 2]}"#), Some("application/json")),
            (r#","data":"I'm just a string""#, Some(r#""I'm just a string""#), Some("application/json")),
            (r#","data":null"#, Some("null"), Some("application/json")),
            (r#","datacontenttype":"text/JSON;v=1","data":"a""#, Some(r#""a""#), Some("text/JSON;v=1")),
            (
                r#","datacontenttype":"application/x+json","data":1.0"#,
                Some("1.0"),
                Some("application/x+json"),
            ),
            (
                r#","datacontenttype":"application/xml","data":"<a b=\"c\"/>""#,
                Some(r#"<a b="c"/>"#),
                Some("application/xml"),
            ),
            (r#","datacontenttype":"a/b","data_base64":"eA==""#, Some("x"), Some("a/b")),
            (r#","data_base64":"","data_base64":"eA==","subject":null"#, Some("x"), None),
        ];
        for (more, data, content_type) in cases {
            let text = event(more);
            for headers in [&STRUCTURED[..], &[]] {
                let it = decode(Format::Auto, record(None, Some(text.as_bytes()), headers)).unwrap();
                assert_eq!((&*it.command, &*it.log_id), ("order.paid", "A-1"), "{text}");
                assert_eq!(it.value.as_deref(), data.map(str::as_bytes), "{text}");
                let mut all =
                    vec!["ce_id: A-1", "ce_source: /s", "ce_specversion: 1.0", "ce_type: order.paid"];
                let content_type = content_type.map(|it| format!("content-type: {it}"));
                all.extend(content_type.as_deref());
                assert_eq!(shown(&it.headers), all, "{text}");
            }
        }
    }

    #[test]
    fn attributes_of_all_types_become_headers_and_other_headers_stay() {
        let text = event(r#","count":5,"flag":true,"note":"a\nb","partitionkey":"k""#);
        let headers = [STRUCTURED[0], ("x", "y"), ("ce_note", "old")];
        let it = decode(Format::CloudEvents, record(None, Some(text.as_bytes()), &headers)).unwrap();
        let shown = shown(&it.headers);
        for header in ["ce_count: 5", "ce_flag: true", "ce_note: a\nb", "ce_partitionkey: k", "x: y"] {
            assert_eq!(shown.iter().filter(|it| *it == header).count(), 1, "{header} in {shown:?}");
        }
        assert_eq!((shown.len(), it.hash_key.as_deref()), (9, Some("k")));
    }

    /// S24.
    #[test]
    fn broken_ones_say_what_is_wrong() {
        let needed = "is missing or empty; all of specversion, id, source, type are needed";
        for (at, (name, _)) in REQUIRED_HEADERS.iter().enumerate() {
            let mut headers = REQUIRED_HEADERS.to_vec();
            headers[at].1 = "";
            let name = &name["ce_".len()..];
            assert_eq!(detail(&headers, ""), format!("CloudEvents: {name} {needed}"));
            headers.remove(at);
            assert_eq!(detail(&headers, ""), format!("CloudEvents: {name} {needed}"));
            let text = event("").replace(&format!("\"{name}\":"), "\"other\":");
            assert_eq!(detail(&STRUCTURED, &text), format!("CloudEvents: {name} {needed}"));
        }
        let cases = [
            (event("").replace("1.0", "0.3"), "specversion is \"0.3\"; only 1.0 is read"),
            (event("").replace("\"A-1\"", "1"), "id has to be a string, it is 1"),
            (
                event(r#","data":1,"data_base64":"""#),
                "there is data and data_base64; it has to be one of them",
            ),
            (event(r#","data_base64":"?""#), "data_base64 is no base64: Invalid symbol 63, offset 0."),
            (event(r#","data_base64":5"#), "data_base64 has to be a string, it is 5"),
            (
                event(r#","datacontenttype":"text/plain","data":{}"#),
                "data has to be a string, for datacontenttype is \"text/plain\"; it is {}",
            ),
            (event(r#","x":{"a":1}"#), "the attribute x has to be a string, a whole number or true or false"),
            (
                event(r#","expirytime":"soon""#),
                "expirytime has to be a time like 2018-04-05T17:31:00Z, it is \"soon\"",
            ),
            ("[]".to_owned(), "a structured event is a JSON object, and this begins with \"[]\""),
            (
                event("")[..20].to_owned(),
                "the value is no whole JSON object: EOF while parsing an object at line 1 column 20",
            ),
        ];
        for (text, reason) in cases {
            assert_eq!(detail(&STRUCTURED, &text), format!("CloudEvents: {reason}"));
        }
    }

    #[test]
    fn batches_and_other_formats_are_refused() {
        let cases = [
            (
                "application/cloudevents-batch+json",
                "CloudEvents: a batch is not one message, and a record is settled as one: send each event in a \
                 record of its own",
            ),
            (
                "Application/CloudEvents+Avro; x=y",
                "CloudEvents: of structured events only +json is read, this is application/cloudevents+avro",
            ),
        ];
        for (content_type, reason) in cases {
            assert_eq!(detail(&[("Content-Type", content_type)], "[]"), reason);
        }
        let (_, failure) = decode(Format::Auto, record(None, None, &STRUCTURED)).unwrap_err();
        assert_eq!(
            failure.detail,
            "CloudEvents: a structured event is a JSON object, and this record has no value"
        );
    }

    #[test]
    fn depth_and_bytes_that_are_no_text() {
        let deep = format!(",\"data\":{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(decode(Format::Auto, value(&event(&deep))).is_ok());
        let mut block = block(&REQUIRED_HEADERS[..3]).to_vec();
        headers::push(&mut block, b"ce_type", Some(b"\xff"));
        let broken = Record::new(("t".into(), 0, 0), None, None, None, &block);
        let (_, failure) = decode(Format::Auto, broken).unwrap_err();
        assert_eq!(failure.detail, "CloudEvents: the header ce_type is no UTF-8");
    }
}
