//! bigpipe's form (S18): `{"Headers":{name:[values]},"Url","Data","Topic","Partition","CreateTime"}` as the
//! value, no key. It has no command: that is the topic's name.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::{Deserializer as _, Error, MapAccess, Visitor};

use super::envelope::{Encoded, Envelope};
use super::json::{Fields, Reader, excerpt};
use crate::domain::headers::{self, Headers};
use crate::domain::record::Record;

const FORM: &str = "bigpipe's form";
const NAMES: [&str; 6] = ["Headers", "Url", "Data", "Topic", "Partition", "CreateTime"];

/// Whether an object is of this form, broken or not: the first three of its names, and one of the others.
pub(super) fn is(fields: &Fields<'_>) -> bool {
    let (telling, others) = NAMES.split_at(3);
    fields.have(telling) && others.iter().any(|it| fields.have(&[it]))
}

pub(super) fn read(record: &Record, fields: &Fields<'_>) -> Result<Envelope, String> {
    let it = Reader { form: FORM, fields, any_case: false };
    it.whole()?;
    if let Some(missing) = NAMES.iter().find(|it| fields.value(it).is_none()) {
        return Err(format!("{FORM}: {missing} is missing; all of {} are needed", NAMES.join(", ")));
    }
    let text = |name| match it.value(name) {
        Some(_) => it.text(name).map(Option::unwrap_or_default),
        None => Err(format!("{FORM}: {name} has to be a string, it is null")),
    };
    let whole = |name| match it.integer(name, "a whole number")? {
        Some(number) => Ok(number),
        None => Err(format!("{FORM}: {name} has to be a whole number, it is null")),
    };
    // Where the record lies Kafka knows better; they are read so that a broken record is known for one.
    let _ = (text("Topic")?, whole("Partition")?, whole("CreateTime")?);
    let mut headers = it.value("Headers").map_or(Ok(Vec::new()), |it| block(it.get()))?;
    headers.extend_from_slice(record.headers());
    Ok(Envelope {
        url: Some(text("Url")?.into()),
        headers: headers.into(),
        ..Envelope::new(&*record.topic, Some(it.bytes(text("Data")?)))
    })
}

/// All values of all headers as a block, in their order; a name that comes twice is kept twice.
fn block(headers: &str) -> Result<Vec<u8>, String> {
    let mut json = serde_json::Deserializer::from_str(headers);
    (&mut json).deserialize_map(Lists).map_err(|fault| {
        // The position counts from the start of Headers: it would mislead.
        let fault = fault.to_string();
        let fault = fault.split(" at line").next().unwrap_or_default();
        let wanted = "an object with a list of strings for each name";
        format!("{FORM}: Headers has to be {wanted} ({fault}), it is {}", excerpt(headers))
    })
}

struct Lists;

impl<'de> Visitor<'de> for Lists {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of lists")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<u8>, A::Error> {
        let mut block = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.len() > usize::from(u16::MAX) {
                return Err(A::Error::custom("a name is longer than 65535 bytes"));
            }
            // Go writes an empty list as null.
            for value in map.next_value::<Option<Vec<String>>>()?.unwrap_or_default() {
                headers::push(&mut block, name.as_bytes(), Some(value.as_bytes()));
            }
        }
        Ok(block)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Value<'a> {
    headers: BTreeMap<&'a str, Vec<&'a str>>,
    url: &'a str,
    data: &'a str,
    topic: &'a str,
    partition: i32,
    create_time: u64,
}

/// Where and when a record is written; bigpipe repeats it in the value.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub topic: &'a str,
    /// By [`crate::domain::partitioner::bigpipe`].
    pub partition: i32,
    /// In ms since 1970.
    pub created_ms: u64,
}

