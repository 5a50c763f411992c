//! CloudEvents 1.0 as they are written, binary and structured: the other half of `cloudevents`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::cloudevents::{CONTENT_TYPE, MEDIA_TYPE, REQUIRED, attribute_of, is_json};
use super::envelope::{Encoded, Envelope, TRACE};
use super::{native, time};
use crate::domain::headers::{self, Headers};
use crate::domain::message::NEVER_MS;

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Binary,
    Structured,
}

/// An event of this command. What the message's headers say of the event it came as (`ce_*`) is kept;
/// otherwise its log id is the id, and `source` the source. What CloudEvents have no words for (delay, due
/// time, url, attempt) stands beside it in headers of ours.
///
/// # Errors
/// Without an id, and for headers that are no text.
pub fn encode(envelope: &Envelope, source: &str, mode: Mode) -> Result<Encoded, String> {
    let (mut attributes, content_type, mut beside) = sorted_out(envelope)?;
    let mut set = |name: &str, text: &str| attributes.insert(name.to_owned(), text.to_owned());
    set("specversion", "1.0");
    set("type", &envelope.command);
    if let Some(hash_key) = envelope.hash_key.as_deref().filter(|it| !it.is_empty()) {
        set("partitionkey", hash_key);
    }
    if let Some(expires_ms) = envelope.expires_ms.filter(|it| *it != NEVER_MS) {
        set("expirytime", &time::text(expires_ms));
    }
    for name in TRACE {
        if let Some(text) = headers::find_str(&envelope.headers, name) {
            attributes.entry(name.to_owned()).or_insert_with(|| text.to_owned());
        }
    }
    attributes.entry("source".to_owned()).or_insert_with(|| source.to_owned());
    if let Some(log_id) = envelope.log_id.as_deref() {
        beside.log_id = attributes.get("id").filter(|it| **it != log_id).map(|_| log_id.into());
        attributes.entry("id".to_owned()).or_insert_with(|| log_id.to_owned());
    }
    if let Some(empty) = REQUIRED.iter().find(|it| attributes.get(**it).is_none_or(String::is_empty)) {
        let hint = if *empty == "id" { ": give the message a log id" } else { "" };
        return Err(format!("CloudEvents: an event needs its {empty}{hint}"));
    }
    let mut block = Vec::new();
    let value = match mode {
        Mode::Binary => {
            for (name, text) in &attributes {
                headers::push(&mut block, format!("ce_{name}").as_bytes(), Some(text.as_bytes()));
            }
            if let Some(text) = content_type {
                headers::push(&mut block, CONTENT_TYPE.as_bytes(), Some(text.as_bytes()));
            }
            envelope.data.clone()
        }
        Mode::Structured => {
            let media_type = format!("{MEDIA_TYPE}+json; charset=UTF-8");
            headers::push(&mut block, CONTENT_TYPE.as_bytes(), Some(media_type.as_bytes()));
            Some(object(&attributes, content_type, envelope.data.as_deref())?)
        }
    };
    native::push_rest(&mut block, &beside, None);
    Ok(Encoded { key: envelope.key(), value, headers: block })
}

/// The headers of a message sorted into the event's attributes, its data's type, and what stands beside it.
type SortedOut<'a> = (BTreeMap<String, String>, Option<&'a str>, Envelope);

fn sorted_out(envelope: &Envelope) -> Result<SortedOut<'_>, String> {
    let mut attributes = BTreeMap::new();
    let mut content_type = None;
    let mut others = Vec::new();
    for header in Headers::new(&envelope.headers) {
        let text = || {
            std::str::from_utf8(header.value.unwrap_or_default()).map_err(|_| {
                format!("CloudEvents: the header {} is no UTF-8", String::from_utf8_lossy(header.name))
            })
        };
        if header.name.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()) {
            content_type = content_type.or(Some(text()?));
        } else if let Some(name) = attribute_of(header.name) {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            attributes.entry(name).or_insert(text()?.to_owned());
        } else {
            headers::push(&mut others, header.name, header.value);
        }
    }
    let beside = Envelope {
        delay_ms: envelope.delay_ms,
        due_ms: envelope.due_ms,
        url: envelope.url.clone(),
        attempt: envelope.attempt,
        headers: others.into(),
        ..Envelope::new("", None)
    };
    Ok((attributes, content_type, beside))
}

