//! A shard's connections to all servers. Used by one thread, so nothing here is locked or counted twice.
//!
//! HTTP/1.1: a stack of idle connections for each server, the one used last first, so that the rest go
//! idle and close. HTTP/2: one connection for each server. Never more connections than requests under way.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http2;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::SendError;
use super::alarms::Alarms;
use super::connection::{self, Body, Http1, Sender};
use super::server::Server;
use super::tls::Tls;
use crate::domain::app::Protocol;
use crate::domain::breaker::Ramp;

/// Idle connections kept for each server; more than these are closed when their request is done.
const IDLE_MAX: usize = 256;

/// How long a connection is kept that nobody uses.
const IDLE_KEPT: Duration = Duration::from_secs(60);

pub struct Client {
    tls: Tls,
    shard: u32,
    /// By the server's place in memory, which it keeps for as long as it is in here.
    targets: RefCell<HashMap<*const Server, Rc<Target>>>,
    alarms: Alarms,
}

/// A server as one shard sees it.
pub struct Target {
    pub server: Arc<Server>,
    idle: Idle,
    /// Requests that may be under way from this shard.
    pub places: Places,
    /// What went there of what might have gone.
    ramp: Cell<Ramp>,
}

impl Target {
    fn new(server: &Arc<Server>) -> Self {
        let (server, idle) = (Arc::clone(server), Idle::default());
        Self { server, idle, places: Places::default(), ramp: Cell::default() }
    }

    /// Whether this one is among the share that may go there now.
    pub fn admits(&self) -> bool {
        self.server.health.admission.admits(&self.ramp)
    }
}

/// A shard's places for something, and how many these were when last asked.
pub struct Places {
    places: Semaphore,
    most: Cell<u32>,
}

impl Default for Places {
    fn default() -> Self {
        Self { places: Semaphore::new(0), most: Cell::new(0) }
    }
}

impl Places {
    /// A place among `most`; none when there was none for so long. Who waits gets them in turn, and holds what
    /// `waiting` gives meanwhile.
    pub async fn enter<W>(
        &self,
        most: u32,
        wait: Duration,
        waiting: impl FnOnce() -> W,
    ) -> Option<SemaphorePermit<'_>> {
        if self.most.get() != most {
            self.allow(most);
        }
        match self.places.try_acquire() {
            Ok(place) => Some(place),
            // Boxed: rare.
            Err(_) => {
                let _waiting = waiting();
                Box::pin(tokio::time::timeout(wait, self.places.acquire())).await.ok()?.ok()
            }
        }
    }

    /// Follows a changed limit. Places that are taken are taken away when next asked.
    fn allow(&self, most: u32) {
        let before = self.most.get();
        if before < most {
            self.places.add_permits((most - before) as usize);
            self.most.set(most);
        } else {
            let gone = self.places.forget_permits((before - most) as usize);
            self.most.set(before - gone as u32);
        }
    }
}

/// Kept connections to one server.
#[derive(Default)]
struct Idle {
    /// With the start of the last request on it.
    http1: RefCell<Vec<(Http1, Instant)>>,
    http2: RefCell<Option<http2::SendRequest<Body>>>,
    /// What the server chose where it may choose: then nobody waits for a shared one.
    is_http1: Cell<bool>,
    /// Somebody opens a connection that all may share.
    is_opening: Cell<bool>,
    opened: Notify,
}

/// While a connection is opened that may be shared, whatever comes of it.
struct Opening<'a>(Option<&'a Idle>);

impl<'a> Opening<'a> {
    fn begin(idle: &'a Idle, protocol: Protocol) -> Self {
        let may_be_shared = protocol != Protocol::Http && !idle.is_http1.get();
        idle.is_opening.set(may_be_shared);
        Self(may_be_shared.then_some(idle))
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(idle) = self.0 {
            idle.is_opening.set(false);
            idle.opened.notify_waiters();
        }
    }
}

/// An answer with its body read to the end.
pub struct Sent {
    pub head: http::response::Parts,
    pub body: Bytes,
    pub took: Duration,
}

impl Client {
    /// Of shard `shard`.
    pub fn new(tls: Tls, shard: u32) -> Self {
        Self { tls, shard, targets: RefCell::default(), alarms: Alarms::default() }
    }

    /// A server with this shard's connections to it.
    pub fn target(&self, server: &Arc<Server>) -> Rc<Target> {
        let mut all = self.targets.borrow_mut();
        let target = all.entry(Arc::as_ptr(server)).or_insert_with(|| Rc::new(Target::new(server)));
        Rc::clone(target)
    }

    /// Sends and reads the whole answer within `timeout`. Dropping the future gives the request up and
    /// closes its connection.
    pub async fn send(
        &self,
        target: &Target,
        request: http::Request<Body>,
        timeout: Duration,
        body_max: usize,
    ) -> Result<Sent, SendError> {
        let begun = Instant::now();
        let server = &*target.server;
        let mut counted = Counted { server, shard: self.shard, ended: false };
        server.stats.begin(self.shard);
        let exchange = pin!(self.exchange(target, request, body_max, begun));
        let answer = match self.alarms.within((begun + timeout).into(), exchange).await {
            Some(answer) => answer,
            None => Err(SendError::Timeout {
                server: server.address.to_string(),
                timeout_ms: timeout.as_millis() as u64,
            }),
        };
        let took = begun.elapsed();
        let healthy = match &answer {
            Ok((head, _)) => !matches!(head.status.as_u16(), 502..=504),
            Err(error) => !error.is_the_servers(),
        };
        counted.ended = true;
        server.stats.end(self.shard, took.as_micros().min(u128::from(u32::MAX)) as u32, healthy);
        answer.map(|(head, body)| Sent { head, body, took })
    }

