//! Rates: a generic cell rate algorithm, which is a token bucket in one number.

/// So many a second, with a burst. Its state is one number, the time at which the next would be due had all
/// come evenly; who keeps it (an atomic shared by shards) passes it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval_ns: u64,
    burst_ns: u64,
}

impl Rate {
    /// `burst`: how many may go at once after a pause; at least 1.
    pub fn per_second(rate: u32, burst: u32) -> Self {
        let interval_ns = 1_000_000_000 / u64::from(rate.max(1));
        Self { interval_ns, burst_ns: interval_ns * u64::from(burst.max(1) - 1) }
    }

    /// One in so long, without a burst.
    pub fn every(interval_ns: u64) -> Self {
        Self { interval_ns, burst_ns: 0 }
    }

    /// Takes the next place: the new state, and how long to wait for the place, in ns.
    pub fn reserve(self, due_ns: u64, now_ns: u64) -> (u64, u64) {
        let due_ns = due_ns.max(now_ns.saturating_sub(self.burst_ns));
        (due_ns + self.interval_ns, due_ns.saturating_sub(now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S92, S211: one a second is one a second, and a burst is no more than it says.
    #[test]
    fn places_come_evenly_after_the_burst() {
        let rate = Rate::per_second(1, 1);
        let mut due = 0;
        let mut waits = Vec::new();
        for _ in 0..3 {
            let (next, wait) = rate.reserve(due, 5_000_000_000);
            due = next;
            waits.push(wait / 1_000_000_000);
        }
        assert_eq!(waits, [0, 1, 2]);

        let rate = Rate::per_second(10, 3);
        let mut due = 0;
        let waits: Vec<u64> = (0..5)
            .map(|_| {
                let (next, wait) = rate.reserve(due, 1_000_000_000);
                due = next;
                wait / 1_000_000
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 100, 200]);
    }

    /// Never more than rate × time + burst, whatever the order of asking.
    #[test]
    fn a_walk_never_gets_more_than_its_share() {
        let rate = Rate::per_second(100, 5);
        let (mut due, mut now, mut passed) = (0, 0u64, 0u64);
        let mut random = 7u64;
        while now < 10_000_000_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (next, wait) = rate.reserve(due, now);
            if wait == 0 {
                due = next;
                passed += 1;
            }
            now += (random >> 33) % 20_000_000;
            assert!(passed <= 5 + now / 10_000_000 + 1);
        }
    }
}
