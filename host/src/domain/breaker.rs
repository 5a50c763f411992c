//! Circuit breakers, as bigpipe has them: who fails too much is left alone for a while, then comes back by a ramp.
//!
//! ```text
//! Normal --too few of the window are good--> Break --break_ms--> Recover --recover_ms--> Normal
//!                                              ^------too few are good------'
//! ```
//! A breaker is moved by one thread, from counts that it is given; what it lets through is a [`Share`], which others
//! read and a [`Ramp`] applies.

/// When to break, and for how long. S102.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Nothing goes there for so long.
    pub break_ms: u64,
    /// From then on a share that grows evenly from nothing to all.
    pub recover_ms: u64,
    /// What is looked at: the calls that ended so long ago or less.
    pub window_ms: u64,
    /// With fewer calls than this in the window all is taken to be well.
    pub min_stats: u64,
    /// Which part of the calls has to be good, from 0 to 1.
    pub health_rate: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Normal,
    Break,
    Recover,
}

impl State {
    /// As it stands in logs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Normal => "normal",
            State::Break => "break",
            State::Recover => "recover",
        }
    }
}

/// Which part of what comes may go, in steps of 1/65536: it is read with every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

impl Share {
    pub const NONE: Self = Self(0);
    pub const FULL: Self = Self(1 << 16);

    /// What has passed of a whole: a line from none to just below full, then full.
    pub fn of(passed: u64, whole: u64) -> Self {
        if passed >= whole {
            return Self::FULL;
        }
        let part = u128::from(passed) * u128::from(Self::FULL.0) / u128::from(whole);
        Self((part as u32).min(Self::FULL.0 - 1))
    }
}

/// Lets a share through, evenly: of n that ask at the same share, n × share pass, give or take one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ramp(u32);

impl Ramp {
    pub fn admits(&mut self, share: Share) -> bool {
        self.0 += share.0.min(Share::FULL.0);
        let admitted = self.0 >= Share::FULL.0;
        if admitted {
            self.0 -= Share::FULL.0;
        }
        admitted
    }
}

/// Parts of the window that are forgotten one by one.
const SLICES: u64 = 20;

/// Counts of the last while.
#[derive(Clone, Debug, Default)]
struct Window([Slice; SLICES as usize]);

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// Its number since time began, from 1; 0: unused.
    number: u64,
    good: u64,
    bad: u64,
}

impl Window {
    fn number(rule: &Rule, now_ms: u64) -> u64 {
        now_ms / (rule.window_ms / SLICES).max(1) + SLICES
    }

    fn add(&mut self, rule: &Rule, now_ms: u64, (good, bad): (u64, u64)) {
        let number = Self::number(rule, now_ms);
        let slice = &mut self.0[(number % SLICES) as usize];
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        slice.good += good;
        slice.bad += bad;
    }

    fn sum(&self, rule: &Rule, now_ms: u64) -> (u64, u64) {
        let newest = Self::number(rule, now_ms);
        let seen = self.0.iter().filter(|it| it.number <= newest && newest < it.number + SLICES);
        seen.fold((0, 0), |(good, bad), it| (good + it.good, bad + it.bad))
    }
}

/// One breaker. Times are of a clock that never goes back, in ms.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    state: State,
    since_ms: u64,
    window: Window,
    /// The window's length that it was filled by.
    window_ms: u64,
}

impl Breaker {
    pub fn state(&self) -> State {
        self.state
    }

    /// Calls that have ended. While it is broken they are of before the break, and say nothing of now.
    pub fn note(&mut self, rule: &Rule, now_ms: u64, counts: (u64, u64)) {
        if self.window_ms != rule.window_ms {
            self.forget();
            self.window_ms = rule.window_ms;
        }
        if self.state != State::Break && counts != (0, 0) {
            self.window.add(rule, now_ms, counts);
        }
    }

