//! What a selector is.

#[cfg(not(target_family = "wasm"))]
pub mod check;

use crate::random::mix;
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
        // Each against all before it, by hash first: lists are short, and a sort or a map would cost every selector
        // more code than all the rest of it.
        let hashes: Vec<u64> = servers.iter().map(|server| hash(server.uri.as_bytes())).collect();
        let is_same = |a: usize, b: usize| hashes[a] == hashes[b] && servers[a].uri == servers[b].uri;
        let first = (0..servers.len())
            .map(|index| (0..index).find(|before| is_same(*before, index)).unwrap_or(index) as u32);
        Self { first: first.collect() }
    }

    /// How many entries there are.
    pub fn len(&self) -> u32 {
        self.first.len() as u32
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The first entry of the same server as this one.
    pub fn first_of(&self, index: u32) -> u32 {
        self.first.get(index as usize).copied().unwrap_or(index)
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

/// 64 bits that depend on every byte (FNV-1a, then spread). The same for ever: places on a ring may depend on it.
pub fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// A pick for tests: the first attempt of turn and hash 0.
impl Default for Pick {
    fn default() -> Self {
        Self { hash: 0, attempt: 1, failed: None, turn: 0 }
    }
}
