//! `drover run`: a host, until it is told to stop.

use std::path::Path;
use std::time::Duration;

use crate::app::App;
use crate::config::parts::Origin;

/// Starts everything that the file says and runs until SIGINT or SIGTERM.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let parts = Origin::disk(path).parts().map_err(|it| anyhow::anyhow!("{}", it.join("\n")))?;
    let app = App::start(parts)?;
    app.runtime().block_on(until_told(&app))?;
    tracing::info!("stopping: draining what is in flight; a second signal ends at once");
    app.stop()
}

/// SIGINT and SIGTERM end it, SIGHUP reads the files again. A second one ends the process at once.
pub async fn until_told(app: &App) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
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
