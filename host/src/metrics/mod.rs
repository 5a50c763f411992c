//! What is counted, and how it is published. Written by all threads, read by reports and by [`page`], where
//! every number that we publish stands with its help line.

mod gateway;
mod histogram;
pub mod page;
pub mod picture;
mod plugin;
mod route;
mod waits;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

pub use gateway::{Door, GatewayCounters};
pub use histogram::{Histogram, HistogramSum};
pub use plugin::{PluginMetrics, PluginTable, Series};
pub use route::{RouteCounters, RouteKey, RouteSum, STOPPED_KINDS};
pub use waits::{Wait, Waits};

/// Everything that is counted. Made once, shared by all; locks are taken when a series is first met.
#[derive(Debug, Default)]
pub struct Counters {
    routes: Mutex<BTreeMap<(RouteKey, u32), Arc<RouteCounters>>>,
    unrouted: Mutex<BTreeMap<(String, String, &'static str), u64>>,
    selector_failures: Mutex<BTreeMap<(String, &'static str), u64>>,
    gates: Mutex<BTreeMap<&'static str, u64>>,
    pub gateway: GatewayCounters,
    pub waits: Waits,
    plugins: PluginTable,
}

impl Counters {
    /// `plugins`: what the plugins of this process count themselves.
    pub fn new(plugins: PluginTable) -> Self {
        Self { plugins, ..Self::default() }
    }

    /// The counters of a route on a shard; the same through reloads (S135).
    pub fn route(&self, key: &RouteKey, shard: u32) -> Arc<RouteCounters> {
        Arc::clone(lock(&self.routes).entry((key.clone(), shard)).or_default())
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

    /// Each route's, over all shards.
    pub fn by_route(&self) -> BTreeMap<RouteKey, RouteSum> {
        let mut all: BTreeMap<RouteKey, RouteSum> = BTreeMap::new();
        for ((key, _), counters) in lock(&self.routes).iter() {
            all.entry(key.clone()).or_default().add(counters);
        }
        all
    }

    /// Messages that no route took: (group, topic, outcome) → how many.
    pub fn by_unrouted(&self) -> BTreeMap<(String, String, &'static str), u64> {
        lock(&self.unrouted).clone()
    }

    /// The totals of every route, over all shards.
    pub fn totals(&self) -> Totals {
        let mut all = Totals::default();
        for it in self.by_route().values() {
            all.attempts += it.attempts;
            all.retries += it.retries;
            all.done += it.done;
            all.skipped += it.skipped;
            all.aside += it.deferred + it.parked;
            all.dead += it.dead;
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

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(|it| it.into_inner())
}
