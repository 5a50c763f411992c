//! The processes of a measurement and one run of one of them: a broker, a sink, and a contestant that carries
//! messages from one to the other.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use super::Plan;
use super::bare::Bare;
use super::child::Child;
use super::host_config::{self, Setting};
use super::load::{Load, Producer};
use super::machine::{self, Disturbance, Moment};
use super::peer::Peer;
use super::sink::{Arrivals, Expected, Latency};
use crate::kafka::ClientSettings;
use crate::kafka::topics::{NewTopicSettings, Topics};

/// Who carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// `drover run`: forward, round-robin, order by key.
    Drover,
    /// The same with a handler that is done with every message.
    DroverDrop,
    Pool {
        in_flight: usize,
    },
    Conn {
        in_flight: usize,
    },
    /// Takes batches and drops them.
    Raw,
    /// Whatever the plan names.
    Peer {
        in_flight: usize,
    },
}

/// What one run gave.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub contestant: &'static str,
    pub topic: String,
    /// Messages a second, from the first to the last arrival.
    pub rate: f64,
    /// User and system time of the contestant's processes alone, in µs.
    pub cpu_us_a_message: f64,
    pub memory_peak_bytes: u64,
    pub latency_us: Option<Latency>,
    pub disturbance: Disturbance,
}

pub struct Lab {
    folder: Folder,
    pub brokers: String,
    embedded: Option<Child>,
    broker_pid: Option<u32>,
    sink: Child,
    sink_address: String,
    peer: String,
    shards: u32,
    runs: u32,
    /// Of this measurement: topics and groups of an earlier one are not ours.
    tag: String,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Lab {
    /// A cluster that is not ours keeps nothing of us but the control topic.
    fn drop(&mut self) {
        if self.embedded.is_none()
            && let Err(error) = self.clear()
        {
            tracing::warn!("the topics {}-* are left over: {error:#}", self.tag);
        }
    }
}

/// Of every topic.
pub const PARTITIONS: i32 = 12;

/// How long a contestant may take to its first message, and then in all.
const FIRST_WITHIN: Duration = Duration::from_secs(60);
const LAST_WITHIN: Duration = Duration::from_secs(600);

impl Contestant {
    pub fn name(self) -> &'static str {
        match self {
            Contestant::Drover => "drover",
            Contestant::DroverDrop => "drover-drop",
            Contestant::Pool { in_flight: 1 } => "pool-1",
            Contestant::Pool { .. } => "pool",
            Contestant::Conn { .. } => "conn",
            Contestant::Raw => "raw",
            Contestant::Peer { .. } => "peer",
        }
    }

    /// Messages of the load that it carries before it is measured: what compiles itself while it runs needs them.
    fn warm(self, load: &Load) -> u64 {
        if let Contestant::Peer { .. } = self { load.messages / 2 } else { 0 }
    }

    /// Requests that the sink gets of it.
    fn expected(self, load: &Load) -> Expected {
        let warm = self.warm(load);
        let count = match self {
            Contestant::DroverDrop => load.partitions as u64 * 2,
            Contestant::Raw => 2,
            _ => load.messages - warm,
        };
        Expected { count, warm, stamped: false }
    }
}