    /// Moves on; the new state, if it is another. A changed rule counts from now on, for a break under way too.
    pub fn tick(&mut self, rule: &Rule, now_ms: u64) -> Option<State> {
        let passed = now_ms.saturating_sub(self.since_ms);
        let next = match self.state {
            State::Normal if self.is_sick(rule, now_ms) => State::Break,
            State::Break if passed >= rule.break_ms => State::Recover,
            State::Recover if self.is_sick(rule, now_ms) => State::Break,
            State::Recover if passed >= rule.recover_ms => State::Normal,
            State::Normal | State::Break | State::Recover => return None,
        };
        if next != State::Normal {
            self.forget();
        }
        (self.state, self.since_ms) = (next, now_ms);
        Some(next)
    }

    /// What was counted counts no more.
    pub fn forget(&mut self) {
        self.window = Window::default();
    }

    /// What may go now.
    pub fn share(&self, rule: &Rule, now_ms: u64) -> Share {
        match self.state {
            State::Normal => Share::FULL,
            State::Break => Share::NONE,
            // Only `tick` ends it, at which the counts are looked at.
            State::Recover => {
                let passed = now_ms.saturating_sub(self.since_ms).min(rule.recover_ms.saturating_sub(1));
                Share::of(passed, rule.recover_ms.max(1))
            }
        }
    }

    /// The end of a break; 0 where there is none.
    pub fn until_ms(&self, rule: &Rule) -> u64 {
        match self.state {
            State::Break => self.since_ms.saturating_add(rule.break_ms),
            State::Normal | State::Recover => 0,
        }
    }

