//! A small honest Kafka-compatible broker: one node, in this process, for development and tests.
//!
//! ```text
//!  a client's bytes
//!        |
//!     server      accepts, reads frames, writes answers          faults     errors on demand, for tests
//!     shapes      measures a request before it is decoded        refuse     what is not offered
//!     dispatch    which API, which version, who answers
//!        |
//!   +----+-----------+---------------+------------------+-----------------+
//!   produce        membership      producing          admin             cluster      one file for each
//!   fetch          offsets         (transactions)     configs           security     family of APIs
//!   lookup           |               |                  |
//!   |              group joining   txn                topics            the state machines
//!   log <------------+---------------+--------------- settings
//!   segment producers batch codec retention compact   a partition: files, sequences, records
//!        |
//!     state       all that is known          journal   how it comes back after a restart
//! ```
//!
//! Everything runs on one thread of its own with its own runtime, so there are no locks: a request is carried out in
//! one go, except where the protocol lets it wait (Fetch for records, JoinGroup and SyncGroup for other members), and
//! where it unpacks (Produce, ListOffsets): then the others have their turn between two partitions.
//! What it is not: a cluster, secured, or meant for production. The README has the list.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod admin;
mod batch;
mod cluster;
mod codec;
mod compact;
mod configs;
mod dispatch;
mod error;
mod faults;
mod fetch;
mod group;
mod housekeeping;
mod joining;
mod journal;
mod log;
mod lookup;
mod membership;
mod offsets;
mod produce;
mod producers;
mod producing;
mod refuse;
mod retention;
mod security;
mod segment;
mod server;
mod settings;
mod shapes;
mod state;
mod topics;
mod txn;
#[cfg(test)]
mod walks;
mod wire;

pub use error::Error;
pub use faults::Faults;
/// What `Faults` speaks of.
pub use kafka_protocol::ResponseError;
pub use kafka_protocol::messages::ApiKey;

use server::{Node, Shared, serve};
use state::State;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port 0 takes a free one; see `Broker::addr`.
    pub listen: SocketAddr,
    /// The host and port that clients are told; None: where it listens.
    pub advertise: Option<(String, u16)>,
    /// Where everything is kept; None: in memory, until it stops.
    pub data: Option<PathBuf>,
    /// Whether a topic that a client asks for comes to be.
    pub auto_create: bool,
    pub default_partitions: i32,
    /// Every write reaches the disk before it is acknowledged. Without it kill -9 loses nothing, a power cut may.
    pub fsync: bool,
    /// How often old records, offsets and segments are looked for.
    pub housekeeping: Duration,
    /// How long committed offsets of a group without members, and transactional ids without use, are kept.
    pub offsets_kept: Duration,
    /// How long the first member of an empty group waits for others before the first assignment.
    pub first_join_delay: Duration,
    pub limits: Limits,
    pub faults: Faults,
}

/// What one client can ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Also bounded by the files that the process may open, of which the log needs some.
    pub connections: usize,
    /// A request's size at most.
    pub frame_bytes: usize,
    /// What all connections together hold: requests that are not answered yet, and answers that are not taken yet.
    /// Beyond it large requests end their connection, and fetches get one batch at a time.
    pub held_bytes: usize,
    /// A frame that has begun is there, an answer is taken, and a new connection's first request comes within this
    /// time.
    pub frame_time: Duration,
    /// A connection without requests is closed after this time.
    pub idle: Duration,
    pub session_min: Duration,
    pub session_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            frame_bytes: 100 << 20,
            held_bytes: 1 << 30,
            frame_time: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            session_min: Duration::from_millis(100),
            session_max: Duration::from_secs(1800),
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            data: None,
            auto_create: true,
            default_partitions: 1,
            fsync: false,
            housekeeping: Duration::from_secs(1),
            offsets_kept: Duration::from_secs(7 * 24 * 3600),
            first_join_delay: Duration::ZERO,
            limits: Limits::default(),
            faults: Faults::default(),
        }
    }
}

/// A running broker. Dropping it stops it and waits until it has stopped.
pub struct Broker {
    addr: SocketAddr,
    bootstrap: String,
    faults: Faults,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Returns when it listens.
    pub fn start(config: Config) -> Result<Broker, Error> {
        let (stop, stopped) = watch::channel(false);
        let (started, starting) = mpsc::channel();
        let faults = config.faults.clone();
        let body = move || match Started::new(config) {
            Err(failure) => drop(started.send(Err(failure))),
            Ok(ready) => {
                drop(started.send(Ok((ready.shared.node.listening, ready.bootstrap()))));
                ready.run(stopped);
            }
        };
        let thread = std::thread::Builder::new().name("broker".to_string()).spawn(body);
        let thread = thread.map_err(|source| Error::Thread { source })?;
        match starting.recv() {
            Ok(Ok((addr, bootstrap))) => Ok(Broker { addr, bootstrap, faults, stop, thread: Some(thread) }),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Error::Thread { source: std::io::Error::other("it ended before it listened") }),
        }
    }
    /// What clients take as `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
    /// Stops it; what was acknowledged is on its way to the disk already.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the broker's thread ended by a panic");
        }
    }
}

/// A broker on its own thread, before it serves.
struct Started {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    shared: Rc<Shared>,
    /// Held while it runs: no second broker in the same directory.
    _lock: Option<File>,
}

impl Started {
    fn new(config: Config) -> Result<Started, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Error::Thread { source })?;
        let address = config.listen;
        let refused = |source| Error::Listen { address, source };
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(refused)?;
        let listening = listener.local_addr().map_err(refused)?;
        let (state, cluster_id, lock) = match &config.data {
            None => (State::in_memory(), uuid::Uuid::new_v4().to_string(), None),
            Some(data) => {
                std::fs::create_dir_all(data).map_err(Error::data(data))?;
                let lock = lock(data)?;
                let cluster_id = cluster_id(data).map_err(Error::data(data))?;
                let state = State::open(data, config.fsync).map_err(Error::data(data))?;
                (state, cluster_id, Some(lock))
            }
        };
        // who listens on every address is reached on loopback at least
        let ip = listening.ip();
        let host = if ip.is_unspecified() { "127.0.0.1".to_string() } else { ip.to_string() };
        let (host, port) = config.advertise.clone().unwrap_or((host, listening.port()));
        let node = Node { host, port, listening, cluster_id };
        let shared = Rc::new(Shared::new(config, node, state));
        Ok(Started { runtime, listener, shared, _lock: lock })
    }

    fn bootstrap(&self) -> String {
        let node = &self.shared.node;
        if node.host.contains(':') {
            format!("[{}]:{}", node.host, node.port)
        } else {
            format!("{}:{}", node.host, node.port)
        }
    }

    fn run(self, stopped: watch::Receiver<bool>) {
        let local = tokio::task::LocalSet::new();
        self.runtime.block_on(local.run_until(serve(self.shared, self.listener, stopped)));
    }
}

/// The operating system takes the lock back however the process ends.
fn lock(data: &Path) -> Result<File, Error> {
    let path = data.join("lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::data(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { directory: data.to_path_buf() }),
        Err(std::fs::TryLockError::Error(source)) => Err(Error::Data { path, source }),
    }
}

/// A name for life, so that clients notice when they talk to another broker.
fn cluster_id(data: &Path) -> std::io::Result<String> {
    let path = data.join("cluster.id");
    if let Ok(known) = std::fs::read_to_string(&path)
        && !known.trim().is_empty()
    {
        return Ok(known.trim().to_string());
    }
    let fresh = uuid::Uuid::new_v4().to_string();
    std::fs::write(&path, &fresh)?;
    Ok(fresh)
}
