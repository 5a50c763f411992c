//! A connection to a broker that speaks any version of any API, one request at a time.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Client {
    pub stream: TcpStream,
    next_id: i32,
}

/// No answer takes longer; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

impl Client {
    pub fn new(to: SocketAddr) -> Client {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, next_id: 0 }
    }

    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version).expect("the broker closed the connection")
    }

    /// None: the connection broke.
    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.next_id += 1;
        self.stream.write_all(&frame(version, self.next_id, request)).ok()?;
        self.receive::<R>(version)
    }

    pub fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.next_id += 1;
        let frame = frame(version, self.next_id, request);
        self.stream.write_all(&frame).unwrap();
    }

    /// None: the connection was closed.
    pub fn receive<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let mut body = self.read_frame()?;
        let api = ApiKey::try_from(R::KEY).unwrap();
        let header = ResponseHeader::decode(&mut body, api.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.next_id);
        let response = R::Response::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "{api:?} version {version}: {} bytes too many", body.len());
        Some(response)
    }

    pub fn read_frame(&mut self) -> Option<Bytes> {
        let mut len = [0; 4];
        match self.stream.read_exact(&mut len) {
            Ok(()) => {}
            Err(failure) if failure.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer"),
            Err(_) => return None,
        }
        let mut body = vec![0; (&len[..]).get_u32() as usize];
        self.stream.read_exact(&mut body).ok()?;
        Some(body.into())
    }
}

/// A whole request as bytes.
pub fn frame<R: Request>(version: i16, correlation_id: i32, request: &R) -> BytesMut {
    let api = ApiKey::try_from(R::KEY).unwrap();
    let mut frame = BytesMut::new();
    frame.put_u32(0);
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("it")))
        .encode(&mut frame, api.request_header_version(version))
        .unwrap();
    request.encode(&mut frame, version).unwrap_or_else(|why| panic!("{api:?} version {version}: {why}"));
    let len = frame.len() as u32 - 4;
    frame[..4].copy_from_slice(&len.to_be_bytes());
    frame
}
