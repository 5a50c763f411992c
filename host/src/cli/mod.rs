//! The command line: what the binary can be asked to do.

mod bench;
mod broker;
mod check;
mod demo;
mod dev;
mod dlq;
mod dlq_table;
mod progress;
mod run;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Pulls messages from Kafka and pushes them to services, through sandboxed WASM handlers and selectors.
#[derive(Debug, Parser)]
#[command(name = "drover", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a configuration is good, and if not, what to write instead.
    Check(check::Check),
    /// Try everything on this machine: broker, services, routes, plugins, doors.
    Dev(dev::Dev),
    /// Run the embedded Kafka-compatible broker alone.
    Broker(broker::BrokerArgs),
    /// Run a host against a Kafka cluster, until it is told to stop.
    Run(run::Run),
    /// List, look at, send again and delete a group's dead letters.
    Dlq(Box<dlq::DlqArgs>),
    /// Measure this machine: drover beside bare loops of the same client libraries.
    Bench(bench::Bench),
    #[command(flatten)]
    BenchPart(bench::Part),
}

impl Cli {
    /// Does what was asked for; what there is to say goes to `out`.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Check(check) => check.run(out),
            Command::Dev(dev) => dev.run(out),
            Command::Broker(broker) => broker.run(out),
            Command::Run(run) => run.run(),
            Command::Dlq(dlq) => dlq.run(out),
            Command::Bench(bench) => bench.run(out),
            Command::BenchPart(part) => part.run(out),
        }
    }
}

/// Until SIGINT or SIGTERM.
async fn until_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