/// As bigpipe's own consumer reads it: no key, no record headers. The command is not written, it is the
/// topic; nor is the log id, for which there is no place.
///
/// # Errors
/// What this form has no place for.
pub fn encode(envelope: &Envelope, place: Place<'_>) -> Result<Encoded, String> {
    envelope.refuse_timing(FORM, false)?;
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for header in Headers::new(&envelope.headers) {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let (Some(name), Some(value)) = (text(header.name), text(header.value.unwrap_or_default())) else {
            let name = String::from_utf8_lossy(header.name);
            return Err(format!(
                "{FORM} holds headers as text, and {name:?} is no UTF-8: use the native form"
            ));
        };
        headers.entry(name).or_default().push(value);
    }
    let value = Value {
        headers,
        url: envelope.url.as_deref().unwrap_or_default(),
        data: envelope.text(FORM)?,
        topic: place.topic,
        partition: place.partition,
        create_time: place.created_ms,
    };
    let value = serde_json::to_vec(&value).map_err(|it| format!("{FORM}: {it}"))?;
    Ok(Encoded { key: None, value: Some(Bytes::from(value)), headers: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{block, record, shown, value};
    use crate::wire::{Format, decode};

    const GOLDEN: &str = concat!(
        r#"{"Headers":{"Accept":["a","b"],"X-Trace":["t"]},"Url":"http://a.example/p?q=1","Data":"{\"a\":1}","#,
        r#""Topic":"orders","Partition":3,"CreateTime":1700000000000}"#
    );

    #[test]
    fn golden() {
        for format in [Format::Auto, Format::Bigpipe] {
            let it = decode(format, record(None, Some(GOLDEN.as_bytes()), &[("own", "1")])).unwrap();
            assert_eq!((&*it.command, it.url.as_deref()), ("orders", Some("http://a.example/p?q=1")));
            assert_eq!(it.value.as_deref(), Some(&br#"{"a":1}"#[..]));
            assert_eq!(shown(&it.headers), ["Accept: a", "Accept: b", "X-Trace: t", "own: 1"]);
            assert_eq!((&*it.log_id, it.delay_ms, it.due_ms), ("orders[3]@42", 0, None));
        }
    }

    /// S18: all values, also of names that come twice or differ in case only.
    #[test]
    fn headers_keep_all_values() {
        let cases: [(&str, &[&str]); 6] = [
            ("{}", &[]),
            ("null", &[]),
            (r#"{"a":[],"b":null}"#, &[]),
            (r#"{"a":["1","1",""],"A":["2"],"a":["3"]}"#, &["a: 1", "a: 1", "a: ", "A: 2", "a: 3"]),
            (r#"{"":["\u0000"]}"#, &[": \0"]),
            (r#"{"Drover-Command":["no"]}"#, &["Drover-Command: no"]),
        ];
        for (headers, all) in cases {
            let text = format!(
                r#"{{"Headers":{headers},"Url":"","Data":"","Topic":"","Partition":-1,"CreateTime":0,"More":0}}"#
            );
            let it = decode(Format::Auto, value(&text)).unwrap();
            assert_eq!(shown(&it.headers), all, "{headers}");
            assert_eq!(
                (&*it.command, it.value.as_deref(), it.url.as_deref()),
                ("orders", Some(&b""[..]), Some(""))
            );
        }
    }

    /// S24.
    #[test]
    fn broken_ones_say_what_is_wrong() {
        let all = "all of Headers, Url, Data, Topic, Partition, CreateTime are needed";
        let lists = "bigpipe's form: Headers has to be an object with a list of strings for each name";
        let cases = [
            (
                r#""CreateTime":1"#,
                r#""createtime":1"#,
                format!("bigpipe's form: CreateTime is missing; {all}"),
            ),
            (r#""Topic":"t""#, r#""t":"t""#, format!("bigpipe's form: Topic is missing; {all}")),
            (r#""Url":"u""#, r#""Url":null"#, "bigpipe's form: Url has to be a string, it is null".into()),
            (r#""Data":"d""#, r#""Data":[1]"#, "bigpipe's form: Data has to be a string, it is [1]".into()),
            (
                r#""Partition":0"#,
                r#""Partition":0.5"#,
                "bigpipe's form: Partition has to be a whole number, it is 0.5".into(),
            ),
            (
                r#""CreateTime":1"#,
                r#""CreateTime":null"#,
                "bigpipe's form: CreateTime has to be a whole number, it is null".into(),
            ),
            (
                "{}",
                r#"{"a":"b"}"#,
                format!(
                    "{lists} (invalid type: string \"b\", expected a sequence), it is \
                     {{\"a\":\"b\"}}"
                ),
            ),
            ("{}", "[]", format!("{lists} (invalid type: sequence, expected an object of lists), it is []")),
        ];
        for (good, bad, detail) in cases {
            let whole = r#"{"Headers":{},"Url":"u","Data":"d","Topic":"t","Partition":0,"CreateTime":1}"#;
            let text = whole.replace(good, bad);
            for format in [Format::Auto, Format::Bigpipe] {
                let (record, failure) = decode(format, value(&text)).unwrap_err();
                assert_eq!((failure.detail.as_str(), record.value()), (&*detail, Some(text.as_bytes())));
            }
        }
    }

    #[test]
    fn deep_or_long_headers_are_errors_and_no_crash() {
        let with = |headers: &str| {
            let text = format!(
                r#"{{"Headers":{headers},"Url":"","Data":"","Topic":"","Partition":0,"CreateTime":0}}"#
            );
            decode(Format::Auto, value(&text))
        };
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(with(&deep).is_err());
        assert!(with(&format!("{{\"{}\":[\"\"]}}", "n".repeat(65_536))).is_err());
        assert!(with(&format!("{{\"{}\":[\"\"]}}", "n".repeat(65_535))).is_ok());
    }

    #[test]
    fn written_to_the_byte_and_read_again() {
        let mut envelope = Envelope::new("orders", Some(Bytes::from_static(b"{\"a\":1}")));
        envelope.url = Some("http://a.example/p?q=1".into());
        envelope.headers = block(&[("X-Trace", "t"), ("Accept", "a"), ("Accept", "b")]);
        let place = Place { topic: "orders", partition: 3, created_ms: 1_700_000_000_000 };
        let Encoded { key, value: written, headers } = encode(&envelope, place).unwrap();
        assert_eq!((written.as_deref(), key, headers), (Some(GOLDEN.as_bytes()), None, vec![]));
        let again = Envelope::of(&decode(Format::Auto, value(GOLDEN)).unwrap());
        envelope.headers = block(&[("Accept", "a"), ("Accept", "b"), ("X-Trace", "t")]);
        envelope.log_id = Some("orders[3]@42".into());
        assert_eq!(again, envelope);
    }

    #[test]
    fn what_it_cannot_say_is_refused() {
        let place = Place { topic: "t", partition: 0, created_ms: 0 };
        let plain = Envelope::new("pay", None);
        let mut binary = Vec::new();
        headers::push(&mut binary, b"x", Some(b"\xff"));
        let cases = [
            (
                Envelope { delay_ms: 1, ..plain.clone() },
                "bigpipe's form has no place for a delay: use the native form",
            ),
            (
                Envelope { expires_ms: Some(1), ..plain.clone() },
                "bigpipe's form has no place for an expiry: use the native form",
            ),
            (
                Envelope { data: Some(Bytes::from_static(b"\xff")), ..plain.clone() },
                "bigpipe's form holds its data as text, and these are no UTF-8: send them in the native form",
            ),
            (
                Envelope { headers: binary.into(), ..plain },
                "bigpipe's form holds headers as text, and \"x\" is no UTF-8: use the native form",
            ),
        ];
        for (envelope, reason) in cases {
            assert_eq!(encode(&envelope, place).unwrap_err(), reason);
        }
    }
}
