//! What a request to `/v1/messages` says: JSON in, or raw data with its envelope in the query. Every mistake
//! is told by the name of its field, with what to do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use crate::domain::headers;
use crate::wire::Envelope;

/// One message as it was sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    pub topic: Option<String>,
    /// The record's key.
    pub key: Option<String>,
    /// The rest.
    pub envelope: Envelope,
}

/// Whether the answer is one for each of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    pub messages: Vec<Sent>,
    pub is_list: bool,
}

/// Messages of one request.
const MESSAGES_MAX: usize = 10_000;
const HEADERS_MAX: usize = 100;
/// Of a command, a key, a log id.
const TEXT_BYTES_MAX: usize = 32 << 10;

const FIELDS: [&str; 12] = [
    "command",
    "data",
    "text",
    "data_base64",
    "key",
    "hash_key",
    "topic",
    "headers",
    "log_id",
    "delay_ms",
    "due_ms",
    "expires_ms",
];
const QUERY_FIELDS: [&str; 8] =
    ["command", "key", "hash_key", "topic", "log_id", "delay_ms", "due_ms", "expires_ms"];

type Fields<'a> = Vec<(String, &'a RawValue)>;

/// A JSON body.
pub fn json(body: &[u8]) -> Result<Batch, String> {
    let fields = object(body).map_err(|it| format!("the body is no JSON object: {it}"))?;
    let Some((_, list)) = fields.iter().find(|it| it.0 == "messages") else {
        return Ok(Batch { messages: vec![message(fields, "")?], is_list: false });
    };
    if let Some((other, _)) = fields.iter().find(|it| it.0 != "messages") {
        let other = short(other);
        return Err(format!("`{other}` beside `messages`: write it in each of the messages"));
    }
    if fields.len() > 1 {
        return Err("`messages` stands there twice: send one list".to_owned());
    }
    let list: Vec<&RawValue> =
        serde_json::from_str(list.get()).map_err(|_| "`messages` has to be a list of objects".to_owned())?;
    if list.is_empty() {
        return Err("`messages` is empty: send at least one".to_owned());
    }
    if list.len() > MESSAGES_MAX {
        let length = list.len();
        return Err(format!("`messages` has {length} of them: send at most {MESSAGES_MAX} in one request"));
    }
    let one = |(index, it): (usize, &&RawValue)| {
        let at = format!("messages[{index}].");
        let fields = object(it.get().as_bytes())
            .map_err(|_| format!("`messages[{index}]` has to be an object with a `command`"))?;
        message(fields, &at)
    };
    let messages = list.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    Ok(Batch { messages, is_list: true })
}

/// A body that is the data itself.
pub fn raw(query: &str, content_type: Option<&str>, body: Bytes) -> Result<Batch, String> {
    let mut sent = Sent { topic: None, key: None, envelope: Envelope::new("", Some(body)) };
    let mut named: Vec<String> = Vec::new();
    if let Some(name) = not_utf8(query) {
        return Err(format!("`{name}` is not UTF-8 in the query: write its UTF-8 bytes, each as %XX"));
    }
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if named.iter().any(|it| *it == name) {
            return Err(format!("`{name}` stands twice in the query"));
        }
        if !QUERY_FIELDS.contains(&&*name) {
            return Err(format!(
                "`{}` is no field that the query may have; these are: {}",
                short(&name),
                QUERY_FIELDS.join(", ")
            ));
        }
        let text = value.into_owned();
        limit(&format!("`{name}`"), &text)?;
        put(&mut sent, "", &name, text)?;
        named.push(name.into_owned());
    }
    if sent.envelope.command.is_empty() {
        return Err(missing_command(""));
    }
    if let Some(content_type) = content_type {
        let mut block = Vec::new();
        headers::push(&mut block, b"content-type", Some(content_type.as_bytes()));
        sent.envelope.headers = block.into();
    }
    Ok(Batch { messages: vec![sent], is_list: false })
}

/// The members of an object in their order; a name that comes twice stands twice.
fn object(text: &[u8]) -> Result<Fields<'_>, String> {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Fields<'de>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
            let mut all = Vec::new();
            while let Some(member) = map.next_entry::<String, &RawValue>()? {
                all.push(member);
            }
            Ok(all)
        }
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let fields = serde::Deserializer::deserialize_map(&mut json, Members).map_err(|it| it.to_string())?;
    json.end().map_err(|it| it.to_string())?;
    Ok(fields)
}

