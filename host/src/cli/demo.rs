//! The two services that `drover dev` delivers to: one is slow, one fails now and then. Each remembers what
//! it got last and shows it at `GET /seen`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Answers after 150 ms.
    Slow,
    /// Of four requests one is refused by `errno`, one by 503.
    Flaky,
}

#[derive(Clone)]
struct Service {
    name: &'static str,
    manner: Manner,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    count: u64,
    last: VecDeque<Value>,
}

const REMEMBERED: usize = 10;

/// Listens at once, so that a taken port is said before anything starts; serves until the runtime ends.
pub async fn start(name: &'static str, manner: Manner, at: SocketAddr) -> anyhow::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(at).await.with_context(|| {
        format!("the demo service {name} cannot listen on {at}: end what listens there, or choose other ports by --ports")
    })?;
    let service = Service { name, manner, seen: Arc::default() };
    let routes = Router::new().route("/seen", get(seen)).route("/{*path}", post(take)).with_state(service);
    Ok(tokio::runtime::Handle::current().spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, name, "a demo service ended");
        }
    }))
}

async fn take(State(service): State<Service>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let (count, answer) = {
        let mut seen = service.seen.lock().unwrap_or_else(|it| it.into_inner());
        seen.count += 1;
        let count = seen.count;
        let (status, answer) = answer(service.manner, count);
        let names: Vec<&str> = headers.keys().map(|it| it.as_str()).collect();
        seen.last.push_front(json!({
            "request": count,
            "attempt": text("drover-attempt"),
            "idempotency-key": text("idempotency-key"),
            "content-type": text("content-type"),
            "headers": names,
            "body": String::from_utf8_lossy(&body),
            "answered": status.as_u16(),
        }));
        seen.last.truncate(REMEMBERED);
        (count, (status, answer))
    };
    if service.manner == Manner::Slow {
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    tracing::debug!(service = service.name, count, "demo service asked");
    answer.into_response()
}

fn answer(manner: Manner, count: u64) -> (StatusCode, String) {
    let good = || (StatusCode::OK, json!({"errno": 0}).to_string());
    match (manner, count % 4) {
        (Manner::Flaky, 1) => (StatusCode::SERVICE_UNAVAILABLE, "try later".to_owned()),
        (Manner::Flaky, 3) => (StatusCode::OK, json!({"errno": 7, "errmsg": "not today"}).to_string()),
        _ => good(),
    }
}

async fn seen(State(service): State<Service>) -> String {
    let seen = service.seen.lock().unwrap_or_else(|it| it.into_inner());
    let all = json!({"service": service.name, "requests": seen.count, "last": seen.last});
    format!("{all:#}\n")
}
