//! Starts and stops all parts, each on what stands below it. Start goes upwards: what must be there first is
//! first. Stop goes downwards: no more in, what is in flight ends, commits, leaves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::clock;
use crate::config::Config;
use crate::control::{self, Compiled, Control, Desired, Keeper, ledger};
use crate::gateway;
use crate::intake::{self, Group, LaneSlots};
use crate::kafka::ClientSettings;
use crate::kafka::producer::ProducerSettings;
use crate::kafka::topics::{NewTopicSettings, Topics};
use crate::metrics::Counters;
use crate::outbox::Outbox;
use crate::plugin::{Aside, Engine};
use crate::shard::appetite::Appetite;
use crate::shard::live::Live;
use crate::shard::work::LaneTable;
use crate::shard::{self, ShardHandle};
use crate::upstream::{Directory, Discovery, Tls};
use crate::web::{self, Server};

/// What a host is started with.
pub struct Parts {
    pub config: Config,
    pub client: ClientSettings,
    pub shards: u32,
    pub side_topics: Vec<SideTopic>,
    /// Authorities for services' certificates, beside the public ones.
    pub roots: Option<PathBuf>,
    pub control_topic: String,
    /// Reads the operator's files whole.
    pub source: control::Source,
}

/// A topic that a group writes to.
#[derive(Clone, Debug)]
pub struct SideTopic {
    pub name: String,
    /// None: as many as `like` has.
    pub partitions: Option<i32>,
    pub like: Option<String>,
    /// -1: as the cluster does by itself.
    pub replication: i32,
    /// If not, a missing one keeps the host from starting.
    pub create: bool,
}

/// A running host.
pub struct App {
    pub control: Control,
    gateway: Option<Server>,
    admin: Option<(Admin, Server)>,
    runtime: Runtime,
    outbox: Outbox,
    groups: Vec<Group>,
    shards: Vec<ShardHandle>,
}

/// For the cluster to answer at the start.
const REACH: Duration = Duration::from_secs(30);

impl App {
    pub fn start(parts: Parts) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("control")
            .enable_all()
            .build()
            .context("the control runtime")?;
        let admin = start_admin(&runtime, parts.config.admin_door())?;
        let engine = Engine::new().map_err(|it| anyhow::anyhow!("the plugin engine: {it:#}"))?;
        let topics = Topics::new(&parts.client).context("the admin client")?;
        topics.reach(REACH).with_context(|| format!("Kafka at {}", parts.client.brokers.join(", ")))?;
        runtime.block_on(make_side_topics(&topics, &parts.side_topics))?;
        let followed = runtime
            .block_on(ledger::open(&parts.client, &topics, &parts.control_topic))
            .context("the control topic")?;
        let (desired, compiled, live) = first_live(&parts, &engine, &followed)?;
        let outbox = Outbox::start(&parts.client, &ProducerSettings::default()).context("the producer")?;
        let directory = Directory::new(parts.shards);
        directory.apply(&desired.apps, clock::now_ms());
        find_servers(&runtime, &directory);
        let counters = Arc::new(Counters::new(engine.metrics().clone()));
        let intakes = parts.config.intakes(&desired.routes);
        let (live, live_seen) = watch::channel(Arc::new(live));
        let (ack_senders, acks): (Vec<_>, Vec<_>) = intakes.iter().map(|_| mpsc::channel()).unzip();
        let lanes = Arc::new(LaneTable::default());
        let appetite = Arc::new(Appetite::new(parts.shards as usize));
        let shards = start_shards(
            parts.shards,
            &shard::Shared {
                engine: engine.clone(),
                aside: Aside::new(engine.clone(), parts.shards as usize),
                live: live_seen.clone(),
                lanes: Arc::clone(&lanes),
                directory: directory.clone(),
                outbox: outbox.clone(),
                tls: Tls::new(parts.roots.as_deref())
                    .map_err(anyhow::Error::msg)
                    .context("`services.roots`")?,
                counters: Arc::clone(&counters),
                common: Arc::default(),
                acks: ack_senders,
                appetite: Arc::clone(&appetite),
            },
        )?;
        let intake = intake::Shared {
            lanes,
            slots: Arc::new(LaneSlots::default()),
            shards: shards.iter().map(|it| it.input.clone()).collect(),
            appetite,
        };
        let groups = join_groups(&parts.client, intakes, &intake, acks)?;
        let compiled = Arc::new(std::sync::Mutex::new(compiled));
        let (ask, asked) = tokio::sync::mpsc::channel(64);
        let control = Control::new(control::Parts {
            ask,
            live: live_seen,
            engine: engine.clone(),
            compiled: Arc::clone(&compiled),
            topic: parts.control_topic,
            counters: Arc::clone(&counters),
            directory: directory.clone(),
            outbox: outbox.clone(),
            groups: groups.iter().map(|it| Arc::clone(&it.report)).collect(),
        });
        let keeper = Keeper::new(engine, parts.source, desired, compiled, followed, live, directory, asked);
        runtime.spawn(keeper.run());
        let gateway = start_gateway(&runtime, parts.config.gateway_door(), &outbox, &counters)?;
        if let Some((admin, _)) = &admin {
            admin.ready(control.clone());
        }
        Ok(Self { control, gateway, admin, runtime, outbox, groups, shards })
    }

    /// Whether every part that has to run does.
    pub fn is_running(&self) -> bool {
        self.groups.iter().all(Group::is_running) && self.shards.iter().all(ShardHandle::is_running)
    }

    /// Where producers are served.
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(|it| it.address)
    }

    /// Where operators are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|it| it.1.address)
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Drains, commits, leaves, and waits for every thread.
    pub fn stop(self) -> anyhow::Result<()> {
        if let Some((admin, _)) = &self.admin {
            admin.stopping();
        }
        if let Some(gateway) = self.gateway {
            self.runtime.block_on(gateway.stop(GATEWAY_END));
        }
        for group in &self.groups {
            group.stop();
        }
        for group in self.groups {
            group.wait();
        }
        for shard in self.shards {
            shard.stop();
        }
        let flushed = self.outbox.flush(Duration::from_secs(10)).context("flushing the producer");
        if let Some((_, admin)) = self.admin {
            self.runtime.block_on(admin.stop(ADMIN_END));
        }
        drop(self.control);
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        flushed
    }
}

