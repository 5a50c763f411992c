//! Building a request: `post("/v1/orders").header("x-tenant", tenant).json(&order)?`.

use serde::Serialize;

use crate::headers::{self, Headers};
use crate::{Body, Error, Method, Request, Result};

/// A GET of a path (with its query).
pub fn get(path: impl Into<String>) -> Request {
    Request::new(Method::Get).path(path)
}

/// A POST to a path. The body is the message's value until another one is set.
pub fn post(path: impl Into<String>) -> Request {
    Request::new(Method::Post).path(path)
}

/// A PUT to a path. The body is the message's value until another one is set.
pub fn put(path: impl Into<String>) -> Request {
    Request::new(Method::Put).path(path)
}

/// A PATCH of a path. The body is the message's value until another one is set.
pub fn patch(path: impl Into<String>) -> Request {
    Request::new(Method::Patch).path(path)
}

/// A DELETE of a path.
pub fn delete(path: impl Into<String>) -> Request {
    Request::new(Method::Delete).path(path)
}

impl Request {
    /// To the app's own path. Methods that carry a body pass on the message's value, which is never copied.
    pub fn new(method: Method) -> Self {
        let body = match method {
            Method::Post | Method::Put | Method::Patch => Body::Passthrough,
            Method::Get | Method::Head | Method::Delete | Method::Options => Body::Replace(Vec::new()),
        };
        Self { method, path: None, headers: Vec::new(), body, timeout_ms: None }
    }

    /// Another path than the app's, with its query.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// One header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        headers::push(&mut self.headers, name.as_bytes(), Some(value.as_ref()));
        self
    }

    /// A JSON body, and the content type that says so.
    ///
    /// Errors: a value that JSON cannot hold is a rejection with the code `bad-json`.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self> {
        let body = serde_json::to_vec(value).map_err(|error| Error::reject("bad-json", error.to_string()))?;
        Ok(self.header("content-type", "application/json").bytes(body))
    }

    /// A text body, and the content type that says so.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.header("content-type", "text/plain; charset=utf-8").bytes(text.into().into_bytes())
    }

    /// This body in place of the message's value.
    #[must_use]
    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Replace(body.into());
        self
    }

    /// How long the answer may take; at most the route's own time-out.
    #[must_use]
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }

    /// The headers set so far, in order. (`text_of` gives one of them.)
    pub fn headers(&self) -> Headers<'_> {
        Headers::new(&self.headers)
    }

    /// The body that replaces the message's value; none where that is passed through.
    pub fn replaced_body(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Replace(body) => Some(body),
            Body::Passthrough => None,
        }
    }
}

impl Method {
    /// From its name, whatever the case.
    ///
    /// Errors: a name that HTTP, or this contract, does not have.
    pub fn from_name(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => return Err(Error::retry(format!("`{name}` is no method"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_was_asked_for() {
        let request = post("/a?b=c").header("X-One", "1").timeout_ms(5).json(&[1, 2]).unwrap();
        assert_eq!(request.method, Method::Post);
        assert_eq!(request.path.as_deref(), Some("/a?b=c"));
        assert_eq!(request.headers().text_of("x-one"), Some("1"));
        assert_eq!(request.headers().text_of("content-type"), Some("application/json"));
        assert_eq!(request.replaced_body(), Some(b"[1,2]".as_slice()));
        assert_eq!(request.timeout_ms, Some(5));
    }

    #[test]
    fn only_methods_with_a_body_pass_the_value_on() {
        assert_eq!(post("/").body, Body::Passthrough);
        assert_eq!(get("/").body, Body::Replace(Vec::new()));
    }
}
