//! How servers and apps do: breakers, ejection, slow start, checks, throttling. Decided by the health tick, a few times a
//! second, from what shards counted; published as atomics that shards read with each attempt and never write.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::stats::{Counts, Stats};
use crate::domain::app::Check;
use crate::domain::breaker::{Breaker, Ramp, Rule, Share, State};
use crate::domain::gradient::Gradient;
use crate::domain::limiter::Rate;
use crate::domain::throttle::Throttle;

/// What may go to a server or an app. On lines of its own, which rarely change.
#[derive(Debug)]
#[repr(align(128))]
pub struct Admission {
    share: AtomicU32,
    state: AtomicU8,
    /// The end of a break, in ms of `clock::monotonic_ms`.
    until_ms: AtomicU64,
    /// Who was not among the share asks again after so long, in ms.
    turn_ms: AtomicU64,
}

impl Default for Admission {
    fn default() -> Self {
        let (share, state) = (AtomicU32::new(Share::FULL.0), AtomicU8::new(0));
        Self { share, state, until_ms: AtomicU64::new(0), turn_ms: AtomicU64::new(0) }
    }
}

/// While nothing may go, the rules are looked at so often: a reload may change them.
const LOOK_AGAIN_MS: u64 = 250;

impl Admission {
    pub fn share(&self) -> Share {
        Share(self.share.load(Relaxed))
    }

    /// Of its breaker.
    pub fn state(&self) -> State {
        match self.state.load(Relaxed) {
            0 => State::Normal,
            1 => State::Break,
            _ => State::Recover,
        }
    }

    /// Whether one who asks is among the share; `ramp` counts for one shard.
    pub fn admits(&self, ramp: &Cell<Ramp>) -> bool {
        let share = self.share();
        if share == Share::FULL {
            return true;
        }
        let mut counted = ramp.get();
        let admitted = counted.admits(share);
        ramp.set(counted);
        admitted
    }

    /// How long to wait for another try, in ms.
    pub fn pause_ms(&self, now_ms: u64) -> u64 {
        let left = self.until_ms.load(Relaxed).saturating_sub(now_ms);
        if left > 0 { left.min(LOOK_AGAIN_MS) } else { self.turn_ms.load(Relaxed).max(5) }
    }

    fn publish(&self, state: State, share: Share, until_ms: u64, recover_ms: u64) {
        let state = match state {
            State::Normal => 0,
            State::Break => 1,
            State::Recover => 2,
        };
        self.until_ms.store(until_ms, Relaxed);
        // About twenty tries on the way up.
        self.turn_ms.store((recover_ms / 20).clamp(5, 1_000), Relaxed);
        self.state.store(state, Relaxed);
        self.share.store(share.0, Relaxed);
    }
}

impl Stats {
    pub(super) fn is_in_service(&self, now_ms: u64) -> bool {
        self.ejected_until_ms.load(Relaxed) <= now_ms
    }

    /// Out of service after so many failures in a row, for a time that doubles with each time in a row.
    /// When the time is over one more failure puts it out again at once: it is re-admitted on trial.
    pub(super) fn decide(&self, after: u32, first_ms: u64, now_ms: u64) {
        let until = self.ejected_until_ms.load(Relaxed);
        let failures = self.failures_in_row.load(Relaxed);
        if until > now_ms || after == 0 {
            return;
        }
        if failures == 0 {
            self.ejections.store(0, Relaxed);
            return;
        }
        let trial = self.ejections.load(Relaxed) > 0;
        if failures >= after || trial {
            let times = self.ejections.fetch_add(1, Relaxed).min(6);
            self.ejected_until_ms.store(now_ms + (first_ms << times), Relaxed);
            self.failures_in_row.store(0, Relaxed);
        } else if until != 0 {
            self.ejected_until_ms.store(0, Relaxed);
        }
    }
}

