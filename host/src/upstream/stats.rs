//! How a server does: counted by each shard for itself, summed by selectors, reports and the health tick.

use std::ops::Sub;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::domain::outcome::Outcome;

/// Counters of one server. Each is right by itself, together they are a moment's picture.
#[derive(Debug)]
pub struct Stats {
    shards: Box<[OfShard]>,
    /// Over all shards. Written when it changes, which is rare.
    pub failures_in_row: AtomicU32,
    pub connections_opened: AtomicU64,
    /// In ms of `clock::monotonic_ms`; out of service until then. 0: in service.
    pub ejected_until_ms: AtomicU64,
    /// How often in a row it was put out of service.
    pub ejections: AtomicU32,
}

/// Written by one shard, with loads and stores only; on lines of its own, so that no other one waits for it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OfShard {
    in_flight: AtomicU32,
    /// Exponentially weighted mean of the latency, in µs; 0 before the first answer.
    latency_ewma_us: AtomicU32,
    requests: AtomicU64,
    failures: AtomicU64,
    good: AtomicU64,
    bad: AtomicU64,
    too_much: AtomicU64,
    unavailable: AtomicU64,
    answers: AtomicU64,
    took_us: AtomicU64,
}

/// What an attempt says of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Good,
    Bad,
    /// 429, or the verdict `throttled`: neither well nor broken.
    TooMuch,
    /// 503: too much for it, or it is away.
    Unavailable,
}

impl Mark {
    /// Of an answer that was judged. A message that is refused for good was handled well.
    pub fn of(outcome: &Outcome, status: u16) -> Self {
        match outcome {
            Outcome::Retry { counts: false, .. } if status == 503 => Self::Unavailable,
            Outcome::Retry { counts: false, .. } => Self::TooMuch,
            // What is parked waits until the target is back.
            Outcome::Retry { counts: true, .. } | Outcome::Parked(_) => Self::Bad,
            Outcome::Done | Outcome::Skipped(_) | Outcome::Deferred(_) | Outcome::Dead { .. } => Self::Good,
        }
    }
}

/// What health is decided by: since the server was met, or since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub good: u64,
    pub bad: u64,
    pub too_much: u64,
    pub unavailable: u64,
    /// Answers that came, and the sum of their times.
    pub answers: u64,
    pub took_us: u64,
}

impl Counts {
    /// As breakers count: well, and not.
    pub fn by_health(&self) -> (u64, u64) {
        (self.good, self.bad + self.unavailable)
    }

    /// As throttling counts: all of them, and those that said "too much".
    pub fn by_load(&self) -> (u64, u64) {
        let too_much = self.too_much + self.unavailable;
        (self.good + self.bad + too_much, too_much)
    }

    pub fn add(&mut self, it: &Self) {
        self.good += it.good;
        self.bad += it.bad;
        self.too_much += it.too_much;
        self.unavailable += it.unavailable;
        self.answers += it.answers;
        self.took_us += it.took_us;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, it: Self) -> Self {
        Self {
            good: self.good - it.good,
            bad: self.bad - it.bad,
            too_much: self.too_much - it.too_much,
            unavailable: self.unavailable - it.unavailable,
            answers: self.answers - it.answers,
            took_us: self.took_us - it.took_us,
        }
    }
}

/// One writer: a load and a store.
fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Relaxed) + by, Relaxed);
}

impl Stats {
    pub fn new(shards: u32) -> Self {
        Self {
            shards: (0..shards.max(1)).map(|_| OfShard::default()).collect(),
            failures_in_row: AtomicU32::new(0),
            connections_opened: AtomicU64::new(0),
            ejected_until_ms: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
        }
    }

    /// A request begins. Called by the shard's own thread, as all that take a shard.
    pub fn begin(&self, shard: u32) {
        let cell = &self.shards[shard as usize];
        cell.in_flight.store(cell.in_flight.load(Relaxed) + 1, Relaxed);
        cell.requests.store(cell.requests.load(Relaxed) + 1, Relaxed);
    }

