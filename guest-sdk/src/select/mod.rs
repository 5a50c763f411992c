//! What a selector is.

#[cfg(not(target_family = "wasm"))]
pub mod check;

use crate::{App, Pick, Result, Server};

/// Chooses the server for each attempt. One value for each app and shard, made by `Default`.
pub trait Select: Default {
    /// The servers in service have changed; also called before the first `select`.
    ///
    /// Errors: keep the host from using this selector; it falls back to its own.
    fn update(&mut self, app: App) -> Result<()>;

    /// An index into the last update's servers. On the way of every message: no allocation, no loop over much.
    ///
    /// Errors: say why there is no server, like [`no_server`].
    fn select(&mut self, pick: &Pick) -> Result<u32>;
}

/// The error for an empty list of servers.
pub fn no_server<T>() -> Result<T> {
    Err(crate::Error::retry("no server is in service"))
}

/// Which entries of the list are the same server: a list may name one several times, to give it more weight.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// For each entry the first one of the same uri.
    first: Vec<u32>,
}

impl Entries {
    /// Of an update's list.
    pub fn of(servers: &[Server]) -> Self {
        // Sorted rather than hashed: a hash map would need a seed from the host.
        let mut by_uri: Vec<u32> = (0..servers.len() as u32).collect();
        by_uri.sort_unstable_by_key(|index| (servers[*index as usize].uri.as_str(), *index));
        let mut first = vec![0; servers.len()];
        for same in by_uri.chunk_by(|a, b| servers[*a as usize].uri == servers[*b as usize].uri) {
            for index in same {
                first[*index as usize] = same[0];
            }
        }
        Self { first }
    }

    /// How many entries there are.
    pub fn len(&self) -> u32 {
        self.first.len() as u32
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Whether this entry is the server that failed.
    pub fn is_failed(&self, index: u32, failed: Option<u32>) -> bool {
        let Some(failed) = failed.and_then(|failed| self.first.get(failed as usize)) else { return false };
        self.first.get(index as usize) == Some(failed)
    }

    /// This entry, or the next one that is another server where this one has just failed; the same where there
    /// is no other.
    pub fn unless_failed(&self, index: u32, failed: Option<u32>) -> u32 {
        let mut after = (index..self.len()).chain(0..index);
        after.find(|entry| !self.is_failed(*entry, failed)).unwrap_or(index)
    }
}

/// A pick for tests: the first attempt of turn and hash 0.
impl Default for Pick {
    fn default() -> Self {
        Self { command: "test".to_string(), hash: 0, attempt: 1, failed: None, turn: 0 }
    }
}
