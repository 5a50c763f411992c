//! How many requests an app may have under way, found out from how long its answers take (Gradient2 of Netflix'
//! concurrency-limits): while they take as long as they did, it grows by what may queue; when they take longer, it shrinks
//! by as much.

/// Moved by one thread, with the answers since the last time.
#[derive(Clone, Copy, Debug)]
pub struct Gradient {
    limit: f64,
    /// The usual time of an answer, in µs: a mean of the last [`LONG`] looks; 0 before the first one.
    usual_us: f64,
}

const FIRST: f64 = 20.0;
const LEAST: f64 = 1.0;
const MOST: f64 = 10_000.0;
/// Looks that the usual time is a mean of: ten a second, a minute's.
const LONG: f64 = 600.0;
/// An answer may take so many times the usual before it counts as slow.
const TOLERANCE: f64 = 1.5;
/// How much of a new limit counts at once.
const SMOOTHING: f64 = 0.2;

impl Default for Gradient {
    fn default() -> Self {
        Self { limit: FIRST, usual_us: 0.0 }
    }
}

impl Gradient {
    /// `mean_us`: of the answers since the last time. `most`: requests that were under way. `refused`: whether one was
    /// throttled.
    pub fn tick(&mut self, mean_us: f64, most: u64, refused: bool) {
        if refused {
            self.limit = (self.limit * 0.9).max(LEAST);
            return;
        }
        let mean_us = mean_us.max(1.0);
        if self.usual_us == 0.0 {
            self.usual_us = mean_us;
        }
        self.usual_us += (mean_us - self.usual_us) / LONG;
        // After a time of slow answers the usual would take long to come down again.
        if self.usual_us > 2.0 * mean_us {
            self.usual_us *= 0.95;
        }
        // What is not used says nothing of what could be.
        if (most as f64) < self.limit / 2.0 {
            return;
        }
        let gradient = (TOLERANCE * self.usual_us / mean_us).clamp(0.5, 1.0);
        let may_queue = self.limit.sqrt();
        let next = self.limit * gradient + may_queue;
        self.limit = (self.limit * (1.0 - SMOOTHING) + next * SMOOTHING).clamp(LEAST, MOST);
    }

    pub fn limit(&self) -> u32 {
        self.limit as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service with so many workers of 10 ms each: what is more queues.
    fn mean_us(under_way: u64, workers: u64) -> f64 {
        10_000.0 * (under_way as f64 / workers as f64).max(1.0)
    }

    #[test]
    fn each_look() {
        // (mean in µs, under way, refused) after a usual of 10 ms → grows, stays, shrinks.
        let cases = [
            ((10_000.0, 20, false), 1),
            ((14_000.0, 20, false), 1),
            ((10_000.0, 9, false), 0),
            ((40_000.0, 20, false), -1),
            ((10_000.0, 20, true), -1),
        ];
        for ((mean_us, under_way, refused), expected) in cases {
            let mut it = Gradient { usual_us: 10_000.0, ..Gradient::default() };
            it.tick(mean_us, under_way, refused);
            let grown = (it.limit - FIRST).partial_cmp(&0.0).map_or(0, |it| it as i32);
            assert_eq!(grown, expected, "{mean_us} {under_way} {refused}");
        }
    }

    #[test]
    fn it_settles_near_what_the_service_bears() {
        for workers in [4, 50, 400] {
            let mut it = Gradient::default();
            // The usual was learned in better times: a few under way.
            it.tick(10_000.0, 1, false);
            for _ in 0..300 {
                let under_way = u64::from(it.limit());
                it.tick(mean_us(under_way, workers), under_way, false);
            }
            let limit = u64::from(it.limit());
            assert!((workers..workers * 4 + 10).contains(&limit), "{workers} workers: {limit}");
        }
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut it = Gradient::default();
        (0..1_000).for_each(|_| it.tick(1_000.0, 0, true));
        assert_eq!(it.limit(), 1);
        (0..10_000).for_each(|_| it.tick(1_000.0, 100_000, false));
        assert_eq!(it.limit(), 10_000);
    }
}
