//! What the operating system tells a host: to end, and to read its files again.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Heard from when this is made: what comes before anybody asks is not lost.
pub struct Signals {
    pub terminate: Signal,
    pub interrupt: Signal,
    pub hangup: Signal,
}

impl Signals {
    /// On the runtime that they are heard by.
    pub fn listen(runtime: &Runtime) -> std::io::Result<Self> {
        let _runtime = runtime.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}