    fn is_sick(&self, rule: &Rule, now_ms: u64) -> bool {
        let (good, bad) = self.window.sum(rule, now_ms);
        let all = good + bad;
        all >= rule.min_stats.max(1) && (good as f64) < rule.health_rate * all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule =
        Rule { break_ms: 5_000, recover_ms: 20_000, window_ms: 30_000, min_stats: 50, health_rate: 0.9 };

    /// S102: bigpipe's numbers, at their edges.
    #[test]
    fn when_it_breaks() {
        let cases = [
            // (good, bad) → broken.
            ((0, 49), false),
            ((0, 50), true),
            ((45, 5), false),
            ((44, 6), true),
            ((1_000, 0), false),
            ((899, 101), true),
        ];
        for (counts, broken) in cases {
            let mut it = Breaker::default();
            it.note(&RULE, 1_000, counts);
            assert_eq!(it.tick(&RULE, 1_000), broken.then_some(State::Break), "{counts:?}");
        }
        // Of an old window nothing counts.
        let mut it = Breaker::default();
        it.note(&RULE, 1_000, (0, 49));
        it.note(&RULE, 31_500, (0, 49));
        assert_eq!(it.tick(&RULE, 31_500), None);
        it.note(&RULE, 31_600, (0, 1));
        assert_eq!(it.tick(&RULE, 31_600), Some(State::Break));
        // Whatever the rate, no calls at all are no failure.
        let strict = Rule { min_stats: 0, health_rate: 1.0, ..RULE };
        assert_eq!(Breaker::default().tick(&strict, 0), None);
    }

    /// S103: broken for just so long, then a line from nothing to all.
    #[test]
    fn the_way_back() {
        let mut it = Breaker::default();
        it.note(&RULE, 0, (0, 50));
        assert_eq!(it.tick(&RULE, 100), Some(State::Break));
        assert_eq!((it.share(&RULE, 5_099), it.until_ms(&RULE)), (Share::NONE, 5_100));
        // What ends meanwhile began before.
        it.note(&RULE, 3_000, (0, 1_000));
        assert_eq!(it.tick(&RULE, 5_099), None);
        assert_eq!(it.tick(&RULE, 5_100), Some(State::Recover));
        let shares = [0, 5_000, 10_000, 19_999].map(|it_ms| it.share(&RULE, 5_100 + it_ms).0);
        assert_eq!(shares, [0, 1 << 14, 1 << 15, 65_532]);
        it.note(&RULE, 10_000, (100, 11));
        assert_eq!(it.tick(&RULE, 10_000), None);
        it.note(&RULE, 10_001, (0, 1));
        assert_eq!(it.tick(&RULE, 10_001), Some(State::Break));
        assert_eq!(it.tick(&RULE, 15_001), Some(State::Recover));
        assert_eq!(it.tick(&RULE, 35_000), None);
        assert_eq!(it.share(&RULE, 50_000), Share(65_532), "until somebody has looked at the counts");
        assert_eq!(it.tick(&RULE, 35_001), Some(State::Normal));
        assert_eq!(it.share(&RULE, 35_001), Share::FULL);
    }

    /// S172: a rule that changes counts at once.
    #[test]
    fn a_changed_rule() {
        let mut it = Breaker::default();
        it.note(&RULE, 0, (0, 50));
        assert_eq!(it.tick(&RULE, 0), Some(State::Break));
        let short = Rule { break_ms: 10, ..RULE };
        assert_eq!(it.tick(&short, 10), Some(State::Recover));
        it.note(&short, 10, (0, 49));
        let other = Rule { window_ms: 1_000, ..short };
        it.note(&other, 10, (0, 1));
        assert_eq!(it.tick(&other, 11), None, "counts of another window are not compared");
    }

    #[test]
    fn a_ramp_lets_its_share_through() {
        let mut ramp = Ramp::default();
        for share in [0, 1, 655, 1 << 15, 65_535, 1 << 16] {
            let passed = (0..65_536).filter(|_| ramp.admits(Share(share))).count();
            assert!(passed.abs_diff(share as usize) <= 1, "{share}: {passed}");
        }
    }

    /// Against the most naive model: every call kept, all of them counted anew each time.
    #[test]
    fn a_walk_beside_a_model() {
        for seed in 1..60_u64 {
            let mut random = seed;
            let mut next = |most: u64| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % most
            };
            let rule = Rule {
                break_ms: next(3_000),
                recover_ms: next(3_000),
                window_ms: 20 * (1 + next(200)),
                min_stats: next(30),
                health_rate: next(101) as f64 / 100.0,
            };
            let (mut it, mut now) = (Breaker::default(), next(1_000_000));
            let mut model = (State::Normal, 0, Vec::<(u64, u64, u64)>::new());
            for _ in 0..2_000 {
                now += next(100);
                let counts = (next(4), next(3));
                it.note(&rule, now, counts);
                if model.0 != State::Break {
                    model.2.push((now, counts.0, counts.1));
                }
                let slice = |at: u64| at / (rule.window_ms / 20);
                let seen = model.2.iter().filter(|it| slice(now) - slice(it.0) < 20);
                let (good, all) = seen.fold((0, 0), |sum, it| (sum.0 + it.1, sum.1 + it.1 + it.2));
                let sick = all > 0 && all >= rule.min_stats && (good as f64) < rule.health_rate * all as f64;
                let passed = now - model.1;
                let state = match model.0 {
                    State::Normal if sick => State::Break,
                    State::Normal => State::Normal,
                    State::Break if passed < rule.break_ms => State::Break,
                    State::Break => State::Recover,
                    State::Recover if sick => State::Break,
                    State::Recover if passed < rule.recover_ms => State::Recover,
                    State::Recover => State::Normal,
                };
                let changed = state != model.0;
                if changed {
                    (model.0, model.1) = (state, now);
                    if state != State::Normal {
                        model.2.clear();
                    }
                }
                assert_eq!(it.tick(&rule, now), changed.then_some(state), "seed {seed} at {now}");
                let share = it.share(&rule, now);
                match state {
                    State::Normal => assert_eq!(share, Share::FULL),
                    State::Break => assert_eq!(share, Share::NONE),
                    State::Recover => assert!(share < Share::FULL),
                }
            }
        }
    }
}
