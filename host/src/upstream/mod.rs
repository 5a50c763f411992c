//! The edge to the services: which servers an app has, how they do, and the connections to them.
//!
//! `directory` is shared: one list of servers in service for each app, changed without a restart.
//! `discover` finds servers by name or in a file, for the directory.
//! `check` asks servers whether they are well, on a thread of its own.
//! `client` is a shard's own: its connections, held by hand, used by no other thread.
//! `health` decides, a few times a second, what may go to each server and app: breakers, ejection, slow start, throttling.
//! `stats` are the counters that both see, relaxed atomics of all shards.

mod alarms;
mod check;
mod client;
mod connection;
mod directory;
mod discover;
mod health;
mod server;
mod stats;
mod tls;

pub use check::Checks;
pub use client::{Client, Places, Sent, Target};
pub use directory::{AppServers, BreakerReport, Directory, InService};
pub use discover::Discovery;
pub use health::{Admission, AppAdmission};
pub use server::Server;
pub use stats::{Mark, Stats};
pub use tls::Tls;

/// Why a request got no answer. All of these are ordinary failures of an attempt (S71).
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SendError {
    #[error("cannot connect to {server}: {detail}")]
    Connect { server: String, detail: String },
    #[error("TLS with {server}: {detail}")]
    Tls { server: String, detail: String },
    #[error("no answer from {server} within {timeout_ms} ms")]
    Timeout { server: String, timeout_ms: u64 },
    /// It closed the connection, or what it sent is no HTTP and the connection is closed here.
    #[error("no whole answer from {server}: {detail}")]
    Closed { server: String, detail: String },
    #[error("the answer of {server} is larger than {limit} bytes")]
    TooLarge { server: String, limit: usize },
    #[error("the request cannot be sent: {detail}")]
    Request { detail: String },
}

impl SendError {
    /// Whether it is the server that failed, not what was asked of it.
    pub fn is_the_servers(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Tls { .. } | Self::Timeout { .. } | Self::Closed { .. } => true,
            Self::TooLarge { .. } | Self::Request { .. } => false,
        }
    }
}
