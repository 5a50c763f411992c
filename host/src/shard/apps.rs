//! An app as one shard sees it: its servers in service, and the instance of a selector that routes to it use.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Shard;
use super::admit::Job;
use crate::clock;
use crate::domain::app::{App, OnSelectorFailure, Protocol, ServerSource};
use crate::domain::breaker::{Ramp, Share, State};
use crate::domain::outcome::{Failure, Stage};
use crate::plugin::{AppView, Call, Code, Load, Pick, Plugin, Selector, ServerView, Stopped, StoppedKind};
use crate::upstream::{Admission, AppAdmission, AppServers, InService, Places, Target};

pub struct AppHere {
    pub app: Arc<App>,
    pub selector_name: Arc<str>,
    servers: Arc<AppServers>,
    commands: Vec<String>,
    plugin: Option<Arc<Plugin>>,
    seen: RefCell<Rc<Seen>>,
    loads: RefCell<Rc<dyn Fn(u32) -> Load>>,
    selector: RefCell<Option<Selector>>,
    /// Generation that the selector was told.
    told: Cell<u64>,
    /// Servers that messages named themselves, by address.
    named: RefCell<HashMap<String, Rc<Target>>>,
    /// What went of what might have gone, while the app as a whole recovers.
    ramp: Cell<Ramp>,
    /// Attempts that this shard may have under way, where that is adaptive.
    /// The same for all selectors of the app.
    pub places: Rc<Places>,
}

/// The servers in service when last looked, and this shard's connections to them.
#[derive(Default)]
struct Seen {
    in_service: Arc<InService>,
    targets: Vec<Rc<Target>>,
}

/// Servers that messages named, kept for their counters and connections.
const NAMED_MAX: usize = 1_000;

/// What an attempt knows when its server is chosen.
pub struct Choice<'a> {
    pub job: &'a Job,
    pub attempt: u32,
    /// The server of the last attempt, when another one is wanted.
    pub failed: Option<&'a Rc<Target>>,
}

impl AppHere {
    pub fn new(
        (app, selector_name): (Arc<App>, Arc<str>),
        (servers, places): (Arc<AppServers>, Rc<Places>),
        commands: Vec<String>,
        plugin: Option<Arc<Plugin>>,
    ) -> Self {
        Self {
            app,
            selector_name,
            servers,
            commands,
            plugin,
            seen: RefCell::default(),
            loads: RefCell::new(Rc::new(|_| Load::default())),
            selector: RefCell::default(),
            told: Cell::new(0),
            named: RefCell::default(),
            ramp: Cell::default(),
            places,
        }
    }

    /// The server for this attempt.
    pub fn choose(&self, shard: &Shard, choice: &Choice<'_>) -> Result<Rc<Target>, Failure> {
        if let ServerSource::Message { .. } = &self.app.servers {
            return self.named_by_message(shard, choice.job);
        }
        self.look(shard);
        let seen = Rc::clone(&self.seen.borrow());
        if seen.targets.is_empty() {
            let detail = format!("no server of app {} is known", self.app.name);
            return Err(Failure::transient(Stage::Select, detail));
        }
        let failed = choice.failed.and_then(|it| seen.targets.iter().position(|at| Rc::ptr_eq(at, it)));
        let picked = self.ask(shard, choice, failed.map(|it| it as u32), &seen);
        let index = match picked {
            Ok(Ok(index)) if (index as usize) < seen.targets.len() => index as usize,
            Ok(Ok(index)) => {
                let detail = format!("server {index} of {}", seen.targets.len());
                self.fall_back(shard, &seen, failed, &Stopped { kind: StoppedKind::Answer, detail })?
            }
            // S4: none available is the selector's good right.
            Ok(Err(reason)) => return Err(Failure::transient(Stage::Select, reason)),
            Err(stopped) => self.fall_back(shard, &seen, failed, &stopped)?,
        };
        Ok(Rc::clone(&seen.targets[spared(shard, &seen, index, failed)]))
    }

    /// What all servers of the app have together, for all shards.
    pub fn admission(&self) -> &AppAdmission {
        &self.servers.admission
    }

    /// What keeps an attempt from going now, if anything does: the app's breaker, or that of the server which the message
    /// names.
    pub fn broken(&self, shard: &Shard, job: &Job) -> Option<u64> {
        let own = &self.servers.admission.breaker;
        if !own.admits(&self.ramp) {
            return Some(own.pause_ms(clock::monotonic_ms()));
        }
        let target = self.named_target(shard, job)?;
        (!target.admits()).then(|| target.server.health.admission.pause_ms(clock::monotonic_ms()))
    }

