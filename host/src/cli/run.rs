//! `drover run`: a host, until it is told to stop.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::app::{App, Parts};
use crate::config::{self, parts};
use crate::domain::plugin;
use crate::plugin::Engine;

/// Starts everything that the file says and runs until SIGINT or SIGTERM.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let loaded = config::load(path, &plugin::standard()).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", all.join("\n"))
    })?;
    let engine = Engine::new().map_err(|it| anyhow::anyhow!("{it:#}")).context("the plugin engine")?;
    let parts = Parts {
        client: loaded.config.client(),
        groups: loaded.config.intakes(&loaded.routes),
        shards: loaded.config.shard_count(),
        apps: loaded.apps.clone(),
        live: std::sync::Arc::new(parts::live(&engine, loaded, 1)?),
        engine,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let app = App::start(parts)?;
    runtime.block_on(until_told(&app))?;
    app.stop()
}

async fn until_told(app: &App) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            it = tokio::signal::ctrl_c() => return Ok(it?),
            _ = tick.tick() => {
                app.directory.tick(crate::clock::now_ms());
                anyhow::ensure!(app.is_running(), "a part of the data plane has ended");
            }
        }
    }
}
