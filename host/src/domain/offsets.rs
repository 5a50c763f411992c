//! The books of one assigned partition: which offsets were received, which are settled, and up to
//! where the group may commit.
//!
//! ```text
//!            low                next
//!   committed | 1 0 0 1 1 0 1 0 |  not received yet
//!             |<---- window --->|
//! ```
//! `low` is the lowest offset not settled: the position to commit (S61). Offsets that Kafka skips
//! (compaction, transaction markers) are settled as they are passed (S63). A ring of bits, one for each
//! offset of the window, so that finishing is a bit and a step is a count of trailing ones.

/// A lane's offset tracker. Owned by the poll thread of its group.
#[derive(Debug)]
pub struct Offsets {
    /// Lowest offset that is not settled.
    low: i64,
    /// One above the highest received.
    next: i64,
    /// Bit `offset % window` is set when that offset of [low, next) is settled.
    settled: Box<[u64]>,
    /// Offsets that may be open at once, a power of two.
    window: i64,
    /// Received and not settled.
    open: u32,
}

/// Why an offset was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The window is full: come again when `low` has moved.
    Full,
    /// Below what was already received: the partition was reset or truncated, the lane begins anew.
    Backward,
}

impl Offsets {
    /// Begins at `position`: the next offset expected. `window` is rounded up to a power of two of at
    /// least 64.
    pub fn new(position: i64, window: usize) -> Self {
        let window = window.next_power_of_two().max(64);
        Self {
            low: position,
            next: position,
            settled: vec![0; window / 64].into(),
            window: window as i64,
            open: 0,
        }
    }

    /// Takes a received offset into the books.
    pub fn receive(&mut self, offset: i64) -> Result<(), Refused> {
        if offset < self.next {
            return Err(Refused::Backward);
        }
        if self.open == 0 {
            // Nothing is waited for: whatever lies between was skipped by Kafka.
            self.clear();
            self.low = offset;
        } else if offset >= self.low + self.window {
            return Err(Refused::Full);
        } else {
            for skipped in self.next..offset {
                self.set(skipped);
            }
        }
        self.next = offset + 1;
        self.open += 1;
        Ok(())
    }

    /// Settles a received offset. Invariant 1: `low` passes only what is settled.
    ///
    /// # Panics
    /// When the offset is not open: an acknowledgement that was made twice or made up is our bug.
    pub fn settle(&mut self, offset: i64) {
        assert!(self.low <= offset && offset < self.next, "{offset} is not in {self:?}");
        assert!(!self.get(offset), "{offset} was settled twice");
        self.set(offset);
        self.open -= 1;
        if offset == self.low {
            self.advance();
        }
    }

    /// The position to commit: every received offset below it is settled.
    pub fn low(&self) -> i64 {
        self.low
    }

    /// One above the highest received.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Received and not settled.
    pub fn open(&self) -> u32 {
        self.open
    }

    /// How many more offsets may follow the last received one.
    pub fn room(&self) -> usize {
        if self.open == 0 { self.window as usize } else { (self.low + self.window - self.next) as usize }
    }

    pub fn window(&self) -> usize {
        self.window as usize
    }

    fn advance(&mut self) {
        while self.low < self.next {
            let at = (self.low & (self.window - 1)) as usize;
            // As many as are settled in a row within this word.
            let ones = (self.settled[at / 64] >> (at % 64)).trailing_ones();
            if ones == 0 {
                return;
            }
            let ones = i64::from(ones).min(self.next - self.low);
            self.clear_run(at, ones as usize);
            self.low += ones;
        }
    }

    /// Clears `len` bits from `at`; they lie in one word.
    fn clear_run(&mut self, at: usize, len: usize) {
        let mask = if len == 64 { u64::MAX } else { ((1 << len) - 1) << (at % 64) };
        self.settled[at / 64] &= !mask;
    }

    fn clear(&mut self) {
        // With nothing open every bit below `next` was cleared by `advance`.
        debug_assert!(self.settled.iter().all(|it| *it == 0));
    }

    fn get(&self, offset: i64) -> bool {
        let at = (offset & (self.window - 1)) as usize;
        self.settled[at / 64] & (1 << (at % 64)) != 0
    }

    fn set(&mut self, offset: i64) {
        let at = (offset & (self.window - 1)) as usize;
        self.settled[at / 64] |= 1 << (at % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn commits_only_up_to_the_first_gap() {
        let mut it = Offsets::new(10, 64);
        for offset in 10..15 {
            it.receive(offset).unwrap();
        }
        it.settle(12);
        it.settle(11);
        assert_eq!(it.low(), 10);
        it.settle(10);
        assert_eq!((it.low(), it.open()), (13, 2));
    }

    /// S63: what compaction or a transaction's marker left out does not stall the commit.
    #[test]
    fn gaps_are_settled_as_they_are_passed() {
        let mut it = Offsets::new(0, 64);
        it.receive(0).unwrap();
        it.receive(5).unwrap();
        it.settle(0);
        assert_eq!(it.low(), 5);
        it.settle(5);
        // A gap far wider than the window.
        it.receive(1_000_000).unwrap();
        assert_eq!(it.low(), 1_000_000);
        it.settle(1_000_000);
        assert_eq!(it.low(), 1_000_001);
    }

    #[test]
    fn the_window_bounds_what_is_open() {
        let mut it = Offsets::new(0, 64);
        for offset in 0..64 {
            assert_eq!(it.room(), 64 - offset as usize);
            it.receive(offset).unwrap();
        }
        assert_eq!(it.receive(64), Err(Refused::Full));
        for offset in 1..64 {
            it.settle(offset);
        }
        assert_eq!(it.receive(64), Err(Refused::Full));
        it.settle(0);
        assert_eq!((it.low(), it.room()), (64, 64));
        assert_eq!(it.receive(63), Err(Refused::Backward));
    }

    /// Against the most naive model: a set of open offsets.
    #[test]
    fn a_seeded_walk_agrees_with_a_set() {
        for seed in 1..200u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut below = |n: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % n
            };
            let start = below(1_000) as i64;
            let mut it = Offsets::new(start, 64 << below(3));
            let mut open = BTreeSet::new();
            let mut next = start;
            for _ in 0..2_000 {
                if below(2) == 0 {
                    let offset = next + if below(10) == 0 { below(90) as i64 } else { 0 };
                    let low = open.first().copied();
                    let fits = low.is_none_or(|low| offset < low + it.window() as i64);
                    assert_eq!(it.receive(offset).is_ok(), fits, "seed {seed}");
                    if fits {
                        open.insert(offset);
                        next = offset + 1;
                    }
                } else if !open.is_empty() {
                    let offset = *open.iter().nth(below(open.len() as u64) as usize).unwrap();
                    open.remove(&offset);
                    it.settle(offset);
                }
                assert_eq!(it.low(), open.first().copied().unwrap_or(next), "seed {seed}");
                assert_eq!(it.open() as usize, open.len(), "seed {seed}");
            }
        }
    }
}
