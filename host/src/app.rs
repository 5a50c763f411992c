//! Starts and stops all parts, each on what stands below it. Start goes upwards: what must be there first is
//! first. Stop goes downwards: no more in, what is in flight ends, commits, leaves.

pub mod doors;
mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use self::doors::Doors;
pub use self::signals::Signals;
use crate::clock;
use crate::config::Config;
use crate::control::{
    self, Compiled, Control, Desired, Groups, Keeper, KeeperParts, Marks, Roster, ledger, side_topics,
};
use crate::dlq::reentry::Reader;
use crate::dlq::{Dlq, Way, reentry};
use crate::intake::{self, LaneSlots};
use crate::kafka::producer::ProducerSettings;
use crate::kafka::topics::Topics;
use crate::kafka::{self, ClientSettings};
use crate::metrics::Counters;
use crate::outbox::Outbox;
use crate::outbox::rungs::Rungs;
use crate::plugin::{Aside, Engine};
use crate::shard::appetite::Appetite;
use crate::shard::live::{Ladder, Live};
use crate::shard::work::{AckBoxes, LaneTable};
use crate::shard::{self, ShardHandle};
use crate::upstream::{Checks, Directory, Discovery, Tls};

/// What a host is started with.
pub struct Parts {
    pub config: Config,
    pub client: ClientSettings,
    pub shards: u32,
    /// Authorities for services' certificates, beside the public ones.
    pub roots: Option<PathBuf>,
    pub control_topic: String,
    /// Reads the operator's files whole.
    pub source: control::Source,
    /// Whether this host is what the process' signals are for.
    pub hears_signals: bool,
    /// Where that finds the doors that it speaks of, once they are open.
    pub doors: Arc<OnceLock<Arc<Doors>>>,
}

/// A running host.
pub struct App {
    pub control: Control,
    /// Those of its process, if it hears them; for whoever waits for them.
    pub signals: Option<Signals>,
    doors: Arc<Doors>,
    runtime: Runtime,
    outbox: Outbox,
    groups: Arc<Groups>,
    shards: Vec<ShardHandle>,
    checks: Checks,
}

/// For the cluster to answer at the start.
const REACH: Duration = Duration::from_secs(30);

impl App {
    pub fn start(parts: Parts) -> anyhow::Result<Self> {
        kafka::keep_large_buffers();
        let runtime = control_runtime()?;
        let doors = Doors::start(runtime.handle().clone(), parts.config.admin_door().as_ref())?;
        let engine = Engine::new().map_err(|it| anyhow::anyhow!("the plugin engine: {it:#}"))?;
        let topics = reach(&parts.client)?;
        let opened = runtime.block_on(ledger::open(&parts.client, &topics, &parts.control_topic));
        let followed = opened.context("the control topic")?;
        let (desired, marks) = first_desired(&parts, &followed)?;
        let (roster, change) = Roster::default().follow(&desired.groups).context("too many groups")?;
        let (compiled, live) = first_live(&engine, &desired, &roster, &followed)?;
        let compiled = Arc::new(std::sync::Mutex::new(compiled));
        runtime.block_on(side_topics::make(&topics, &desired.side_topics)).map_err(anyhow::Error::msg)?;
        let (outbox, rungs) = writers(&parts.client, &topics)?;
        let directory = find_servers(&runtime, parts.shards, &desired);
        let counters = Arc::new(Counters::new(engine.metrics().clone()));
        let (live, live_seen) = watch::channel(Arc::new(live));
        let tls = Tls::new(parts.roots.as_deref()).map_err(anyhow::Error::msg).context("`services.roots`")?;
        let checks = Checks::start(directory.clone(), tls.clone()).context("checks of servers")?;
        let (shards, groups) = start_planes(
            &parts,
            shard::Shared {
                engine: engine.clone(),
                aside: Aside::new(engine.clone(), parts.shards as usize),
                live: live_seen.clone(),
                lanes: Arc::new(LaneTable::new(parts.shards as usize)),
                directory: directory.clone(),
                outbox: outbox.clone(),
                rungs: rungs.clone(),
                tls,
                counters: Arc::clone(&counters),
                common: Arc::default(),
                boxes: Arc::new(AckBoxes::default()),
                appetite: Arc::new(Appetite::new(parts.shards as usize)),
            },
        )?;
        // Before anything is begun that has to be ended; until then a signal ends the process at once.
        let signals =
            parts.hears_signals.then(|| Signals::listen(&runtime)).transpose().context("signals")?;
        groups.join(change).context("joining the groups")?;
        let (ask, asked) = tokio::sync::mpsc::channel(64);
        let control = Control::new(control::Parts {
            ask,
            live: live_seen.clone(),
            engine: engine.clone(),
            compiled: Arc::clone(&compiled),
            topic: parts.control_topic,
            counters: Arc::clone(&counters),
            directory: directory.clone(),
            outbox: outbox.clone(),
            groups: Arc::clone(&groups),
        });
        let parts_of_keeper = KeeperParts {
            engine,
            source: parts.source,
            desired,
            marks,
            roster,
            groups: Arc::clone(&groups),
            topics,
            compiled,
            followed,
            live,
            directory,
            asked,
        };
        runtime.spawn(Keeper::new(parts_of_keeper).run());
        doors.start_gateway(parts.config.gateway_door(), outbox.clone(), counters)?;
        let dead_letters = dead_letters(&parts.client, (outbox.clone(), rungs), live_seen, &runtime)?;
        doors.ready(control.clone(), dead_letters);
        // Set once; from now on a reload changes them.
        let _ = parts.doors.set(Arc::clone(&doors));
        Ok(Self { control, signals, doors, runtime, outbox, groups, shards, checks })
    }

