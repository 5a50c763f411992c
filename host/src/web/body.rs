//! Reading a body: its limits hold while it is read, not after (S37).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;

use super::answer::{Refusal, header};

/// How long a body that is refused is still read, so that the answer is not lost to a sender that only sends.
const DISCARD: Duration = Duration::from_secs(2);

/// What all bodies of a door may hold together.
#[derive(Clone, Debug)]
pub struct Budget {
    used: Arc<AtomicUsize>,
    most: usize,
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub fn new(most: usize) -> Self {
        Self { used: Arc::default(), most }
    }

    fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

impl Share {
    fn grow(&mut self, by: usize) -> bool {
        let used = self.budget.used.fetch_add(by, Ordering::Relaxed);
        if used + by > self.budget.most {
            self.budget.used.fetch_sub(by, Ordering::Relaxed);
            return false;
        }
        self.bytes += by;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads it whole. The share of the budget is held for as long as the caller keeps it.
///
/// # Errors
/// 413 over `limit`, 408 when `time` is over, 503 without budget, 400 when the sender broke off.
pub async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    time: Duration,
    budget: &Budget,
) -> Result<(Bytes, Share), Refusal> {
    let announced =
        header(headers, http::header::CONTENT_LENGTH).and_then(|it| it.parse::<usize>().ok()).unwrap_or(0);
    let mut share = budget.share();
    let read = async {
        let mut parts: Vec<Bytes> = Vec::new();
        let mut length = 0;
        if announced > limit {
            return Err(too_large(limit));
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|it| Refusal::bad(format!("the body broke off: {it}")))?;
            let Ok(part) = frame.into_data() else { continue };
            length += part.len();
            if length > limit {
                return Err(too_large(limit));
            }
            if !share.grow(part.len()) {
                let text = "the bodies under way together are too large now: try again";
                return Err(Refusal::later(StatusCode::SERVICE_UNAVAILABLE, text, 1));
            }
            parts.push(part);
        }
        Ok(joined(parts, length))
    };
    let read = tokio::time::timeout(time, read).await.unwrap_or_else(|_| {
        let text = format!("the body did not come within {} ms", time.as_millis());
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text))
    });
    match read {
        Ok(bytes) => Ok((bytes, share)),
        Err(refusal) => {
            // A sender that waits to be told to go on is not told so.
            if refusal.status != StatusCode::REQUEST_TIMEOUT && !headers.contains_key(http::header::EXPECT) {
                let discard = async { while let Some(Ok(_)) = body.frame().await {} };
                let _ = tokio::time::timeout(DISCARD, discard).await;
            }
            Err(refusal)
        }
    }
}

fn joined(mut parts: Vec<Bytes>, length: usize) -> Bytes {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut all = Vec::with_capacity(length);
    for part in parts {
        all.extend_from_slice(&part);
    }
    all.into()
}

fn too_large(limit: usize) -> Refusal {
    let text = format!("the body is larger than {limit} bytes, the limit here");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(body: &'static str, limit: usize, budget: &Budget) -> Result<usize, u16> {
        let read = read(&HeaderMap::new(), Body::from(body), limit, Duration::from_secs(9), budget).await;
        read.map(|it| it.0.len()).map_err(|it| it.status.as_u16())
    }

    /// S22, S37.
    #[tokio::test]
    async fn limits() {
        let budget = Budget::new(6);
        assert_eq!(read_all("12345", 5, &budget).await, Ok(5));
        assert_eq!(read_all("123456", 5, &budget).await, Err(413));
        let held = read(&HeaderMap::new(), Body::from("1234"), 5, Duration::from_secs(9), &budget).await;
        assert_eq!(read_all("123", 5, &budget).await, Err(503));
        drop(held);
        assert_eq!(read_all("123", 5, &budget).await, Ok(3));
    }
}
