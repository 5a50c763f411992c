//! The command line: what the binary can be asked to do.

mod bench;
mod check;
pub mod run;

use std::io::Write;
use std::path::PathBuf;
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
    /// Run a host until it is told to stop.
    Run {
        /// The main file; apps are found from there.
        #[arg(long, short, value_name = "PATH", default_value = "config/drover.yaml")]
        config: PathBuf,
    },
    /// Say whether a configuration is good, and if not, what to write instead.
    Check(check::Check),
    /// Measure this machine: drover beside bare loops of the same client libraries.
    Bench(bench::Bench),
    #[command(flatten)]
    BenchPart(bench::Part),
}

impl Cli {
    /// Does what was asked for; what there is to say goes to `out`.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run { config } => {
                tracing_subscriber::fmt().with_writer(std::io::stderr).init();
                run::run(&config).map(|()| ExitCode::SUCCESS)
            }
            Command::Check(check) => check.run(out),
            Command::Bench(bench) => bench.run(out),
            Command::BenchPart(part) => part.run(out),
        }
    }
}
