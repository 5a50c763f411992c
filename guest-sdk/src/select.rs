//! What a selector is.

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

/// An index moved to the next server where it is the one that just failed and there is another.
pub fn unless_failed(index: u32, failed: Option<u32>, servers: u32) -> u32 {
    match failed {
        Some(failed) if failed == index && servers > 1 => (index + 1) % servers,
        _ => index,
    }
}

/// An app for tests: servers `s0`, `s1` … of these weights.
pub fn app_of(weights: &[u32]) -> App {
    let server = |(index, weight): (usize, &u32)| Server {
        id: format!("s{index}"),
        uri: format!("http://s{index}"),
        weight: *weight,
        zone: String::new(),
        labels: Vec::new(),
    };
    App {
        name: "test".to_string(),
        protocol: "http".to_string(),
        path: "/".to_string(),
        server_type: String::new(),
        commands: Vec::new(),
        generation: 1,
        servers: weights.iter().enumerate().map(server).collect(),
        shard: 0,
        shards: 1,
    }
}

/// A pick for tests: the first attempt of turn and hash 0.
impl Default for Pick {
    fn default() -> Self {
        Self { command: "test".to_string(), hash: 0, attempt: 1, failed: None, turn: 0 }
    }
}
