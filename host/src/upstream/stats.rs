//! How a server does: counted by every shard that sends to it, read by selectors and by the health tick.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Counters of one server. Relaxed: each is right by itself, together they are a moment's picture.
#[derive(Debug, Default)]
pub struct Stats {
    pub in_flight: AtomicU32,
    /// Exponentially weighted mean of the latency, in µs; 0 before the first answer.
    pub latency_ewma_us: AtomicU32,
    pub failures_in_row: AtomicU32,
    pub requests: AtomicU64,
    pub failures: AtomicU64,
    pub connections_opened: AtomicU64,
    /// In ms since 1970; out of service until then. 0: in service.
    pub ejected_until_ms: AtomicU64,
    /// How often in a row it was put out of service.
    pub ejections: AtomicU32,
}

impl Stats {
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
        self.requests.fetch_add(1, Relaxed);
    }

    /// `healthy`: the server did its part, whatever the answer means to the message.
    pub fn end(&self, took_us: u32, healthy: bool) {
        self.in_flight.fetch_sub(1, Relaxed);
        if healthy {
            self.failures_in_row.store(0, Relaxed);
            let mean = self.latency_ewma_us.load(Relaxed);
            // The newest counts an eighth. Two shards at once may lose one sample.
            let next = if mean == 0 { took_us.max(1) } else { mean - mean / 8 + took_us / 8 };
            self.latency_ewma_us.store(next.max(1), Relaxed);
        } else {
            self.failures.fetch_add(1, Relaxed);
            self.failures_in_row.fetch_add(1, Relaxed);
        }
    }

    /// The request was given up before it ended; says nothing of the server.
    pub fn abandon(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}