    /// The same for one that was let go and waited for something else meanwhile: nothing goes in a break.
    pub fn closed(&self, shard: &Shard, job: &Job) -> Option<u64> {
        let of = |it: &Admission| {
            (it.share() == Share::NONE && it.state() != State::Recover)
                .then(|| it.pause_ms(clock::monotonic_ms()))
        };
        of(&self.servers.admission.breaker)
            .or_else(|| of(&self.named_target(shard, job)?.server.health.admission))
    }

    /// Where messages name their servers, and these have breakers.
    fn named_target(&self, shard: &Shard, job: &Job) -> Option<Rc<Target>> {
        let per_server = self.app.breaker.is_some_and(|it| it.per_server);
        if !per_server || !matches!(self.app.servers, ServerSource::Message { .. }) {
            return None;
        }
        // What is wrong with it is for the attempt to say.
        self.named_by_message(shard, job).ok()
    }

    /// Takes note of a change of the servers in service.
    fn look(&self, shard: &Shard) {
        if self.servers.generation() == self.seen.borrow().in_service.generation {
            return;
        }
        let newest = self.servers.in_service();
        let servers = Arc::clone(&newest);
        *self.loads.borrow_mut() = Rc::new(move |at| {
            servers.servers.get(at as usize).map_or(Load::default(), |it| Load {
                in_flight: it.stats.in_flight(),
                latency_ewma_us: it.stats.latency_ewma_us(),
                consecutive_failures: it.stats.failures_in_row.load(Relaxed),
            })
        });
        let targets = newest.servers.iter().map(|it| shard.client.target(it)).collect();
        *self.seen.borrow_mut() = Rc::new(Seen { in_service: newest, targets });
    }

    fn ask(
        &self,
        shard: &Shard,
        choice: &Choice<'_>,
        failed: Option<u32>,
        seen: &Seen,
    ) -> Result<Result<u32, String>, Stopped> {
        let mut held = self.selector.borrow_mut();
        let mut selector = match held.take() {
            Some(it) if self.told.get() == seen.in_service.generation => it,
            other => self.tell(shard, other, &seen.in_service)?,
        };
        let message = &choice.job.message;
        let call = Call {
            message: Some(Rc::clone(message)),
            loads: Some(Rc::clone(&self.loads.borrow())),
            servers: seen.targets.len() as u32,
            ..Call::default()
        };
        let pick =
            Pick { hash: choice.job.hash(), attempt: choice.attempt, failed, turn: self.servers.next_turn() };
        let answer = selector.select(&pick, call)?;
        *held = Some(selector);
        Ok(answer)
    }

    /// Starts the instance where there is none, and tells it the servers.
    fn tell(&self, shard: &Shard, held: Option<Selector>, seen: &InService) -> Result<Selector, Stopped> {
        let refused = |detail: String| Stopped { kind: StoppedKind::Refused, detail };
        let Some(plugin) = &self.plugin else {
            return Err(refused(format!("there is no selector {}", self.selector_name)));
        };
        let Code::Selector(code) = &plugin.code else {
            return Err(refused(format!("{} is a {}", plugin.name, plugin.code.kind())));
        };
        let mut selector = match held {
            Some(it) => it,
            None => code.start(shard.slots.engine(), plugin)?,
        };
        let servers: Vec<ServerView<'_>> = seen
            .servers
            .iter()
            .map(|it| ServerView {
                id: &it.address,
                uri: &it.uri,
                weight: it.weight,
                zone: &it.zone,
                labels: &it.labels,
            })
            .collect();
        let commands: Vec<&str> = self.commands.iter().map(String::as_str).collect();
        selector.update(&AppView {
            name: &self.app.name,
            protocol: self.app.protocol.as_str(),
            path: &self.app.path,
            server_type: &self.app.server_type,
            commands: &commands,
            generation: seen.generation,
            servers: &servers,
            shard: shard.index,
            shards: shard.count,
        })?;
        self.told.set(seen.generation);
        Ok(selector)
    }

