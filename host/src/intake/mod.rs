//! Stage 1: records in, books kept. One poll thread for each joined group owns its consumer, its lanes and
//! its commits; nobody else touches them. It decodes nothing, awaits nothing and waits for no shard.
//!
//! ```text
//! consumer --take--> lane (window, bytes) --hand--> shards
//!    ^  ^--commit-- low of each lane <--settle-- acknowledgements
//!    '--assign, drain, unassign-- rebalance
//! ```

mod adopt;
mod books;
mod commit;
mod hand;
mod lane;
mod lease;
mod poll;
mod rebalance;
mod report;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

pub use self::report::{GroupReport, LaneReport};
use crate::domain::app::Order;
use crate::kafka::consumer::{GroupConsumer, GroupSettings};
use crate::kafka::{ClientSettings, Error};
use crate::outbox::rungs::Rungs;
use crate::shard::Input;
use crate::shard::appetite::Appetite;
use crate::shard::work::{Ack, LANES_MAX, LaneTable};

/// One consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub name: String,
    pub topics: Vec<String>,
    /// Where a group without a commit begins. S51.
    pub start: Start,
    /// The widest that any route of its topics asks for: messages are handed to shards by it.
    pub order: Order,
    /// A header that carries the order key in place of the record's key.
    pub order_header: Option<String>,
    /// Offsets that one lane may have open.
    pub window: usize,
    pub instance: Option<String>,
    pub session_timeout_ms: u32,
    pub prefetch_kib: u32,
    pub pace: Pace,
}

/// What can change while a group stays joined. All else takes joining anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// What all lanes of this group may have handed over, in bytes and in messages; each has an equal share.
    pub bytes: usize,
    pub messages: usize,
    pub commit_every_ms: u64,
    /// How long work in flight may take to end when its lane is given back.
    pub drain_ms: u64,
    /// The same when the group is left.
    pub stop_drain_ms: u64,
}

/// Where to begin without a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    #[default]
    Oldest,
    Newest,
}

/// What all groups share.
#[derive(Clone)]
pub struct Shared {
    pub lanes: Arc<LaneTable>,
    pub slots: Arc<LaneSlots>,
    pub shards: Vec<tokio::sync::mpsc::UnboundedSender<Input>>,
    pub appetite: Arc<Appetite>,
    pub rungs: Rungs,
}

/// Slots of the lane table that are free, and the next epoch.
pub struct LaneSlots {
    free: Mutex<Vec<u32>>,
    epoch: AtomicU32,
}

impl Default for LaneSlots {
    fn default() -> Self {
        Self { free: Mutex::new((0..LANES_MAX as u32).rev().collect()), epoch: AtomicU32::new(0) }
    }
}

impl LaneSlots {
    fn take(&self) -> Option<u32> {
        self.free.lock().unwrap_or_else(|it| it.into_inner()).pop()
    }

    fn give_back(&self, slot: u32) {
        self.free.lock().unwrap_or_else(|it| it.into_inner()).push(slot);
    }

    /// Never 0, which means nobody's.
    fn next_epoch(&self) -> u32 {
        loop {
            let epoch = self.epoch.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if epoch != 0 {
                return epoch;
            }
        }
    }
}

/// A joined group.
pub struct Group {
    pub name: String,
    pub report: Arc<Mutex<GroupReport>>,
    stop: Arc<AtomicBool>,
    paces: mpsc::Sender<Pace>,
    thread: thread::JoinHandle<()>,
}

impl Group {
    /// Stops taking, drains, commits, leaves. [`Self::wait`] tells when it is done.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// From its next turn on.
    pub fn set_pace(&self, pace: Pace) {
        // It may have ended by itself; then its end is what counts.
        let _ = self.paces.send(pace);
    }

    pub fn report(&self) -> GroupReport {
        self.report.lock().unwrap_or_else(|it| it.into_inner()).clone()
    }

    pub fn wait(self) {
        if self.thread.join().is_err() {
            tracing::error!(group = self.name, "a poll thread ended by a panic");
        }
    }

    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }
}

/// Joins a group on a poll thread of its own. Its tickets carry `seat`, their acknowledgements come by `acks`.
pub fn start(
    client: &ClientSettings,
    config: Config,
    shared: Shared,
    (seat, acks): (u16, mpsc::Receiver<Vec<Ack>>),
) -> Result<Group, Error> {
    let settings = GroupSettings {
        group: config.name.clone(),
        instance: config.instance.clone(),
        session_timeout_ms: config.session_timeout_ms,
        prefetch_kib: config.prefetch_kib,
    };
    let consumer = GroupConsumer::new(client, &settings)?;
    let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics)?;
    let (name, stop) = (config.name.clone(), Arc::new(AtomicBool::new(false)));
    let report = Arc::new(Mutex::new(GroupReport::new(&name)));
    let (paces, changed) = mpsc::channel();
    let inbox = poll::Inbox { seat, acks, paces: changed };
    let poll = poll::Poll::new(config, consumer, shared, inbox, Arc::clone(&report));
    let stopped = Arc::clone(&stop);
    let thread = thread::Builder::new()
        .name(format!("poll-{name}"))
        .spawn(move || poll.run(&stopped))
        .map_err(|it| Error::Client(it.to_string()))?;
    Ok(Group { name, report, stop, paces, thread })
}
