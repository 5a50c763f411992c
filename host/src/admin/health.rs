//! Alive, and ready.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::{Admin, Shared};
use crate::web::answer;

pub async fn live() -> Response {
    answer::json(StatusCode::OK, &json!({ "alive": true }))
}

/// 503 with what is missing.
pub async fn ready(State(admin): Shared) -> Response {
    let missing = admin.missing();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, &json!({ "ready": missing.is_empty(), "missing": missing }))
}

impl Admin {
    pub(super) fn missing(&self) -> Vec<String> {
        if self.inner.stopping.load(Ordering::Relaxed) {
            return vec!["the host is stopping".to_owned()];
        }
        match self.inner.control.get() {
            Some(control) => control.missing(),
            None => vec!["the host is starting".to_owned()],
        }
    }
}
