//! A shard's connections to all servers. Used by one thread, so nothing here is locked or counted twice.
//!
//! HTTP/1.1: a stack of idle connections for each server, the one used last first, so that the rest go
//! idle and close. HTTP/2: one connection for each server. Never more connections than requests under way.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};

use super::SendError;
use super::connection::{self, Body, Sender};
use super::directory::Server;
use super::tls::Tls;

/// Idle connections kept for each server; more than these are closed when their request is done.
const IDLE_MAX: usize = 256;

pub struct Client {
    tls: Tls,
    idle: RefCell<HashMap<Arc<str>, Rc<Idle>>>,
}

#[derive(Default)]
struct Idle {
    http1: RefCell<Vec<http1::SendRequest<Body>>>,
    http2: RefCell<Option<http2::SendRequest<Body>>>,
}

/// An answer with its body read to the end.
pub struct Sent {
    pub head: http::response::Parts,
    pub body: Bytes,
    pub took: Duration,
}

impl Client {
    pub fn new(tls: Tls) -> Self {
        Self { tls, idle: RefCell::default() }
    }

    /// Sends and reads the whole answer within `timeout`. Dropping the future gives the request up and
    /// closes its connection.
    pub async fn send(
        &self,
        server: &Arc<Server>,
        request: http::Request<Body>,
        timeout: Duration,
        body_max: usize,
    ) -> Result<Sent, SendError> {
        let begun = Instant::now();
        let mut counted = Counted { server, ended: false };
        server.stats.begin();
        let answer = match tokio::time::timeout(timeout, self.exchange(server, request, body_max)).await {
            Ok(answer) => answer,
            Err(_) => Err(SendError::Timeout {
                server: server.address.to_string(),
                timeout_ms: timeout.as_millis() as u64,
            }),
        };
        let took = begun.elapsed();
        let healthy = match &answer {
            Ok((head, _)) => !matches!(head.status.as_u16(), 502..=504),
            Err(SendError::TooLarge { .. } | SendError::Request { .. }) => true,
            Err(
                SendError::Connect { .. }
                | SendError::Tls { .. }
                | SendError::Timeout { .. }
                | SendError::Closed { .. },
            ) => false,
        };
        counted.ended = true;
        server.stats.end(took.as_micros().min(u128::from(u32::MAX)) as u32, healthy);
        answer.map(|(head, body)| Sent { head, body, took })
    }

    async fn exchange(
        &self,
        server: &Arc<Server>,
        request: http::Request<Body>,
        body_max: usize,
    ) -> Result<(http::response::Parts, Bytes), SendError> {
        let idle = self.idle_of(server);
        let mut request = Some(request);
        // A kept connection may have been closed by the server at this very moment: then nothing of the
        // request was sent, and another connection takes it.
        while let Some(mut sender) = idle.take() {
            if sender.is_closed() || sender.ready().await.is_err() {
                idle.forget(&sender);
                continue;
            }
            let Some(attempt) = request.take() else { break };
            match try_send(&mut sender, attempt).await {
                Ok(response) => return finish(server, &idle, sender, response, body_max).await,
                Err((_, Some(unsent))) => request = Some(unsent),
                Err((error, None)) => return Err(closed(server, &error)),
            }
        }
        let Some(request) = request else {
            return Err(SendError::Request { detail: "lost between two connections".to_owned() });
        };
        // Boxed: a TLS handshake's state would lie in the future of every message.
        let mut sender = Box::pin(connection::open(server, &self.tls)).await?;
        server.stats.connections_opened.fetch_add(1, Relaxed);
        sender.ready().await.map_err(|it| closed(server, &it))?;
        if let Sender::Http2(shared) = &sender {
            *idle.http2.borrow_mut() = Some(shared.clone());
        }
        let response = sender.send(request).await.map_err(|it| closed(server, &it))?;
        finish(server, &idle, sender, response, body_max).await
    }

    fn idle_of(&self, server: &Arc<Server>) -> Rc<Idle> {
        let mut all = self.idle.borrow_mut();
        match all.get(&server.uri) {
            Some(idle) => Rc::clone(idle),
            None => Rc::clone(all.entry(Arc::clone(&server.uri)).or_default()),
        }
    }

    /// Drops the connections of servers that no app names any more.
    pub fn forget(&self, keep: impl Fn(&str) -> bool) {
        self.idle.borrow_mut().retain(|uri, _| keep(uri));
    }
}

impl Idle {
    fn take(&self) -> Option<Sender> {
        if let Some(shared) = &*self.http2.borrow()
            && !shared.is_closed()
        {
            return Some(Sender::Http2(shared.clone()));
        }
        self.http1.borrow_mut().pop().map(Sender::Http1)
    }

    fn forget(&self, sender: &Sender) {
        if let Sender::Http2(_) = sender {
            *self.http2.borrow_mut() = None;
        }
    }

    fn keep(&self, sender: Sender) {
        match sender {
            Sender::Http1(it) => {
                let mut all = self.http1.borrow_mut();
                if !it.is_closed() && all.len() < IDLE_MAX {
                    all.push(it);
                }
            }
            // The shared one is kept already.
            Sender::Http2(_) => {}
        }
    }
}

/// Sends; gives the request back where nothing of it went out.
async fn try_send(
    sender: &mut Sender,
    request: http::Request<Body>,
) -> Result<http::Response<Incoming>, (hyper::Error, Option<http::Request<Body>>)> {
    match sender {
        Sender::Http1(it) => it.try_send_request(request).await.map_err(unsent),
        Sender::Http2(it) => it.try_send_request(request).await.map_err(unsent),
    }
}

fn unsent(
    mut error: hyper::client::conn::TrySendError<http::Request<Body>>,
) -> (hyper::Error, Option<http::Request<Body>>) {
    let request = error.take_message();
    (error.into_error(), request)
}

async fn finish(
    server: &Server,
    idle: &Idle,
    sender: Sender,
    response: http::Response<Incoming>,
    body_max: usize,
) -> Result<(http::response::Parts, Bytes), SendError> {
    let (head, body) = response.into_parts();
    let body = read(server, body, body_max).await?;
    let keep = head
        .headers
        .get(http::header::CONNECTION)
        .is_none_or(|it| !it.as_bytes().eq_ignore_ascii_case(b"close"));
    if keep {
        idle.keep(sender);
    }
    Ok((head, body))
}

async fn read(server: &Server, mut body: Incoming, most: usize) -> Result<Bytes, SendError> {
    let too_large = || SendError::TooLarge { server: server.address.to_string(), limit: most };
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|it| closed(server, &it))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > most {
            return Err(too_large());
        }
        if first.is_empty() && all.is_empty() {
            // Most answers are one piece: kept as it came.
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn closed(server: &Server, error: &hyper::Error) -> SendError {
    let mut detail = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        detail = format!("{detail}: {source}");
    }
    SendError::Closed { server: server.address.to_string(), detail }
}

/// Takes a request that is given up out of the server's count.
struct Counted<'a> {
    server: &'a Server,
    ended: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.server.stats.abandon();
        }
    }
}
