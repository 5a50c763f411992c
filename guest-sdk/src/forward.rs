//! Passing a message on as it came: which request, and which of its headers the service gets to see. Shared by
//! the plugins that do so.

use crate::config::Config;
use crate::headers::Headers;
use crate::{Method, Request, Result};

/// How a message is passed on; its value is the body, untouched, where the method has one.
#[derive(Clone, Debug, PartialEq)]
pub struct PassOn {
    /// The request's method.
    pub method: Method,
    /// The request's path; none is the app's.
    pub path: Option<String>,
    /// The content type, in place of the message's; none leaves that.
    pub content_type: Option<String>,
    /// Which of the message's headers the service gets.
    pub forward_headers: ForwardHeaders,
}

/// A POST to the app's path with the message's headers.
impl Default for PassOn {
    fn default() -> Self {
        Self { method: Method::Post, path: None, content_type: None, forward_headers: ForwardHeaders::All }
    }
}

impl PassOn {
    /// The settings it reads.
    pub const KEYS: [&str; 4] = ["method", "path", "content-type", "forward-headers"];

    /// From the plugin's settings, [`PassOn::KEYS`].
    ///
    /// Errors: an unknown method.
    pub fn from_config() -> Result<Self> {
        Self::of(&Config::of_host())
    }

    /// The same from settings at hand.
    ///
    /// Errors: an unknown method.
    pub fn of(config: &Config) -> Result<Self> {
        Ok(Self {
            method: config.get("method").map_or(Ok(Method::Post), Method::from_name)?,
            path: config.get("path").map(str::to_string),
            content_type: config.get("content-type").map(str::to_string),
            forward_headers: ForwardHeaders::of(config, "forward-headers"),
        })
    }

    /// The request for a message with these headers.
    pub fn request(&self, headers: &[u8]) -> Request {
        self.request_with(Vec::new(), headers)
    }

    /// The same with headers of the plugin's own, which win over the message's.
    pub fn request_with(&self, own: Vec<u8>, headers: &[u8]) -> Request {
        let mut request = Request { path: self.path.clone(), headers: own, ..Request::new(self.method) };
        if let Some(content_type) = &self.content_type {
            request = request.header("content-type", content_type);
        }
        self.forward_headers.copy(headers, &mut request.headers);
        request
    }
}

/// Headers of one connection (RFC 9110 7.6.1), and those that the host makes itself for each request.
const NEVER: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
];

/// Which headers to pass on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForwardHeaders {
    /// All but those of the connection.
    #[default]
    All,
    /// None.
    None,
    /// Only these, whatever the case; still none of the connection.
    Only(Vec<String>),
}

impl ForwardHeaders {
    /// From a setting: `on`, `off`, or a list of names; absent is `on`.
    pub fn from_config(key: &str) -> Self {
        Self::of(&Config::of_host(), key)
    }

    /// The same from settings at hand.
    pub fn of(config: &Config, key: &str) -> Self {
        match config.get(key) {
            None | Some("on" | "true" | "") => Self::All,
            Some("off" | "false") => Self::None,
            Some(_) => Self::Only(config.list(key).unwrap_or_default()),
        }
    }

    /// Adds what may pass of `block` to `target`. A header that `target` has already is not added again:
    /// what the plugin set itself wins. Names and values that HTTP cannot carry are left out, and nulls.
    pub fn copy(&self, block: &[u8], target: &mut Vec<u8>) {
        if *self == Self::None || block.is_empty() {
            return;
        }
        let own = target.len();
        let connection = Headers::new(block).filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
        let connection: Vec<&[u8]> = connection.filter_map(|(_, value)| value).collect();
        target.reserve(block.len());
        // Blocks look the same on both sides: neighbours that may pass are copied in one piece.
        let (mut start, mut end) = (0, 0);
        let mut headers = Headers::new(block);
        while let Some((name, value)) = headers.next() {
            let set_already =
                own > 0 && Headers::new(&target[..own]).any(|(n, _)| n.eq_ignore_ascii_case(name));
            let passes =
                !set_already && self.wants(name) && value.is_some_and(|v| may_pass(name, v, &connection));
            let next = block.len() - headers.rest().len();
            if !passes {
                target.extend_from_slice(&block[start..end]);
                start = next;
            }
            end = next;
        }
        target.extend_from_slice(&block[start..end]);
    }

