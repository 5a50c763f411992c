//! What a message may have to wait for before an attempt: a free place of its route, and its turn in the
//! route's rate. A place is held for an attempt only, never through a pause.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use crate::domain::limiter::Rate;

/// A route's places on one shard, and who waits for one. `T` is work that was not started yet.
pub struct Gate<T> {
    /// 0: no limit.
    limit: Cell<u32>,
    in_flight: Cell<u32>,
    /// Not started: no task, no memory but the work itself.
    ready: RefCell<VecDeque<T>>,
    /// Started, back from a pause.
    returning: RefCell<VecDeque<oneshot::Sender<()>>>,
    /// Between two attempts.
    pausing: Cell<usize>,
}

impl<T> Gate<T> {
    pub fn new(limit: u32) -> Self {
        Self {
            limit: Cell::new(limit),
            in_flight: Cell::new(0),
            ready: RefCell::default(),
            returning: RefCell::default(),
            pausing: Cell::new(0),
        }
    }

    pub fn set_limit(&self, limit: u32) {
        self.limit.set(limit);
    }

    /// Gives the work back with a place, or keeps it until there is one.
    pub fn enter_or_wait(&self, work: T) -> Option<T> {
        if self.take_place() {
            return Some(work);
        }
        self.ready.borrow_mut().push_back(work);
        None
    }

    /// A place for work that had one before. Cancel-safe: a place given to a dropped future goes on.
    pub async fn enter_again(&self) {
        if self.take_place() {
            return;
        }
        let (give, given) = oneshot::channel();
        self.returning.borrow_mut().push_back(give);
        // The sender lives in this gate, which outlives its waiters; an error cannot come.
        let _ = given.await;
    }

    /// Gives a place back. The work returned, if any, has it now and is to be started.
    #[must_use = "the work has a place"]
    pub fn leave(&self) -> Option<T> {
        let over = self.limit.get() != 0 && self.in_flight.get() > self.limit.get();
        if !over {
            while let Some(waiter) = self.next_returning() {
                if waiter.send(()).is_ok() {
                    return None;
                }
            }
            if let Some(work) = self.ready.borrow_mut().pop_front() {
                return Some(work);
            }
        }
        self.in_flight.set(self.in_flight.get() - 1);
        None
    }

    /// Shows the work that will have the next place, if any waits.
    pub fn look_at_next(&self, look: impl FnOnce(&T)) {
        if let Some(next) = self.ready.borrow().front() {
            look(next);
        }
    }

    /// Takes out what waits unstarted and is not to be kept.
    pub fn sweep(&self, mut keep: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut ready = self.ready.borrow_mut();
        let (kept, dropped): (VecDeque<T>, VecDeque<T>) = ready.drain(..).partition(|it| keep(it));
        *ready = kept;
        dropped.into()
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// Messages that have their turn and no place: unstarted, pausing between attempts, or back from a pause.
    pub fn waiting(&self) -> usize {
        self.queued() + self.pausing.get()
    }

    /// The same without those that pause.
    pub fn queued(&self) -> usize {
        self.ready.borrow().len() + self.returning.borrow().len()
    }

    /// A message is between two attempts until `pause_ends`.
    pub fn pause_begins(&self) {
        self.pausing.set(self.pausing.get() + 1);
    }

    pub fn pause_ends(&self) {
        self.pausing.set(self.pausing.get() - 1);
    }

    fn next_returning(&self) -> Option<oneshot::Sender<()>> {
        self.returning.borrow_mut().pop_front()
    }

    fn take_place(&self) -> bool {
        let free = self.limit.get() == 0 || self.in_flight.get() < self.limit.get();
        if free {
            self.in_flight.set(self.in_flight.get() + 1);
        }
        free
    }
}

/// A route's rate, shared by all shards: one number, changed by compare-and-set. Only routes that have a
/// rate touch it.
#[derive(Debug)]
pub struct SharedRate {
    rate: Rate,
    due_ns: AtomicU64,
}

impl SharedRate {
    pub fn new(per_second: u32) -> Arc<Self> {
        // A tenth of a second's worth may go at once after a pause.
        let rate = Rate::per_second(per_second, (per_second / 10).max(1));
        Arc::new(Self { rate, due_ns: AtomicU64::new(0) })
    }

    /// Takes the next place; how long to wait for it, in ns.
    pub fn reserve(&self, now_ns: u64) -> u64 {
        let mut due = self.due_ns.load(Ordering::Relaxed);
        loop {
            let (next, wait) = self.rate.reserve(due, now_ns);
            match self.due_ns.compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return wait,
                Err(now) => due = now,
            }
        }
    }
}

/// What routes have once, however many shards ask: rates, and places of those that have fewer than there are
/// shards.
#[derive(Default)]
pub struct Common {
    rates: Mutex<HashMap<RouteAndLimit, Arc<SharedRate>>>,
    places: Mutex<HashMap<RouteAndLimit, Arc<Semaphore>>>,
}

/// A changed limit is another entry: what holds a place of the old one keeps it to its end.
type RouteAndLimit = (Arc<str>, u32);

impl Common {
    pub fn rate(&self, route: &Arc<str>, per_second: u32) -> Arc<SharedRate> {
        let mut all = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(route), per_second);
        Arc::clone(all.entry(key).or_insert_with(|| SharedRate::new(per_second)))
    }

    /// Places that cannot be shared out among the shards, because there are fewer of them.
    pub fn places(&self, route: &Arc<str>, places: u32) -> Arc<Semaphore> {
        let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(route), places);
        Arc::clone(all.entry(key).or_insert_with(|| Arc::new(Semaphore::new(places as usize))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S93: never more in flight than the limit, nobody forgotten.
    #[test]
    fn places_go_to_those_who_return_then_to_those_who_wait() {
        let gate = Gate::new(2);
        assert_eq!(gate.enter_or_wait(1), Some(1));
        assert_eq!(gate.enter_or_wait(2), Some(2));
        assert_eq!(gate.enter_or_wait(3), None);
        assert_eq!((gate.in_flight(), gate.waiting()), (2, 1));
        assert_eq!(gate.leave(), Some(3));
        assert_eq!(gate.leave(), None);
        assert_eq!(gate.leave(), None);
        assert_eq!(gate.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_returning_one_that_gave_up_passes_its_place_on() {
        let gate = Gate::new(1);
        assert_eq!(gate.enter_or_wait("first"), Some("first"));
        let waiting = gate.enter_again();
        let mut waiting = Box::pin(waiting);
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await
        );
        assert_eq!(gate.enter_or_wait("second"), None);
        drop(waiting);
        assert_eq!(gate.leave(), Some("second"));
    }

    #[test]
    fn a_lowered_limit_drains_first() {
        let gate = Gate::new(3);
        for it in 0..3 {
            assert!(gate.enter_or_wait(it).is_some());
        }
        assert_eq!(gate.enter_or_wait(3), None);
        gate.set_limit(1);
        assert_eq!(gate.leave(), None);
        assert_eq!(gate.leave(), None);
        assert_eq!(gate.leave(), Some(3));
    }
}
