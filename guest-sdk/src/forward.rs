//! Passing a message on as it came: which request, and which of its headers the service gets to see. Shared by
//! the plugins that do so.

use crate::config::{config_get, config_list};
use crate::headers::{self, Headers};
use crate::{Body, Method, Request, Result};

/// How a message is passed on; its value is the body, untouched.
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
        Ok(Self {
            method: config_get("method").map_or(Ok(Method::Post), |name| Method::from_name(&name))?,
            path: config_get("path"),
            content_type: config_get("content-type"),
            forward_headers: ForwardHeaders::from_config("forward-headers"),
        })
    }

    /// The request for a message with these headers.
    pub fn request(&self, headers: &[u8]) -> Request {
        self.request_with(Vec::new(), headers)
    }

    /// The same with headers of the plugin's own, which win over the message's.
    pub fn request_with(&self, own: Vec<u8>, headers: &[u8]) -> Request {
        let path = self.path.clone();
        let mut request = Request { method: self.method, path, headers: own, body: Body::Passthrough, timeout_ms: None };
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
        match config_get(key).as_deref() {
            None | Some("on" | "true" | "") => Self::All,
            Some("off" | "false") => Self::None,
            Some(_) => Self::Only(config_list(key).unwrap_or_default()),
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
        for (name, value) in Headers::new(block) {
            let Some(value) = value else { continue };
            let set_already =
                own > 0 && Headers::new(&target[..own]).any(|(n, _)| n.eq_ignore_ascii_case(name));
            if !set_already && self.wants(name) && may_pass(name, value, &connection) {
                headers::push(target, name, Some(value));
            }
        }
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
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// No control character: none could smuggle in a header of its own.
fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
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
    fn the_plugins_own_header_wins() {
        let own = HeaderBlock::new().with("content-type", "text/plain");
        let block = HeaderBlock::new().with("Content-Type", "a/b").with("x", "1");
        check(&ForwardHeaders::All, &own, &block, &["content-type: text/plain", "x: 1"]);
    }
}
