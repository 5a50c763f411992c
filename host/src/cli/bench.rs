//! `drover bench`: the benchmark that this project judges itself by, and the parts it is made of.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::bench::bare::Bare;
use crate::bench::peer::{self, Peer};
use crate::bench::{self, Plan, batch, conn, pool, sink};
use crate::telemetry;

#[derive(Args, Debug)]
#[command(after_help = "\
Contestants take turns; a row is the median of the ratios of neighbouring runs. Rows are marked when other
processes used the machine meanwhile. The embedded broker is good for comparing two builds; figures to be
published are taken with Apache Kafka and nothing else running.

Examples:
  drover bench
  drover bench --only rate --pairs 9
  drover bench --brokers 127.0.0.1:9092 --broker-pid 4711 --json result.json
  drover bench --only rate --peer 'my-consumer --from \"$BROKERS\" --topic \"$TOPIC\" --to \"$URL\"'")]
pub struct Bench {
    /// A Kafka cluster to use in place of the embedded broker.
    #[arg(long, value_name = "HOST:PORT,...")]
    brokers: Option<String>,
    /// The process of that broker, if it runs here: then its CPU time is not taken for a disturbance.
    #[arg(long, value_name = "PID", requires = "brokers")]
    broker_pid: Option<u32>,
    /// A command line that carries messages as well, for `sh -c`: drover is measured beside it too.
    ///
    /// It finds BROKERS, TOPIC, GROUP, URL and IN_FLIGHT in its environment, reads the topic from its beginning as that
    /// group, posts the value of each record to the URL with so many requests under way at most, and runs until
    /// SIGTERM. It is measured when it has carried as many messages as are to be measured, to get warm.
    #[arg(long, value_name = "COMMAND")]
    peer: Option<String>,
    /// Messages that are carried in a run.
    #[arg(long, value_name = "COUNT", default_value_t = 400_000)]
    messages: u64,
    /// Bytes of a message's value.
    #[arg(long, value_name = "COUNT", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(32..=16_384))]
    bytes: u32,
    /// How often the contestants take turns.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    pairs: usize,
    /// Shards of drover; 0 is one for each processor.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    shards: u32,
    /// Measure only this. May be repeated.
    #[arg(long, value_name = "PART")]
    only: Vec<bench::Part>,
    /// Few messages, one pair: shows that the benchmark runs. Its figures say nothing.
    #[arg(long, conflicts_with_all = ["messages", "pairs"])]
    quick: bool,
    /// Write rows and single runs to this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leave configurations and logs of the contestants in their folder.
    #[arg(long)]
    keep: bool,
}

impl Bench {
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let table = bench::run(&self.plan())?;
        if let Some(path) = &self.json {
            let text = serde_json::to_vec_pretty(&table)?;
            std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        table.write(out)?;
        Ok(ExitCode::SUCCESS)
    }

    fn plan(&self) -> Plan {
        Plan {
            brokers: self.brokers.clone(),
            broker_pid: self.broker_pid,
            peer: self.peer.clone(),
            messages: if self.quick { 2_000 } else { self.messages.max(1_000) },
            bytes: self.bytes as usize,
            pairs: if self.quick { 1 } else { self.pairs.max(1) },
            quick: self.quick,
            shards: self.shards,
            latency: Duration::from_secs(if self.quick { 1 } else { 10 }),
            call_round: Duration::from_millis(if self.quick { 1 } else { 10 }),
            only: self.only.clone(),
            keep: self.keep,
        }
    }
}

/// The processes that `drover bench` starts: this binary in other roles.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// The service that counts.
    #[command(name = "bench-sink", hide = true)]
    Sink,
    /// The embedded broker, in memory.
    #[command(name = "bench-broker", hide = true)]
    Broker,
    /// The bare loop of a pooled client.
    #[command(name = "bench-pool", hide = true)]
    Pool(Bare),
    /// The bare loop of connections held by hand.
    #[command(name = "bench-conn", hide = true)]
    Conn(Bare),
    /// The bare loop that drops everything.
    #[command(name = "bench-drop", hide = true)]
    Drop(Bare),
    /// The contestant that is not ours.
    #[command(name = "bench-peer", hide = true)]
    Peer(Peer),
}

impl Part {
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        telemetry::start();
        match self {
            Part::Sink => sink::run()?,
            Part::Broker => bench::broker(out)?,
            Part::Pool(bare) => pool::run(&bare)?,
            Part::Conn(bare) => conn::run(&bare)?,
            Part::Drop(bare) => batch::drop_all(&bare)?,
            Part::Peer(peer) => peer::run(&peer)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