/// Requests to publish that are under way may take so long to end.
const GATEWAY_END: Duration = Duration::from_secs(35);
const ADMIN_END: Duration = Duration::from_secs(2);

/// Looks for servers once before the first message, which would lose an attempt where there are none yet; then on.
fn find_servers(runtime: &Runtime, directory: &Directory) {
    let mut discovery = Discovery::new(directory.clone());
    runtime.block_on(discovery.look());
    runtime.spawn(discovery.run());
}

fn start_admin(
    runtime: &Runtime,
    door: Option<(String, admin::Config)>,
) -> anyhow::Result<Option<(Admin, Server)>> {
    let Some((listen, config)) = door else { return Ok(None) };
    let admin = Admin::new(&config);
    let server = serve(runtime, &listen, admin.router()).context("the admin door")?;
    tracing::info!(address = %server.address, "operators are served");
    Ok(Some((admin, server)))
}

fn start_gateway(
    runtime: &Runtime,
    door: Option<(String, gateway::Config)>,
    outbox: &Outbox,
    counters: &Arc<Counters>,
) -> anyhow::Result<Option<Server>> {
    let Some((listen, config)) = door else { return Ok(None) };
    let router = gateway::router(&config, outbox.clone(), Arc::clone(counters));
    let server = serve(runtime, &listen, router).context("the gateway")?;
    tracing::info!(address = %server.address, "producers are served");
    Ok(Some(server))
}

fn serve(runtime: &Runtime, listen: &str, router: axum::Router) -> anyhow::Result<Server> {
    let listener = runtime.block_on(web::bind(listen)).with_context(|| format!("listening on {listen}"))?;
    Ok(Server::start(runtime.handle(), listener, router, web::Config::default())?)
}

/// The first build of what runs: a host that cannot run all of its files does not start.
fn first_live(
    parts: &Parts,
    engine: &Engine,
    followed: &ledger::Followed,
) -> anyhow::Result<(Desired, Compiled, Live)> {
    let problems = |it: Vec<String>| anyhow::anyhow!("{}", it.join("\n"));
    let uploaded: Vec<_> = followed
        .ledger
        .active()
        .map(|(name, _)| crate::domain::plugin::KnownPlugin { name: name.into(), kind: None })
        .collect();
    let desired = (parts.source)(&uploaded).map_err(problems)?;
    for warning in &desired.warnings {
        tracing::warn!("{warning}");
    }
    let mut compiled = Compiled::default();
    let live = control::live(engine, &mut compiled, &desired, &followed.ledger, 1).map_err(problems)?;
    Ok((desired, compiled, live))
}

fn start_shards(count: u32, shared: &shard::Shared) -> anyhow::Result<Vec<ShardHandle>> {
    (0..count).map(|it| shard::start(it, count, shared.clone()).context("starting a shard")).collect()
}

fn join_groups(
    client: &ClientSettings,
    intakes: Vec<intake::Config>,
    shared: &intake::Shared,
    acks: Vec<mpsc::Receiver<Vec<crate::shard::work::Ack>>>,
) -> anyhow::Result<Vec<Group>> {
    let all = intakes.into_iter().zip(acks);
    all.map(|(config, acks)| {
        let name = config.name.clone();
        intake::start(client, config, shared.clone(), acks).with_context(|| format!("joining group {name}"))
    })
    .collect()
}

/// Dead letters have somewhere to go before the first message is read.
async fn make_side_topics(topics: &Topics, wanted: &[SideTopic]) -> anyhow::Result<()> {
    for it in wanted {
        let there = topics.partitions(&it.name, REACH).with_context(|| format!("topic {}", it.name))?;
        if there > 0 {
            continue;
        }
        anyhow::ensure!(
            it.create,
            "topic {} is missing and `create` is false: make it, or let drover make it",
            it.name
        );
        let like = match (&it.partitions, &it.like) {
            (Some(count), _) => *count,
            (None, Some(topic)) => topics.partitions(topic, REACH).unwrap_or(0).max(1),
            (None, None) => 1,
        };
        let new = NewTopicSettings {
            name: it.name.clone(),
            partitions: like,
            replication: it.replication,
            config: Vec::new(),
        };
        topics.ensure(&new).await.with_context(|| format!("topic {}", it.name))?;
        tracing::info!(topic = it.name, partitions = like, "made a topic");
    }
    Ok(())
}
