//! A request to a service and what came back.

use bytes::Bytes;

/// What is to be sent; the host adds the server, the identity headers and the trace.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// With its query; none for the app's path.
    pub path: Option<String>,
    /// Header block.
    pub headers: Vec<u8>,
    pub body: Bytes,
    /// What the handler asks for; the route's time-out bounds it.
    pub timeout_ms: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        }
    }
}

/// A service's answer, its body read to the end.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Header block; filled only where a judge plugin wants it.
    pub headers: Vec<u8>,
    pub body: Bytes,
    pub took_ms: u32,
    /// `Retry-After`, where the service sent one, in ms.
    pub retry_after_ms: Option<u64>,
}
