//! Selectors: one instance for each shard, app and version; it keeps what its last `update` told it.

use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::bindings::selector::exports::drover::plugin::server_selector as wit;
use super::compile::Plugin;
use super::engine::Engine;
use super::guest::{Call, Guest};
use super::native::{NativeSelector, SelectorTwin};
use super::{Stopped, lifecycle};

/// What is shared by all instances of a version.
pub enum SelectorCode {
    Component { pre: InstancePre<Guest>, indices: wit::GuestIndices },
    Native(SelectorTwin),
}

/// What a selector is told of an app.
pub struct AppView<'a> {
    pub name: &'a str,
    pub protocol: &'a str,
    pub path: &'a str,
    pub server_type: &'a str,
    pub commands: &'a [&'a str],
    pub generation: u64,
    pub servers: &'a [ServerView<'a>],
    pub shard: u32,
    pub shards: u32,
}

pub struct ServerView<'a> {
    pub id: &'a str,
    pub uri: &'a str,
    pub weight: u32,
    pub zone: &'a str,
    pub labels: &'a [(String, String)],
}

/// What a choice is made by.
pub struct Pick {
    pub hash: u64,
    pub attempt: u32,
    pub failed: Option<u32>,
    pub turn: u64,
}

/// One instance. Any error drops it.
pub enum Selector {
    Component(Box<Instance>),
    Native(Box<NativeSelector>),
}

/// Of a component.
pub struct Instance {
    store: Store<Guest>,
    guest: wit::Guest,
    call_ticks: u64,
}

impl SelectorCode {
    pub(super) fn new(pre: InstancePre<Guest>) -> wasmtime::Result<Self> {
        let indices = wit::GuestIndices::new(&pre)?;
        Ok(Self::Component { pre, indices })
    }

    pub fn start(&self, engine: &Engine, plugin: &Plugin) -> Result<Selector, Stopped> {
        let (pre, indices) = match self {
            SelectorCode::Component { pre, indices } => (pre, indices),
            SelectorCode::Native(twin) => {
                return Ok(Selector::Native(Box::new(NativeSelector::start(*twin))));
            }
        };
        let (mut store, instance) = lifecycle::start(engine, plugin, pre)?;
        let guest = indices.load(&mut store, &instance).map_err(|it| Stopped::of(&it, false))?;
        let call_ticks = lifecycle::ticks(plugin.limits.call_ms);
        Ok(Selector::Component(Box::new(Instance { store, guest, call_ticks })))
    }
}

impl Selector {
    /// Tells it the servers in service. An error costs the instance.
    pub fn update(&mut self, app: &AppView<'_>) -> Result<(), Stopped> {
        match self {
            Selector::Component(it) => it.update(app),
            Selector::Native(it) => {
                it.update(app);
                Ok(())
            }
        }
    }

    /// An index into the last update's servers, or why there is none. An outer error costs the instance.
    pub fn select(&mut self, pick: &Pick, call: Call) -> Result<Result<u32, String>, Stopped> {
        match self {
            Selector::Component(it) => it.select(pick, call),
            Selector::Native(it) => Ok(it.select(pick, &call)),
        }
    }
}

impl Instance {
    fn update(&mut self, app: &AppView<'_>) -> Result<(), Stopped> {
        let guest = self.store.data_mut();
        let start_ms = guest.limits.start_ms;
        guest.begin(Call::default(), start_ms);
        self.store.set_epoch_deadline(lifecycle::ticks(start_ms));
        let labels: Vec<Vec<(&str, &str)>> = app
            .servers
            .iter()
            .map(|it| it.labels.iter().map(|(key, value)| (&**key, &**value)).collect())
            .collect();
        let servers: Vec<wit::Server<'_>> = app
            .servers
            .iter()
            .zip(&labels)
            .map(|(it, labels)| wit::Server {
                id: it.id,
                uri: it.uri,
                weight: it.weight,
                zone: it.zone,
                labels,
            })
            .collect();
        let argument = wit::App {
            name: app.name,
            protocol: app.protocol,
            path: app.path,
            server_type: app.server_type,
            commands: app.commands,
            generation: app.generation,
            servers: &servers,
            shard: app.shard,
            shards: app.shards,
        };
        match self.guest.call_update(&mut self.store, argument) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(Stopped::refused(reason)),
            Err(error) => Err(Stopped::of(&error, self.store.data().memory.refused)),
        }
    }

    fn select(&mut self, pick: &Pick, call: Call) -> Result<Result<u32, String>, Stopped> {
        let guest = self.store.data_mut();
        let call_ms = guest.limits.call_ms;
        guest.begin(call, call_ms);
        self.store.set_epoch_deadline(self.call_ticks);
        let argument =
            wit::Pick { hash: pick.hash, attempt: pick.attempt, failed: pick.failed, turn: pick.turn };
        self.guest
            .call_select(&mut self.store, argument)
            .map_err(|it| Stopped::of(&it, self.store.data().memory.refused))
    }
}
