//! One connection to a server: opened, used for one request at a time (HTTP/1.1) or for many (HTTP/2).

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::SendError;
use super::directory::Server;
use super::tls::Tls;
use crate::domain::app::Protocol;

pub type Body = Full<Bytes>;

/// The sending half; the connection itself is a task on the shard that opened it.
pub enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// How long a connection may take to be opened.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Sender {
    pub async fn send(&mut self, request: http::Request<Body>) -> hyper::Result<http::Response<Incoming>> {
        match self {
            Sender::Http1(it) => it.send_request(request).await,
            Sender::Http2(it) => it.send_request(request).await,
        }
    }

    /// Resolves when it takes a request, with an error when it is closed.
    pub async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Sender::Http1(it) => it.ready().await,
            Sender::Http2(it) => it.ready().await,
        }
    }

    pub fn is_closed(&self) -> bool {
        match self {
            Sender::Http1(it) => it.is_closed(),
            Sender::Http2(it) => it.is_closed(),
        }
    }
}

pub async fn open(server: &Server, tls: &Tls) -> Result<Sender, SendError> {
    let failed = |detail: String| SendError::Connect { server: server.address.to_string(), detail };
    let dial = TcpStream::connect((&*server.host, server.port));
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, dial).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("nothing within {} s", CONNECT_TIMEOUT.as_secs()))),
    };
    // A request is one write: waiting for more helps nobody.
    stream.set_nodelay(true).map_err(|it| failed(it.to_string()))?;
    match server.protocol {
        Protocol::Http => shake_http1(stream, server).await,
        Protocol::H2c => shake_http2(stream, server).await,
        Protocol::Https => {
            let stream = encrypt(stream, server, tls).await?;
            let agreed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            if agreed { shake_http2(stream, server).await } else { shake_http1(stream, server).await }
        }
    }
}

async fn encrypt(
    stream: TcpStream,
    server: &Server,
    tls: &Tls,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, SendError> {
    let failed = |detail: String| SendError::Tls { server: server.address.to_string(), detail };
    let name = rustls::pki_types::ServerName::try_from(server.host.to_string())
        .map_err(|it| failed(it.to_string()))?;
    let shake = tokio_rustls::TlsConnector::from(tls.http1.clone()).connect(name, stream);
    match tokio::time::timeout(CONNECT_TIMEOUT, shake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no handshake within {} s", CONNECT_TIMEOUT.as_secs()))),
    }
}

async fn shake_http1<S>(stream: S, server: &Server) -> Result<Sender, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .handshake::<_, Body>(TokioIo::new(stream))
        .await
        .map_err(|it| SendError::Connect { server: server.address.to_string(), detail: it.to_string() })?;
    // Ends when the sender is dropped or the server closes; whoever sends sees the error.
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(Sender::Http1(sender))
}

async fn shake_http2<S>(stream: S, server: &Server) -> Result<Sender, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .handshake::<_, Body>(TokioIo::new(stream))
        .await
        .map_err(|it| SendError::Connect { server: server.address.to_string(), detail: it.to_string() })?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(Sender::Http2(sender))
}

/// hyper's HTTP/2 has tasks of its own: they stay on the shard.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
