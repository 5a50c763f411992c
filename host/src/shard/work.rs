//! What passes between the poll threads and the shards.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use crate::domain::record::Record;

/// A record on its way to a shard.
#[derive(Debug)]
pub struct Work {
    pub ticket: Ticket,
    /// Of what its order goes by; the shard was chosen by it.
    pub hash: u64,
    /// When it was taken from Kafka, in ms since 1970.
    pub received_ms: u64,
    pub record: Record,
}

/// What an acknowledgement needs to find its place in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Seat of the group in [`AckBoxes`]: a group that joins anew has another.
    pub group: u16,
    /// Slot of the lane in the [`LaneTable`].
    pub lane: u32,
    /// Of the lane when it was handed over.
    pub epoch: u32,
    pub offset: i64,
    /// What it weighs in the budgets.
    pub bytes: u32,
}

/// A message that needs its shard no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub ticket: Ticket,
    /// Its outcome was carried out. Otherwise it was dropped because its lane is being given back.
    pub settled: bool,
}

/// Where a group's acknowledgements go.
pub type AckSender = mpsc::Sender<Vec<Ack>>;

/// A box for each group's acknowledgements, by its seat. Boxes are only added: what is in flight of a group that
/// has left is acknowledged to nobody. Shards keep the senders that they have met.
#[derive(Default)]
pub struct AckBoxes(Mutex<Vec<AckSender>>);

impl AckBoxes {
    /// The next seat, and what its poll thread reads.
    pub fn add(&self) -> (u16, mpsc::Receiver<Vec<Ack>>) {
        let (sender, acks) = mpsc::channel();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(sender);
        ((all.len() - 1) as u16, acks)
    }

    pub fn all(&self) -> Vec<AckSender> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Which lanes are live: slot → epoch, 0 while the lane is being given back or is nobody's. Written by poll
/// threads, read by shards before each start of an attempt; a relaxed load of a line that rarely changes.
pub struct LaneTable {
    epochs: Box<[AtomicU32]>,
}

/// Lanes that one process may hold.
pub const LANES_MAX: usize = 16_384;

impl Default for LaneTable {
    fn default() -> Self {
        Self { epochs: (0..LANES_MAX).map(|_| AtomicU32::new(0)).collect() }
    }
}

impl LaneTable {
    pub fn open(&self, lane: u32, epoch: u32) {
        assert_ne!(epoch, 0, "0 means nobody's");
        self.epochs[lane as usize].store(epoch, Ordering::Release);
    }

    /// From now on nothing of this lane is started.
    pub fn close(&self, lane: u32) {
        self.epochs[lane as usize].store(0, Ordering::Release);
    }

    pub fn is_live(&self, ticket: &Ticket) -> bool {
        self.epochs[ticket.lane as usize].load(Ordering::Acquire) == ticket.epoch
    }
}