/// `at`: what stands before a field's name in errors.
fn message(fields: Fields<'_>, at: &str) -> Result<Sent, String> {
    let mut sent = Sent { topic: None, key: None, envelope: Envelope::new("", None) };
    let mut data: Option<String> = None;
    for (index, (name, value)) in fields.iter().enumerate() {
        if !FIELDS.contains(&name.as_str()) {
            let all = FIELDS.join(", ");
            let name = short(name);
            return Err(format!("`{at}{name}` is no field of a message; these are: {all}"));
        }
        if fields[..index].iter().any(|it| it.0 == *name) {
            return Err(format!("`{at}{name}` stands there twice"));
        }
        match name.as_str() {
            "data" | "text" | "data_base64" => {
                if let Some(other) = data.replace(name.clone()) {
                    return Err(format!("both `{at}{other}` and `{at}{name}`: send one of them"));
                }
                sent.envelope.data = Some(payload(at, name, value)?);
            }
            // Null is the same as left out, but for data.
            _ if value.get() == "null" => {}
            "headers" => sent.envelope.headers = header_block(at, value)?,
            "delay_ms" | "due_ms" | "expires_ms" => put(&mut sent, at, name, value.get().to_owned())?,
            _ => {
                let text = string(at, name, value)?;
                limit(&format!("`{at}{name}`"), &text)?;
                put(&mut sent, at, name, text)?;
            }
        }
    }
    if sent.envelope.command.is_empty() {
        return Err(missing_command(at));
    }
    match data.as_deref() {
        None => {
            return Err(format!(
                "`{at}data` is missing: send `data` (any JSON), `text` or `data_base64`; `\"text\": \"\"` for none"
            ));
        }
        // A service that is sent JSON is told so.
        Some("data") if headers::find(&sent.envelope.headers, "content-type").is_none() => {
            let mut block = sent.envelope.headers.to_vec();
            headers::push(&mut block, b"content-type", Some(b"application/json"));
            sent.envelope.headers = block.into();
        }
        Some(_) => {}
    }
    Ok(sent)
}

fn put(sent: &mut Sent, at: &str, name: &str, text: String) -> Result<(), String> {
    let envelope = &mut sent.envelope;
    match name {
        "command" => envelope.command = text.into(),
        "key" => sent.key = Some(text),
        "hash_key" => envelope.hash_key = Some(text.into()),
        "topic" => sent.topic = Some(text),
        "log_id" if text.is_empty() => {}
        "log_id" => envelope.log_id = Some(text.into()),
        "delay_ms" => envelope.delay_ms = number(at, name, &text, "milliseconds from now")?,
        "due_ms" => envelope.due_ms = Some(number(at, name, &text, SINCE_1970)?),
        _ => envelope.expires_ms = Some(number(at, name, &text, SINCE_1970)?),
    }
    Ok(())
}

const SINCE_1970: &str = "milliseconds since 1970";

fn number(at: &str, name: &str, text: &str, of: &str) -> Result<u64, String> {
    let wrong = |_| format!("`{at}{name}` has to be a whole number of {of}, it is {}", short(text));
    text.parse().map_err(wrong)
}

fn payload(at: &str, name: &str, value: &RawValue) -> Result<Bytes, String> {
    match name {
        // As it was written: numbers keep their digits.
        "data" => Ok(Bytes::copy_from_slice(value.get().as_bytes())),
        "text" => string(at, name, value).map(Bytes::from),
        _ => {
            let text = string(at, name, value)?;
            let bytes = STANDARD.decode(&text).map_err(|it| {
                format!("`{at}{name}` is no base64 ({it}): the standard alphabet, with padding")
            })?;
            Ok(bytes.into())
        }
    }
}

fn header_block(at: &str, value: &RawValue) -> Result<Bytes, String> {
    let wrong = || format!("`{at}headers` has to be an object whose values are strings");
    let all = object(value.get().as_bytes()).map_err(|_| wrong())?;
    if all.len() > HEADERS_MAX {
        return Err(format!("`{at}headers` has {} of them, at most {HEADERS_MAX} are taken", all.len()));
    }
    let mut block = Vec::new();
    for (name, value) in all {
        let text: String = serde_json::from_str(value.get()).map_err(|_| wrong())?;
        if name.is_empty() || name.len() > 1_024 {
            return Err(format!("`{at}headers` has a name that is empty or longer than 1024 bytes"));
        }
        if name.to_ascii_lowercase().starts_with("drover-") {
            return Err(format!(
                "`{at}headers.{name}`: names that begin with drover- are ours; the fields of the message set them"
            ));
        }
        // It is for a service that is called by HTTP: what that cannot carry would never come there.
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let name = short(&name).escape_debug().to_string();
            return Err(format!(
                "`{at}headers.{name}` is no name of a header: take letters, digits, `-` and `_`"
            ));
        }
        if http::HeaderValue::from_bytes(text.as_bytes()).is_err() {
            let what =
                "has a control character, which no header carries: leave it out, or send it in the data";
            return Err(format!("`{at}headers.{}` {what}", short(&name)));
        }
        headers::push(&mut block, name.as_bytes(), Some(text.as_bytes()));
    }
    Ok(block.into())
}

