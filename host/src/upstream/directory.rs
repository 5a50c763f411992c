//! Who an app's servers are and which of them are in service. Shared by all threads; changed by a reload,
//! by discovery and by the health tick, read by shards through a generation number: a shard compares one
//! relaxed counter for each attempt and takes the lock only when it moved.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::stats::Stats;
use crate::domain::app::{App, Protocol, ServerSource};

/// One server, the same object for as long as its app names it: its counters survive reloads.
#[derive(Debug)]
pub struct Server {
    /// `host:port`, also its id.
    pub address: Arc<str>,
    /// `protocol://host:port`.
    pub uri: Arc<str>,
    /// What it is called, as requests carry it, and as its certificate has to.
    pub host_header: http::HeaderValue,
    pub tls_name: Box<str>,
    pub host: Box<str>,
    pub port: u16,
    pub protocol: Protocol,
    pub weight: u32,
    pub zone: String,
    pub labels: Vec<(String, String)>,
    pub stats: Stats,
}

/// The servers that a selector may choose from, at one moment.
#[derive(Debug, Default)]
pub struct InService {
    pub generation: u64,
    pub servers: Vec<Arc<Server>>,
}

/// One app's servers.
pub struct AppServers {
    generation: AtomicU64,
    /// Counts picks over all shards: what exact round-robin goes by.
    turn: AtomicU64,
    /// That count in its servers' stats.
    shards: u32,
    state: Mutex<State>,
}

struct State {
    app: Arc<App>,
    all: Vec<Arc<Server>>,
    in_service: Arc<InService>,
}

impl AppServers {
    /// Changes with every change of [`Self::in_service`].
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn in_service(&self) -> Arc<InService> {
        Arc::clone(&self.lock().in_service)
    }

    pub fn all(&self) -> Vec<Arc<Server>> {
        self.lock().all.clone()
    }

    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.lock().app)
    }

    pub fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    fn new(app: Arc<App>, shards: u32) -> Self {
        let state = State { app, all: Vec::new(), in_service: Arc::default() };
        Self { generation: AtomicU64::new(0), turn: AtomicU64::new(0), shards, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|it| it.into_inner())
    }

    /// These are the app's servers from now on; known ones keep their counters.
    fn set(&self, app: &Arc<App>, listed: &[crate::domain::app::Server], now_ms: u64) {
        let mut state = self.lock();
        let known: HashMap<Arc<str>, Arc<Server>> =
            state.all.iter().map(|it| (Arc::clone(&it.address), Arc::clone(it))).collect();
        state.app = Arc::clone(app);
        state.all = listed
            .iter()
            .map(|it| match known.get(&it.address) {
                Some(same) if same.is_as(it, app.protocol) => Arc::clone(same),
                Some(_) | None => Arc::new(Server::new(it, app.protocol, self.shards)),
            })
            .collect();
        self.refresh(&mut state, now_ms);
    }

    /// Puts failing servers out of service and takes those back whose time is over.
    fn tick(&self, now_ms: u64) {
        let mut state = self.lock();
        let (after, first_ms) = (state.app.eject_after, state.app.eject_ms);
        for server in &state.all {
            server.stats.decide(after, first_ms, now_ms);
        }
        self.refresh(&mut state, now_ms);
    }

    fn refresh(&self, state: &mut State, now_ms: u64) {
        let healthy: Vec<Arc<Server>> =
            state.all.iter().filter(|it| it.stats.is_in_service(now_ms)).cloned().collect();
        // With none left all are tried: a guess about the network must not stop every message.
        let servers = if healthy.is_empty() { state.all.clone() } else { healthy };
        let same = servers.len() == state.in_service.servers.len()
            && servers.iter().zip(&state.in_service.servers).all(|(a, b)| Arc::ptr_eq(a, b));
        if same && state.in_service.generation != 0 {
            return;
        }
        let generation = state.in_service.generation + 1;
        state.in_service = Arc::new(InService { generation, servers });
        self.generation.store(generation, Ordering::Release);
    }
}

impl Server {
    fn new(it: &crate::domain::app::Server, protocol: Protocol, shards: u32) -> Self {
        let (host, port) = split_address(&it.address, protocol);
        let name = it.name.as_ref().unwrap_or(&it.address);
        Self {
            uri: format!("{}://{}", protocol.as_str(), it.address).into(),
            tls_name: split_address(name, protocol).0.into(),
            host_header: http::HeaderValue::from_str(name)
                .unwrap_or_else(|_| http::HeaderValue::from_static("?")),
            address: Arc::clone(&it.address),
            host: host.into(),
            port,
            protocol,
            weight: it.weight,
            zone: it.zone.clone(),
            labels: it.labels.clone(),
            stats: Stats::new(shards),
        }
    }

    /// A server that a message itself names.
    pub fn named(address: &str, protocol: Protocol, shards: u32) -> Self {
        let listed = crate::domain::app::Server {
            address: address.into(),
            name: None,
            weight: 1,
            zone: String::new(),
            labels: Vec::new(),
        };
        Self::new(&listed, protocol, shards)
    }