fn object(
    attributes: &BTreeMap<String, String>,
    content_type: Option<&str>,
    data: Option<&[u8]>,
) -> Result<Bytes, String> {
    let broken = |fault: serde_json::Error| format!("CloudEvents: {fault}");
    let string = |text: &str| serde_json::value::to_raw_value(text).map_err(broken);
    let mut all = BTreeMap::new();
    for (name, text) in attributes {
        all.insert(&**name, string(text)?);
    }
    if let Some(text) = content_type {
        all.insert("datacontenttype", string(text)?);
    }
    if let Some(data) = data {
        // Without a type nobody said that it is JSON, though it may look so.
        let json =
            content_type.is_some_and(is_json).then(|| serde_json::from_slice::<Box<RawValue>>(data).ok());
        let text = content_type.filter(|it| !is_json(it)).and(std::str::from_utf8(data).ok());
        match (json.flatten(), text) {
            (Some(json), _) => all.insert("data", json),
            (None, Some(text)) => all.insert("data", string(text)?),
            (None, None) => all.insert("data_base64", string(&STANDARD.encode(data))?),
        };
    }
    serde_json::to_vec(&all).map(Bytes::from).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Record;
    use crate::wire::samples::{block, shown, value};
    use crate::wire::{Format, decode};

    fn full() -> Envelope {
        let mut envelope = Envelope::new("order.paid", Some(Bytes::from_static(b"{\"a\":1}")));
        envelope.log_id = Some("A-1".into());
        envelope.hash_key = Some("k".into());
        envelope.expires_ms = Some(1_700_000_000_000);
        envelope.delay_ms = 5;
        envelope.headers =
            block(&[("content-type", "application/json"), ("traceparent", "00-a"), ("x", "y")]);
        envelope
    }

    #[test]
    fn written_to_the_byte() {
        let it = encode(&full(), "/drover", Mode::Structured).unwrap();
        let golden = concat!(
            r#"{"data":{"a":1},"datacontenttype":"application/json","expirytime":"2023-11-14T22:13:20.000Z","#,
            r#""id":"A-1","partitionkey":"k","source":"/drover","specversion":"1.0","traceparent":"00-a","#,
            r#""type":"order.paid"}"#
        );
        assert_eq!((it.value.unwrap(), it.key.unwrap()), (golden.into(), "k".into()));
        let beside = ["drover-delay-ms: 5", "traceparent: 00-a", "x: y"];
        assert_eq!(shown(&it.headers)[0], "content-type: application/cloudevents+json; charset=UTF-8");
        assert_eq!(shown(&it.headers)[1..], beside);
        let it = encode(&full(), "/drover", Mode::Binary).unwrap();
        assert_eq!(it.value.unwrap(), "{\"a\":1}");
        let attributes = [
            "ce_expirytime: 2023-11-14T22:13:20.000Z",
            "ce_id: A-1",
            "ce_partitionkey: k",
            "ce_source: /drover",
            "ce_specversion: 1.0",
            "ce_traceparent: 00-a",
            "ce_type: order.paid",
            "content-type: application/json",
        ];
        assert_eq!(shown(&it.headers), [&attributes[..], &beside].concat());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let datas: [Option<&[u8]>; 6] =
            [None, Some(b""), Some(b"\xff"), Some(b"{\"a\":1}"), Some(b"\"x\""), Some(b"text")];
        for mode in [Mode::Binary, Mode::Structured] {
            for content_type in ["", "application/json", "text/plain"] {
                for data in datas {
                    let mut envelope = full();
                    envelope.data = data.map(Bytes::copy_from_slice);
                    envelope.headers = if content_type.is_empty() {
                        Bytes::new()
                    } else {
                        block(&[("content-type", content_type)])
                    };
                    let Encoded { key, value, headers } = encode(&envelope, "/s", mode).unwrap();
                    let record =
                        Record::new(("t".into(), 0, 0), None, key.as_deref(), value.as_deref(), &headers);
                    let message = decode(Format::Auto, record).unwrap();
                    assert_eq!(message.value, envelope.data, "{mode:?} {content_type}");
                    let again = Envelope::of(&message);
                    let found = headers::find_str(&again.headers, "content-type").unwrap_or_default();
                    assert_eq!(found, content_type);
                    // The record's key says the hash key, as it should.
                    let again =
                        Envelope { headers: envelope.headers.clone(), hash_key: Some("k".into()), ..again };
                    assert_eq!(again, envelope, "{mode:?} {content_type}");
                }
            }
        }
    }

    #[test]
    fn an_event_keeps_its_identity_when_it_is_written_again() {
        let text = r#"{"specversion":"1.0","id":"A-1","source":"/s","type":"t","subject":"sub","data":1}"#;
        let first = decode(Format::Auto, value(text)).unwrap();
        for mode in [Mode::Binary, Mode::Structured] {
            let Encoded { value, headers, .. } = encode(&Envelope::of(&first), "/other", mode).unwrap();
            let record = Record::new(("t".into(), 0, 0), None, None, value.as_deref(), &headers);
            let again = decode(Format::Auto, record).unwrap();
            assert_eq!((&again.value, &again.headers), (&first.value, &first.headers));
        }
    }

    #[test]
    fn what_cannot_be_an_event_is_refused() {
        let mut envelope = Envelope::new("c", None);
        let reason = "CloudEvents: an event needs its id: give the message a log id";
        assert_eq!(encode(&envelope, "/s", Mode::Binary).unwrap_err(), reason);
        envelope.log_id = Some("l".into());
        assert_eq!(
            encode(&envelope, "", Mode::Binary).unwrap_err(),
            "CloudEvents: an event needs its source"
        );
        let mut block = Vec::new();
        headers::push(&mut block, b"ce_x", Some(b"\xff"));
        envelope.headers = block.into();
        let reason = "CloudEvents: the header ce_x is no UTF-8";
        assert_eq!(encode(&envelope, "/s", Mode::Structured).unwrap_err(), reason);
    }
}
