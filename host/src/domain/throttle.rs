//! A service that says "too much" gets less: where 429, 503 and the verdict `throttled` are a tenth of its answers they halve
//! what an app gets, and it grows again step by step while they are fewer (additive increase, multiplicative decrease).
//! A stray one says nothing: a service that answers 503 to one request in a hundred is as busy as it was.

/// An app's rate while its service throttles. Moved by one thread, with what ended since the last time.
#[derive(Clone, Debug, Default)]
pub struct Throttle {
    now: Option<Limited>,
    /// Answers a second, the newest counting most.
    seen: f64,
    /// Of the last seconds, the newest counting most: answers, and how many said "too much".
    recent: (f64, f64),
}

#[derive(Clone, Copy, Debug)]
struct Limited {
    per_second: f64,
    /// What was too much when it was last cut.
    too_much: f64,
    cut_ms: u64,
}

/// Answers to what was under way when the rate was cut say nothing of the new rate.
const BETWEEN_CUTS_MS: u64 = 1_000;
/// What part of the answers has to say so, and how many of them, before it is believed.
const PART: f64 = 0.1;
const STRAY: f64 = 2.5;
/// Slower than this would be a stop.
const LEAST: f64 = 1.0;
/// What it grows by in a second, of what was too much; beyond that point, of what it is.
const STEP: f64 = 0.1;
/// A limit so many times what comes binds nobody, and ends.
const FREE: f64 = 4.0;

impl Throttle {
    /// `answers` in all, and how many of them said "too much", in the last `passed_ms`.
    pub fn tick(&mut self, now_ms: u64, passed_ms: u64, (answers, too_much): (u64, u64)) {
        let passed = passed_ms.max(1) as f64 / 1e3;
        let part = passed.min(1.0);
        self.seen += (answers as f64 / passed - self.seen) * part;
        let kept = 0.5_f64.powf(passed / 2.0);
        self.recent = (self.recent.0 * kept + answers as f64, self.recent.1 * kept + too_much as f64);
        if too_much > 0 && self.recent.1 >= STRAY.max(PART * self.recent.0) {
            self.cut(now_ms);
        } else if let Some(it) = &mut self.now {
            let of = if it.per_second < it.too_much { it.too_much } else { it.per_second };
            it.per_second += (STEP * of).max(LEAST / 2.0) * passed;
            if it.per_second > it.too_much && it.per_second > FREE * self.seen.max(LEAST) {
                self.now = None;
            }
        }
    }

    /// Attempts a second; none: no limit.
    pub fn per_second(&self) -> Option<f64> {
        self.now.map(|it| it.per_second)
    }

    fn cut(&mut self, now_ms: u64) {
        let before = match &self.now {
            Some(it) if now_ms < it.cut_ms + BETWEEN_CUTS_MS => return,
            // What it was allowed and did not use was not too much.
            Some(it) => it.per_second.min(2.0 * self.seen),
            None => self.seen,
        };
        let too_much = before.max(LEAST);
        let per_second = (too_much / 2.0).max(LEAST);
        self.now = Some(Limited { per_second, too_much, cut_ms: now_ms });
        // What was answered before says nothing of the new rate.
        self.recent = (0.0, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks of 100 ms against a service that takes `capacity` a second and throttles the rest.
    fn run(it: &mut Throttle, from_ms: u64, seconds: u64, demand: f64, capacity: f64) -> (f64, f64) {
        let (mut sent, mut refused) = (0.0, 0.0);
        let mut owed = (0.0, 0.0);
        for at in 1..=seconds * 10 {
            let rate = it.per_second().map_or(demand, |it| it.min(demand)) / 10.0;
            let over = (rate - capacity / 10.0).max(0.0);
            owed = (owed.0 + rate, owed.1 + over);
            it.tick(from_ms + at * 100, 100, (owed.0 as u64, owed.1 as u64));
            owed = (owed.0.fract(), owed.1.fract());
            (sent, refused) = (sent + rate, refused + over);
        }
        (sent, refused)
    }

    #[test]
    fn what_is_taken_is_not_limited() {
        let mut it = Throttle::default();
        run(&mut it, 0, 60, 1_000.0, 2_000.0);
        assert_eq!(it.per_second(), None);
    }

    /// A service that fails one request in a hundred keeps what it gets, at any rate: seen in a storm, where it had
    /// come down to forty a second.
    #[test]
    fn a_stray_refusal_says_nothing() {
        for a_second in [20, 1_000, 20_000_u64] {
            let (mut it, mut owed) = (Throttle::default(), 0);
            for at in 1..=600_u64 {
                let answers = a_second / 10;
                owed += answers;
                it.tick(at * 100, 100, (answers, owed / 100));
                owed %= 100;
                assert_eq!(it.per_second(), None, "{a_second} at {at}");
            }
        }
    }

    /// P15: what is refused stays a small part, and what the service takes is used.
    #[test]
    fn it_finds_what_the_service_takes() {
        for (demand, capacity) in [(1_000.0, 100.0), (20_000.0, 50.0), (200.0, 150.0)] {
            let mut it = Throttle::default();
            run(&mut it, 0, 60, demand, capacity);
            let (sent, refused) = run(&mut it, 60_000, 120, demand, capacity);
            let taken = (sent - refused) / (120.0 * capacity);
            assert!(taken > 0.6 && refused / sent < 0.15, "{demand}/{capacity}: {taken} {}", refused / sent);
        }
    }

    #[test]
    fn a_service_that_takes_nothing_is_asked_once_a_second_or_so() {
        let mut it = Throttle::default();
        run(&mut it, 0, 30, 1_000.0, 0.0);
        let (sent, _) = run(&mut it, 30_000, 60, 1_000.0, 0.0);
        assert!((30.0..130.0).contains(&sent), "{sent}");
    }

    #[test]
    fn it_ends_when_the_service_is_well_again() {
        let mut it = Throttle::default();
        run(&mut it, 0, 30, 1_000.0, 10.0);
        assert!(it.per_second().is_some_and(|it| it < 50.0));
        run(&mut it, 30_000, 300, 1_000.0, 1e9);
        assert_eq!(it.per_second(), None);
    }

    /// Few that are throttled slow their app for no more than a moment, a single one not at all.
    #[test]
    fn a_few() {
        let mut it = Throttle::default();
        it.tick(0, 100, (1, 1));
        assert_eq!(it.per_second(), None);
        it.tick(100, 100, (2, 2));
        assert!(it.per_second().is_some_and(|it| it >= 1.0));
        run(&mut it, 200, 10, 0.0, 1.0);
        assert_eq!(it.per_second(), None);
    }
}