fn string(at: &str, name: &str, value: &RawValue) -> Result<String, String> {
    serde_json::from_str(value.get()).map_err(|_| {
        // Of what is JSON, only half of a surrogate pair makes a string that is none.
        if value.get().starts_with('"') {
            return format!(
                "`{at}{name}` has half of a surrogate pair (such as `\\ud83d` alone): write both halves, or the \
                 character itself"
            );
        }
        format!("`{at}{name}` has to be a string, it is {}", short(value.get()))
    })
}

/// The first field of a query whose bytes are not UTF-8. They would be replaced, and two keys become one.
fn not_utf8(query: &str) -> Option<String> {
    let bad = query.split('&').find(|it| percent_decode_str(it).decode_utf8().is_err())?;
    Some(short(bad.split('=').next().unwrap_or_default()))
}

/// For an error: what was sent may be a whole body.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

fn limit(name: &str, text: &str) -> Result<(), String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("{name} has {} bytes, at most {TEXT_BYTES_MAX} are taken", text.len()));
    }
    Ok(())
}

fn missing_command(at: &str) -> String {
    format!("`{at}command` is missing or empty: it decides where the message goes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::headers::Headers;

    #[test]
    fn one_message() {
        let body = r#"{"command":"pay","data":{"a": 1.50},"key":"k","hash_key":"h","topic":"t","log_id":"l",
                      "headers":{"a":"b"},"expires_ms":5,"delay_ms":7,"due_ms":8}"#;
        let batch = json(body.as_bytes()).unwrap();
        assert!(!batch.is_list);
        let it = &batch.messages[0];
        assert_eq!((it.topic.as_deref(), it.key.as_deref()), (Some("t"), Some("k")));
        let it = &it.envelope;
        assert_eq!(
            (&*it.command, it.log_id.as_deref(), it.hash_key.as_deref()),
            ("pay", Some("l"), Some("h"))
        );
        assert_eq!((it.data.as_deref(), it.expires_ms), (Some(&br#"{"a": 1.50}"#[..]), Some(5)));
        assert_eq!((it.delay_ms, it.due_ms), (7, Some(8)));
        let headers: Vec<_> = Headers::new(&it.headers).map(|it| (it.name, it.value)).collect();
        let json_type = (&b"content-type"[..], Some(&b"application/json"[..]));
        assert_eq!(headers, [(&b"a"[..], Some(&b"b"[..])), json_type]);
    }

    #[test]
    fn only_json_without_a_type_is_given_one() {
        let cases = [
            (r#"{"command":"c","data":1}"#, Some("application/json")),
            (r#"{"command":"c","data":1,"headers":{"Content-Type":"a/b"}}"#, Some("a/b")),
            (r#"{"command":"c","text":"1"}"#, None),
            (r#"{"command":"c","data_base64":""}"#, None),
        ];
        for (body, expected) in cases {
            let sent = json(body.as_bytes()).unwrap().messages.remove(0);
            assert_eq!(headers::find_str(&sent.envelope.headers, "content-type"), expected, "{body}");
        }
    }

    #[test]
    fn data_in_three_ways() {
        let cases = [
            (r#"{"command":"c","data":null}"#, &b"null"[..]),
            (r#"{"command":"c","data":"x"}"#, b"\"x\""),
            (r#"{"command":"c","text":"x\n","key":null}"#, b"x\n"),
            (r#"{"command":"c","text":""}"#, b""),
            (r#"{"command":"c","data_base64":"/wA="}"#, b"\xff\0"),
        ];
        for (body, data) in cases {
            assert_eq!(
                json(body.as_bytes()).unwrap().messages[0].envelope.data.as_deref(),
                Some(data),
                "{body}"
            );
        }
    }

    #[test]
    fn every_mistake_names_its_field() {
        let cases = [
            ("", "the body is no JSON object: EOF while parsing a value at line 1 column 0"),
            (
                "[]",
                "the body is no JSON object: invalid type: sequence, expected an object at line 1 column 0",
            ),
            (r#"{"data":1}"#, "`command` is missing or empty: it decides where the message goes"),
            (r#"{"command":5,"data":1}"#, "`command` has to be a string, it is 5"),
            (r#"{"command":"c","command":"d","data":1}"#, "`command` stands there twice"),
            (
                r#"{"comand":"c","data":1}"#,
                "`comand` is no field of a message; these are: command, data, text, data_base64, key, hash_key, \
                 topic, headers, log_id, delay_ms, due_ms, expires_ms",
            ),
            (r#"{"command":"c","data":1,"text":"2"}"#, "both `data` and `text`: send one of them"),
            (
                r#"{"command":"c"}"#,
                "`data` is missing: send `data` (any JSON), `text` or `data_base64`; `\"text\": \"\"` for none",
            ),
            (
                r#"{"command":"c","data":1,"delay_ms":"5"}"#,
                "`delay_ms` has to be a whole number of milliseconds from now, it is \"5\"",
            ),
            (
                r#"{"command":"c","data":1,"expires_ms":"soon"}"#,
                "`expires_ms` has to be a whole number of milliseconds since 1970, it is \"soon\"",
            ),
            (
                r#"{"command":"c","data":1,"headers":{"a":1}}"#,
                "`headers` has to be an object whose values are strings",
            ),
            (
                r#"{"command":"c","data":1,"headers":{"Drover-Due-Ms":"1"}}"#,
                "`headers.Drover-Due-Ms`: names that begin with drover- are ours; the fields of the message set them",
            ),
            (
                r#"{"command":"c","data":1,"headers":{"x a":"1"}}"#,
                "`headers.x a` is no name of a header: take letters, digits, `-` and `_`",
            ),
            (
                r#"{"command":"c","data":1,"headers":{"x-a":"1\r\nx-b: 2"}}"#,
                "`headers.x-a` has a control character, which no header carries: leave it out, or send it in the data",
            ),
            (r#"{"messages":[]}"#, "`messages` is empty: send at least one"),
            (r#"{"messages":{}}"#, "`messages` has to be a list of objects"),
            (r#"{"messages":[],"topic":"t"}"#, "`topic` beside `messages`: write it in each of the messages"),
            (
                r#"{"messages":[{"command":"c","data":1},{"command":"","data":1}]}"#,
                "`messages[1].command` is missing or empty: it decides where the message goes",
            ),
            (r#"{"messages":[],"messages":[]}"#, "`messages` stands there twice: send one list"),
            (
                r#"{"command":"c","text":"\ud83d"}"#,
                "`text` has half of a surrogate pair (such as `\\ud83d` alone): write both halves, or the \
                 character itself",
            ),
            (r#"{"messages":[7]}"#, "`messages[0]` has to be an object with a `command`"),
        ];
        for (body, error) in cases {
            assert_eq!(json(body.as_bytes()).unwrap_err(), error, "{body}");
        }
        assert!(
            json(br#"{"command":"c","data_base64":"?"}"#)
                .unwrap_err()
                .starts_with("`data_base64` is no base64")
        );
    }

    /// An error is for a person, however long what was sent is.
    #[test]
    fn errors_are_short() {
        let long = "u".repeat(100_000);
        let bodies = [
            format!(r#"{{"{long}":1}}"#),
            format!(r#"{{"messages":[],"{long}":1}}"#),
            format!(r#"{{"command":"c","data":1,"expires_ms":"{long}"}}"#),
            format!(r#"{{"command":"c","data":1,"key":["{long}"]}}"#),
        ];
        for body in bodies {
            let error = json(body.as_bytes()).unwrap_err();
            assert!(error.len() < 300, "{} bytes", error.len());
        }
        assert!(raw(&format!("{long}=1"), None, Bytes::new()).unwrap_err().len() < 300);
    }

    #[test]
    fn raw_data() {
        let batch =
            raw("command=pay&key=k%20%E5%8F%91&log_id=", Some("image/png"), Bytes::from_static(b"\xff"));
        let it = batch.unwrap().messages.remove(0);
        assert_eq!((&*it.envelope.command, it.key.as_deref()), ("pay", Some("k 发")));
        assert_eq!((it.envelope.data.as_deref(), it.envelope.log_id), (Some(&b"\xff"[..]), None));
        let cases = [
            ("key=k", "`command` is missing or empty: it decides where the message goes"),
            ("command=a&command=b", "`command` stands twice in the query"),
            (
                "command=a&x=1",
                "`x` is no field that the query may have; these are: command, key, hash_key, topic, log_id, \
                 delay_ms, due_ms, expires_ms",
            ),
            ("command=a&due_ms=-1", "`due_ms` has to be a whole number of milliseconds since 1970, it is -1"),
            ("command=a&key=%ff", "`key` is not UTF-8 in the query: write its UTF-8 bytes, each as %XX"),
            (
                "command=a&expires_ms=x",
                "`expires_ms` has to be a whole number of milliseconds since 1970, it is x",
            ),
        ];
        for (query, error) in cases {
            assert_eq!(raw(query, None, Bytes::new()).unwrap_err(), error, "{query}");
        }
    }
}