    fn is_as(&self, it: &crate::domain::app::Server, protocol: Protocol) -> bool {
        self.protocol == protocol
            && self.weight == it.weight
            && self.zone == it.zone
            && self.labels == it.labels
    }
}

/// `host:port`, `[v6]:port` or a host alone.
pub fn split_address(address: &str, protocol: Protocol) -> (&str, u16) {
    let default = if protocol == Protocol::Https { 443 } else { 80 };
    match address.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
            (host.trim_start_matches('[').trim_end_matches(']'), port.parse().unwrap_or(default))
        }
        Some(_) | None => (address.trim_start_matches('[').trim_end_matches(']'), default),
    }
}

impl Stats {
    fn is_in_service(&self, now_ms: u64) -> bool {
        self.ejected_until_ms.load(Ordering::Relaxed) <= now_ms
    }

    /// Out of service after so many failures in a row, for a time that doubles with each time in a row.
    /// When the time is over one more failure puts it out again at once: it is re-admitted on trial.
    fn decide(&self, after: u32, first_ms: u64, now_ms: u64) {
        let until = self.ejected_until_ms.load(Ordering::Relaxed);
        let failures = self.failures_in_row.load(Ordering::Relaxed);
        if until > now_ms || after == 0 {
            return;
        }
        if failures == 0 {
            self.ejections.store(0, Ordering::Relaxed);
            return;
        }
        let trial = self.ejections.load(Ordering::Relaxed) > 0;
        if failures >= after || trial {
            let times = self.ejections.fetch_add(1, Ordering::Relaxed).min(6);
            self.ejected_until_ms.store(now_ms + (first_ms << times), Ordering::Relaxed);
            self.failures_in_row.store(0, Ordering::Relaxed);
        } else if until != 0 {
            self.ejected_until_ms.store(0, Ordering::Relaxed);
        }
    }
}

/// All apps' servers. Cheap to clone.
#[derive(Clone)]
pub struct Directory {
    apps: Arc<Mutex<HashMap<Arc<str>, Arc<AppServers>>>>,
    shards: u32,
}

impl Directory {
    /// For a host of so many shards.
    pub fn new(shards: u32) -> Self {
        Self { apps: Arc::default(), shards }
    }

    /// Makes this the set of apps. Listed servers take effect at once, discovered ones as they are found.
    pub fn apply(&self, apps: &[Arc<App>], now_ms: u64) {
        let mut known = self.lock();
        known.retain(|name, _| apps.iter().any(|it| it.name == *name));
        for app in apps {
            let servers = known
                .entry(Arc::clone(&app.name))
                .or_insert_with(|| Arc::new(AppServers::new(Arc::clone(app), self.shards)));
            if let ServerSource::Listed(listed) = &app.servers {
                servers.set(app, listed, now_ms);
            }
        }
    }

    /// What discovery found for an app.
    pub fn found(&self, app: &Arc<App>, servers: &[crate::domain::app::Server], now_ms: u64) {
        if let Some(known) = self.app(&app.name) {
            known.set(app, servers, now_ms);
        }
    }

    pub fn app(&self, name: &str) -> Option<Arc<AppServers>> {
        self.lock().get(name).cloned()
    }

    /// Every app by name, for reports.
    pub fn apps(&self) -> Vec<(Arc<str>, Arc<AppServers>)> {
        let mut all: Vec<_> =
            self.lock().iter().map(|(name, it)| (Arc::clone(name), Arc::clone(it))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Decides health from the counters; called some times a second.
    pub fn tick(&self, now_ms: u64) {
        for (_, servers) in self.apps() {
            servers.tick(now_ms);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<AppServers>>> {
        self.apps.lock().unwrap_or_else(|it| it.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("a:1", Protocol::Http, ("a", 1)),
            ("a", Protocol::Http, ("a", 80)),
            ("a", Protocol::Https, ("a", 443)),
            ("[::1]:8080", Protocol::Http, ("::1", 8080)),
            ("[::1]", Protocol::Http, ("::1", 80)),
        ];
        for (address, protocol, expected) in cases {
            assert_eq!(split_address(address, protocol), expected, "{address}");
        }
    }

    /// S111: left out after failures, back on trial, out again at the first failure, for twice as long.
    #[test]
    fn ejection_and_readmission() {
        let stats = Stats::new(1);
        let fail = |n: u32| {
            (0..n).for_each(|_| {
                stats.begin(0);
                stats.end(0, 0, false);
            })
        };
        fail(2);
        stats.decide(3, 1_000, 0);
        assert!(stats.is_in_service(0));
        fail(1);
        stats.decide(3, 1_000, 0);
        assert!(!stats.is_in_service(999));
        assert!(stats.is_in_service(1_000));
        fail(1);
        stats.decide(3, 1_000, 1_000);
        assert!(!stats.is_in_service(2_999));
        assert!(stats.is_in_service(3_000));
        stats.begin(0);
        stats.end(0, 5, true);
        stats.decide(3, 1_000, 3_000);
        fail(1);
        stats.decide(3, 1_000, 3_000);
        assert!(stats.is_in_service(3_000), "a success ends the trial");
    }
}
