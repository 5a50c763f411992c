//! `round-robin`: each server in turn. Exact over all shards, since the host counts the turns.

use drover_guest::prelude::*;
use drover_guest::select::{Entries, no_server};

/// The servers' entries. A server that is named twice has two turns.
#[derive(Default)]
pub struct RoundRobin {
    entries: Entries,
}

impl RoundRobin {
    /// Takes these servers.
    pub fn build(&mut self, servers: &[Server]) {
        self.entries = Entries::of(servers);
    }

    /// Whose turn it is; none without servers.
    pub fn choose(&self, turn: u64, failed: Option<u32>) -> Option<u32> {
        let index = turn.checked_rem(u64::from(self.entries.len()))?;
        Some(self.entries.unless_failed(index as u32, failed))
    }
}

#[selector]
impl Select for RoundRobin {
    fn update(&mut self, app: App) -> Result<()> {
        self.build(&app.servers);
        Ok(())
    }

    fn select(&mut self, pick: &Pick) -> Result<u32> {
        self.choose(pick.turn, pick.failed).map_or_else(no_server, Ok)
    }
}

#[cfg(test)]
mod tests {
    use drover_guest::random::Random;
    use drover_guest::select::check;

    use super::*;

    // S106: exact over N calls, also where several instances share the turns.
    #[test]
    fn every_server_gets_the_same_number_of_turns() {
        let mut random = Random::from_seed(106);
        for servers in 1..=33_usize {
            let mut shards = [(); 3].map(|()| check::updated::<RoundRobin>(&vec![1; servers]));
            let mut counts = vec![0; servers];
            let start = u64::from(random.below(1_000));
            for turn in start..start + 7 * servers as u64 {
                let shard = &mut shards[random.below(3) as usize];
                counts[shard.select(&Pick { turn, ..Pick::default() }).unwrap() as usize] += 1;
            }
            assert!(counts.iter().all(|count| *count == 7), "{counts:?}");
        }
    }

    // S109, S110
    #[test]
    fn it_keeps_the_promises_of_every_selector() {
        check::promises::<RoundRobin>();
    }
}