    /// `healthy`: the server did its part, whatever the answer means to the message.
    pub fn end(&self, shard: u32, took_us: u32, healthy: bool) {
        self.abandon(shard);
        let cell = &self.shards[shard as usize];
        if healthy {
            if self.failures_in_row.load(Relaxed) != 0 {
                self.failures_in_row.store(0, Relaxed);
            }
            let mean = cell.latency_ewma_us.load(Relaxed);
            // The newest counts an eighth.
            let next = if mean == 0 { took_us } else { mean - mean / 8 + took_us / 8 };
            cell.latency_ewma_us.store(next.max(1), Relaxed);
            bump(&cell.answers, 1);
            bump(&cell.took_us, u64::from(took_us));
        } else {
            cell.failures.store(cell.failures.load(Relaxed) + 1, Relaxed);
            self.failures_in_row.fetch_add(1, Relaxed);
        }
    }

    /// The request was given up before it ended; says nothing of the server.
    pub fn abandon(&self, shard: u32) {
        let cell = &self.shards[shard as usize];
        cell.in_flight.store(cell.in_flight.load(Relaxed) - 1, Relaxed);
    }

    /// An attempt at it ended so.
    pub fn mark(&self, shard: u32, mark: Mark) {
        let cell = &self.shards[shard as usize];
        match mark {
            Mark::Good => bump(&cell.good, 1),
            Mark::Bad => bump(&cell.bad, 1),
            Mark::TooMuch => bump(&cell.too_much, 1),
            Mark::Unavailable => bump(&cell.unavailable, 1),
        }
    }

    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for it in &self.shards {
            sum.add(&Counts {
                good: it.good.load(Relaxed),
                bad: it.bad.load(Relaxed),
                too_much: it.too_much.load(Relaxed),
                unavailable: it.unavailable.load(Relaxed),
                answers: it.answers.load(Relaxed),
                took_us: it.took_us.load(Relaxed),
            });
        }
        sum
    }

    pub fn in_flight(&self) -> u32 {
        self.shards.iter().map(|it| it.in_flight.load(Relaxed)).sum()
    }

    /// The mean of those shards that have had an answer, in µs; 0 before the first one.
    pub fn latency_ewma_us(&self) -> u32 {
        let means = self.shards.iter().map(|it| it.latency_ewma_us.load(Relaxed)).filter(|it| *it != 0);
        let (sum, count) = means.fold((0, 0), |(sum, count), it| (sum + u64::from(it), count + 1));
        sum.checked_div(count).unwrap_or(0) as u32
    }

    pub fn requests(&self) -> u64 {
        self.shards.iter().map(|it| it.requests.load(Relaxed)).sum()
    }

    pub fn failures(&self) -> u64 {
        self.shards.iter().map(|it| it.failures.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::{Failure, Stage};

    /// S84: 429 is no failure of a server; 503 may be one.
    #[test]
    fn what_an_attempt_says_of_its_server() {
        let failure = || Failure::transient(Stage::Judge, "it said so");
        let retry = |counts| Outcome::Retry { failure: failure(), after_ms: None, elsewhere: false, counts };
        let cases = [
            (Outcome::Done, 200, (1, 0), (1, 0)),
            (Outcome::Skipped("none".into()), 404, (1, 0), (1, 0)),
            (Outcome::Dead { code: "no".into(), failure: failure() }, 422, (1, 0), (1, 0)),
            (Outcome::Deferred(1), 200, (1, 0), (1, 0)),
            (Outcome::Parked("away".into()), 200, (0, 1), (1, 0)),
            (retry(true), 500, (0, 1), (1, 0)),
            (retry(false), 429, (0, 0), (1, 1)),
            (retry(false), 503, (0, 1), (1, 1)),
        ];
        for (outcome, status, health, load) in cases {
            let stats = Stats::new(2);
            stats.mark(1, Mark::of(&outcome, status));
            let counts = stats.counts();
            assert_eq!((counts.by_health(), counts.by_load()), (health, load), "{outcome:?} {status}");
        }
    }

    #[test]
    fn shards_are_summed_and_their_latencies_averaged() {
        let stats = Stats::new(3);
        stats.begin(0);
        stats.begin(2);
        stats.begin(2);
        assert_eq!((stats.in_flight(), stats.requests(), stats.latency_ewma_us()), (3, 3, 0));
        stats.end(0, 100, true);
        stats.end(2, 300, true);
        stats.end(2, 0, false);
        assert_eq!((stats.in_flight(), stats.failures(), stats.latency_ewma_us()), (0, 1, 200));
        assert_eq!(stats.failures_in_row.load(Relaxed), 1);
    }
}
