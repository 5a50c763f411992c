//! What messages wait for at this moment: a level for each reason.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Behind another one of its order key.
    Order,
    /// For a place among those that its route may have under way.
    Concurrency,
    /// For its turn in the route's rate.
    Rate,
    /// For a place at the server that was chosen.
    Server,
    /// For a handler that runs aside.
    Aside,
    /// Between two attempts.
    Pause,
    /// For a record that has to be written.
    Write,
    /// For a circuit breaker, or for its turn while that recovers.
    Breaker,
    /// For its turn at a service that throttles.
    Throttled,
    /// For a place among those that an adaptive app has.
    Adaptive,
    /// For the time that it is due, so soon that it is not put on a rung.
    Due,
    /// For the group's word that this process, having slept, is still a member.
    Lease,
}

const ALL: [(Wait, &str); 12] = [
    (Wait::Order, "order"),
    (Wait::Concurrency, "concurrency"),
    (Wait::Rate, "rate"),
    (Wait::Server, "server"),
    (Wait::Aside, "aside"),
    (Wait::Pause, "pause"),
    (Wait::Write, "write"),
    (Wait::Breaker, "breaker"),
    (Wait::Throttled, "throttled"),
    (Wait::Adaptive, "adaptive"),
    (Wait::Due, "due"),
    (Wait::Lease, "lease"),
];

/// Changed where somebody waits, which is never on the straight way of a message.
#[derive(Debug, Default)]
pub struct Waits([AtomicI64; ALL.len()]);

impl Waits {
    pub fn change(&self, wait: Wait, by: i64) {
        self.0[wait as usize].fetch_add(by, Relaxed);
    }

    /// One more, for as long as the result is held.
    #[must_use = "it waits for as long as this is held"]
    pub fn begin(&self, wait: Wait) -> Waiting<'_> {
        self.change(wait, 1);
        Waiting { waits: self, wait }
    }

    /// Each reason by its name, with how many wait.
    pub fn levels(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ALL.iter().map(|(wait, name)| (*name, self.0[*wait as usize].load(Relaxed).max(0) as u64))
    }
}

pub struct Waiting<'a> {
    waits: &'a Waits,
    wait: Wait,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waits.change(self.wait, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_level() {
        let waits = Waits::default();
        for (at, (wait, _)) in ALL.iter().enumerate() {
            assert_eq!(*wait as usize, at);
            waits.change(*wait, at as i64);
        }
        let server = waits.begin(Wait::Server);
        assert_eq!(waits.levels().map(|it| it.1).collect::<Vec<_>>(), [0, 1, 2, 4, 4, 5, 6, 7, 8, 9, 10, 11]);
        drop(server);
        assert_eq!(waits.levels().nth(3), Some(("server", 3)));
    }
}
