//! `drover run`: a host, until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::app::{App, Signals};
use crate::config::parts::Origin;
use crate::telemetry;

/// Run a host against a Kafka cluster, until it is told to stop.
///
/// SIGINT and SIGTERM drain what is in flight, commit and leave; a second one ends at once. SIGHUP reads the
/// files again; so does a change of them.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  drover run --config config/drover.yaml")]
pub struct Run {
    /// The main file.
    #[arg(long, value_name = "PATH", default_value = "config/drover.yaml")]
    config: PathBuf,
    /// For a measurement, which may be killed: nothing of it is to go on.
    #[arg(long, hide = true)]
    ends_with_parent: bool,
}

impl Run {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        telemetry::start();
        if self.ends_with_parent {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
        }
        let mut parts =
            Origin::disk(&self.config).parts().map_err(|it| anyhow::anyhow!("{}", it.join("\n")))?;
        telemetry::follow(&parts.config.log.to_string());
        parts.hears_signals = true;
        let mut app = App::start(parts)?;
        let signals = app.signals.take();
        app.runtime().block_on(until_told(&app, signals))?;
        tracing::info!("stopping: draining what is in flight; a second signal ends at once");
        app.stop()?;
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// SIGINT and SIGTERM end it, SIGHUP reads the files again. A second one ends the process at once.
pub async fn until_told(app: &App, signals: Option<Signals>) -> anyhow::Result<()> {
    let Signals { mut terminate, mut interrupt, mut hangup } =
        signals.context("this host hears no signals")?;
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => match app.control.reload().await {
                Ok(generation) => tracing::info!(generation, "reloaded"),
                Err(problems) => tracing::error!("not reloaded, what runs goes on:\n{}", problems.join("\n")),
            },
            _ = tick.tick() => anyhow::ensure!(app.is_running(), "a part of the data plane has ended"),
        }
    }
    app.runtime().spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("told twice: ending without draining");
        std::process::exit(130);
    });
    Ok(())
}