    /// S7: of two random servers the less busy, unless the app wants the attempt to fail.
    fn fall_back(
        &self,
        shard: &Shard,
        seen: &Seen,
        failed: Option<usize>,
        stopped: &Stopped,
    ) -> Result<usize, Failure> {
        shard.shared.counters.selector_failed(&self.app.name, stopped.kind.as_str());
        if self.app.on_selector_failure == OnSelectorFailure::Fail {
            return Err(Failure::transient(Stage::Select, stopped.to_string()));
        }
        tracing::debug!(app = %self.app.name, %stopped, "the selector failed, the built-in one chooses");
        let count = seen.targets.len();
        let busy = |at: usize| seen.targets[at].server.stats.in_flight();
        let first = shard.random_u64() as usize % count;
        let second = shard.random_u64() as usize % count;
        let chosen = if busy(second) < busy(first) { second } else { first };
        Ok(if Some(chosen) == failed { (chosen + 1) % count } else { chosen })
    }

    /// The address that the message names, if the app allows it (S10, S166).
    fn named_by_message(&self, shard: &Shard, job: &Job) -> Result<Rc<Target>, Failure> {
        let ServerSource::Message { allow } = &self.app.servers else {
            return Err(Failure::lasting(Stage::Select, "the app's servers do not come from the message"));
        };
        let lasting = |detail: String| Failure::lasting(Stage::Select, detail);
        let Some(url) = &job.message.url else {
            return Err(lasting("the message names no Url".to_owned()));
        };
        let uri: http::Uri = url.parse().map_err(|it| lasting(format!("its Url {url:?}: {it}")))?;
        let protocol = match uri.scheme_str() {
            Some("http") => Protocol::Http,
            Some("https") => Protocol::Https,
            Some(_) | None => return Err(lasting(format!("its Url {url:?} is neither http nor https"))),
        };
        let host = uri.host().unwrap_or_default();
        let Some(port) = port_of(&uri, protocol) else {
            return Err(lasting(format!("its Url {url:?} names a port that is none")));
        };
        if !allow.iter().any(|it| it.allows(host.trim_matches(['[', ']']), port)) {
            let detail = format!("its Url names {host}:{port}, which `url-from-message.allow` does not list");
            return Err(lasting(detail));
        }
        let address = format!("{host}:{port}");
        let mut named = self.named.borrow_mut();
        if let Some(target) = named.get(&address).filter(|it| it.server.protocol == protocol) {
            return Ok(Rc::clone(target));
        }
        if named.len() >= NAMED_MAX {
            named.clear();
        }
        let target = shard.client.target(&self.servers.named(&address, protocol));
        named.insert(address, Rc::clone(&target));
        Ok(target)
    }
}

/// The server that was picked, or another in its place where it starts slowly or recovers and this one is not among its
/// share. Where no other takes it, the picked one does: slow start holds nobody up (S214).
fn spared(shard: &Shard, seen: &Seen, picked: usize, failed: Option<usize>) -> usize {
    if seen.targets[picked].admits() {
        return picked;
    }
    let count = seen.targets.len();
    let first = shard.random_u64() as usize % count;
    let others = (0..count).map(|it| (first + it) % count).filter(|it| *it != picked && Some(*it) != failed);
    others.into_iter().find(|it| seen.targets[*it].admits()).unwrap_or(picked)
}

/// The port that an address names, else that of its scheme; none where it names one that cannot be, which must
/// not become the scheme's: nobody meant that server.
fn port_of(uri: &http::Uri, protocol: Protocol) -> Option<u16> {
    let authority = uri.authority()?.as_str();
    let behind_user = authority.rsplit_once('@').map_or(authority, |it| it.1);
    match behind_user.strip_prefix(uri.host()?)?.strip_prefix(':') {
        None | Some("") => Some(if protocol == Protocol::Https { 443 } else { 80 }),
        Some(port) => port.parse().ok().filter(|it| *it > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_is_not_the_schemes() {
        let cases = [
            ("http://a/", Some(80)),
            ("https://a", Some(443)),
            ("http://a:/", Some(80)),
            ("http://u:1@a:8080/x", Some(8_080)),
            ("http://[::1]/", Some(80)),
            ("http://[::1]:65535/", Some(65_535)),
            ("http://a:65536/", None),
            ("http://a:0/", None),
            ("http://a:-1/", None),
            ("http://a:http/", None),
        ];
        for (url, port) in cases {
            // What no parser takes for an address is refused before.
            let parsed = url.parse::<http::Uri>().ok();
            let protocol = if url.starts_with("https") { Protocol::Https } else { Protocol::Http };
            assert_eq!(parsed.and_then(|it| port_of(&it, protocol)), port, "{url}");
        }
    }
}
