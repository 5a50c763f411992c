//! `random`: any server, all equally likely.

use drover_guest::prelude::*;
use drover_guest::random::Random as Generator;
use drover_guest::select::{Entries, no_server};

/// How often to draw again before taking the next one in the list.
const DRAWS: u32 = 8;

/// The servers' entries. A server that is named twice is twice as likely.
#[derive(Default)]
pub struct Random {
    entries: Entries,
    generator: Generator,
}

impl Random {
    /// The same choices for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { entries: Entries::default(), generator: Generator::from_seed(seed) }
    }

    /// Takes these servers.
    pub fn build(&mut self, servers: &[Server]) {
        self.entries = Entries::of(servers);
    }

    /// Any of them; none without servers.
    pub fn choose(&mut self, failed: Option<u32>) -> Option<u32> {
        if self.entries.is_empty() {
            return None;
        }
        let mut index = self.generator.below(self.entries.len());
        for _ in 1..DRAWS {
            if !self.entries.is_failed(index, failed) {
                break;
            }
            index = self.generator.below(self.entries.len());
        }
        Some(self.entries.unless_failed(index, failed))
    }
}

#[selector]
impl Select for Random {
    fn update(&mut self, app: App) -> Result<()> {
        self.build(&app.servers);
        Ok(())
    }

    fn select(&mut self, pick: &Pick) -> Result<u32> {
        self.choose(pick.failed).map_or_else(no_server, Ok)
    }
}

#[cfg(test)]
mod tests {
    use drover_guest::mock::MockHost;
    use drover_guest::select::check;

    use super::*;

    fn counts_of(servers: usize, picks: u32, failed: Option<u32>) -> Vec<u32> {
        let _host = MockHost::new().seed(107);
        let mut selector = check::updated::<Random>(&vec![1; servers]);
        let mut counts = vec![0; servers];
        for _ in 0..picks {
            counts[selector.select(&Pick { failed, ..Pick::default() }).unwrap() as usize] += 1;
        }
        counts
    }

    // S107: uniform, and the last server is among the chosen.
    #[test]
    fn all_servers_are_equally_likely() {
        for servers in [2_usize, 3, 10, 32] {
            let counts = counts_of(servers, 2_000 * servers as u32, None);
            assert!(counts.iter().all(|count| (1_750..2_250).contains(count)), "{counts:?}");
        }
        let counts = counts_of(5, 8_000, Some(2));
        assert_eq!(counts[2], 0);
        let others = counts.iter().filter(|count| **count > 0);
        assert!(others.clone().all(|count| (1_750..2_250).contains(count)), "{counts:?}");
    }

    // S107, S199
    #[test]
    fn one_server_is_chosen_ten_thousand_times() {
        assert_eq!(counts_of(1, 10_000, None), [10_000]);
        assert_eq!(counts_of(1, 10_000, Some(0)), [10_000]);
    }

    // S109, S110
    #[test]
    fn it_keeps_the_promises_of_every_selector() {
        check::promises::<Random>();
    }
}
