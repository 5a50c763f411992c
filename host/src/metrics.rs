//! Every number that drover publishes, with its help line.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// What one plugin counts itself. Bounded: names and series over the limit are dropped.
#[derive(Debug, Default)]
pub struct PluginMetrics {
    pub plugin: String,
    series: Mutex<BTreeMap<(String, String), Series>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Series {
    Counter(u64),
    Gauge(f64),
    /// Count and sum.
    Summary(u64, f64),
}

const SERIES_MAX: usize = 1_000;

impl PluginMetrics {
    pub fn new(plugin: &str) -> Self {
        Self { plugin: plugin.to_owned(), series: Mutex::default() }
    }

    pub fn add(&self, name: &str, delta: u64, labels: &[(String, String)]) {
        self.change(name, labels, Series::Counter(0), |it| {
            if let Series::Counter(sum) = it {
                *sum = sum.saturating_add(delta);
            }
        });
    }

    pub fn set(&self, name: &str, value: f64, labels: &[(String, String)]) {
        self.change(name, labels, Series::Gauge(0.0), |it| {
            if let Series::Gauge(now) = it {
                *now = value;
            }
        });
    }

    pub fn observe(&self, name: &str, value: f64, labels: &[(String, String)]) {
        self.change(name, labels, Series::Summary(0, 0.0), |it| {
            if let Series::Summary(count, sum) = it {
                *count += 1;
                *sum += value;
            }
        });
    }

    fn change(&self, name: &str, labels: &[(String, String)], new: Series, change: impl FnOnce(&mut Series)) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        let key = (name.to_owned(), labels.join(","));
        let mut series = self.series.lock().unwrap_or_else(|it| it.into_inner());
        if series.len() < SERIES_MAX || series.contains_key(&key) {
            change(series.entry(key).or_insert(new));
        }
    }
}

/// What one route did on one shard. Written by that shard alone, read by reports: relaxed and uncontended.
#[derive(Debug, Default)]
pub struct RouteCounters {
    pub attempts: AtomicU64,
    pub retries: AtomicU64,
    pub done: AtomicU64,
    pub skipped: AtomicU64,
    pub deferred: AtomicU64,
    pub parked: AtomicU64,
    pub dead: AtomicU64,
    pub plugin_failures: AtomicU64,
    pub answers: AtomicU64,
    pub answer_us: AtomicU64,
}

impl RouteCounters {
    pub fn attempt(&self) {
        bump(&self.attempts, 1);
    }

    pub fn retry(&self) {
        bump(&self.retries, 1);
    }

    pub fn answered(&self, took: std::time::Duration) {
        bump(&self.answers, 1);
        bump(&self.answer_us, took.as_micros() as u64);
    }

    pub fn plugin_failed(&self, _kind: &'static str) {
        bump(&self.plugin_failures, 1);
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

/// One writer: a load and a store, no locked instruction.
fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Relaxed) + by, Relaxed);
}

/// Everything that is counted. Made once, shared by all; locks are taken when a series is first met.
#[derive(Debug, Default)]
pub struct Counters {
    routes: Mutex<BTreeMap<(Arc<str>, u32), Arc<RouteCounters>>>,
    unrouted: Mutex<BTreeMap<(String, String, &'static str), u64>>,
    selector_failures: Mutex<BTreeMap<(String, &'static str), u64>>,
    gates: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// The counters of a route on a shard; the same through reloads (S135).
    pub fn route(&self, route: &Arc<str>, shard: u32) -> Arc<RouteCounters> {
        Arc::clone(lock(&self.routes).entry((Arc::clone(route), shard)).or_default())
    }

    pub fn unrouted(&self, group: &str, topic: &str, outcome: &'static str) {
        *lock(&self.unrouted).entry((group.to_owned(), topic.to_owned(), outcome)).or_default() += 1;
    }

    pub fn selector_failed(&self, app: &str, kind: &'static str) {
        *lock(&self.selector_failures).entry((app.to_owned(), kind)).or_default() += 1;
    }

    pub fn gate_closed(&self, gate: &'static str) {
        *lock(&self.gates).entry(gate).or_default() += 1;
    }

    pub fn gate_opened(&self, _gate: &'static str) {}

    /// The totals of every route, over all shards.
    pub fn totals(&self) -> Totals {
        let mut all = Totals::default();
        for it in lock(&self.routes).values() {
            all.attempts += it.attempts.load(Relaxed);
            all.retries += it.retries.load(Relaxed);
            all.done += it.done.load(Relaxed);
            all.skipped += it.skipped.load(Relaxed);
            all.aside += it.deferred.load(Relaxed) + it.parked.load(Relaxed);
            all.dead += it.dead.load(Relaxed);
        }
        for ((_, _, outcome), count) in lock(&self.unrouted).iter() {
            match *outcome {
                "dead" => all.dead += count,
                "skipped" => all.skipped += count,
                _ => all.aside += count,
            }
        }
        all
    }
}

/// Sums over all routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub attempts: u64,
    pub retries: u64,
    pub done: u64,
    pub skipped: u64,
    /// Deferred or parked.
    pub aside: u64,
    pub dead: u64,
}

impl Totals {
    /// Messages whose outcome was carried out.
    pub fn settled(&self) -> u64 {
        self.done + self.skipped + self.aside + self.dead
    }
}

fn lock<T>(it: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    it.lock().unwrap_or_else(|it| it.into_inner())
}
