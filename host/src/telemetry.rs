//! What the host says of itself: log lines on stderr, in colours only where a person sees them.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// What is kept, where the files say it: set once, by [`start`].
static KEPT: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Chooses what is kept, as in `info,plugin=debug`; stronger than the files.
const VARIABLE: &str = "DROVER_LOG";

/// Starts logging: `info` until the files have been read ([`follow`]).
pub fn start() {
    let (kept, handle) = start_at("info");
    if kept && std::env::var_os(VARIABLE).is_none() {
        // A second start changes nothing.
        let _ = KEPT.set(handle);
    }
}

/// As [`start`], with warnings and errors only, whatever the files say: for commands that speak to a person.
pub fn start_quiet() {
    start_at("warn");
}

/// From now on lines of these levels are kept, as the files say it.
pub fn follow(levels: &str) {
    let Some(handle) = KEPT.get() else { return };
    let told = handle.reload(EnvFilter::new(levels));
    if let Err(error) = told {
        tracing::error!(%error, levels, "the log's levels cannot change");
    }
}

/// Whether the lines go where they are told to: somebody else's subscriber (a test's) may be there already.
fn start_at(usual: &str) -> (bool, reload::Handle<EnvFilter, Registry>) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(usual));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    (started.is_ok(), handle)
}