    fn wants(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(names) => names.iter().any(|only| name.eq_ignore_ascii_case(only.as_bytes())),
        }
    }
}

fn may_pass(name: &[u8], value: &[u8], connection: &[&[u8]]) -> bool {
    let named =
        |list: &&[u8]| list.split(|byte| *byte == b',').any(|n| n.trim_ascii().eq_ignore_ascii_case(name));
    is_token(name)
        && is_field_value(value)
        && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never.as_bytes()))
        && !connection.iter().any(named)
}

/// A header name as HTTP has it.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| IS_TOKEN[usize::from(*byte)])
}

/// The bytes of a token (RFC 9110 5.6.2).
const IS_TOKEN: [bool; 256] = {
    let mut is_token = [false; 256];
    let bytes = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut index = 0;
    while index < bytes.len() {
        is_token[bytes[index] as usize] = true;
        index += 1;
    }
    is_token
};

/// No control character: none could smuggle in a header of its own. Eight bytes at a time, as all values of all
/// messages come through here; only a word with a suspect in it is looked at byte by byte.
fn is_field_value(value: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = value.as_chunks::<8>();
    let is_plain = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        let delete = word ^ (ONES * 0x7f);
        let suspect = (word.wrapping_sub(ONES * 0x20) & !word) | (delete.wrapping_sub(ONES) & !delete);
        suspect & HIGH == 0
    };
    words.iter().all(|word| is_plain(word) || word.iter().all(is_field_byte))
        && rest.iter().all(is_field_byte)
}

fn is_field_byte(byte: &u8) -> bool {
    *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::HeaderBlock;

    fn check(forward: &ForwardHeaders, own: &HeaderBlock, block: &HeaderBlock, expected: &[&str]) {
        let mut target = own.clone().into_bytes();
        forward.copy(&block.clone().into_bytes(), &mut target);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let passed: Vec<String> =
            Headers::new(&target).map(|(n, v)| format!("{}: {}", text(n), text(v.unwrap()))).collect();
        assert_eq!(passed, expected);
    }

    // S26: headers are forwarded, those of a hop are not, nor those that Connection names.
    #[test]
    fn hop_by_hop_headers_stay_behind() {
        let mut block = HeaderBlock::new()
            .with("X-One", "1")
            .with("Connection", "close, X-Private")
            .with("x-private", "2")
            .with("Transfer-Encoding", "chunked")
            .with("HOST", "evil")
            .with("content-length", "99")
            .with("x-many", "a")
            .with("x-many", "b");
        block.push(b"x-null", None);
        check(&ForwardHeaders::All, &HeaderBlock::new(), &block, &["X-One: 1", "x-many: a", "x-many: b"]);
        check(&ForwardHeaders::None, &HeaderBlock::new(), &block, &[]);
        let only = ForwardHeaders::Only(vec!["x-one".into(), "host".into()]);
        check(&only, &HeaderBlock::new(), &block, &["X-One: 1"]);
    }

    #[test]
    fn what_http_cannot_carry_stays_behind() {
        let block = HeaderBlock::new()
            .with("bad name", "1")
            .with("", "1")
            .with("x-split", "1\r\nx-more: 2")
            .with("x-tab", "a\tb")
            .with("x-byte", [0xe4]);
        check(&ForwardHeaders::All, &HeaderBlock::new(), &block, &["x-tab: a\tb", "x-byte: \u{fffd}"]);
    }

    #[test]
    fn words_of_a_value_are_judged_as_their_bytes() {
        let mut random = crate::random::Random::from_seed(26);
        for _ in 0..20_000 {
            let mut value: Vec<u8> = (0..random.below(20)).map(|_| random.below(224) as u8 + 32).collect();
            if random.below(2) == 0 && !value.is_empty() {
                let at = random.below(value.len() as u32) as usize;
                value[at] = random.next() as u8;
            }
            assert_eq!(is_field_value(&value), value.iter().all(is_field_byte), "{value:?}");
        }
    }

    #[test]
    fn the_plugins_own_header_wins() {
        let own = HeaderBlock::new().with("content-type", "text/plain");
        let block = HeaderBlock::new().with("Content-Type", "a/b").with("x", "1");
        check(&ForwardHeaders::All, &own, &block, &["content-type: text/plain", "x: 1"]);
    }
}
