//! The operators' door: is it alive, what does it do, what runs, and change it.
//!
//! ```text
//! GET  /livez /readyz            health    GET /v1/plugins, PUT /v1/plugins/{name}   plugins
//! GET  /stats /metrics           numbers   GET /v1/groups /v1/servers                status
//! GET, POST /v1/dead-letters…    dead      POST /v1/reload                           status
//! ```
//! Answers from the process' first moment to its last: [`Admin::ready`] and [`Admin::stopping`] tell it where
//! between them the host is. Runs on the control runtime.

mod dead;
mod health;
mod numbers;
mod plugins;
mod status;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post, put};
use http::{Method, StatusCode};
use tokio::sync::Semaphore;

use crate::control::Control;
use crate::dlq::{Dlq, Way};
use crate::domain::secret::Secret;
use crate::web::access::{Digest, Shown, is_for_loopback, is_foreign, shown};
use crate::web::answer::{self, Refusal};
use crate::web::body::Budget;

/// How the door is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What operators show as `Authorization: Bearer …`. Without it whoever reaches the door is an operator,
    /// and only this machine may reach it.
    pub token: Option<Secret>,
}

/// Largest component that is taken in, in bytes.
const COMPONENT_BYTES_MAX: usize = 32 << 20;
/// Uploads at once; each holds its component.
const UPLOADS: usize = 2;

/// The handle: cheap to clone.
#[derive(Clone)]
pub struct Admin {
    inner: Arc<Inner>,
}

struct Inner {
    token: RwLock<Option<Digest>>,
    control: OnceLock<Control>,
    stopping: AtomicBool,
    uploads: Semaphore,
    dead: OnceLock<dead::Dead>,
    dead_reads: Semaphore,
    dead_writes: Semaphore,
    bodies: Budget,
}

impl Admin {
    pub fn new(config: &Config) -> Self {
        Self {
            inner: Arc::new(Inner {
                token: RwLock::new(config.token.as_ref().map(Digest::of)),
                control: OnceLock::new(),
                stopping: AtomicBool::new(false),
                uploads: Semaphore::new(UPLOADS),
                dead: OnceLock::new(),
                dead_reads: Semaphore::new(dead::READERS),
                dead_writes: Semaphore::new(dead::WRITERS),
                bodies: Budget::new(UPLOADS * COMPONENT_BYTES_MAX),
            }),
        }
    }

    /// From the next request on.
    pub fn configure(&self, config: &Config) {
        let token = config.token.as_ref().map(Digest::of);
        *self.inner.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// All parts run: from now on there is something to tell and to change.
    pub fn ready(&self, control: Control, (dlq, way): (Dlq, Way)) {
        // It becomes ready once.
        let _ = self.inner.dead.set(dead::Dead { dlq, way });
        let _ = self.inner.control.set(control);
    }

    /// From now on it is not ready any more; it goes on answering.
    pub fn stopping(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
    }

    /// The door's paths.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/stats", read(get(numbers::stats)))
            .route("/metrics", read(get(numbers::metrics)))
            .route("/v1/plugins", read(get(plugins::list)))
            .route(
                "/v1/plugins/{name}",
                put(plugins::upload)
                    .get(plugins::one)
                    .fallback(|| async { answer::wrong_method("GET, PUT") }),
            )
            .route("/v1/groups", read(get(status::groups)))
            .route("/v1/servers", read(get(status::servers)))
            .route("/v1/dead-letters", read(get(dead::list)))
            .route("/v1/dead-letters/{group}/{partition}/{offset}", read(get(dead::one)))
            .route("/v1/dead-letters/purge", write(post(dead::purge)))
            .route("/v1/dead-letters/redrive", write(post(dead::redrive)))
            .route("/v1/reload", write(post(status::reload)))
            .fallback(no_path)
            .layer(middleware::from_fn_with_state(self.clone(), guard))
            // Whoever starts and stops processes has no token.
            .route("/livez", read(get(health::live)))
            .route("/readyz", read(get(health::ready)))
            .with_state(self.clone())
    }

    /// # Errors
    /// 503 before the host runs.
    fn control(&self) -> Result<&Control, Refusal> {
        self.inner.control.get().ok_or_else(|| {
            Refusal::later(StatusCode::SERVICE_UNAVAILABLE, "the host is starting: try again", 1)
        })
    }

    /// Who asks, for the history.
    ///
    /// # Errors
    /// 401, 403.
    fn admit(&self, request: &Request) -> Result<&'static str, Refusal> {
        let headers = request.headers();
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
        if changes && is_foreign(headers) {
            return Err(Refusal::forbidden("pages of other sites may not change anything here"));
        }
        let token = self.inner.token.read().unwrap_or_else(PoisonError::into_inner);
        match (&*token, shown(headers)) {
            (None, _) => {
                let authority = request.uri().authority().map(|it| it.as_str());
                if !is_for_loopback(headers, authority) {
                    let text = "without a token this door is this machine's: call it as 127.0.0.1 or localhost, or \
                                set `admin.token`";
                    return Err(Refusal::forbidden(text));
                }
                Ok("this machine")
            }
            (Some(token), Shown::Token(shown)) if token.is(&shown) => Ok("admin token"),
            (Some(_), _) => {
                let text = "show the token: `Authorization: Bearer …`, as `admin.token` says";
                Err(Refusal::new(StatusCode::UNAUTHORIZED, text))
            }
        }
    }
}

type Shared = State<Admin>;

/// Who asks.
#[derive(Clone, Copy)]
struct Operator(&'static str);

async fn guard(State(admin): Shared, mut request: Request, next: Next) -> Response {
    match admin.admit(&request) {
        Ok(who) => {
            request.extensions_mut().insert(Operator(who));
            next.run(request).await
        }
        Err(refusal) => refusal.response(),
    }
}

fn read(router: MethodRouter<Admin>) -> MethodRouter<Admin> {
    router.fallback(|| async { answer::wrong_method("GET") })
}

fn write(router: MethodRouter<Admin>) -> MethodRouter<Admin> {
    router.fallback(|| async { answer::wrong_method("POST") })
}

async fn no_path(method: Method, uri: http::Uri) -> Response {
    let text = format!(
        "there is no {method} {} here; there are /livez, /readyz, /stats, /metrics, /v1/plugins, /v1/groups, \
         /v1/servers, /v1/dead-letters, /v1/reload",
        uri.path()
    );
    answer::error(StatusCode::NOT_FOUND, &text)
}
