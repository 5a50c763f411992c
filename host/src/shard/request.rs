//! The HTTP request of an attempt, and its answer as handlers and rules see it.

use std::fmt::Write as _;
use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http_body_util::Full;

use super::admit::{Job, RouteHere};
use crate::domain::app::ServerSource;
use crate::domain::exchange::{Request, Response};
use crate::domain::headers::{self, Headers};
use crate::domain::outcome::{Failure, Stage};
use crate::domain::record::push_number;
use crate::upstream::{Sent, Server};

/// Stable over retries, restarts and hosts: what a service may deduplicate by.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
pub const ATTEMPT: &str = "drover-attempt";
pub const LOG_ID: &str = "drover-log-id";
pub const COMMAND: &str = "drover-command";
pub const FIRST_SEEN: &str = "drover-first-seen-ms";

/// Of a connection, not of a message (RFC 9110, 7.6.1); a guest cannot set them.
const HOP_BY_HOP: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// Room for the numbers in our own values, and what stands between them.
const NUMBERS: usize = 128;

/// Headers that most requests have room for: ours and a few of the handler's.
const HEADERS: usize = 12;

/// Of the handler's headers; `http::HeaderMap` ends at 24,576.
const HEADERS_MAX: usize = 20_000;

pub fn build(
    job: &Job,
    route: &RouteHere,
    server: &Server,
    request: Request,
    group: &str,
    attempt: u32,
) -> Result<http::Request<Full<Bytes>>, Failure> {
    let wrong = |what: String| Failure::lasting(Stage::Handle, what);
    let uri = match request.path.as_deref() {
        Some(path) => uri_of(path),
        None => path_of_url(job, route).unwrap_or_else(|| route.uri.clone()),
    }
    .map_err(wrong)?;
    let length = request.body.len();
    let mut out = http::Request::new(Full::new(request.body));
    *out.method_mut() = http::Method::from_bytes(request.method.as_str().as_bytes()).unwrap_or_default();
    *out.uri_mut() = uri;
    let map = out.headers_mut();
    map.reserve(HEADERS);
    for header in Headers::new(&request.headers) {
        let name = HeaderName::from_bytes(header.name)
            .map_err(|_| wrong(format!("{:?} is no header name", String::from_utf8_lossy(header.name))))?;
        if HOP_BY_HOP.contains(&name.as_str())
            || name == HOST
            || name == CONTENT_LENGTH
            || name == TRANSFER_ENCODING
        {
            continue;
        }
        let value = HeaderValue::from_bytes(header.value.unwrap_or_default())
            .map_err(|_| wrong(format!("the value of header {name} holds control characters")))?;
        // Its panic on too many would be taken for a bug of ours, and a record may carry any number.
        if map.len() >= HEADERS_MAX {
            return Err(wrong(format!("a request has room for {HEADERS_MAX} headers, and these are more")));
        }
        map.append(name, value);
    }
    identify(map, job, server, group, (attempt, length));
    Ok(out)
}

/// Who it is and how often it was tried: the same on every push, whatever the handler says.
fn identify(
    map: &mut http::HeaderMap,
    job: &Job,
    server: &Server,
    group: &str,
    (attempt, length): (u32, usize),
) {
    let message = &job.message;
    let record = &message.record;
    // Our values lie in one buffer, each up to its end: of its own each would cost an allocation or two.
    let names = group.len() + record.topic.len() + message.log_id.len() + message.command.len();
    let mut text = String::with_capacity(names + NUMBERS);
    record.write_delivery_id(group, &mut text);
    let id = text.len();
    text.push_str(&message.log_id);
    let log_id = text.len();
    text.push_str(&message.command);
    let command = text.len();
    push_number(&mut text, u64::from(attempt));
    let number = text.len();
    push_number(&mut text, job.received_ms);
    let first_seen = text.len();
    push_number(&mut text, length as u64);
    let text = Bytes::from(text);
    let mut set = |name: HeaderName, value: HeaderValue| {
        map.insert(name, value);
    };
    set(HOST, server.host_header.clone());
    set(HeaderName::from_static(IDEMPOTENCY_KEY), value_of(&text, 0..id));
    set(HeaderName::from_static(LOG_ID), value_of(&text, id..log_id));
    set(HeaderName::from_static(COMMAND), value_of(&text, log_id..command));
    set(HeaderName::from_static(ATTEMPT), value_of(&text, command..number));
    set(HeaderName::from_static(FIRST_SEEN), value_of(&text, number..first_seen));
    // Whether a request without a body says so depends on its method: left to the client.
    if length > 0 {
        set(CONTENT_LENGTH, value_of(&text, first_seen..text.len()));
    }
    if let Some(trace) = headers::find(&message.headers, "traceparent")
        && let Ok(value) = HeaderValue::from_bytes(trace)
    {
        set(HeaderName::from_static("traceparent"), value);
    }
}

