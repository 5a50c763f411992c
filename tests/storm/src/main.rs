//! The command line of the storm.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use drover_storm::history::FaultKind;
use drover_storm::storm::{self, Settings};

/// Puts hosts under faults against three brokers of Apache Kafka, and says what came of it.
#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, default_value_t = 20_000)]
    messages: u64,
    #[arg(long, default_value_t = 8)]
    faults: usize,
    /// The same seed breaks the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=20))]
    hosts: u16,
    /// Messages a second, at most.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// Kinds of faults; all where none is named.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    kinds: Vec<FaultKind>,
    /// Seconds between two faults. From 19 on no fault excuses what another did.
    #[arg(long, default_value_t = 0)]
    rest: u64,
    /// Seconds without progress after which it is over.
    #[arg(long, default_value_t = 60)]
    settle: u64,
    /// Has the jars of Apache Kafka in `libs`; what the storm leaves is in `run`.
    #[arg(long, required_unless_present = "check")]
    kafka_dir: Option<PathBuf>,
    /// The binary under test.
    #[arg(long, default_value = "target/debug/drover")]
    drover: PathBuf,
    /// The first of the ports it takes: below those that the system gives to clients, or a broker that is started
    /// again may find its own taken.
    #[arg(long, default_value_t = 19_092)]
    port: u16,
    /// Checks this history again, and does nothing else.
    #[arg(long)]
    check: Option<PathBuf>,
}

fn kind(name: &str) -> Result<FaultKind, String> {
    FaultKind::named(name).ok_or_else(|| {
        format!("there is no such fault; there are {}", FaultKind::ALL.map(FaultKind::name).join(", "))
    })
}

fn say(line: &str) {
    // A terminal that has gone is no reason to end.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|it| {
        let ended = it.block_on(go(arguments));
        // What the storm's threads still wait for dies with them.
        it.shutdown_background();
        ended
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("storm: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether it passed.
async fn go(it: Arguments) -> anyhow::Result<bool> {
    let report = if let Some(history) = &it.check {
        storm::check(history)?
    } else {
        let settings = Settings {
            messages: it.messages,
            faults: it.faults,
            seed: it.seed,
            hosts: it.hosts,
            rate: it.rate.max(1),
            kinds: if it.kinds.is_empty() { FaultKind::ALL.to_vec() } else { it.kinds },
            rest: Duration::from_secs(it.rest),
            settle: Duration::from_secs(it.settle),
            kafka_dir: it.kafka_dir.context("--kafka-dir says where the jars are")?,
            drover: std::path::absolute(it.drover)?,
            port: it.port,
        };
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        // Dropping the storm ends all that it started.
        let report = tokio::select! {
            report = storm::run(&settings, say) => report?,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
            _ = terminate.recv() => anyhow::bail!("terminated"),
        };
        storm::leave_report(&report, &settings.home())?;
        report
    };
    say(&report.markdown());
    Ok(report.passed())
}