impl Lab {
    pub fn open(plan: &Plan) -> anyhow::Result<Self> {
        let folder = Folder::new(plan.keep)?;
        let (brokers, embedded) = match &plan.brokers {
            Some(brokers) => (brokers.clone(), None),
            None => {
                let mut child = Child::start("broker", &["bench-broker".to_owned()], &folder.path)?;
                (child.line_within(Duration::from_secs(20))?, Some(child))
            }
        };
        let mut sink = Child::start("sink", &["bench-sink".to_owned()], &folder.path)?;
        let sink_address = sink.line_within(Duration::from_secs(20))?;
        let broker_pid = embedded.as_ref().map(Child::pid).or(plan.broker_pid);
        let tag = format!("bench-{:x}", machine::now_ns() >> 20);
        let (shards, peer) = (plan.shards, plan.peer.clone().unwrap_or_default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            folder,
            brokers,
            embedded,
            broker_pid,
            sink,
            sink_address,
            peer,
            shards,
            runs: 0,
            tag,
            runtime,
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Makes a topic that no other measurement uses.
    pub fn new_topic(&mut self, of: &str) -> anyhow::Result<String> {
        self.runs += 1;
        let name = format!("{}-{of}-{}", self.tag, self.runs);
        let partitions = PARTITIONS;
        let new = NewTopicSettings { name: name.clone(), partitions, replication: -1, config: Vec::new() };
        self.runtime.block_on(self.topics()?.ensure(&new))?;
        Ok(name)
    }

    fn topics(&self) -> anyhow::Result<Topics> {
        let brokers = self.brokers.split(',').map(str::to_owned).collect();
        Ok(Topics::new(&ClientSettings { brokers, ..ClientSettings::default() })?)
    }

    /// Deletes the topics of this measurement, those too that hosts made for dead letters.
    fn clear(&self) -> anyhow::Result<()> {
        let topics = self.topics()?;
        let names = topics.named(&self.tag, Duration::from_secs(10))?;
        self.runtime.block_on(topics.delete(&names.iter().map(String::as_str).collect::<Vec<_>>()))?;
        Ok(())
    }

    /// Starts it as a group of its own and waits until it has carried the whole topic.
    pub fn drain(&mut self, contestant: Contestant, load: &Load) -> anyhow::Result<Run> {
        let expected = contestant.expected(load);
        self.expect(expected)?;
        let mut child = self.start(contestant, load)?;
        self.first(&mut child)?;
        if expected.warm > 0 {
            let line = self.line(&mut child, LAST_WITHIN)?;
            anyhow::ensure!(line == "warm", "the sink says {line:?}");
        }
        let watch = self.watch(&child)?;
        let arrivals = self.last(&mut child)?;
        self.run(contestant, load, &child, watch, &arrivals)
    }

    /// Starts it, warms it up, and measures how long messages take that come at a steady pace.
    pub fn pace(&mut self, contestant: Contestant, load: &Load, a_second: u64) -> anyhow::Result<Run> {
        let mut producer = Producer::new(&self.brokers, 0)?;
        let warm = Load { messages: 200, ..load.clone() };
        self.expect(Expected { count: warm.messages, ..Expected::default() })?;
        let mut child = self.start(contestant, load)?;
        producer.pace(&warm, a_second.min(100))?;
        self.first(&mut child)?;
        self.last(&mut child)?;
        self.expect(Expected { count: load.messages, stamped: true, warm: 0 })?;
        let watch = self.watch(&child)?;
        producer.pace(load, a_second)?;
        self.first(&mut child)?;
        let arrivals = self.last(&mut child)?;
        self.run(contestant, load, &child, watch, &arrivals)
    }

    fn start(&mut self, contestant: Contestant, load: &Load) -> anyhow::Result<Child> {
        self.runs += 1;
        let group = format!("{}-{}-{}", self.tag, contestant.name(), self.runs);
        let name = format!("{:03}-{}", self.runs, contestant.name());
        let bare = Bare {
            brokers: self.brokers.clone(),
            topic: load.topic.clone(),
            partitions: load.partitions,
            messages: load.messages,
            sink: self.sink_address.clone(),
            in_flight: match contestant {
                Contestant::Pool { in_flight }
                | Contestant::Conn { in_flight }
                | Contestant::Peer { in_flight } => in_flight,
                Contestant::Drover | Contestant::DroverDrop | Contestant::Raw => 0,
            },
            group,
        };
        let role = match contestant {
            Contestant::Pool { .. } => "bench-pool",
            Contestant::Conn { .. } => "bench-conn",
            Contestant::Raw => "bench-drop",
            Contestant::Peer { .. } => {
                let arguments = Peer { bare, command: self.peer.clone() }.arguments();
                return Child::start(&name, &arguments, &self.folder.path);
            }
            Contestant::Drover => return self.host(&name, &bare, "forward", None),
            Contestant::DroverDrop => return self.host(&name, &bare, "drop-all", None),
        };
        let arguments: Vec<String> = [role.to_owned()].into_iter().chain(bare.arguments()).collect();
        Child::start(&name, &arguments, &self.folder.path)
    }

    fn host(&self, name: &str, bare: &Bare, handler: &str, admin: Option<String>) -> anyhow::Result<Child> {
        let setting = Setting { shards: self.shards, handler: handler.to_owned(), admin };
        let config = host_config::write(&self.folder.path.join(name), bare, &setting)?;
        let arguments = ["run", "--ends-with-parent", "--config", &config.display().to_string()];
        Child::start(name, &arguments.map(str::to_owned), &self.folder.path)
    }

    /// Starts drover with a handler that drops, which can be replaced at the door. Gives the handler's name:
    /// an upload stays with the broker, so it is a new one each time.
    pub fn start_replaceable(&mut self, load: &Load, admin: &str) -> anyhow::Result<(Child, String)> {
        self.runs += 1;
        let name = format!("{}-swap-{}", self.tag, self.runs);
        let bare = Bare {
            brokers: self.brokers.clone(),
            topic: load.topic.clone(),
            group: name.clone(),
            partitions: load.partitions,
            messages: load.messages,
            sink: self.sink_address.clone(),
            in_flight: 0,
        };
        Ok((self.host(&name, &bare, &name, Some(admin.to_owned()))?, name))
    }

    pub fn expect(&mut self, expected: Expected) -> anyhow::Result<()> {
        self.sink.say(&expected.to_string())?;
        // What a contestant that is gone had under way may still be told of.
        while self.sink.line_within(Duration::from_secs(10))? != "ready" {}
        Ok(())
    }

    pub fn first(&mut self, child: &mut Child) -> anyhow::Result<()> {
        let line = self.line(child, FIRST_WITHIN)?;
        anyhow::ensure!(line == "first", "the sink says {line:?}");
        Ok(())
    }

    pub fn last(&mut self, child: &mut Child) -> anyhow::Result<Arrivals> {
        let line = self.line(child, LAST_WITHIN)?;
        serde_json::from_str(&line).with_context(|| format!("the sink says {line:?}"))
    }

    fn line(&mut self, child: &mut Child, wait: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(line) = self.sink.line(Duration::from_millis(200))? {
                return Ok(line);
            }
            child.must_run()?;
            let late = Instant::now() > deadline;
            anyhow::ensure!(!late, "not delivered within {wait:?}; {}", child.last_words());
        }
    }

    /// The machine and the contestant's CPU time, now.
    fn watch(&self, child: &Child) -> anyhow::Result<(Moment, Duration)> {
        let mut ours = machine::tree_of(child.pid())?;
        ours.extend([std::process::id(), self.sink.pid()].into_iter().chain(self.broker_pid));
        Ok((Moment::now(&ours)?, machine::cpu_of(child.pid())?))
    }

    fn run(
        &self,
        contestant: Contestant,
        load: &Load,
        child: &Child,
        (begun, cpu_begun): (Moment, Duration),
        arrivals: &Arrivals,
    ) -> anyhow::Result<Run> {
        let (ended, cpu_ended) = self.watch(child)?;
        let seconds = (arrivals.last_ns - arrivals.first_ns).max(1) as f64 / 1e9;
        let cpu = cpu_ended.saturating_sub(cpu_begun);
        let messages = (load.messages - contestant.warm(load)) as f64;
        Ok(Run {
            contestant: contestant.name(),
            topic: load.topic.clone(),
            rate: messages / seconds,
            cpu_us_a_message: cpu.as_secs_f64() * 1e6 / messages,
            memory_peak_bytes: machine::memory_peak_of(child.pid())?,
            latency_us: arrivals.latency,
            disturbance: begun.until(&ended),
        })
    }

    pub fn broker(&self) -> String {
        match &self.embedded {
            Some(_) => "embedded broker".to_owned(),
            None => format!("broker {}", self.brokers),
        }
    }
}

/// A folder of its own, gone in the end unless it is to be looked at.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(keep: bool) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("drover-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
