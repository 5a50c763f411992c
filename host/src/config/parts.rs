//! From a good configuration to what the parts are started with: each part gets its own section only.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::{Config, Format, Group, Loaded, Plugin, Start, Unmatched};
use crate::domain::app::Order;
use crate::domain::routes::Routes;
use crate::intake;
use crate::kafka::ClientSettings;
use crate::plugin::{self, Engine, Limits, Settings, standard};
use crate::shard::live::{self, GroupPolicy, Live};
use crate::wire;

impl Config {
    pub fn client(&self) -> ClientSettings {
        ClientSettings {
            brokers: self.kafka.brokers.iter().map(ToString::to_string).collect(),
            properties: self.kafka.revealed(),
        }
    }

    /// How many shards run: one for each core unless written.
    pub fn shard_count(&self) -> u32 {
        match u32::try_from(self.shards.get()) {
            Ok(0) | Err(_) => std::thread::available_parallelism().map_or(1, |it| it.get() as u32),
            Ok(count) => count,
        }
    }

    /// The groups to join, each with an equal share of the byte budget.
    pub fn intakes(&self, routes: &Routes) -> Vec<intake::Config> {
        let bytes = (self.limits.bytes_mb.get() as usize) << 20;
        let share = bytes / self.groups.len().max(1);
        self.groups.iter().enumerate().map(|(at, it)| it.intake(at, share, routes)).collect()
    }
}

impl Group {
    fn intake(&self, index: usize, bytes: usize, routes: &Routes) -> intake::Config {
        let of_group = routes.entries().iter().filter(|it| &*it.group == self.name.as_str());
        let widest = of_group.map(|it| it.route.order).max();
        intake::Config {
            index: index as u16,
            name: self.name.to_string(),
            topics: self.topics.iter().map(ToString::to_string).collect(),
            start: match self.start {
                Start::Oldest => intake::Start::Oldest,
                Start::Newest => intake::Start::Newest,
            },
            order: widest.unwrap_or(Order::None),
            order_header: self.order_header.clone(),
            window: self.window.get() as usize,
            bytes,
            commit_every_ms: self.commit_every_ms.get(),
            drain_ms: self.drain_ms.get(),
            stop_drain_ms: self.drain_ms.get().max(10_000),
            instance: None,
            session_timeout_ms: 45_000,
            prefetch_kib: 16 << 10,
        }
    }

    fn policy(&self) -> GroupPolicy {
        GroupPolicy {
            name: self.name.as_str().into(),
            format: match self.format {
                Format::Auto => wire::Format::Auto,
                Format::Raw => wire::Format::Raw,
                _ => wire::Format::Native,
            },
            unmatched: match self.unmatched {
                Unmatched::Dead => live::Unmatched::Dead,
                Unmatched::Park => live::Unmatched::Park,
                Unmatched::Skip => live::Unmatched::Skip,
            },
            dead_topic: self.dead_topic().into(),
            park_topic: self.park_topic().into(),
        }
    }
}

/// Compiles every plugin that a route names, and puts all that decides into one value.
pub fn live(engine: &Engine, loaded: Loaded, generation: u64) -> anyhow::Result<Live> {
    let Loaded { config, routes, .. } = loaded;
    let mut plugins = HashMap::new();
    let named = routes.entries().iter().flat_map(|it| [&it.route.handler, &it.route.app.selector]);
    for name in named {
        if !plugins.contains_key(name) {
            plugins.insert(Arc::clone(name), Arc::new(compiled(engine, &config, name)?));
        }
    }
    let groups = config.groups.iter().map(Group::policy).collect();
    Ok(Live { generation, groups, routes, plugins })
}

fn compiled(engine: &Engine, config: &Config, name: &str) -> anyhow::Result<plugin::Plugin> {
    let entry = config.plugins.iter().find(|it| it.name.as_str() == name);
    let (bytes, settings) = match entry {
        Some(entry) => (component_of(entry)?, entry.settings()),
        None => (embedded(name)?, Settings::default()),
    };
    plugin::compile(engine, name, &bytes, settings).with_context(|| format!("plugin {name}"))
}

fn component_of(entry: &Plugin) -> anyhow::Result<Vec<u8>> {
    match (&entry.file, entry.standard_name()) {
        (Some(path), _) => read(path),
        (None, Some(name)) => embedded(name),
        (None, None) => anyhow::bail!("plugin {} has neither `use` nor `file`", entry.name),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn embedded(name: &str) -> anyhow::Result<Vec<u8>> {
    let found = standard::component(name);
    found.map(<[u8]>::to_vec).with_context(|| format!("there is no standard plugin {name}"))
}

impl Plugin {
    fn settings(&self) -> Settings {
        let config: BTreeMap<String, String> =
            self.config.iter().map(|(key, value)| (key.clone(), value.clone().into_string())).collect();
        let limits = &self.limits;
        let changed = limits.memory_mb.is_some() || limits.cpu_ms.is_some();
        let selector = self.standard_name().is_some_and(|it| {
            crate::domain::plugin::STANDARD
                .iter()
                .any(|at| at.0 == it && at.1 == crate::domain::plugin::PluginKind::Selector)
        });
        let mut own = if selector { Limits::SELECTOR } else { Limits::HANDLER };
        if let Some(memory) = &limits.memory_mb {
            own.memory_bytes = (memory.get() as usize) << 20;
        }
        if let Some(cpu) = &limits.cpu_ms {
            own.call_ms = cpu.get() as u32;
        }
        Settings { config, limits: changed.then_some(own) }
    }
}
