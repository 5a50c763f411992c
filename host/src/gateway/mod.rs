//! The producers' door: requests in, records in Kafka out, answered when all replicas in sync have them (S31).
//!
//! ```text
//! rest     POST /v1/messages ─┐            parse ─ what a message says        access ─ who may publish what
//! alpaca   /sendmsg           ├──> produce ── a place in the accept queue, the topic's partitioner, the outbox
//! bigpipe  /rpc/call         ─┘
//! ```
//! Runs on the control runtime. What is answered "ok" is in Kafka; everything else is answered with an error.

mod access;
mod alpaca;
mod bigpipe;
mod parse;
mod produce;
mod rest;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{any, post};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use self::access::Access;
use self::produce::Producer;
use crate::domain::secret::Secret;
use crate::metrics::Counters;
use crate::outbox::Outbox;
use crate::web::access::{is_for_loopback, is_foreign};
use crate::web::answer::{self, Refusal};
use crate::web::body::{self, Budget, Share};

/// How the door is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who may publish. Empty: everybody who reaches it.
    pub credentials: Vec<Credential>,
    /// Topics that may be published to.
    pub topics: Vec<String>,
    /// Of what is sent without one.
    pub default_topic: Option<String>,
    /// Commands that may be published. Empty: all.
    pub commands: Vec<String>,
    /// Longest body of a request, in bytes.
    pub body_bytes: usize,
    /// What all bodies under way may hold together, in bytes.
    pub bodies_bytes: usize,
    /// Messages that may wait for Kafka at once.
    pub accept_queue: u32,
    /// Requests a second; none is no limit.
    pub rate: Option<u32>,
    /// For a request, reading and Kafka's answer included, in ms.
    pub timeout_ms: u64,
    pub alpaca: Option<Alpaca>,
    pub bigpipe: Option<Bigpipe>,
}

/// A producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub name: String,
    pub secret: Secret,
    /// Empty: all of the door.
    pub topics: Vec<String>,
    /// Empty: all of the door.
    pub commands: Vec<String>,
}

/// `/sendmsg`, as alpaca-mq's clients call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alpaca {
    pub topic: String,
    /// Requests a second; none: the door's.
    pub rate: Option<u32>,
    /// Whether a command is taken; one that is not named is refused. Empty: the door's.
    pub commands: BTreeMap<String, bool>,
    /// Whether credentials, which its clients do not have, are not asked for.
    pub open: bool,
}

/// `/rpc/call`, as bigpipe's clients call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bigpipe {
    pub acl: Vec<Acl>,
}

/// A caller: its name and secret, and the topic that its calls go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub name: String,
    pub secret: Secret,
    pub topic: String,
}

/// What all requests share.
struct Gateway {
    access: Access,
    producer: Producer,
    counters: Arc<Counters>,
    bodies: Budget,
    body_bytes: usize,
    timeout: Duration,
    alpaca: Option<alpaca::Door>,
    bigpipe: Option<bigpipe::Door>,
}

type Shared = State<Arc<Gateway>>;

/// The door's paths.
pub fn router(config: &Config, outbox: Outbox, counters: Arc<Counters>) -> Router {
    let gateway = Arc::new(Gateway {
        access: Access::new(config),
        producer: Producer::new(config, outbox, Arc::clone(&counters)),
        counters,
        bodies: Budget::new(config.bodies_bytes.max(config.body_bytes)),
        body_bytes: config.body_bytes,
        timeout: Duration::from_millis(config.timeout_ms),
        alpaca: config.alpaca.as_ref().map(|it| alpaca::Door::new(it, config)),
        bigpipe: config.bigpipe.as_ref().map(bigpipe::Door::new),
    });
    let mut router = Router::new()
        .route("/v1/messages", post(rest::messages).fallback(|| async { answer::wrong_method("POST") }));
    if config.alpaca.is_some() {
        router = router.route("/sendmsg", any(alpaca::sendmsg));
    }
    if config.bigpipe.is_some() {
        router = router
            .route("/rpc/call", any(bigpipe::call))
            .route("/rpc/server/mock", any(|| async { StatusCode::OK }));
    }
    router.fallback(no_path).with_state(gateway)
}

async fn no_path(method: Method, uri: http::Uri) -> Response {
    let text = match uri.path() {
        "/sendmsg" => "alpaca-mq's door is closed: `gateway.alpaca` opens it".to_owned(),
        "/rpc/call" => "bigpipe's door is closed: `gateway.bigpipe` opens it".to_owned(),
        path => format!("there is no {method} {path} here; messages go to POST /v1/messages"),
    };
    answer::error(StatusCode::NOT_FOUND, &text)
}

/// A request whose body is there.
struct Whole {
    method: Method,
    headers: HeaderMap,
    query: String,
    body: Bytes,
    /// When it has to be answered.
    end: Instant,
    /// Of the budget; held until it is answered.
    _share: Share,
}

impl Gateway {
    async fn whole(&self, request: Request) -> Result<Whole, Refusal> {
        let end = Instant::now() + self.timeout;
        let (parts, body) = request.into_parts();
        let read = body::read(&parts.headers, body, self.body_bytes, self.timeout, &self.bodies).await?;
        Ok(Whole {
            method: parts.method,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body: read.0,
            end,
            _share: read.1,
        })
    }

    /// A door without credentials is for this machine's programs, not for pages that its browsers show.
    fn refuse_pages(&self, request: &Request) -> Result<(), Refusal> {
        let headers = request.headers();
        let authority = request.uri().authority().map(|it| it.as_str());
        let page = headers.contains_key(http::header::ORIGIN);
        if self.access.is_open() && page && (is_foreign(headers) || !is_for_loopback(headers, authority)) {
            return Err(Refusal::forbidden("pages of other sites may not publish here"));
        }
        Ok(())
    }
}
