//! One connection to a server: opened, used for one request at a time (HTTP/1.1) or for many (HTTP/2).
//!
//! An HTTP/1.1 connection has no task of its own: whoever has a request on it drives it, so that request, answer
//! and message wake one task together, not one another. One that lies idle is looked at when it is taken again.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::SendError;
use super::server::Server;
use super::tls::Tls;
use crate::domain::app::Protocol;

pub type Body = Full<Bytes>;

pub enum Sender {
    Http1(Http1),
    /// Its connection is a task on the shard that opened it: many requests share it.
    Http2(http2::SendRequest<Body>),
}

/// HTTP/2 names scheme and authority with each request; without them the scheme would be `http` over TLS, too, which
/// servers refuse.
fn complete(request: &mut http::Request<Body>, server: &Server) {
    let Ok(authority) = http::uri::Authority::try_from(server.host_header.as_bytes()) else { return };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(match server.protocol {
        Protocol::Https => http::uri::Scheme::HTTPS,
        Protocol::Http | Protocol::H2c => http::uri::Scheme::HTTP,
    });
    parts.authority = Some(authority);
    *request.uri_mut() = http::Uri::from_parts(parts).unwrap_or_default();
}

/// A request that could not be sent; with it, if nothing of it went out.
pub type Unsent = (hyper::Error, Option<http::Request<Body>>);

/// How long a connection may take to be opened.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Sender {
    /// Waits until it takes a request. False when it is closed.
    pub async fn is_ready(&mut self) -> bool {
        match self {
            // A look at the connection would cost as much as a request's; what it would tell, sending tells too.
            Sender::Http1(it) if it.sender.is_ready() => true,
            Sender::Http1(it) => it.connection.drive(it.sender.ready()).await.is_ok(),
            Sender::Http2(it) => it.ready().await.is_ok(),
        }
    }

    /// Sends; gives the request back where nothing of it went out.
    pub async fn send(
        &mut self,
        mut request: http::Request<Body>,
        server: &Server,
    ) -> Result<http::Response<Incoming>, Unsent> {
        let sent = match self {
            Sender::Http1(it) => it.connection.drive(it.sender.try_send_request(request)).await,
            Sender::Http2(it) => {
                complete(&mut request, server);
                it.try_send_request(request).await
            }
        };
        sent.map_err(|mut it| {
            let request = it.take_message();
            (it.into_error(), request)
        })
    }

    /// The next piece of an answer's body.
    pub async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        match self {
            Sender::Http1(it) => it.connection.drive(body.frame()).await,
            Sender::Http2(_) => body.frame().await,
        }
    }
}

/// An HTTP/1.1 connection and the only handle to it.
pub struct Http1 {
    sender: http1::SendRequest<Body>,
    connection: Driven,
}

impl Http1 {
    /// Whether the server has closed it, as far as is known here.
    pub fn is_closed(&mut self) -> bool {
        self.connection.step(&mut Context::from_waker(Waker::noop()));
        self.sender.is_closed()
    }
}

/// None once it has ended: that closes the channels to its handle, so that a waiting part ends too.
struct Driven(Option<Pin<Box<dyn Future<Output = hyper::Result<()>>>>>);

impl Driven {
    /// Runs the connection until `part` is ready. What a part waits for comes from the connection alone, which
    /// wakes this task; so the part needs no waker, and this task is not woken twice for one answer.
    async fn drive<F: Future>(&mut self, part: F) -> F::Output {
        let mut part = pin!(part);
        poll_fn(|cx| {
            let mut nobody = Context::from_waker(Waker::noop());
            // The last step may have brought it already.
            if let Poll::Ready(output) = part.as_mut().poll(&mut nobody) {
                return Poll::Ready(output);
            }
            self.step(cx);
            part.as_mut().poll(&mut nobody)
        })
        .await
    }

    fn step(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && let Poll::Ready(_ended) = connection.as_mut().poll(cx)
        {
            // Its error, if any, is told to the request that was under way.
            self.0 = None;
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
    let name = rustls::pki_types::ServerName::try_from(server.tls_name.to_string())
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
    Ok(Sender::Http1(Http1 { sender, connection: Driven(Some(Box::pin(connection))) }))
}

async fn shake_http2<S>(stream: S, server: &Server) -> Result<Sender, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .handshake::<_, Body>(TokioIo::new(stream))
        .await
        .map_err(|it| SendError::Connect { server: server.address.to_string(), detail: it.to_string() })?;
    // Ends when the last sender is dropped or the server closes; whoever sends sees the error.
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
