//! What a route does with the messages of a topic, per shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::histogram::{Histogram, HistogramSum};

/// What is counted apart: S134's topic, group and command, the last by the route that takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    pub group: Arc<str>,
    pub topic: Arc<str>,
    pub route: Arc<str>,
}

/// Why a plugin's call ended that did not return.
pub const STOPPED_KINDS: [&str; 5] = ["deadline", "memory", "trap", "answer", "refused"];

/// What one route did on one shard with one topic. Written by that shard alone, read by reports: relaxed and
/// uncontended.
#[derive(Debug, Default)]
pub struct RouteCounters {
    attempts: AtomicU64,
    retries: AtomicU64,
    done: AtomicU64,
    skipped: AtomicU64,
    deferred: AtomicU64,
    parked: AtomicU64,
    dead: AtomicU64,
    failures: AtomicU64,
    plugin_failures: [AtomicU64; STOPPED_KINDS.len()],
    answers: Histogram,
    plugin: Histogram,
}

impl RouteCounters {
    pub fn attempt(&self) {
        bump(&self.attempts, 1);
    }

    pub fn retry(&self) {
        bump(&self.retries, 1);
    }

    /// An attempt that is to be made again or was the last.
    pub fn failed(&self) {
        bump(&self.failures, 1);
    }

    /// A service answered, whatever it said.
    pub fn answered(&self, took: Duration) {
        self.answers.observe(micros(took));
    }

    /// A handler's call, the judging of an answer included.
    pub fn plugin_ran(&self, took: Duration) {
        self.plugin.observe(micros(took));
    }

    pub fn plugin_failed(&self, kind: &str) {
        if let Some(at) = STOPPED_KINDS.iter().position(|it| *it == kind) {
            bump(&self.plugin_failures[at], 1);
        }
    }

    /// `outcome`: the label of a final outcome.
    pub fn ended(&self, outcome: &str) {
        match outcome {
            "done" => bump(&self.done, 1),
            "skipped" => bump(&self.skipped, 1),
            "deferred" => bump(&self.deferred, 1),
            "parked" => bump(&self.parked, 1),
            _ => bump(&self.dead, 1),
        }
    }
}

/// A route's numbers over all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteSum {
    pub attempts: u64,
    pub retries: u64,
    pub failures: u64,
    pub done: u64,
    pub skipped: u64,
    pub deferred: u64,
    pub parked: u64,
    pub dead: u64,
    /// In the order of [`STOPPED_KINDS`].
    pub plugin_failures: [u64; STOPPED_KINDS.len()],
    pub answers: HistogramSum,
    pub plugin: HistogramSum,
}

impl RouteSum {
    pub(super) fn add(&mut self, it: &RouteCounters) {
        let load = |cell: &AtomicU64| cell.load(Relaxed);
        self.attempts += load(&it.attempts);
        self.retries += load(&it.retries);
        self.failures += load(&it.failures);
        self.done += load(&it.done);
        self.skipped += load(&it.skipped);
        self.deferred += load(&it.deferred);
        self.parked += load(&it.parked);
        self.dead += load(&it.dead);
        for (sum, cell) in self.plugin_failures.iter_mut().zip(&it.plugin_failures) {
            *sum += load(cell);
        }
        self.answers.add(&it.answers);
        self.plugin.add(&it.plugin);
    }

    pub fn merge(&mut self, it: &Self) {
        self.attempts += it.attempts;
        self.retries += it.retries;
        self.failures += it.failures;
        self.done += it.done;
        self.skipped += it.skipped;
        self.deferred += it.deferred;
        self.parked += it.parked;
        self.dead += it.dead;
        for (sum, other) in self.plugin_failures.iter_mut().zip(it.plugin_failures) {
            *sum += other;
        }
        self.answers.merge(&it.answers);
        self.plugin.merge(&it.plugin);
    }

    /// By outcome.
    pub fn outcomes(&self) -> [(&'static str, u64); 5] {
        [
            ("done", self.done),
            ("skipped", self.skipped),
            ("deferred", self.deferred),
            ("parked", self.parked),
            ("dead", self.dead),
        ]
    }

    pub fn settled(&self) -> u64 {
        self.outcomes().iter().map(|it| it.1).sum()
    }
}

/// One writer: a load and a store, no locked instruction.
pub(super) fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