/// A server's health. The lock is taken by the tick, by checks and by reports, never for a message.
#[derive(Debug)]
pub struct Health {
    pub admission: Admission,
    /// By its checks.
    is_sick: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    breaker: Breaker,
    seen: Counts,
    /// Whether it was in service when last looked, and since when it starts slowly.
    was_in: bool,
    slow_since_ms: Option<u64>,
    /// Checks in a row.
    well: u32,
    unwell: u32,
}

impl Health {
    /// `slow_since_ms`: of a server that comes to others.
    pub fn new(slow_since_ms: Option<u64>) -> Self {
        let inner = Inner { was_in: true, slow_since_ms, ..Inner::default() };
        Self { admission: Admission::default(), is_sick: AtomicBool::new(false), inner: Mutex::new(inner) }
    }

    /// What ended since the last time, and what that does to its breaker, if it has one.
    pub(super) fn tick(
        &self,
        stats: &Stats,
        rule: Option<&Rule>,
        now_ms: u64,
    ) -> (Counts, State, Option<State>) {
        let mut inner = self.lock();
        let counts = stats.counts();
        let since = counts - inner.seen;
        inner.seen = counts;
        let before = inner.breaker.state();
        let changed = step(&mut inner.breaker, rule, now_ms, since.by_health());
        (since, before, changed)
    }

    /// Whether its checks, where it has any, let it be in service.
    pub(super) fn is_well(&self, check: Option<&Check>) -> bool {
        check.is_none() || !self.is_sick.load(Relaxed)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.lock().breaker.state() == State::Break
    }

    /// Publishes what may go there. `is_well`: neither ejected nor unwell by its checks.
    pub(super) fn publish(&self, rule: Option<&Rule>, slow_start_ms: u64, is_well: bool, now_ms: u64) {
        let mut inner = self.lock();
        if is_well && !inner.was_in {
            inner.slow_since_ms = Some(now_ms);
        }
        inner.was_in = is_well;
        let slow = match inner.slow_since_ms {
            Some(since_ms) if now_ms.saturating_sub(since_ms) < slow_start_ms => {
                Share::of(now_ms.saturating_sub(since_ms), slow_start_ms)
            }
            Some(_) | None => Share::FULL,
        };
        let breaker = &inner.breaker;
        let of_breaker = rule.map_or(Share::FULL, |it| breaker.share(it, now_ms));
        let until_ms = rule.map_or(0, |it| breaker.until_ms(it));
        let recover_ms = rule.map_or(0, |it| it.recover_ms);
        self.admission.publish(breaker.state(), of_breaker.min(slow), until_ms, recover_ms);
    }

    /// What its breaker alone lets go.
    pub(super) fn breaker_share(&self, rule: &Rule, now_ms: u64) -> Share {
        self.lock().breaker.share(rule, now_ms)
    }

    /// The end of its break; 0 where there is none.
    pub(super) fn until_ms(&self, rule: &Rule) -> u64 {
        self.lock().breaker.until_ms(rule)
    }

