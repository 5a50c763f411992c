//! What the producers' door counts (S134).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::lock;

/// Whose form a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    Messages,
    Alpaca,
    Bigpipe,
}

impl Door {
    pub fn as_str(self) -> &'static str {
        match self {
            Door::Messages => "messages",
            Door::Alpaca => "alpaca",
            Door::Bigpipe => "bigpipe",
        }
    }
}

/// Of all of its requests, since the process began.
#[derive(Debug, Default)]
pub struct GatewayCounters {
    received: AtomicU64,
    accepted: AtomicU64,
    overload: AtomicU64,
    /// Accepted and waiting for Kafka.
    waiting: AtomicU64,
    /// (door, what became of it) → requests.
    requests: Mutex<BTreeMap<(Door, &'static str), u64>>,
    /// topic → messages written, messages refused by Kafka.
    topics: Mutex<BTreeMap<String, (u64, u64)>>,
}

/// The numbers at one moment.
#[derive(Clone, Debug, Default)]
pub struct GatewaySum {
    pub received: u64,
    pub accepted: u64,
    pub overload: u64,
    pub waiting: u64,
    pub requests: BTreeMap<(Door, &'static str), u64>,
    pub topics: BTreeMap<String, (u64, u64)>,
}

impl GatewayCounters {
    pub fn received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    /// It has a place in the accept queue, until [`Self::left`].
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
        self.waiting.fetch_add(1, Relaxed);
    }

    pub fn left(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }

    /// S35.
    pub fn overload(&self) {
        self.overload.fetch_add(1, Relaxed);
    }

    pub fn answered(&self, door: Door, result: &'static str) {
        *lock(&self.requests).entry((door, result)).or_default() += 1;
    }

    pub fn written(&self, topic: &str, well: bool) {
        let mut topics = lock(&self.topics);
        if !topics.contains_key(topic) {
            topics.insert(topic.to_owned(), (0, 0));
        }
        if let Some((success, fail)) = topics.get_mut(topic) {
            *if well { success } else { fail } += 1;
        }
    }

    pub fn sum(&self) -> GatewaySum {
        GatewaySum {
            received: self.received.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            overload: self.overload.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            requests: lock(&self.requests).clone(),
            topics: lock(&self.topics).clone(),
        }
    }
}
