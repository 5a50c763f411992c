//! From a good configuration to what the parts are started with: each part gets its own section only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;

use super::{
    Config, Files, Format, Group, Loaded, Plugin, PluginLimits, Start, Unmatched, load_from, load_main,
};
use crate::app;
use crate::app::doors::{self, Doors, Plan};
use crate::control::side_topics::SideTopic;
use crate::control::{Component, Desired, PluginSource, Wanted};
use crate::domain::app::Order;
use crate::domain::plugin::{KnownPlugin, PluginKind, STANDARD};
use crate::domain::routes::Routes;
use crate::intake;
use crate::kafka::ClientSettings;
use crate::plugin::{Limits, Settings};
use crate::shard::live::{self, GroupPolicy};
use crate::wire;
use crate::yaml::Problem;

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

    /// The groups to join, each with an equal share of the budgets of bytes and messages.
    fn wanted_groups(&self, routes: &Routes) -> Vec<Wanted> {
        let groups = self.groups.len().max(1);
        let bytes = ((self.limits.bytes_mb.get() as usize) << 20) / groups;
        let messages = (self.limits.in_flight.get() as usize / groups).max(1);
        let wanted =
            |it: &Group| Wanted { intake: it.intake((bytes, messages), routes), policy: it.policy() };
        self.groups.iter().map(wanted).collect()
    }

    fn doors(&self) -> doors::Wanted {
        doors::Wanted { gateway: self.gateway_door(), admin: self.admin_door() }
    }
}

impl Group {
    fn intake(&self, (bytes, messages): (usize, usize), routes: &Routes) -> intake::Config {
        let of_group = routes.entries().iter().filter(|it| &*it.group == self.name.as_str());
        let widest = of_group.map(|it| it.route.order).max();
        intake::Config {
            name: self.name.to_string(),
            topics: self.topics.iter().map(ToString::to_string).collect(),
            start: match self.start {
                Start::Oldest => intake::Start::Oldest,
                Start::Newest => intake::Start::Newest,
            },
            order: widest.unwrap_or(Order::None),
            order_header: self.order_header.clone(),
            window: self.window.get() as usize,
            instance: None,
            session_timeout_ms: self.session_timeout_ms.get() as u32,
            prefetch_kib: 12 << 10,
            pace: intake::Pace {
                bytes,
                messages,
                commit_every_ms: self.commit_every_ms.get(),
                drain_ms: self.drain_ms.get(),
                stop_drain_ms: self.drain_ms.get().max(10_000),
            },
        }
    }

    pub fn ladder_policy(&self) -> live::Ladder {
        let replication = self.ladder.replication.map_or(-1, |it| it.get() as i32);
        live::Ladder { replication, create: self.ladder.create }
    }

    fn policy(&self) -> GroupPolicy {
        GroupPolicy {
            name: self.name.as_str().into(),
            topics: self.topics.iter().map(ToString::to_string).collect(),
            format: match self.format {
                Format::Auto => wire::Format::Auto,
                Format::Native => wire::Format::Native,
                Format::Alpaca => wire::Format::Alpaca,
                Format::Bigpipe => wire::Format::Bigpipe,
                Format::Dispatcher => wire::Format::Dispatcher,
                Format::Cloudevents => wire::Format::CloudEvents,
                Format::Raw => wire::Format::Raw,
            },
            unmatched: match self.unmatched {
                Unmatched::Dead => live::Unmatched::Dead,
                Unmatched::Park => live::Unmatched::Park,
                Unmatched::Skip => live::Unmatched::Skip,
            },
            dead_topic: self.dead_topic().into(),
            park_topic: self.park_topic().into(),
            ladder: self.ladder_policy(),
        }
    }
}

/// Where the configuration comes from: files on disk, or in memory for tests and `dev`.
#[derive(Clone)]
pub struct Origin {
    pub files: Arc<dyn Files + Send + Sync>,
    pub main: PathBuf,
}

impl Origin {
    pub fn disk(main: &Path) -> Self {
        Self { files: Arc::new(super::Disk), main: main.to_owned() }
    }

    /// What a host is started with; read once more, whole, when the control topic has been read.
    pub fn parts(&self) -> Result<app::Parts, Vec<String>> {
        let config = load_main(&*self.files, &self.main).map_err(|it| rendered(&it))?;
        let (origin, doors) = (self.clone(), Arc::new(OnceLock::new()));
        let places = Arc::clone(&doors);
        Ok(app::Parts {
            client: config.client(),
            shards: config.shard_count(),
            roots: config.services.roots.as_ref().map(|it| match self.main.parent() {
                Some(folder) => folder.join(it),
                None => it.clone(),
            }),
            control_topic: crate::control::ledger::TOPIC.to_owned(),
            source: Arc::new(move |known| origin.desired(known, &places)),
            config,
            hears_signals: false,
            doors,
        })
    }

