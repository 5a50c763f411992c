//! Starts and stops all parts, each on what stands below it. Start goes upwards: what must be there first is
//! first. Stop goes downwards: no more in, what is in flight ends, commits, leaves.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use crate::clock;
use crate::domain::app::App as Service;
use crate::intake::{self, Group, LaneSlots};
use crate::kafka::ClientSettings;
use crate::kafka::producer::ProducerSettings;
use crate::metrics::Counters;
use crate::outbox::Outbox;
use crate::plugin::Engine;
use crate::shard::live::Live;
use crate::shard::work::LaneTable;
use crate::shard::{self, ShardHandle};
use crate::upstream::{Directory, Tls};

/// What a host is started with.
pub struct Parts {
    pub client: ClientSettings,
    pub groups: Vec<intake::Config>,
    pub live: Arc<Live>,
    pub apps: Vec<Arc<Service>>,
    pub shards: u32,
    pub engine: Engine,
}

/// A running host.
pub struct App {
    pub counters: Arc<Counters>,
    pub directory: Directory,
    pub outbox: Outbox,
    pub live: watch::Sender<Arc<Live>>,
    pub groups: Vec<Group>,
    shards: Vec<ShardHandle>,
}

impl App {
    pub fn start(parts: Parts) -> anyhow::Result<Self> {
        let outbox = Outbox::start(&parts.client, &ProducerSettings::default()).context("the producer")?;
        let directory = Directory::default();
        directory.apply(&parts.apps, clock::now_ms());
        let counters = Arc::new(Counters::default());
        let lanes = Arc::new(LaneTable::default());
        let (acks, ack_ends): (Vec<_>, Vec<_>) = parts.groups.iter().map(|_| mpsc::channel()).unzip();
        let (live, live_seen) = watch::channel(parts.live);
        let shared = shard::Shared {
            engine: parts.engine,
            live: live_seen,
            lanes: Arc::clone(&lanes),
            directory: directory.clone(),
            outbox: outbox.clone(),
            tls: Tls::new(None).map_err(anyhow::Error::msg)?,
            counters: Arc::clone(&counters),
            rates: Arc::default(),
            acks,
        };
        let shards = (0..parts.shards)
            .map(|it| shard::start(it, parts.shards, shared.clone()))
            .collect::<Result<Vec<_>, _>>()
            .context("starting a shard")?;
        let intake = intake::Shared {
            lanes,
            slots: Arc::new(LaneSlots::default()),
            shards: shards.iter().map(|it| it.input.clone()).collect(),
        };
        let groups = parts
            .groups
            .into_iter()
            .zip(ack_ends)
            .map(|(config, acks)| {
                let name = config.name.clone();
                intake::start(&parts.client, config, intake.clone(), acks)
                    .with_context(|| format!("joining group {name}"))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { counters, directory, outbox, live, groups, shards })
    }

    /// Whether every part that has to run does.
    pub fn is_running(&self) -> bool {
        self.groups.iter().all(Group::is_running) && self.shards.iter().all(ShardHandle::is_running)
    }

    /// Drains, commits, leaves, and waits for every thread.
    pub fn stop(self) -> anyhow::Result<()> {
        for group in &self.groups {
            group.stop();
        }
        for group in self.groups {
            group.wait();
        }
        for shard in self.shards {
            shard.stop();
        }
        self.outbox.flush(Duration::from_secs(10)).context("flushing the producer")
    }
}
