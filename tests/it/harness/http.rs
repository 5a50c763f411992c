//! An HTTP client of the tests' own: it says exactly what a test wants said, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Only a test that fails waits so long.
const WAIT: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|it| panic!("{it}: {self:?}"))
    }

    /// Status and body, for comparing.
    pub fn said(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

/// One request on a connection of its own. `what` is method and path, as in `POST /v1/messages`.
#[track_caller]
pub fn call(to: SocketAddr, what: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
    let mut connection = connect(to);
    connection.write_all(&request(to, what, headers, body.as_ref())).unwrap();
    reply(&mut connection)
}

#[track_caller]
pub fn get(to: SocketAddr, path: &str) -> Reply {
    call(to, &format!("GET {path}"), &[], "")
}

#[track_caller]
pub fn post_json(to: SocketAddr, path: &str, body: &str) -> Reply {
    call(to, &format!("POST {path}"), &[("content-type", "application/json")], body)
}

#[track_caller]
pub fn post_form(to: SocketAddr, path: &str, body: &str) -> Reply {
    call(to, &format!("POST {path}"), &[("content-type", "application/x-www-form-urlencoded")], body)
}

#[track_caller]
pub fn connect(to: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(to).unwrap();
    connection.set_read_timeout(Some(WAIT)).unwrap();
    connection
}

/// A whole request that ends its connection.
pub fn request(to: SocketAddr, what: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{what} HTTP/1.1\r\n");
    if !headers.iter().any(|it| it.0 == "host") {
        text += &format!("host: {to}\r\n");
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads to the end of the connection.
#[track_caller]
pub fn reply(connection: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    if let Err(error) = connection.read_to_end(&mut bytes) {
        assert!(!bytes.is_empty(), "no answer: {error}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |it: &str| it.split_once(": ").map(|it| (it.0.to_ascii_lowercase(), it.1.to_owned()));
    Reply { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
}
