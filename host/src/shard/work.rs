//! What passes between the poll threads and the shards.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use crate::clock;
use crate::domain::record::Record;

/// A record on its way to a shard.
#[derive(Debug)]
pub struct Work {
    pub ticket: Ticket,
    /// Of what its order goes by; the shard was chosen by it.
    pub hash: u64,
    /// When it was taken from Kafka, in ms since 1970.
    pub received_ms: u64,
    /// It has waited on a rung.
    pub is_from_rung: bool,
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

/// Which lanes are live, and up to where those are that end. Poll threads write it, shards ask before each attempt.
///
/// What ends settled behind a message that never began is done again by the next owner, for a commit is a prefix. So a
/// lane that ends goes on below the highest offset that any shard has begun, and nothing is begun above it.
pub struct LaneTable {
    /// Slot → epoch; 0 while the lane ends or is nobody's. A line that rarely changes.
    epochs: Box<[AtomicU32]>,
    /// For each shard, which alone raises it: slot → one above the highest offset that it has begun.
    begun: Box<[Box<[AtomicI64]>]>,
    /// Seat of a group → until when it may send, in ns of the monotonic clock.
    leases: Box<[AtomicU64]>,
    /// Lanes that end.
    ending: Mutex<HashMap<u32, Ending>>,
}

/// What may still begin of a lane that ends.
#[derive(Clone, Copy, Debug)]
struct Ending {
    epoch: u32,
    /// Offsets below it.
    end: i64,
}

/// Lanes that one process may hold.
pub const LANES_MAX: usize = 16_384;

impl LaneTable {
    pub fn new(shards: usize) -> Self {
        let begun = || (0..LANES_MAX).map(|_| AtomicI64::new(0)).collect();
        Self {
            epochs: (0..LANES_MAX).map(|_| AtomicU32::new(0)).collect(),
            begun: (0..shards).map(|_| begun()).collect(),
            leases: (0..=usize::from(u16::MAX)).map(|_| AtomicU64::new(0)).collect(),
            ending: Mutex::default(),
        }
    }

    /// This group is a member, as far as its poll thread can know, until then.
    pub fn lease(&self, group: u16, until_ns: u64) {
        self.leases[group as usize].store(until_ns, Ordering::Relaxed);
    }

    /// Whether this group may still be one. To be asked right before something is sent: a process that slept may have
    /// been given up meanwhile, its partitions may be another's, and Kafka fences commits, not requests.
    pub fn is_leased(&self, group: u16) -> bool {
        clock::monotonic_ns() < self.leases[group as usize].load(Ordering::Relaxed)
    }

    pub fn open(&self, lane: u32, epoch: u32) {
        assert_ne!(epoch, 0, "0 means nobody's");
        self.ending().remove(&lane);
        for begun in &self.begun {
            begun[lane as usize].store(0, Ordering::SeqCst);
        }
        self.epochs[lane as usize].store(epoch, Ordering::SeqCst);
    }

    /// From now on nothing of this lane is begun but what lies below something that was.
    pub fn end(&self, lane: u32) {
        // Who finds the epoch gone waits here for the end.
        let mut ending = self.ending();
        let epoch = self.epochs[lane as usize].swap(0, Ordering::SeqCst);
        if epoch != 0 {
            let begun = self.begun.iter().map(|it| it[lane as usize].load(Ordering::SeqCst));
            ending.insert(lane, Ending { epoch, end: begun.max().unwrap_or(0) });
        }
    }

    /// From now on nothing of this lane is begun.
    pub fn close(&self, lane: u32) {
        let mut ending = self.ending();
        self.epochs[lane as usize].store(0, Ordering::SeqCst);
        ending.remove(&lane);
    }

    /// Whether it may begin, or go on.
    pub fn is_live(&self, ticket: &Ticket) -> bool {
        self.epochs[ticket.lane as usize].load(Ordering::SeqCst) == ticket.epoch || self.is_below_end(ticket)
    }

    /// To be asked by the shard right before it begins: true is noted, and what lies below will be done too.
    pub fn begin(&self, shard: u32, ticket: &Ticket) -> bool {
        let begun = &self.begun[shard as usize][ticket.lane as usize];
        if begun.load(Ordering::Relaxed) <= ticket.offset {
            // Before the epoch is looked at, as `end` takes the epoch before it looks here: one of the two sees
            // the other, in one order of all (SeqCst).
            begun.store(ticket.offset + 1, Ordering::SeqCst);
        }
        self.is_live(ticket)
    }

    fn is_below_end(&self, ticket: &Ticket) -> bool {
        let ending = self.ending();
        ending.get(&ticket.lane).is_some_and(|it| it.epoch == ticket.epoch && ticket.offset < it.end)
    }

    fn ending(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Ending>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(epoch: u32, offset: i64) -> Ticket {
        Ticket { group: 0, lane: 3, epoch, offset, bytes: 0 }
    }

    /// S67: a lane that ends goes on below what has begun, on whichever shard, and begins nothing above it.
    #[test]
    fn a_lane_that_ends_leaves_no_hole() {
        let table = LaneTable::new(2);
        assert!(!table.begin(0, &ticket(7, 0)), "nobody's");
        table.open(3, 7);
        assert!(table.begin(0, &ticket(7, 10)) && table.begin(1, &ticket(7, 20)));
        table.end(3);
        table.end(3);
        assert!(table.is_live(&ticket(7, 20)) && table.begin(0, &ticket(7, 15)));
        assert!(!table.begin(0, &ticket(7, 21)) && !table.is_live(&ticket(7, 21)));
        assert!(!table.is_live(&ticket(6, 5)), "of an older epoch");
        table.close(3);
        assert!(!table.is_live(&ticket(7, 15)));
        table.open(3, 8);
        table.end(3);
        assert!(!table.is_live(&ticket(8, 0)), "what an older epoch had begun is forgotten");
    }

    /// P19: only a lease that is not over.
    #[test]
    fn a_lease_ends() {
        let table = LaneTable::new(1);
        assert!(!table.is_leased(3), "never had one");
        table.lease(3, u64::MAX);
        assert!(table.is_leased(3) && !table.is_leased(4));
        table.lease(3, clock::monotonic_ns());
        assert!(!table.is_leased(3));
    }

    /// Whatever the threads' order: what was begun is below the end, and what is refused is not.
    #[test]
    fn shards_and_the_end_agree() {
        for _ in 0..200 {
            let table = LaneTable::new(2);
            table.open(3, 7);
            let began: Vec<Vec<bool>> = std::thread::scope(|it| {
                let shard = |shard: u32| {
                    let table = &table;
                    move || -> Vec<bool> {
                        let mine = (0..200).filter(move |it| it % 2 == shard);
                        mine.map(|it| table.begin(shard, &ticket(7, i64::from(it)))).collect()
                    }
                };
                let shards = [it.spawn(shard(0)), it.spawn(shard(1))];
                table.end(3);
                shards.map(|it| it.join().unwrap_or_default()).into()
            });
            for (at, began) in began[0].iter().zip(&began[1]).flat_map(|it| [*it.0, *it.1]).enumerate() {
                assert_eq!(began, table.is_live(&ticket(7, at as i64)), "{at}");
            }
        }
    }
}