    /// A check ended so. True when that changes what is thought of it.
    pub(super) fn checked(&self, check: &Check, is_well: bool) -> bool {
        let mut inner = self.lock();
        let (well, unwell) = if is_well { (inner.well + 1, 0) } else { (0, inner.unwell + 1) };
        (inner.well, inner.unwell) = (well, unwell);
        let is_sick = self.is_sick.load(Relaxed);
        let changed = if is_sick { well >= check.healthy_after } else { unwell >= check.unhealthy_after };
        if changed {
            self.is_sick.store(!is_sick, Relaxed);
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn step(breaker: &mut Breaker, rule: Option<&Rule>, now_ms: u64, counts: (u64, u64)) -> Option<State> {
    match rule {
        Some(rule) => {
            breaker.note(rule, now_ms, counts);
            breaker.tick(rule, now_ms)
        }
        None if breaker.state() != State::Normal => {
            *breaker = Breaker::default();
            Some(State::Normal)
        }
        None => None,
    }
}

/// What bounds an app as a whole, for shards.
#[derive(Debug, Default)]
pub struct AppAdmission {
    pub breaker: Admission,
    limits: Limits,
    due: Due,
}

/// Written by the tick.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Limits {
    /// Between two attempts while the service throttles, in ns; 0: no limit.
    interval_ns: AtomicU64,
    /// Attempts under way; 0: no limit.
    under_way: AtomicU32,
}

/// Written by all shards, only while the service throttles.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Due(AtomicU64);

impl AppAdmission {
    /// Takes a turn in what a throttling service gets, or says how long to wait for another try, in ns.
    pub fn throttle(&self, now_ns: impl FnOnce() -> u64) -> Option<u64> {
        let interval_ns = self.limits.interval_ns.load(Relaxed);
        if interval_ns == 0 {
            return None;
        }
        let (rate, now_ns) = (Rate::every(interval_ns), now_ns());
        let mut due_ns = self.due.0.load(Relaxed);
        loop {
            let (next, wait_ns) = rate.reserve(due_ns, now_ns);
            if wait_ns > 0 {
                // Nobody takes a turn ahead: the rate may be another by then.
                return Some(wait_ns.min(LOOK_AGAIN_MS * 1_000_000));
            }
            match self.due.0.compare_exchange_weak(due_ns, next, Relaxed, Relaxed) {
                Ok(_) => return None,
                Err(now) => due_ns = now,
            }
        }
    }

    /// Attempts under way on this host; 0: no limit.
    pub fn under_way_most(&self) -> u32 {
        self.limits.under_way.load(Relaxed)
    }
}

/// An app's health; the tick's own.
#[derive(Debug, Default)]
pub(super) struct AppHealth {
    breaker: Breaker,
    throttle: Throttle,
    gradient: Option<Gradient>,
    ticked_ms: u64,
}

impl AppHealth {
    /// `all` that ended since the last time; `well`: at servers that are not broken themselves. `throttles`: whether its
    /// servers do as one.
    pub(super) fn tick(
        &mut self,
        rule: Option<&Rule>,
        (adaptive, throttles): (bool, bool),
        now_ms: u64,
        (all, in_flight): (&Counts, u64),
        well: (u64, u64),
    ) -> Option<State> {
        let passed_ms = now_ms.saturating_sub(self.ticked_ms);
        self.ticked_ms = now_ms;
        let (ended, too_much) = all.by_load();
        if throttles {
            self.throttle.tick(now_ms, passed_ms, (ended, too_much));
        } else {
            self.throttle = Throttle::default();
        }
        match &mut self.gradient {
            Some(it) if adaptive => {
                if all.answers > 0 {
                    it.tick(all.took_us as f64 / all.answers as f64, in_flight, too_much > 0);
                }
            }
            it => *it = adaptive.then(Gradient::default),
        }
        step(&mut self.breaker, rule, now_ms, well)
    }

    /// One of its servers is left out: what that did is not held against the others.
    pub(super) fn forget(&mut self) {
        self.breaker.forget();
    }

    /// `of_servers`: what their breakers let go, the most of them all, and when the first break ends.
    pub(super) fn publish(
        &self,
        to: &AppAdmission,
        rule: Option<&Rule>,
        of_servers: (Share, u64),
        (recover_ms, now_ms): (u64, u64),
    ) {
        let own = rule.map_or(Share::FULL, |it| self.breaker.share(it, now_ms));
        let until_ms = rule.map_or(0, |it| self.breaker.until_ms(it)).max(of_servers.1);
        to.breaker.publish(self.breaker.state(), own.min(of_servers.0), until_ms, recover_ms);
        let interval_ns = self.throttle.per_second().map_or(0, |it| (1e9 / it.max(0.1)) as u64);
        to.limits.interval_ns.store(interval_ns, Relaxed);
        to.limits.under_way.store(self.gradient.map_or(0, |it| it.limit()), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Mark;

    /// S111: checks count in a row, both ways.
    #[test]
    fn checks_in_a_row() {
        let check =
            Check { path: "/".into(), every_ms: 1, timeout_ms: 1, healthy_after: 2, unhealthy_after: 3 };
        let health = Health::new(None);
        let steps = [
            (false, true),
            (false, true),
            (true, true),
            (false, true),
            (false, true),
            (false, false),
            (true, false),
            (false, false),
            (true, false),
            (true, true),
        ];
        for (at, (answer, well)) in steps.into_iter().enumerate() {
            health.checked(&check, answer);
            assert_eq!(health.is_well(Some(&check)), well, "{at}");
        }
        let checks = [false; 3].map(|it| health.checked(&check, it));
        assert_eq!(checks, [false, false, true]);
        assert!(health.is_well(None), "without checks none counts");
    }

    /// S99: a server that comes back starts slowly; one that was always there does not.
    #[test]
    fn slow_start() {
        let share = |it: &Health, is_well, now_ms| {
            it.publish(None, 1_000, is_well, now_ms);
            it.admission.share().0
        };
        let (first, later) = (Health::new(None), Health::new(Some(500)));
        assert_eq!((share(&first, true, 500), share(&later, true, 500)), (1 << 16, 0));
        assert_eq!((share(&first, true, 750), share(&later, true, 1_000)), (1 << 16, 1 << 15));
        assert_eq!(share(&later, true, 1_500), 1 << 16);
        share(&first, false, 2_000);
        assert_eq!(share(&first, true, 3_000), 0);
        assert_eq!(share(&first, true, 3_250), 1 << 14);
        assert_eq!(share(&first, true, 4_000), 1 << 16);
    }

    /// S172: a breaker that is removed is closed.
    #[test]
    fn a_rule_comes_and_goes() {
        let rule =
            Rule { break_ms: 1_000, recover_ms: 1_000, window_ms: 1_000, min_stats: 1, health_rate: 0.5 };
        let (health, stats) = (Health::new(None), Stats::new(1));
        stats.mark(0, Mark::Bad);
        assert_eq!(health.tick(&stats, Some(&rule), 0).2, Some(State::Break));
        health.publish(Some(&rule), 0, true, 0);
        assert_eq!((health.admission.share(), health.admission.pause_ms(900)), (Share::NONE, 100));
        assert_eq!(health.tick(&stats, None, 10).2, Some(State::Normal));
        health.publish(None, 0, true, 10);
        assert_eq!(health.admission.share(), Share::FULL);
    }

    #[test]
    fn a_throttled_app_gives_out_turns() {
        let (mut health, app) = (AppHealth::default(), AppAdmission::default());
        assert_eq!(app.throttle(|| 0), None);
        let counts = Counts { good: 90, too_much: 10, ..Counts::default() };
        health.tick(None, (false, true), 1_000, (&counts, 0), (0, 0));
        health.publish(&app, None, (Share::FULL, 0), (0, 1_000));
        let interval_ns = app.limits.interval_ns.load(Relaxed);
        assert_eq!(interval_ns, 20_000_000, "half of a hundred a second");
        let now_ns = 1_000_000_000;
        assert_eq!(app.throttle(|| now_ns), None);
        assert_eq!(app.throttle(|| now_ns), Some(interval_ns));
        assert_eq!(app.throttle(|| now_ns + interval_ns), None);
    }

    /// S111: left out after failures, back on trial, out again at the first failure, for twice as long.
    #[test]
    fn ejection_and_readmission() {
        let stats = Stats::new(1);
        let fail = |n: u32| {
            (0..n).for_each(|_| {
                stats.begin(0);
                stats.end(0, 0, false);
            })
        };
        fail(2);
        stats.decide(3, 1_000, 0);
        assert!(stats.is_in_service(0));
        fail(1);
        stats.decide(3, 1_000, 0);
        assert!(!stats.is_in_service(999));
        assert!(stats.is_in_service(1_000));
        fail(1);
        stats.decide(3, 1_000, 1_000);
        assert!(!stats.is_in_service(2_999));
        assert!(stats.is_in_service(3_000));
        stats.begin(0);
        stats.end(0, 5, true);
        stats.decide(3, 1_000, 3_000);
        fail(1);
        stats.decide(3, 1_000, 3_000);
        assert!(stats.is_in_service(3_000), "a success ends the trial");
    }
}
