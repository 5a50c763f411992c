//! How a letter is shown as JSON: its headline in lists, the whole of it alone. Names are those of its headers.

use serde::Serialize;

use super::Found;
use crate::domain::headers::Headers;

/// What lists show.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Headline<'a> {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Bytes>,
    pub value_bytes: Option<usize>,
    pub origin_topic: &'a str,
    pub origin_partition: i32,
    pub origin_offset: i64,
    pub origin_timestamp_ms: Option<i64>,
    pub group: &'a str,
    pub command: Option<&'a str>,
    pub log_id: Option<&'a str>,
    pub route: Option<&'a str>,
    pub plugin: Option<&'a str>,
    pub stage: &'a str,
    pub code: &'a str,
    pub reason: &'a str,
    pub first_reason: Option<&'a str>,
    pub attempts: u32,
    pub first_seen_ms: u64,
    pub ended_ms: u64,
    pub due_ms: Option<u64>,
    pub truncated_from_bytes: Option<u64>,
    pub headers_left_out_bytes: Option<u64>,
    pub key_left_out_bytes: Option<u64>,
    pub redriven: u32,
}

/// One letter, looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Letter<'a> {
    #[serde(flatten)]
    pub headline: Headline<'a>,
    /// In their order; a name may stand there more than once.
    pub headers: Vec<Header>,
    pub value: Option<Bytes>,
}

#[derive(Debug, Serialize)]
pub struct Header {
    pub name: String,
    pub value: Option<Bytes>,
}

/// Text where it is UTF-8, else hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bytes {
    Text(String),
    Hex(String),
}

/// For a value of which nothing is left out.
pub const WHOLE: usize = usize::MAX;

impl<'a> Headline<'a> {
    pub fn of(it: &'a Found) -> Self {
        let Found { letter, record } = it;
        Self {
            partition: letter.partition,
            offset: letter.offset,
            key: record.key().map(|it| text_or_hex(it, WHOLE)),
            value_bytes: record.value().map(<[u8]>::len),
            origin_topic: &letter.origin.topic,
            origin_partition: letter.origin.partition,
            origin_offset: letter.origin.offset,
            origin_timestamp_ms: letter.origin.timestamp_ms,
            group: &letter.group,
            command: letter.command.as_deref(),
            log_id: letter.log_id.as_deref(),
            route: letter.route.as_deref(),
            plugin: letter.plugin.as_deref(),
            stage: &letter.stage,
            code: &letter.code,
            reason: &letter.reason,
            first_reason: letter.first_reason.as_deref(),
            attempts: letter.attempts,
            first_seen_ms: letter.first_seen_ms,
            ended_ms: letter.ended_ms,
            due_ms: letter.due_ms,
            truncated_from_bytes: letter.truncated_from,
            headers_left_out_bytes: letter.headers_left_out,
            key_left_out_bytes: letter.key_left_out,
            redriven: letter.redriven,
        }
    }
}

impl<'a> Letter<'a> {
    /// Of the value so many bytes at most; `value-bytes` says how many there are.
    pub fn of(it: &'a Found, most: usize) -> Self {
        let header = |it: crate::domain::headers::Header<'_>| Header {
            name: String::from_utf8_lossy(it.name).into_owned(),
            value: it.value.map(|it| text_or_hex(it, WHOLE)),
        };
        Self {
            headline: Headline::of(it),
            headers: Headers::new(it.record.headers()).map(header).collect(),
            value: it.record.value().map(|it| text_or_hex(it, most)),
        }
    }
}

/// The first bytes, `most` of them; a character that would be cut is left out.
pub fn text_or_hex(all: &[u8], most: usize) -> Bytes {
    let start = &all[..all.len().min(most)];
    match std::str::from_utf8(start) {
        Ok(text) => Bytes::Text(text.to_owned()),
        // Cut within its last character, and not otherwise.
        Err(error) if start.len() < all.len() && error.error_len().is_none() => {
            Bytes::Text(String::from_utf8_lossy(&start[..error.valid_up_to()]).into_owned())
        }
        Err(_) => Bytes::Hex(start.iter().map(|it| format!("{it:02x}")).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S88.
    #[test]
    fn text_and_hex() {
        let text = |it: &str| Bytes::Text(it.to_owned());
        let hex = |it: &str| Bytes::Hex(it.to_owned());
        let cases: [(&[u8], usize, Bytes); 7] = [
            (b"", 4, text("")),
            (b"abcdef", 4, text("abcd")),
            (b"abcdef", WHOLE, text("abcdef")),
            ("aä".as_bytes(), 2, text("a")),
            (&[0, 159, 146, 150], WHOLE, hex("009f9296")),
            (&[0, 159, 146, 150], 2, hex("009f")),
            (b"a\xc3", WHOLE, hex("61c3")),
        ];
        for (bytes, most, expected) in cases {
            assert_eq!(text_or_hex(bytes, most), expected, "{bytes:?} {most}");
        }
    }
}