    /// Whether every part that has to run does.
    pub fn is_running(&self) -> bool {
        self.groups.is_running() && self.shards.iter().all(ShardHandle::is_running)
    }

    /// Where producers are served.
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.doors.gateway_address()
    }

    /// Where operators are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.doors.admin_address()
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Drains, commits, leaves, and waits for every thread.
    pub fn stop(self) -> anyhow::Result<()> {
        self.doors.stopping();
        self.doors.stop_gateway();
        self.groups.stop();
        for shard in self.shards {
            shard.stop();
        }
        self.checks.stop();
        let flushed = self.outbox.flush(Duration::from_secs(10)).context("flushing the producer");
        self.doors.stop_admin();
        drop(self.control);
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        flushed
    }
}

fn reach(client: &ClientSettings) -> anyhow::Result<Topics> {
    let topics = Topics::new(client).context("the admin client")?;
    topics.reach(REACH).with_context(|| format!("Kafka at {}", client.brokers.join(", ")))?;
    Ok(topics)
}

/// What messages are written by.
fn writers(client: &ClientSettings, topics: &Topics) -> anyhow::Result<(Outbox, Rungs)> {
    let outbox = Outbox::start(client, &ProducerSettings::default()).context("the producer")?;
    let rungs = Rungs::start(topics.clone(), outbox.clone()).context("the thread that makes rungs")?;
    Ok((outbox, rungs))
}

/// What the operators' door works with at the dead letters.
fn dead_letters(
    client: &ClientSettings,
    (outbox, rungs): (Outbox, Rungs),
    live: watch::Receiver<Arc<Live>>,
    runtime: &Runtime,
) -> anyhow::Result<(Dlq, Way)> {
    let runtime = runtime.handle().clone();
    let readers = Box::new(move |group: &str| {
        let live = live.borrow();
        // Of the seats that a group has had the last one is its own.
        let found = live.groups.iter().rfind(|it| &*it.name == group)?;
        let Ladder { replication, create } = found.ladder;
        Some(Reader { topics: found.topics.clone(), replication, create })
    });
    let re_entry = Arc::new(reentry::Ladder { rungs, runtime: runtime.clone(), readers });
    Ok((Dlq::new(client).context("the dead letters")?, Way { outbox, re_entry, runtime }))
}

fn control_runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).thread_name("control").enable_all().build().context("the control runtime")
}

/// The threads of the data plane; groups are joined later.
fn start_planes(parts: &Parts, shared: shard::Shared) -> anyhow::Result<(Vec<ShardHandle>, Arc<Groups>)> {
    let start = |it| shard::start(it, parts.shards, shared.clone()).context("starting a shard");
    let shards: Vec<ShardHandle> = (0..parts.shards).map(start).collect::<anyhow::Result<_>>()?;
    let intake = intake::Shared {
        lanes: shared.lanes,
        slots: Arc::new(LaneSlots::default()),
        shards: shards.iter().map(|it| it.input.clone()).collect(),
        appetite: shared.appetite,
        rungs: shared.rungs,
    };
    let groups = Groups::new(parts.client.clone(), intake, shared.boxes);
    Ok((shards, Arc::new(groups)))
}

/// Looks for servers once before the first message, which would lose an attempt where there are none yet; then on.
/// Decides on their health.
fn find_servers(runtime: &Runtime, shards: u32, desired: &Desired) -> Directory {
    let all = Directory::new(shards);
    all.apply(&desired.apps, clock::monotonic_ms());
    let mut discovery = Discovery::new(all.clone());
    runtime.block_on(discovery.look());
    runtime.spawn(discovery.run());
    let directory = all.clone();
    runtime.spawn(async move {
        let mut tick = tokio::time::interval(HEALTH_EVERY);
        loop {
            tick.tick().await;
            directory.tick(clock::monotonic_ms());
        }
    });
    all
}

const HEALTH_EVERY: Duration = Duration::from_millis(100);

/// The first reading of the files: a host that cannot run all of them does not start.
fn first_desired(parts: &Parts, followed: &ledger::Followed) -> anyhow::Result<(Desired, Marks)> {
    let uploaded: Vec<_> = followed
        .ledger
        .active()
        .map(|(name, _)| crate::domain::plugin::KnownPlugin { name: name.into(), kind: None })
        .collect();
    let desired = (parts.source)(&uploaded).map_err(|it| anyhow::anyhow!("{}", it.join("\n")))?;
    let marks = control::marks_of(&desired.files);
    for warning in &desired.warnings {
        tracing::warn!("{warning}");
    }
    Ok((desired, marks))
}

fn first_live(
    engine: &Engine,
    desired: &Desired,
    roster: &Roster,
    followed: &ledger::Followed,
) -> anyhow::Result<(Compiled, Live)> {
    let mut compiled = Compiled::default();
    let live = control::live(engine, &mut compiled, (desired, &roster.policies), &followed.ledger, 1);
    Ok((compiled, live.map_err(|it| anyhow::anyhow!("{}", it.join("\n")))?))
}
