//! What shards could start soon, told to the poll threads: what they could not is left with the Kafka client,
//! where it costs nothing. A window full of waiting messages would only fill the memory and the caches.
//!
//! A route that has work enough is sated. A group is taken from while one of its routes is not: its messages
//! may lie behind those of one that is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;

use super::Shard;
use super::admit::RouteHere;
use crate::metrics::Wait;

/// Written by shards, each its own side; read by poll threads.
pub struct Appetite {
    shards: Box<[Side]>,
    pollers: Mutex<Vec<Thread>>,
}

/// Of one shard, in cache lines of its own.
#[repr(align(128))]
struct Side {
    /// A bit for each group that it could start more of, by its seat; groups beyond the bits share them.
    wanted: AtomicU64,
    /// Records that were sent to it and that it has not taken in. Poll threads add, the shard subtracts.
    unread: AtomicUsize,
}

/// Unread records that are enough for a shard. More would only leave the caches before they are looked at.
const UNREAD_ENOUGH: usize = 500;

impl Appetite {
    pub fn new(shards: usize) -> Self {
        let side = |_| Side { wanted: AtomicU64::new(u64::MAX), unread: AtomicUsize::new(0) };
        Self { shards: (0..shards).map(side).collect(), pollers: Mutex::default() }
    }

    /// Whether some shard could start more of this group.
    pub fn wants(&self, group: u16) -> bool {
        let wants = |it: &Side| {
            it.unread.load(Ordering::Relaxed) < UNREAD_ENOUGH
                && it.wanted.load(Ordering::Acquire) & bit(group) != 0
        };
        self.shards.iter().any(wants)
    }

    /// So many records are on their way to this shard.
    pub fn sent(&self, shard: usize, records: usize) {
        self.shards[shard].unread.fetch_add(records, Ordering::Relaxed);
    }

    /// The shard has taken in so many.
    pub(super) fn read(&self, shard: u32, records: usize) {
        let before = self.shards[shard as usize].unread.fetch_sub(records, Ordering::AcqRel);
        if before >= UNREAD_ENOUGH && before - records < UNREAD_ENOUGH {
            self.wake_pollers();
        }
    }

    /// From now on the calling thread is unparked when a shard wants more.
    pub fn watch(&self) {
        self.pollers.lock().unwrap_or_else(PoisonError::into_inner).push(std::thread::current());
    }

    /// Its end.
    pub fn unwatch(&self) {
        let own = std::thread::current().id();
        self.pollers.lock().unwrap_or_else(PoisonError::into_inner).retain(|it| it.id() != own);
    }

    fn tell(&self, shard: u32, groups: u64) {
        let before = self.shards[shard as usize].wanted.swap(groups, Ordering::AcqRel);
        if groups & !before != 0 {
            self.wake_pollers();
        }
    }

    fn wake_pollers(&self) {
        self.pollers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Thread::unpark);
    }
}

fn bit(group: u16) -> u64 {
    1 << (group % 64)
}

/// A shard's side: the routes that it has had work for.
#[derive(Default)]
pub struct Hunger {
    routes: RefCell<Vec<Rc<RouteHere>>>,
    /// When the last record was taken, in ms since 1970.
    newest_ms: Cell<u64>,
    told: Cell<Option<u64>>,
    /// Messages that waited for a place and behind another, when last told.
    waiting: [Cell<usize>; 2],
}

/// What a shard notes of a route's appetite.
pub struct Portion {
    /// Waiting messages that are enough, and half of it to be hungry again.
    enough: usize,
    /// Groups that its messages came from.
    groups: Cell<u64>,
    met_ms: Cell<u64>,
    sated: Cell<bool>,
}

/// Rounds of all its places that wait ready; far more than go by while a poll thread wakes.
const ROUNDS: usize = 8;
const LEAST: usize = 512;

/// A route is forgotten that no message was taken for in this time, in ms.
const FORGOTTEN_MS: u64 = 10_000;

