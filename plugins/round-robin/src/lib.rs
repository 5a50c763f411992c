//! `round-robin`: each server in turn. Exact over all shards, since the host counts the turns.

use drover_guest::prelude::*;
use drover_guest::select::{no_server, unless_failed};

/// The server of a turn among so many; none where there are none.
pub fn server_of(turn: u64, failed: Option<u32>, servers: u32) -> Option<u32> {
    let index = turn.checked_rem(u64::from(servers))?;
    Some(unless_failed(index as u32, failed, servers))
}

/// How many servers there are.
#[derive(Default)]
pub struct RoundRobin {
    servers: u32,
}

#[selector]
impl Select for RoundRobin {
    fn update(&mut self, app: App) -> Result<()> {
        self.servers = app.servers.len() as u32;
        Ok(())
    }

    fn select(&mut self, pick: &Pick) -> Result<u32> {
        server_of(pick.turn, pick.failed, self.servers).map_or_else(no_server, Ok)
    }
}

#[cfg(test)]
mod tests {
    use drover_guest::random::Random;
    use drover_guest::select::app_of;

    use super::*;

    fn of(servers: usize) -> RoundRobin {
        let mut selector = RoundRobin::default();
        selector.update(app_of(&vec![1; servers])).unwrap();
        selector
    }

    // S106: exact over N calls, also where several instances share the turns.
    #[test]
    fn every_server_gets_the_same_number_of_turns() {
        let mut random = Random::from_seed(106);
        for servers in 1..=33_usize {
            let mut shards = [of(servers), of(servers), of(servers)];
            let mut counts = vec![0; servers];
            let start = u64::from(random.below(1_000));
            for turn in start..start + 7 * servers as u64 {
                let shard = &mut shards[random.below(3) as usize];
                counts[shard.select(&Pick { turn, ..Pick::default() }).unwrap() as usize] += 1;
            }
            assert!(counts.iter().all(|count| *count == 7), "{counts:?}");
        }
    }

    // S109
    #[test]
    fn without_servers_there_is_an_error() {
        assert!(of(0).select(&Pick::default()).unwrap_err().reason().starts_with("no server"));
        assert!(RoundRobin::default().select(&Pick::default()).is_err());
    }

    // S110
    #[test]
    fn the_server_that_failed_is_passed_over_where_there_is_another() {
        for servers in 1..=5_u32 {
            for turn in (0..12).chain([u64::MAX]) {
                for failed in 0..=servers {
                    let chosen = of(servers as usize)
                        .select(&Pick { turn, failed: Some(failed), attempt: 2, ..Pick::default() })
                        .unwrap();
                    assert!(chosen < servers);
                    assert!(chosen != failed || servers == 1);
                }
            }
        }
    }
}