    /// Everything that decides, or every problem.
    fn desired(
        &self,
        uploaded: &[KnownPlugin],
        doors: &Arc<OnceLock<Arc<Doors>>>,
    ) -> Result<Desired, Vec<String>> {
        let mut known = crate::domain::plugin::standard();
        known.retain(|it| !uploaded.iter().any(|at| at.name == it.name));
        known.extend_from_slice(uploaded);
        let loaded = load_from(&*self.files, &self.main, &known).map_err(|it| rendered(&it))?;
        let plan = Plan {
            doors: Arc::clone(doors),
            wanted: loaded.config.doors(),
            log: loaded.config.log.to_string(),
        };
        Ok(Desired { roof: Some(Arc::new(plan)), ..loaded.desired()? })
    }
}

impl Loaded {
    /// What is to run; the roof as it is.
    pub fn desired(self) -> Result<Desired, Vec<String>> {
        let Self { config, routes, apps, warnings, files } = self;
        let mut plugins = BTreeMap::new();
        for entry in &config.plugins {
            let source = entry.source().map_err(|it| vec![format!("{it:#}")])?;
            plugins.insert(Arc::from(entry.name.as_str()), source);
        }
        Ok(Desired {
            groups: config.wanted_groups(&routes),
            side_topics: config.side_topics(),
            fixed: config.fixed(),
            roof: None,
            routes: Arc::new(routes),
            apps,
            plugins,
            warnings: rendered(&warnings),
            files,
        })
    }
}

fn rendered(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

impl Config {
    /// What a running host cannot change. Compared only: secrets are among it, and never shown.
    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![
            ("kafka", format!("{:?} {:?}", self.kafka.brokers, self.kafka.revealed())),
            ("shards", self.shard_count().to_string()),
            ("services.roots", format!("{:?}", self.services.roots)),
            ("store", format!("{:?}", self.store)),
        ]
    }

    /// Topics that this host writes to and makes where they are missing, and whether it may.
    fn side_topics(&self) -> Vec<SideTopic> {
        let mut all = Vec::new();
        for group in &self.groups {
            let asked = [(group.dead_topic(), &group.dead_letters), (group.park_topic(), &group.park)];
            for (name, it) in asked {
                all.push(SideTopic {
                    name,
                    partitions: it.partitions.map(|it| it.get() as i32),
                    like: group.topics.first().map(ToString::to_string),
                    replication: it.replication.map_or(-1, |it| it.get() as i32),
                    create: it.create,
                });
            }
        }
        all
    }
}

impl Plugin {
    fn source(&self) -> anyhow::Result<PluginSource> {
        let component = match (&self.file, self.standard_name()) {
            (Some(path), _) => {
                let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
                Component::Bytes(bytes.into())
            }
            (None, Some(name)) => Component::Standard(name.to_owned()),
            (None, None) => anyhow::bail!("plugin {} has neither `use` nor `file`", self.name),
        };
        Ok(PluginSource { component, settings: self.settings() })
    }
}

impl Plugin {
    fn settings(&self) -> Settings {
        let config: BTreeMap<String, String> =
            self.config.iter().map(|(key, value)| (key.clone(), value.clone().into_string())).collect();
        let kind = STANDARD.iter().find(|it| Some(it.0) == self.standard_name()).map(|it| it.1);
        let limits = match kind {
            _ if self.limits == PluginLimits::default() => None,
            Some(PluginKind::Selector) => Some(self.limits.over(Limits::SELECTOR)),
            Some(PluginKind::Handler) | None => Some(self.limits.over(Limits::HANDLER)),
        };
        Settings { config, limits }
    }
}

impl PluginLimits {
    /// What is written, in place of what its kind has by itself.
    fn over(&self, own: Limits) -> Limits {
        let mut limits = own;
        if let Some(memory) = self.memory_mb {
            limits.memory_bytes = (memory.get() as usize) << 20;
        }
        if let Some(time) = self.cpu_ms {
            limits.call_ms = time.get() as u32;
        }
        if let Some(time) = self.start_ms {
            limits.start_ms = time.get() as u32;
        }
        if let Some(lines) = self.log_lines {
            limits.log_lines = lines.get() as u32;
        }
        if let Some(records) = self.emitted_records {
            limits.emitted_records = records.get() as usize;
        }
        if let Some(calls) = self.calls {
            limits.calls = calls.get();
        }
        limits
    }
}