/// A part of the text as a header value that shares its buffer; what cannot stand in one is percent-encoded.
fn value_of(text: &Bytes, part: Range<usize>) -> HeaderValue {
    let bytes = &text[part.clone()];
    let shared = bytes.is_ascii().then(|| HeaderValue::from_maybe_shared(text.slice(part)));
    shared.and_then(Result::ok).unwrap_or_else(|| encoded(bytes))
}

fn encoded(it: &[u8]) -> HeaderValue {
    let mut safe = String::with_capacity(it.len() * 3);
    for byte in it.iter().copied() {
        if byte.is_ascii_graphic() {
            safe.push(char::from(byte));
        } else {
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    HeaderValue::from_str(&safe).unwrap_or_else(|_| HeaderValue::from_static("?"))
}

/// The path as a request's target, or what is wrong with it.
pub fn uri_of(path: &str) -> Result<http::Uri, String> {
    if !path.starts_with('/') {
        return Err(format!("the path {path:?} has to begin with a slash"));
    }
    path.parse().map_err(|it| format!("the path {path:?} is not valid in a request: {it}"))
}

/// The path of the message's own address, where its app goes by that.
fn path_of_url(job: &Job, route: &RouteHere) -> Option<Result<http::Uri, String>> {
    let ServerSource::Message { .. } = route.route.app.servers else { return None };
    Some(target_of(job.message.url.as_deref()?))
}

/// An address's path and query as a request's target: by the parser that told its host, so that both agree on
/// where the host ends.
fn target_of(url: &str) -> Result<http::Uri, String> {
    let uri: http::Uri = url.parse().map_err(|it| format!("its Url {url:?}: {it}"))?;
    match uri.path_and_query().map(|it| it.as_str()) {
        None | Some("") => uri_of("/"),
        // Without a path the query stands alone.
        Some(it) if it.starts_with('?') => uri_of(&format!("/{it}")),
        Some(it) => uri_of(it),
    }
}

/// The answer as rules and judges see it; headers only where a judge may look at them.
pub fn response_of(sent: Sent, wants_headers: bool) -> Response {
    let mut block = Vec::new();
    if wants_headers {
        for (name, value) in &sent.head.headers {
            headers::push(&mut block, name.as_str().as_bytes(), Some(value.as_bytes()));
        }
    }
    let retry_after_ms = sent
        .head
        .headers
        .get(http::header::RETRY_AFTER)
        .and_then(|it| it.to_str().ok()?.trim().parse::<u64>().ok())
        .map(|seconds| seconds.saturating_mul(1_000));
    Response {
        status: sent.head.status.as_u16(),
        headers: block,
        body: sent.body,
        took_ms: sent.took.as_millis().min(u128::from(u32::MAX)) as u32,
        retry_after_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_header_is_percent_encoded() {
        let cases = [
            ("orders/0/7", "orders/0/7"),
            ("with a space", "with a space"),
            ("", ""),
            ("Grüße", "Gr%C3%BC%C3%9Fe"),
            ("a\r\nb: c", "a%0D%0Ab:%20c"),
        ];
        for (name, value) in cases {
            let text = Bytes::from(format!("<{name}>"));
            let end = text.len() - 1;
            assert_eq!(value_of(&text, 1..end).as_bytes(), value.as_bytes(), "{name:?}");
        }
    }

    #[test]
    fn an_address_ends_its_host_where_the_one_who_allowed_it_saw_it_end() {
        let cases = [
            ("http://a", "/"),
            ("http://a/", "/"),
            ("http://a:80/in/x?y=1&z=/w", "/in/x?y=1&z=/w"),
            ("http://a?x=/admin", "/?x=/admin"),
            ("http://a#/admin", "/"),
            ("http://a/in#/admin", "/in"),
            ("http://u:p@[::1]:80/in", "/in"),
        ];
        for (url, target) in cases {
            assert_eq!(target_of(url).map(|it| it.to_string()).as_deref(), Ok(target), "{url}");
        }
        for url in ["http://a/x\r\nX: y", "http://a/x HTTP/1.1", "http://a/\0", ""] {
            assert!(target_of(url).is_err(), "{url:?}");
        }
    }
}
