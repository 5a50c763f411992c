//! Stage 2: messages through plugins to services. One thread for each core, each with a runtime of its own,
//! on which workers, local tasks, carry one message after the other. Shards share nothing that changes but counters.
//!
//! ```text
//! Work --admit--> route, order key --queues--> its turn --gates--> handle --settle--> Ack
//! ```
//! Start reading at [`handle`].

mod admit;
pub mod appetite;
mod apps;
mod crew;
pub mod gates;
mod handle;
mod hold;
pub mod live;
pub mod queues;
mod request;
mod settle;
mod sweep;
mod wait;
pub mod work;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;

use self::admit::{Job, RouteHere};
use self::appetite::{Appetite, Hunger};
use self::apps::AppHere;
use self::crew::Crew;
use self::live::Live;
use self::queues::Queues;
use self::work::{Ack, AckBoxes, AckSender, LaneTable, Work};
use crate::domain::app::Route;
use crate::metrics::Counters;
use crate::outbox::Outbox;
use crate::outbox::rungs::Rungs;
use crate::plugin::{Aside, Engine, INLINE_MS, Slots};
use crate::upstream::{Client, Directory, Tls};

/// What poll threads send to a shard. Unbounded as a queue: what is in it is bounded by the lanes' windows
/// and the byte budget, which count it as handed over.
pub enum Input {
    Work(Vec<Work>),
    /// Some lanes end, or are closed: what waits of them and may not begin is dropped.
    Sweep,
}

/// How often connections are looked at that nobody uses.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// What all shards share.
#[derive(Clone)]
pub struct Shared {
    pub engine: Engine,
    /// Where handlers run that are too slow for a shard.
    pub aside: Aside,
    pub live: watch::Receiver<Arc<Live>>,
    pub lanes: Arc<LaneTable>,
    pub directory: Directory,
    pub outbox: Outbox,
    pub rungs: Rungs,
    pub tls: Tls,
    pub counters: Arc<Counters>,
    pub common: Arc<gates::Common>,
    pub boxes: Arc<AckBoxes>,
    pub appetite: Arc<Appetite>,
}

/// A running shard.
pub struct ShardHandle {
    pub input: mpsc::UnboundedSender<Input>,
    thread: thread::JoinHandle<()>,
}

impl ShardHandle {
    /// Ends the shard and waits for it. What it still holds is dropped unsettled.
    pub fn stop(self) {
        drop(self.input);
        if self.thread.join().is_err() {
            tracing::error!("a shard ended by a panic");
        }
    }

    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }
}

/// Starts shard `index` of `count`.
pub fn start(index: u32, count: u32, shared: Shared) -> std::io::Result<ShardHandle> {
    let (input, inbox) = mpsc::unbounded_channel();
    let thread = thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let local = LocalSet::new();
                local.block_on(&runtime, Shard::new(index, count, shared).run(inbox));
            }
            Err(error) => tracing::error!(%error, "a shard has no runtime"),
        }
    })?;
    Ok(ShardHandle { input, thread })
}

/// What runs, as this shard holds it: cloned for every message without a counter that shards share.
struct LiveHere(Arc<Live>);

impl std::ops::Deref for LiveHere {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.0
    }
}

/// The names of an app and of a selector.
type AppOf = (Arc<str>, Arc<str>);

/// A shard's own state. Everything in it is used by its thread alone; no borrow crosses an await.
struct Shard {
    index: u32,
    count: u32,
    shared: Shared,
    live: RefCell<Rc<LiveHere>>,
    routes: RefCell<FxHashMap<*const Route, Rc<RouteHere>>>,
    /// Of what ran before, for as long as something waits at their gates.
    retired: RefCell<Vec<Rc<RouteHere>>>,
    /// By app and selector: a command may choose its own (S2).
    apps: RefCell<HashMap<AppOf, Rc<AppHere>>>,
    queues: RefCell<Queues<Job>>,
    /// Those that messages came from, by their number in order keys.
    topics: RefCell<Vec<Arc<str>>>,
    last_topic: Cell<u32>,
    crew: Crew,
    hunger: Hunger,
    slots: Slots,
    client: Client,
    /// By seat, with where they go.
    acks: RefCell<Vec<(AckSender, Vec<Ack>)>>,
    ack_pending: Cell<bool>,
    /// Wakes those who pause when lanes are closed.
    closed: Notify,
    random: Cell<u64>,
}

