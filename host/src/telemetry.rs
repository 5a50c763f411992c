//! What the host says of itself: log lines on stderr, in colours only where a person sees them.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `DROVER_LOG` chooses what is kept, as in `info,plugin=debug`; `info` without it.
pub fn start() {
    start_at("info");
}

/// As [`start`], with warnings and errors only: for commands that speak to a person.
pub fn start_quiet() {
    start_at("warn");
}

fn start_at(usual: &str) {
    let filter = EnvFilter::try_from_env("DROVER_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Somebody else's subscriber (a test's) may be there already.
    let _ = lines.try_init();
}
