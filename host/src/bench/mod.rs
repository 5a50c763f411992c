//! `drover bench`: how fast this host is, beside bare loops of the same client libraries.
//!
//! ```text
//! load --> broker --> contestant --> sink        each a process of its own: CPU and memory are its alone
//! ```
//! Contestants take turns (A B A B …) and each pair gives a ratio: absolute figures of a shared machine drift,
//! ratios of the same minute hold. `lab` runs one contestant once, `races` makes rows of many runs, `calls`
//! measures plugin calls in this process. The bare loops are `pool`, `conn` and, in `batch`, *raw*; a `peer` is
//! any other command line that does the same work.

pub mod bare;
pub mod batch;
mod calls;
mod child;
pub mod conn;
mod host_config;
mod lab;
mod load;
mod machine;
pub mod peer;
pub mod pool;
mod progress;
mod races;
mod rows;
pub mod sink;
mod swap;
mod table;

use std::time::Duration;

use anyhow::Context as _;

use self::lab::Lab;
use self::progress::Progress;
use self::races::Races;
pub use self::table::Table;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// None: the embedded broker, in a process of its own.
    pub brokers: Option<String>,
    /// Of that broker, if it runs here: its CPU time is no disturbance.
    pub broker_pid: Option<u32>,
    /// A command line that carries messages as well, to be compared with.
    pub peer: Option<String>,
    pub messages: u64,
    pub bytes: usize,
    pub pairs: usize,
    /// So few of everything that figures say nothing.
    pub quick: bool,
    /// Of drover; 0 is one for each processor.
    pub shards: u32,
    /// Length of a round of the latency row.
    pub latency: Duration,
    /// How long a case of the plugin calls is measured in each of its rounds.
    pub call_round: Duration,
    pub only: Vec<Part>,
    /// Leave configurations and logs where they are.
    pub keep: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Rate, CPU and memory beside both bare loops, and beside the peer if there is one.
    Rate,
    /// Produced to arrived at 500 messages a second.
    Latency,
    /// Everything is dropped by the handler.
    Drop,
    /// All messages have one key.
    OneKey,
    /// Handler, selector and judge calls.
    Calls,
    /// A new version of a plugin under load.
    Swap,
}

impl Plan {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Why its figures say nothing.
    fn void(&self) -> Option<&'static str> {
        if self.quick { Some("a quick run") } else { cfg!(debug_assertions).then_some("a debug build") }
    }
}

/// Measures it all. Takes minutes.
pub fn run(plan: &Plan) -> anyhow::Result<Table> {
    let rate = plan.wants(Part::Rate);
    anyhow::ensure!(plan.peer.is_none() || rate, "a peer is measured by the part `rate`: add `--only rate`");
    let progress = Progress::begin();
    let mut table = Table {
        version: env!("CARGO_PKG_VERSION"),
        machine: machine::description(),
        broker: "no broker".to_owned(),
        peer: plan.peer.clone(),
        void: plan.void(),
        messages: plan.messages,
        bytes: plan.bytes,
        pairs: plan.pairs,
        rows: Vec::new(),
        runs: Vec::new(),
    };
    if let Some(why) = table.void {
        progress.say(&format!("{why}: its figures say nothing"));
    }
    if [Part::Rate, Part::Latency, Part::Drop, Part::OneKey].into_iter().any(|it| plan.wants(it)) {
        let lab = Lab::open(plan).context("starting broker and sink")?;
        table.broker = lab.broker();
        if plan.keep {
            progress.say(&format!("configurations and logs: {}", lab.folder().display()));
        }
        Races::new(plan, lab, progress).run(&mut table)?;
    }
    if plan.wants(Part::Calls) {
        progress.say("plugin calls");
        table.rows.extend(calls::rows(plan.call_round)?);
    }
    if plan.wants(Part::Swap) {
        table.rows.push(swap::row(plan, &progress)?);
    }
    Ok(table)
}

/// The embedded broker in a process of its own, until stdin ends; its address is its first line.
pub fn broker(out: &mut dyn std::io::Write) -> anyhow::Result<()> {
    let broker = drover_broker::Broker::start(drover_broker::Config::default())?;
    writeln!(out, "{}", broker.bootstrap())?;
    out.flush()?;
    child::wait_for_parent();
    Ok(())
}