impl Portion {
    /// `places` that the route has on this shard; 0 is no limit.
    pub fn new(places: u32) -> Self {
        let enough = match places {
            0 => usize::MAX,
            places => (places as usize * ROUNDS).max(LEAST),
        };
        Self { enough, groups: Cell::new(0), met_ms: Cell::new(0), sated: Cell::new(false) }
    }

    /// Whether it has enough with so many waiting.
    fn weigh(&self, waiting: usize) -> bool {
        let mark = if self.sated.get() { self.enough / 2 } else { self.enough };
        self.sated.set(waiting >= mark);
        self.sated.get()
    }
}

impl Shard {
    /// A message of this route came in.
    pub(super) fn note_met(&self, route: &Rc<RouteHere>, group: u16, now_ms: u64) {
        let portion = &route.portion;
        if portion.groups.get() == 0 {
            self.hunger.routes.borrow_mut().push(Rc::clone(route));
        }
        portion.groups.set(portion.groups.get() | bit(group));
        portion.met_ms.set(now_ms);
        self.hunger.newest_ms.set(now_ms);
    }

    /// What runs has changed: routes that have nothing left to do are no more asked for.
    pub(super) fn forget_idle(&self) {
        self.hunger.routes.borrow_mut().retain(|route| {
            let is_busy = route.gate.waiting() > 0 || route.gate.in_flight() > 0;
            if !is_busy {
                route.portion.groups.set(0);
            }
            is_busy
        });
    }

    /// Tells the poll threads what this shard could start, if that has changed.
    pub(super) fn tell_appetite(&self) {
        let newest_ms = self.hunger.newest_ms.get();
        let (mut sated, mut hungry, mut queued) = (0, 0, 0);
        self.hunger.routes.borrow_mut().retain(|route| {
            let (portion, waiting) = (&route.portion, route.gate.waiting());
            if waiting == 0 && route.gate.in_flight() == 0 && newest_ms > portion.met_ms.get() + FORGOTTEN_MS
            {
                portion.groups.set(0);
                return false;
            }
            queued += route.gate.queued();
            match portion.weigh(waiting) {
                true => sated |= portion.groups.get(),
                false => hungry |= portion.groups.get(),
            }
            true
        });
        self.tell_waits([(Wait::Concurrency, queued), (Wait::Order, self.queues.borrow().waiting())]);
        let wanted = hungry | !sated;
        if self.hunger.told.replace(Some(wanted)) != Some(wanted) {
            self.shared.appetite.tell(self.index, wanted);
        }
    }

    fn tell_waits(&self, levels: [(Wait, usize); 2]) {
        for ((wait, level), told) in levels.into_iter().zip(&self.hunger.waiting) {
            let before = told.replace(level);
            if level != before {
                self.shared.counters.waits.change(wait, level as i64 - before as i64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_enough_until_half_of_it_is_gone() {
        let portion = Portion::new(200);
        // Waiting, sated.
        for (waiting, sated) in
            [(0, false), (1599, false), (1600, true), (1000, true), (800, true), (799, false), (800, false)]
        {
            assert_eq!(portion.weigh(waiting), sated, "{waiting}");
        }
        assert!(!Portion::new(0).weigh(1_000_000), "what has no limit waits for none");
    }

    #[test]
    fn one_hungry_shard_is_asked_for() {
        let appetite = Appetite::new(2);
        appetite.tell(0, !bit(3));
        assert!(appetite.wants(3));
        appetite.tell(1, !bit(3));
        assert!(!appetite.wants(3));
        assert!(appetite.wants(4));
    }

    #[test]
    fn a_shard_that_has_not_read_is_sent_no_more() {
        let appetite = Appetite::new(2);
        appetite.sent(0, UNREAD_ENOUGH);
        assert!(appetite.wants(3), "the other one reads");
        appetite.sent(1, UNREAD_ENOUGH + 3);
        assert!(!appetite.wants(3));
        appetite.read(1, 4);
        assert!(appetite.wants(3));
    }
}
