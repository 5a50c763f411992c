//! Who an app's servers are and which of them are in service. Shared by all threads; changed by a reload,
//! by discovery and by the health tick, read by shards through a generation number: a shard compares one
//! relaxed counter for each attempt and takes the lock only when it moved.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::health::{AppAdmission, AppHealth, Health};
use super::stats::{Counts, Stats};
use crate::domain::app::{App, Protocol, ServerSource};
use crate::domain::breaker::{Rule, Share, State as BreakerState};

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
    pub health: Health,
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
    /// What shards ask before each attempt.
    pub admission: AppAdmission,
    state: Mutex<State>,
}

struct State {
    app: Arc<App>,
    all: Vec<Arc<Server>>,
    in_service: Arc<InService>,
    /// By URI: those that messages named, one for all shards, so that each has one breaker.
    named: HashMap<Arc<str>, Arc<Server>>,
    health: AppHealth,
}

/// Servers that messages named, kept for their counters and breakers.
const NAMED_MAX: usize = 1_000;

/// How a breaker stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerReport {
    /// None: the app's own.
    pub server: Option<Arc<str>>,
    pub state: BreakerState,
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

    /// The server of a message that names its own.
    pub fn named(&self, address: &str, protocol: Protocol) -> Arc<Server> {
        let mut state = self.lock();
        let uri = format!("{}://{address}", protocol.as_str());
        if let Some(known) = state.named.get(&*uri) {
            return Arc::clone(known);
        }
        if state.named.len() >= NAMED_MAX {
            state.named.retain(|_, it| it.health.admission.state() != BreakerState::Normal);
        }
        if state.named.len() >= NAMED_MAX {
            state.named.clear();
        }
        let server = Arc::new(Server::named(address, protocol, self.shards));
        state.named.insert(Arc::clone(&server.uri), Arc::clone(&server));
        server
    }

    /// How its breakers stand: its own first. None where it has none.
    pub fn breakers(&self) -> Vec<BreakerReport> {
        let state = self.lock();
        let Some(breakers) = &state.app.breaker else { return Vec::new() };
        let own = BreakerReport { server: None, state: self.admission.breaker.state() };
        let of_server = |it: &Arc<Server>| {
            let server = Some(Arc::clone(&it.address));
            BreakerReport { server, state: it.health.admission.state() }
        };
        let servers = state.all.iter().chain(state.named.values()).map(of_server);
        let own = breakers.per_app.then_some(own).into_iter();
        own.chain(servers.filter(|_| breakers.per_server)).collect()
    }

    /// Whether nothing goes there, or what goes is a trial: its breaker is open, or no server is trusted.
    pub fn is_broken(&self, now_ms: u64) -> bool {
        let state = self.lock();
        let per_server = state.app.breaker.is_some_and(|it| it.per_server);
        let is_out =
            |it: &Arc<Server>| !it.stats.is_in_service(now_ms) || (per_server && it.health.is_broken());
        let mut all = state.all.iter().chain(state.named.values()).peekable();
        let all_out = all.peek().is_some() && all.all(is_out);
        all_out || self.admission.breaker.state() == BreakerState::Break
    }

    pub fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    fn new(app: Arc<App>, shards: u32) -> Self {
        let state = State {
            app,
            all: Vec::new(),
            in_service: Arc::default(),
            named: HashMap::new(),
            health: AppHealth::default(),
        };
        Self {
            generation: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            shards,
            admission: AppAdmission::default(),
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|it| it.into_inner())
    }

    /// These are the app's servers from now on; known ones keep their counters.
    fn set(&self, listed: &[crate::domain::app::Server], now_ms: u64) {
        let mut state = self.lock();
        let app = Arc::clone(&state.app);
        let known: HashMap<Arc<str>, Arc<Server>> =
            state.all.iter().map(|it| (Arc::clone(&it.address), Arc::clone(it))).collect();
        // The first ones are as new as the host: there is nobody to spare them.
        let slow_since_ms = (!known.is_empty()).then_some(now_ms);
        state.all = listed
            .iter()
            .map(|it| match known.get(&it.address) {
                Some(same) if same.is_as(it, app.protocol) => Arc::clone(same),
                Some(_) => Arc::new(Server::new(it, app.protocol, (self.shards, None))),
                None => Arc::new(Server::new(it, app.protocol, (self.shards, slow_since_ms))),
            })
            .collect();
        self.refresh(&mut state, now_ms);
    }

    /// The app reads so from now on, wherever its servers come from.
    fn follow(&self, app: &Arc<App>, now_ms: u64) {
        let mut state = self.lock();
        state.app = Arc::clone(app);
        self.refresh(&mut state, now_ms);
    }

    /// Its app is gone, and no tick follows: who waits for its breakers goes on.
    fn retire(&self, now_ms: u64) {
        let mut state = self.lock();
        state.app = Arc::new(App { breaker: None, slow_start_ms: 0, ..App::clone(&state.app) });
        self.refresh(&mut state, now_ms);
    }

    /// Puts failing servers out of service and takes those back whose time is over; moves breakers and limits.
    fn tick(&self, now_ms: u64) {
        let mut held = self.lock();
        let state = &mut *held;
        let app = Arc::clone(&state.app);
        let breakers = app.breaker.as_ref();
        let of_server = breakers.filter(|it| it.per_server).map(|it| &it.rule);
        let of_app = breakers.filter(|it| it.per_app).map(|it| &it.rule);
        let (mut all, mut well, mut in_flight) = (Counts::default(), (0, 0), 0);
        for server in state.all.iter().chain(state.named.values()) {
            let (counts, before, changed) = server.health.tick(&server.stats, of_server, now_ms);
            all.add(&counts);
            in_flight += u64::from(server.stats.in_flight());
            if let Some(state) = changed {
                tell(&app.name, &server.address, state);
            }
            match changed.unwrap_or(before) {
                BreakerState::Break if changed.is_some() => state.health.forget(),
                BreakerState::Break => {}
                BreakerState::Normal | BreakerState::Recover => {
                    let (good, bad) = counts.by_health();
                    well = (well.0 + good, well.1 + bad);
                }
            }
            if of_server.is_none() {
                server.stats.decide(app.eject_after, app.eject_ms, now_ms);
            }
        }
        let ended = (&all, in_flight);
        // Those that messages name have nothing to do with each other: one that throttles says nothing of the rest.
        let throttles = !matches!(app.servers, ServerSource::Message { .. });
        if let Some(changed) = state.health.tick(of_app, (app.adaptive, throttles), now_ms, ended, well) {
            tell(&app.name, "", changed);
        }
        self.refresh(state, now_ms);
    }

    fn refresh(&self, state: &mut State, now_ms: u64) {
        let app = Arc::clone(&state.app);
        let breakers = app.breaker.as_ref();
        let of_server = breakers.filter(|it| it.per_server).map(|it| &it.rule);
        let is_well = |it: &Arc<Server>| {
            it.health.is_well(app.check.as_ref()) && (of_server.is_some() || it.stats.is_in_service(now_ms))
        };
        for it in state.all.iter().chain(state.named.values()) {
            it.health.publish(of_server, app.slow_start_ms, is_well(it), now_ms);
        }
        let servers = in_service(&state.all, is_well, of_server);
        let of_servers = match of_server {
            Some(rule) if !servers.is_empty() => most_of(&servers, rule, now_ms),
            Some(_) | None => (Share::FULL, 0),
        };
        let recover_ms = breakers.map_or(0, |it| it.rule.recover_ms);
        let of_app = breakers.filter(|it| it.per_app).map(|it| &it.rule);
        state.health.publish(&self.admission, of_app, of_servers, (recover_ms, now_ms));
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

/// Whom a selector may choose from: with none well all that are not broken, for a guess about the network must not stop
/// every message; with none but broken ones all, which the app's gate keeps from being asked.
fn in_service(
    all: &[Arc<Server>],
    is_well: impl Fn(&Arc<Server>) -> bool,
    rule: Option<&Rule>,
) -> Vec<Arc<Server>> {
    let whole: Vec<_> = all.iter().filter(|it| rule.is_none() || !it.health.is_broken()).cloned().collect();
    let well: Vec<_> = whole.iter().filter(|it| is_well(it)).cloned().collect();
    match (well.is_empty(), whole.is_empty()) {
        (false, _) => well,
        (true, false) => whole,
        (true, true) => all.to_vec(),
    }
}

/// What the breakers of servers let go, the most of them all, and when the first break ends if all are broken.
fn most_of(servers: &[Arc<Server>], rule: &Rule, now_ms: u64) -> (Share, u64) {
    let share = servers.iter().map(|it| it.health.breaker_share(rule, now_ms)).max();
    let until_ms = servers.iter().map(|it| it.health.until_ms(rule)).min();
    (share.unwrap_or(Share::FULL), until_ms.unwrap_or(0))
}

/// `server`: empty for the app's own.
fn tell(app: &str, server: &str, state: BreakerState) {
    let text = "a breaker changes its state";
    match state {
        BreakerState::Break => tracing::warn!(app, server, state = state.as_str(), "{text}"),
        BreakerState::Normal | BreakerState::Recover => {
            tracing::info!(app, server, state = state.as_str(), "{text}");
        }
    }
}

impl Server {
    fn new(
        it: &crate::domain::app::Server,
        protocol: Protocol,
        (shards, slow_since_ms): (u32, Option<u64>),
    ) -> Self {
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
            health: Health::new(slow_since_ms),
        }
    }

    /// A server that a message itself names.
    fn named(address: &str, protocol: Protocol, shards: u32) -> Self {
        let listed = crate::domain::app::Server {
            address: address.into(),
            name: None,
            weight: 1,
            zone: String::new(),
            labels: Vec::new(),
        };
        Self::new(&listed, protocol, (shards, None))
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
        known.retain(|name, servers| {
            let stays = apps.iter().any(|it| it.name == *name);
            if !stays {
                servers.retire(now_ms);
            }
            stays
        });
        for app in apps {
            let servers = known
                .entry(Arc::clone(&app.name))
                .or_insert_with(|| Arc::new(AppServers::new(Arc::clone(app), self.shards)));
            servers.follow(app, now_ms);
            match &app.servers {
                ServerSource::Listed(listed) => servers.set(listed, now_ms),
                ServerSource::Message { .. } => servers.set(&[], now_ms),
                // What was found stays until something else is.
                ServerSource::File(_) | ServerSource::Dns { .. } => {}
            }
        }
    }

    /// What discovery found for an app.
    pub fn found(&self, app: &Arc<App>, servers: &[crate::domain::app::Server], now_ms: u64) {
        // A look that was under way during a reload may be for what is not wanted any more.
        let known = self.app(&app.name).filter(|it| it.app().servers == app.servers);
        if let Some(known) = known {
            known.set(servers, now_ms);
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