    async fn exchange(
        &self,
        target: &Target,
        request: http::Request<Body>,
        body_max: usize,
        now: Instant,
    ) -> Result<(http::response::Parts, Bytes), SendError> {
        let Target { server, idle, .. } = target;
        let mut request = Some(request);
        loop {
            // A kept connection may have been closed by the server at this very moment: then nothing of the
            // request was sent, and another connection takes it.
            while let Some(mut sender) = idle.take() {
                if !sender.is_ready().await {
                    idle.forget(&sender);
                    continue;
                }
                let Some(attempt) = request.take() else { break };
                match sender.send(attempt, server).await {
                    Ok(response) => return finish(server, idle, sender, response, (body_max, now)).await,
                    Err((_, Some(unsent))) => request = Some(unsent),
                    Err((error, None)) => return Err(closed(server, &error)),
                }
            }
            // Whoever opens one that can be shared opens it for all.
            if !idle.is_opening.get() {
                break;
            }
            idle.opened.notified().await;
        }
        let Some(request) = request else {
            return Err(SendError::Request { detail: "lost between two connections".to_owned() });
        };
        // Boxed: rare, and its state would lie in the future of every message.
        Box::pin(self.exchange_anew(target, request, (body_max, now))).await
    }

    /// The same on a connection that is opened for it.
    async fn exchange_anew(
        &self,
        Target { server, idle, .. }: &Target,
        request: http::Request<Body>,
        (body_max, now): (usize, Instant),
    ) -> Result<(http::response::Parts, Bytes), SendError> {
        let opening = Opening::begin(idle, server.protocol);
        let mut sender = connection::open(server, &self.tls).await?;
        server.stats.connections_opened.fetch_add(1, Relaxed);
        match &sender {
            Sender::Http1(_) => idle.is_http1.set(true),
            Sender::Http2(shared) => *idle.http2.borrow_mut() = Some(shared.clone()),
        }
        drop(opening);
        let response = match sender.is_ready().await {
            true => sender.send(request, server).await.map_err(|(it, _)| closed(server, &it))?,
            false => {
                let detail = "closed before it took a request".to_owned();
                return Err(SendError::Closed { server: server.address.to_string(), detail });
            }
        };
        finish(server, idle, sender, response, (body_max, now)).await
    }

    /// Closes what the servers have closed and what nobody has used for [`IDLE_KEPT`]. Every few seconds.
    pub fn trim(&self) {
        let now = Instant::now();
        self.targets.borrow_mut().retain(|_, it| it.idle.trim(now) || Rc::strong_count(it) > 1);
    }
}

impl Idle {
    fn take(&self) -> Option<Sender> {
        if let Some(shared) = &*self.http2.borrow()
            && !shared.is_closed()
        {
            return Some(Sender::Http2(shared.clone()));
        }
        self.http1.borrow_mut().pop().map(|(it, _)| Sender::Http1(it))
    }

    fn forget(&self, sender: &Sender) {
        if let Sender::Http2(_) = sender {
            *self.http2.borrow_mut() = None;
        }
    }

    fn keep(&self, sender: Sender, used: Instant) {
        match sender {
            Sender::Http1(it) => {
                let mut all = self.http1.borrow_mut();
                if all.len() < IDLE_MAX {
                    all.push((it, used));
                }
            }
            // The shared one is kept already.
            Sender::Http2(_) => {}
        }
    }

    /// False when none is left.
    fn trim(&self, now: Instant) -> bool {
        let mut http1 = self.http1.borrow_mut();
        http1.retain_mut(|(it, used)| now.duration_since(*used) < IDLE_KEPT && !it.is_closed());
        let mut http2 = self.http2.borrow_mut();
        if http2.as_ref().is_some_and(http2::SendRequest::is_closed) {
            *http2 = None;
        }
        !http1.is_empty() || http2.is_some()
    }
}

async fn finish(
    server: &Server,
    idle: &Idle,
    mut sender: Sender,
    response: http::Response<Incoming>,
    (body_max, now): (usize, Instant),
) -> Result<(http::response::Parts, Bytes), SendError> {
    let (head, body) = response.into_parts();
    let body =
        if body.is_end_stream() { Bytes::new() } else { read(server, &mut sender, body, body_max).await? };
    let keep = head
        .headers
        .get(http::header::CONNECTION)
        .is_none_or(|it| !it.as_bytes().eq_ignore_ascii_case(b"close"));
    if keep {
        idle.keep(sender, now);
    }
    Ok((head, body))
}

async fn read(
    server: &Server,
    sender: &mut Sender,
    mut body: Incoming,
    most: usize,
) -> Result<Bytes, SendError> {
    let too_large = || SendError::TooLarge { server: server.address.to_string(), limit: most };
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = sender.frame(&mut body).await {
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
    shard: u32,
    ended: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.server.stats.abandon(self.shard);
        }
    }
}
