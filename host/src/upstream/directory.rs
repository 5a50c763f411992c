//! Who an app's servers are and which of them are in service. Shared by all threads; changed by a reload,
//! by discovery and by the health tick, read by shards through a generation number: a shard compares one
//! relaxed counter for each attempt and takes the lock only when it moved.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::health::{AppAdmission, AppHealth};
use super::server::Server;
use super::stats::Counts;
use crate::domain::app::{App, Breakers, Protocol, ServerSource};
use crate::domain::breaker::{Rule, Share, State as BreakerState};

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
    turn: Turn,
    /// That count in its servers' stats.
    shards: u32,
    /// What shards ask before each attempt.
    pub admission: AppAdmission,
    state: Mutex<State>,
}

/// Picks so far, by all shards: on a line of its own, for every pick writes it and every attempt reads what stands beside.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Turn(AtomicU64);

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
        self.turn.0.fetch_add(1, Ordering::Relaxed)
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
            turn: Turn::default(),
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
        let count = (state.all.len() + state.named.len()) as u64;
        let of_app = breakers.filter(|it| it.per_app).map(|it| whole_rule(it, count));
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
        if let Some(changed) =
            state.health.tick(of_app.as_ref(), (app.adaptive, throttles), now_ms, ended, well)
        {
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

/// The rule for an app as a whole. Where its servers have breakers too, one that fails is theirs to find: the app's waits
/// until each has had enough to be judged by, and as much again, since not all get alike.
fn whole_rule(breakers: &Breakers, servers: u64) -> Rule {
    let each = if breakers.per_server { 2 * servers.max(1) } else { 1 };
    Rule { min_stats: breakers.rule.min_stats.saturating_mul(each), ..breakers.rule }
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

    fn app(per_server: bool, per_app: bool) -> Arc<App> {
        let rule =
            Rule { break_ms: 1_000, recover_ms: 1_000, window_ms: 9_000, min_stats: 50, health_rate: 0.9 };
        let server = |address: &str| crate::domain::app::Server {
            address: address.into(),
            name: None,
            weight: 1,
            zone: String::new(),
            labels: Vec::new(),
        };
        Arc::new(App {
            name: "shop".into(),
            protocol: Protocol::Http,
            path: "/".to_owned(),
            server_type: String::new(),
            servers: ServerSource::Listed(vec![server("a:1"), server("b:1")]),
            selector: "random".into(),
            on_selector_failure: crate::domain::app::OnSelectorFailure::Builtin,
            success: crate::domain::outcome::SuccessRule::Any2xx,
            server_concurrency: 1,
            response_bytes_max: 1,
            eject_after: 5,
            eject_ms: 1,
            breaker: Some(Breakers { rule, per_server, per_app }),
            slow_start_ms: 0,
            check: None,
            adaptive: false,
        })
    }

    /// S102: a bad server breaks itself, whatever share of the app's attempts it had; all of them close the app.
    #[test]
    fn whose_breaker_breaks() {
        use crate::upstream::Mark;
        for bad_per_tick in [1, 3, 1_000] {
            let all = Directory::new(1);
            all.apply(&[app(true, true)], 0);
            let shop = all.app("shop").unwrap();
            let servers = shop.all();
            let mut now_ms = 0;
            let mut run = |marks: [Mark; 2]| {
                for _ in 0..100 {
                    now_ms += 10;
                    for (server, mark) in servers.iter().zip(marks) {
                        (0..bad_per_tick).for_each(|_| server.stats.mark(0, mark));
                    }
                    all.tick(now_ms);
                    if shop.in_service().servers.len() == 1 {
                        break;
                    }
                }
            };
            run([Mark::Bad, Mark::Good]);
            let states: Vec<_> = shop.breakers().iter().map(|it| it.state).collect();
            assert_eq!(states, [BreakerState::Normal, BreakerState::Break, BreakerState::Normal]);
            assert_eq!(shop.admission.breaker.share(), Share::FULL);
            (0..200).for_each(|_| servers[1].stats.mark(0, Mark::Bad));
            all.tick(1_000);
            assert_eq!(shop.admission.breaker.share(), Share::NONE);
            assert!(shop.is_broken(1_000));
            // An app that is removed keeps nobody waiting.
            all.apply(&[], 1_000);
            assert_eq!(shop.admission.breaker.share(), Share::FULL);
        }
    }
}
