//! `least-loaded`: the less busy of two servers drawn at random, by requests under way and mean latency.
//!
//! Two are enough: the best of all would draw every host to the same server at once.

use drover_guest::prelude::*;
use drover_guest::random::Random;
use drover_guest::select::{Entries, no_server};
use drover_guest::selection::{Load, load_of};

/// How often to draw again where the server drawn has just failed.
const DRAWS: u32 = 8;
/// More failures in a row than this make a server no worse.
const FAILURES_MAX: u32 = 16;

/// The servers' entries and weights.
#[derive(Default)]
pub struct LeastLoaded {
    entries: Entries,
    weights: Vec<u32>,
    random: Random,
}

impl LeastLoaded {
    /// The same draws for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { entries: Entries::default(), weights: Vec::new(), random: Random::from_seed(seed) }
    }

    /// Takes these servers.
    pub fn build(&mut self, servers: &[Server]) {
        self.entries = Entries::of(servers);
        self.weights = servers.iter().map(|server| server.weight).collect();
    }

    /// The choice, with the loads from wherever they are kept; none without servers.
    pub fn choose(&mut self, failed: Option<u32>, load_of: impl Fn(u32) -> Load) -> Option<u32> {
        let servers = self.entries.len();
        if servers == 0 {
            return None;
        }
        let first = self.draw(servers, failed, None);
        if servers == 1 {
            return Some(first);
        }
        let second = self.draw(servers, failed, Some(first));
        if first == second {
            return Some(first);
        }
        let is_better = self.is_less_busy(second, &load_of(second), first, &load_of(first));
        Some(if is_better { second } else { first })
    }

    /// An entry other than these two, if the draws find one.
    fn draw(&mut self, servers: u32, failed: Option<u32>, drawn: Option<u32>) -> u32 {
        for _ in 0..DRAWS {
            let index = self.random.below(servers);
            if Some(index) != drawn && !self.entries.is_failed(index, failed) {
                return index;
            }
        }
        // The one behind it: of two servers both are drawn, always.
        let index = drawn.map_or_else(|| self.random.below(servers), |drawn| (drawn + 1) % servers);
        self.entries.unless_failed(index, failed)
    }

    fn is_less_busy(&self, a: u32, a_load: &Load, b: u32, b_load: &Load) -> bool {
        // Without an answer yet the latency says nothing; then only the requests under way count.
        let known = a_load.latency_ewma_us > 0 && b_load.latency_ewma_us > 0;
        let cost = |load: &Load| {
            let latency = if known { load.latency_ewma_us } else { 1 };
            // A server that fails fast looks idle: each failure in a row doubles its cost.
            let failures = load.consecutive_failures.min(FAILURES_MAX);
            // No product is too large for a float, and equal loads give equal ones.
            (f64::from(load.in_flight) + 1.0) * f64::from(latency) * f64::from(1_u32 << failures)
        };
        cost(a_load) * self.weight(b) < cost(b_load) * self.weight(a)
    }

    fn weight(&self, index: u32) -> f64 {
        f64::from(self.weights.get(index as usize).copied().unwrap_or(1).max(1))
    }
}

#[selector]
impl Select for LeastLoaded {
    fn update(&mut self, app: App) -> Result<()> {
        self.build(&app.servers);
        Ok(())
    }

    fn select(&mut self, pick: &Pick) -> Result<u32> {
        self.choose(pick.failed, load_of).map_or_else(no_server, Ok)
    }
}

#[cfg(test)]
mod tests {
    use drover_guest::mock::MockHost;
    use drover_guest::select::check;

    use super::*;

    fn load(in_flight: u32, latency_ewma_us: u32, consecutive_failures: u32) -> Load {
        Load { in_flight, latency_ewma_us, consecutive_failures }
    }

    fn choose_of_two(loads: [Load; 2], weights: [u32; 2]) -> u32 {
        let _host = MockHost::new().loads(loads.to_vec()).seed(108);
        let mut selector = check::updated::<LeastLoaded>(&weights);
        let first = selector.select(&Pick::default()).unwrap();
        // Both are always drawn, so the choice depends on nothing but the loads, unless they are equal.
        for _ in 0..2_000 {
            assert_eq!(selector.select(&Pick::default()).unwrap(), first);
        }
        first
    }

    // S108, S14: by requests under way, latency and failures in a row.
    #[test]
    fn the_less_busy_one_is_chosen() {
        assert_eq!(choose_of_two([load(3, 0, 0), load(2, 0, 0)], [1, 1]), 1);
        assert_eq!(choose_of_two([load(1, 100, 0), load(3, 100, 0)], [1, 1]), 0);
        assert_eq!(choose_of_two([load(0, 900, 0), load(1, 100, 0)], [1, 1]), 1);
        assert_eq!(choose_of_two([load(0, 0, 0), load(1, 1, 0)], [1, 1]), 0);
        assert_eq!(choose_of_two([load(0, 10, 9), load(4, 100, 0)], [1, 1]), 1);
        assert_eq!(choose_of_two([load(4, 100, 0), load(1, 100, 0)], [5, 1]), 0);
        assert_eq!(choose_of_two([load(u32::MAX, u32::MAX, u32::MAX), load(9, 9, 0)], [u32::MAX, 1]), 1);
    }

    // Against a naive model: under its own load the busiest server stays near the mean.
    #[test]
    fn load_evens_out() {
        let mut in_flight = vec![0_u32; 16];
        let mut random = Random::from_seed(1);
        let mut selector = LeastLoaded::from_seed(2);
        selector.update(check::app_of(&[1; 16])).unwrap();
        for _ in 0..20_000 {
            let chosen = selector.choose(None, |index| load(in_flight[index as usize], 0, 0)).unwrap();
            in_flight[chosen as usize] += 1;
            // One of all requests is answered, so that 16 × 20 stay under way.
            if in_flight.iter().sum::<u32>() > 320 {
                let busy: Vec<usize> = (0..16).filter(|index| in_flight[*index] > 0).collect();
                in_flight[busy[random.below(busy.len() as u32) as usize]] -= 1;
            }
        }
        assert!(in_flight.iter().all(|count| (10..=30).contains(count)), "{in_flight:?}");
    }

    // S109, S110
    #[test]
    fn it_keeps_the_promises_of_every_selector() {
        check::promises::<LeastLoaded>();
    }
}