impl Shard {
    fn new(index: u32, count: u32, shared: Shared) -> Rc<Self> {
        let live = shared.live.borrow().clone();
        Rc::new(Self {
            index,
            count,
            live: RefCell::new(Rc::new(LiveHere(live))),
            routes: RefCell::default(),
            retired: RefCell::default(),
            apps: RefCell::default(),
            queues: RefCell::default(),
            topics: RefCell::default(),
            last_topic: Cell::default(),
            crew: Crew::default(),
            hunger: Hunger::default(),
            slots: Slots::new(shared.engine.clone(), INLINE_MS, usize::MAX),
            client: Client::new(shared.tls.clone(), index),
            acks: RefCell::default(),
            ack_pending: Cell::new(false),
            closed: Notify::new(),
            random: Cell::new(0x9e37_79b9_7f4a_7c15 ^ (u64::from(index) << 32) ^ crate::clock::now_ms()),
            shared,
        })
    }

    /// Until the last sender of its inbox is gone.
    async fn run(self: Rc<Self>, mut inbox: mpsc::UnboundedReceiver<Input>) {
        let mut live = self.shared.live.clone();
        let mut trim = tokio::time::interval(TRIM_EVERY);
        loop {
            tokio::select! {
                biased;
                changed = live.changed() => match changed {
                    Ok(()) => self.take_live(),
                    Err(_) => return,
                },
                input = inbox.recv() => match input {
                    Some(Input::Work(batch)) => {
                        self.take_live();
                        self.take_in(batch).await;
                    }
                    Some(Input::Sweep) => self.sweep(),
                    None => return,
                },
                _ = trim.tick() => self.client.trim(),
            }
        }
    }

    fn take_live(&self) {
        let newest = self.shared.live.borrow().clone();
        if newest.generation == self.live.borrow().generation {
            return;
        }
        let running: Vec<u64> = newest.plugins.values().map(|it| it.id).collect();
        self.slots.keep(&running);
        *self.live.borrow_mut() = Rc::new(LiveHere(newest));
        self.follow_routes();
    }

    fn live(&self) -> Rc<LiveHere> {
        Rc::clone(&self.live.borrow())
    }

    /// Notes an acknowledgement; they leave together when the tasks that are ready now have run.
    fn acknowledge(self: &Rc<Self>, ack: Ack) {
        let seat = ack.ticket.group as usize;
        let mut acks = self.acks.borrow_mut();
        if acks.len() <= seat {
            let known = acks.len();
            acks.extend(self.shared.boxes.all().into_iter().skip(known).map(|it| (it, Vec::new())));
        }
        acks[seat].1.push(ack);
        drop(acks);
        if !self.ack_pending.replace(true) {
            let shard = Rc::clone(self);
            tokio::task::spawn_local(async move {
                tokio::task::yield_now().await;
                shard.flush_acks();
            });
        }
    }

    fn flush_acks(&self) {
        self.ack_pending.set(false);
        self.tell_appetite();
        for (group, acks) in self.acks.borrow_mut().iter_mut() {
            if !acks.is_empty() {
                // A group that ended takes no more: its lanes are gone with it.
                let _ = group.send(std::mem::take(acks));
            }
        }
    }

    /// From [0, 1).
    fn random(&self) -> f64 {
        (self.random_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn random_u64(&self) -> u64 {
        let mut it = self.random.get();
        it ^= it << 13;
        it ^= it >> 7;
        it ^= it << 17;
        self.random.set(it);
        it
    }
}
