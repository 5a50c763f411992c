//! The tasks that carry jobs. A worker takes job after job: what is ready when its last one ends, else what is
//! given to it later. So a message costs no task of its own, and while work waits, no wake either.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::admit::Job;
use super::{Shard, handle};

/// Workers that have nothing to do and are kept.
const IDLE_MAX: usize = 256;

/// Those who have nothing to do, the last one first: the rest may go when there are too many.
#[derive(Default)]
pub struct Crew {
    idle: RefCell<Vec<Rc<Seat>>>,
}

/// Where an idle worker waits.
#[derive(Default)]
struct Seat {
    job: Cell<Option<Job>>,
    waker: Cell<Option<Waker>>,
}

impl Shard {
    /// Starts a job that has a place.
    pub(super) fn start(self: &Rc<Self>, job: Job) {
        let seat = self.crew.idle.borrow_mut().pop();
        match seat {
            Some(seat) => {
                seat.job.set(Some(job));
                if let Some(waker) = seat.waker.take() {
                    waker.wake();
                }
            }
            None => {
                tokio::task::spawn_local(work(Rc::clone(self), job));
            }
        }
    }

    /// The next job for this worker; none when there are idle ones enough.
    async fn next_job(&self, seat: &Rc<Seat>) -> Option<Job> {
        {
            let mut idle = self.crew.idle.borrow_mut();
            if idle.len() >= IDLE_MAX {
                return None;
            }
            idle.push(Rc::clone(seat));
        }
        let job = poll_fn(|cx| match seat.job.take() {
            Some(job) => Poll::Ready(job),
            None => {
                seat.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        });
        Some(job.await)
    }
}

async fn work(shard: Rc<Shard>, first: Job) {
    let seat = Rc::default();
    let mut next = Some(first);
    loop {
        let job = match next {
            Some(job) => job,
            None => match shard.next_job(&seat).await {
                Some(job) => job,
                None => return,
            },
        };
        next = handle::life(&shard, job).await;
        // Those that never have to wait would keep the thread to themselves.
        tokio::task::coop::consume_budget().await;
    }
}
