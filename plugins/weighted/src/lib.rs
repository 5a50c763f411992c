//! `weighted`: servers in proportion to their weights. Exact over a cycle and over all shards, since the host
//! counts the turns; smooth, since each server's turns are spread evenly over the cycle.

use drover_guest::prelude::*;
use drover_guest::select::{Entries, no_server};

/// The most turns of a cycle. Weights that need more are rounded, to at least one turn.
const CYCLE_MAX: u64 = 4_096;

/// Whose turn it is, for a cycle.
#[derive(Default)]
pub struct Weighted {
    entries: Entries,
    cycle: Vec<u32>,
}

impl Weighted {
    /// Takes these servers.
    pub fn build(&mut self, servers: &[Server]) {
        let weights: Vec<u32> = servers.iter().map(|server| server.weight).collect();
        self.entries = Entries::of(servers);
        self.cycle = cycle_of(&weights);
    }

    /// Whose turn it is; none without servers.
    pub fn choose(&self, turn: u64, failed: Option<u32>) -> Option<u32> {
        let start = turn.checked_rem(self.cycle.len() as u64)?;
        let (before, after) = self.cycle.split_at(start as usize);
        let mut turns = after.iter().chain(before);
        let another = turns.find(|index| !self.entries.is_failed(**index, failed));
        // Where only the failed server has turns, one without a turn is still better.
        let instead = || self.entries.unless_failed(self.cycle[start as usize], failed);
        Some(another.copied().unwrap_or_else(instead))
    }
}

#[selector]
impl Select for Weighted {
    fn update(&mut self, app: App) -> Result<()> {
        self.build(&app.servers);
        Ok(())
    }

    fn select(&mut self, pick: &Pick) -> Result<u32> {
        self.choose(pick.turn, pick.failed).map_or_else(no_server, Ok)
    }
}

/// A cycle in which each server has as many turns as its share says. A weight of 0 has none, unless all have 0.
pub fn cycle_of(weights: &[u32]) -> Vec<u32> {
    let mut turns: Vec<(f64, u32)> = Vec::new();
    for (index, share) in shares(weights).into_iter().enumerate() {
        // Evenly over 0 to 1; servers start at places that lie far apart, so that equal ones take turns.
        let phase = (0.5 + index as f64 * 0.618_033_988_749_894_9).fract();
        turns.extend((0..share).map(|turn| ((turn as f64 + phase) / share as f64, index as u32)));
    }
    turns.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    turns.into_iter().map(|(_, index)| index).collect()
}

/// The weights in lowest terms, and within a cycle's length.
fn shares(weights: &[u32]) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |divisor, weight| common_divisor(divisor, *weight));
    if divisor == 0 {
        return vec![1; weights.len()];
    }
    let shares: Vec<u64> = weights.iter().map(|weight| u64::from(weight / divisor)).collect();
    let total: u64 = shares.iter().sum();
    let longest = CYCLE_MAX.max(2 * weights.len() as u64);
    if total <= longest {
        return shares;
    }
    let rounded = |share: u64| ((share as f64 / total as f64 * longest as f64).round() as u64).max(1);
    shares.into_iter().map(|share| if share == 0 { 0 } else { rounded(share) }).collect()
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use drover_guest::random::Random;
    use drover_guest::select::check;

    use super::*;

    fn turns_of(weights: &[u32], turns: u64, start: u64) -> Vec<u64> {
        let mut selector = check::updated::<Weighted>(weights);
        let mut counts = vec![0; weights.len()];
        for turn in start..start + turns {
            counts[selector.select(&Pick { turn, ..Pick::default() }).unwrap() as usize] += 1;
        }
        counts
    }

    // S108: exact over each cycle, wherever it starts.
    #[test]
    fn a_cycle_has_as_many_turns_as_the_weights_say() {
        let mut random = Random::from_seed(108);
        for _ in 0..300 {
            let weights: Vec<u32> = (0..=random.below(9)).map(|_| random.below(6)).collect();
            let divisor = weights.iter().fold(0, |d, w| common_divisor(d, *w));
            let expected: Vec<u64> = match divisor {
                0 => vec![3; weights.len()],
                divisor => weights.iter().map(|weight| 3 * u64::from(weight / divisor)).collect(),
            };
            let start = u64::from(random.below(1_000));
            assert_eq!(turns_of(&weights, expected.iter().sum(), start), expected, "{weights:?}");
        }
    }

    // Between two turns of a server each other one has at most its fair number of turns.
    #[test]
    fn turns_are_spread() {
        let mut random = Random::from_seed(1080);
        for _ in 0..300 {
            let weights: Vec<u32> = (0..=random.below(9)).map(|_| 1 + random.below(9)).collect();
            let cycle = cycle_of(&weights);
            for (index, weight) in weights.iter().enumerate() {
                let others = weights.iter().enumerate().filter(|(other, _)| *other != index);
                let fair: u32 = others.map(|(_, other)| other.div_ceil(*weight)).sum();
                let twice: Vec<u32> = cycle.iter().chain(&cycle).copied().collect();
                let gaps = twice.split(|turn| *turn == index as u32);
                let inner = gaps.skip(1);
                let longest = inner.map(<[u32]>::len).max().unwrap_or(0);
                assert!(longest as u32 <= fair, "{weights:?}: {cycle:?}");
            }
        }
    }

    #[test]
    fn weights_that_need_too_long_a_cycle_are_rounded() {
        let cycle = cycle_of(&[1, 1_000_003, 2_000_003]);
        assert!(cycle.len() as u64 <= CYCLE_MAX + 3);
        let turns = |index: u32| cycle.iter().filter(|turn| **turn == index).count();
        assert_eq!(turns(0), 1);
        assert!((1_360..1_370).contains(&turns(1)), "{}", turns(1));
    }

    // S108: an entry that is there twice has twice the weight.
    #[test]
    fn repeated_entries_count() {
        let mut app = check::app_of(&[1, 1]);
        app.servers.push(app.servers[1].clone());
        let mut selector = Weighted::default();
        selector.update(app).unwrap();
        let mut of_first = 0;
        for turn in 0..300 {
            of_first += u32::from(selector.select(&Pick { turn, ..Pick::default() }).unwrap() == 0);
        }
        assert_eq!(of_first, 100);
    }

    // S109, S110
    #[test]
    fn it_keeps_the_promises_of_every_selector() {
        check::promises::<Weighted>();
    }
}
