//! alpaca-mq's form (S17): `{"Cmd","LogId","HashKey","Data","Delay"}` as the value, the hash key as the key.
//!
//! Names count in any case, others are passed over. Whatever is missing is empty, but for the command.

use serde::Serialize;

use super::envelope::{Encoded, Envelope};
use super::json::{Fields, Reader, string};
use crate::domain::record::Record;

const FORM: &str = "alpaca-mq's form";

/// Whether an object is of this form, broken or not: it has Cmd and Data. In any other spelling than this,
/// which ordinary JSON may well use, both have to be strings.
pub(super) fn is(fields: &Fields<'_>) -> bool {
    let names = ["Cmd", "Data"];
    let text = |name| fields.value_in_any_case(name).and_then(string).is_some();
    fields.have(&names) || fields.have_in_any_case(&names) && names.into_iter().all(text)
}

pub(super) fn read(record: &Record, fields: &Fields<'_>) -> Result<Envelope, String> {
    let it = Reader { form: FORM, fields, any_case: true };
    it.whole()?;
    let Some(command) = it.text("Cmd")?.filter(|it| !it.is_empty()) else {
        return Err(format!("{FORM}: Cmd is missing or empty; it is what the message is routed by"));
    };
    let full = |name| it.text(name).map(|it| it.filter(|it| !it.is_empty()).map(Box::from));
    let delay_s = it.integer("Delay", "a whole number of seconds")?.unwrap_or(0);
    let data = it.bytes(it.text("Data")?.unwrap_or_default());
    Ok(Envelope {
        log_id: full("LogId")?,
        hash_key: full("HashKey")?,
        // Zero and less is no delay.
        delay_ms: u64::try_from(delay_s).unwrap_or(0).saturating_mul(1_000),
        headers: record.headers_shared(),
        ..Envelope::new(command, Some(data))
    })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Value<'a> {
    cmd: &'a str,
    log_id: &'a str,
    hash_key: &'a str,
    data: &'a str,
    delay: u64,
}

/// As alpaca-mq's own consumer reads it: no record headers, which it is too old for; a part of a second of
/// delay is a whole one.
///
/// # Errors
/// What this form has no place for.
pub fn encode(envelope: &Envelope) -> Result<Encoded, String> {
    envelope.refuse_timing(FORM, true)?;
    envelope.refuse_headers(FORM)?;
    if envelope.url.is_some() {
        return Err(format!("{FORM} has no place for a url: use the native form"));
    }
    let value = Value {
        cmd: &envelope.command,
        log_id: envelope.log_id.as_deref().unwrap_or_default(),
        hash_key: envelope.hash_key.as_deref().unwrap_or_default(),
        data: envelope.text(FORM)?,
        delay: envelope.delay_ms.div_ceil(1_000),
    };
    let value = serde_json::to_vec(&value).map_err(|it| format!("{FORM}: {it}"))?;
    Ok(Encoded { key: envelope.key(), value: Some(value.into()), headers: Vec::new() })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::samples::{T0, block, record, value};
    use crate::wire::{Format, decode};

    const GOLDEN: &str = r#"{"Cmd":"pay","LogId":"l-1","HashKey":"k-1","Data":"{\"a\":1}","Delay":5}"#;

    #[test]
    fn golden() {
        let it = decode(Format::Auto, record(Some(b"k-1"), Some(GOLDEN.as_bytes()), &[("a", "b")])).unwrap();
        assert_eq!((&*it.command, &*it.log_id, it.hash_key.as_deref()), ("pay", "l-1", None));
        assert_eq!((it.delay_ms, it.due_ms, it.expires_ms), (5_000, Some(T0 + 5_000), None));
        assert_eq!(it.value.as_deref(), Some(&br#"{"a":1}"#[..]));
        assert_eq!(it.headers, block(&[("a", "b")]));
        let it = decode(Format::Alpaca, value(GOLDEN)).unwrap();
        assert_eq!(it.hash_key.as_deref(), Some("k-1"));
    }

    /// S17: what their writers leave out, add, double and spell otherwise.
    #[test]
    fn all_spellings() {
        // value, command, data, delay in ms
        let cases = [
            (r#"{"Cmd":"c","Data":"d"}"#, "c", "d", 0),
            (r#"{"cmd":"c","DATA":"d","delay":2}"#, "c", "d", 2_000),
            (r#"{"Cmd":"c","Data":"","Delay":-3,"LogId":"","HashKey":""}"#, "c", "", 0),
            (r#"{"Cmd":"c","Data":null,"Delay":null,"LogId":null,"More":[{"Cmd":1}]}"#, "c", "", 0),
            (r#"{"Cmd":"a","Data":"b","cmd":"c","data":"d"}"#, "c", "d", 0),
            ("\u{feff} {\"Cmd\":\"c\",\"Data\":\"发\\u0041\\/\"}\n", "c", "发A/", 0),
            (r#"{"Cmd":"c","Data":"d","Delay":9223372036854775807}"#, "c", "d", u64::MAX),
        ];
        for (text, command, data, delay_ms) in cases {
            for format in [Format::Auto, Format::Alpaca] {
                let it = decode(format, value(text)).unwrap();
                assert_eq!((&*it.command, it.delay_ms), (command, delay_ms), "{text}");
                assert_eq!(it.value.as_deref(), Some(data.as_bytes()), "{text}");
                assert_eq!((&*it.log_id, it.hash_key.as_deref()), ("orders[3]@42", None), "{text}");
            }
        }
        assert_eq!(&*decode(Format::Alpaca, value(r#"{"cmd":"c"}"#)).unwrap().command, "c");
    }

    /// S24.
    #[test]
    fn broken_ones_say_what_is_wrong() {
        let cases = [
            (
                r#"{"Cmd":"c","Data":"d","Delay":"5"}"#,
                r#"alpaca-mq's form: Delay has to be a whole number of seconds, it is "5""#,
            ),
            (
                r#"{"cmd":"c","data":"d","delay":1.5}"#,
                "alpaca-mq's form: Delay has to be a whole number of seconds, it is 1.5",
            ),
            (
                r#"{"Cmd":"c","Data":"d","Delay":99999999999999999999}"#,
                "alpaca-mq's form: Delay has to be a whole number of seconds, it is 99999999999999999999",
            ),
            (
                r#"{"Cmd":"","Data":"d"}"#,
                "alpaca-mq's form: Cmd is missing or empty; it is what the message is routed by",
            ),
            (r#"{"Cmd":7,"Data":"d"}"#, "alpaca-mq's form: Cmd has to be a string, it is 7"),
            (r#"{"Cmd":"c","Data":{"a":1}}"#, r#"alpaca-mq's form: Data has to be a string, it is {"a":1}"#),
            (
                r#"{"Cmd":"c","Data":"\ud800"}"#,
                "alpaca-mq's form: Data is no valid string: unexpected end of hex escape at line 1 column 8",
            ),
            (
                r#"{"Cmd":"c","Data":"cut of"#,
                "alpaca-mq's form: the value is no whole JSON object: EOF while parsing a string at line 1 \
                 column 25",
            ),
            (
                r#"{"Cmd":"c","Data":"d"} x"#,
                "alpaca-mq's form: the value is no whole JSON object: trailing characters at line 1 column 24",
            ),
        ];
        for (text, detail) in cases {
            for format in [Format::Auto, Format::Alpaca] {
                let (record, failure) = decode(format, value(text)).unwrap_err();
                assert_eq!(failure.detail, detail);
                assert_eq!(record.value(), Some(text.as_bytes()));
            }
        }
        let (_, failure) =
            decode(Format::Auto, record(None, Some(b"{\"Cmd\":\"c\",\"Data\":\"\xff\"}"), &[])).unwrap_err();
        let detail = "alpaca-mq's form: the value is no whole JSON object: invalid unicode code point";
        assert!(failure.detail.starts_with(detail), "{}", failure.detail);
    }

    #[test]
    fn written_to_the_byte() {
        let mut envelope = Envelope::new("pay", Some(Bytes::from_static(b"{\"a\":1}")));
        let plain = encode(&envelope).unwrap();
        assert_eq!(
            plain.value.unwrap(),
            r#"{"Cmd":"pay","LogId":"","HashKey":"","Data":"{\"a\":1}","Delay":0}"#
        );
        assert_eq!(plain.key, None);
        envelope.log_id = Some("l-1".into());
        envelope.hash_key = Some("k-1".into());
        envelope.delay_ms = 4_001;
        envelope.headers = block(&[("traceparent", "00-aa-bb-01")]);
        let full = encode(&envelope).unwrap();
        assert_eq!(
            (full.value.unwrap(), full.key.unwrap(), full.headers),
            (GOLDEN.into(), "k-1".into(), vec![])
        );
    }

    #[test]
    fn what_it_cannot_say_is_refused() {
        let plain = Envelope::new("pay", None);
        let cases = [
            (
                Envelope { data: Some(Bytes::from_static(b"\xff")), ..plain.clone() },
                "alpaca-mq's form holds its data as text, and these are no UTF-8: send them in the native form",
            ),
            (
                Envelope { expires_ms: Some(1), ..plain.clone() },
                "alpaca-mq's form has no place for an expiry: use the native form",
            ),
            (
                Envelope { due_ms: Some(1), ..plain.clone() },
                "alpaca-mq's form has no place for a due time: use the native form",
            ),
            (
                Envelope { headers: block(&[("x-a", "b")]), ..plain.clone() },
                "alpaca-mq's form has no place for headers (there is \"x-a\"): use the native form",
            ),
            (
                Envelope { url: Some("http://a/".into()), ..plain },
                "alpaca-mq's form has no place for a url: use the native form",
            ),
        ];
        for (envelope, reason) in cases {
            assert_eq!(encode(&envelope).unwrap_err(), reason);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for data in ["", "d", "\"\\\u{0}\u{1f}\u{7f}<&>发😀\u{2028}", "{\"Cmd\":\"x\"}"] {
            let mut envelope = Envelope::new("c\"", Some(Bytes::copy_from_slice(data.as_bytes())));
            envelope.log_id = Some("l".into());
            envelope.hash_key = Some("k\n".into());
            envelope.delay_ms = 3_000;
            let Encoded { key, value, headers } = encode(&envelope).unwrap();
            let record = Record::new(("t".into(), 0, 0), None, None, value.as_deref(), &headers);
            assert_eq!(Envelope::of(&decode(Format::Auto, record).unwrap()), envelope);
            assert_eq!(key.unwrap(), "k\n");
        }
    }
}
