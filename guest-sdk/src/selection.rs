//! What a selector may look at beside its arguments. Each call costs; ask only for what is needed.

#[cfg(target_family = "wasm")]
use crate::bindings::imports::drover::plugin::selection as imported;

pub use crate::bindings::imports::drover::plugin::selection::{Load, Loads, Metadata};

/// How busy one server is, as an index into the last update. Allocates nothing.
pub fn load_of(server: u32) -> Load {
    #[cfg(target_family = "wasm")]
    return imported::load_of(server);
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| host.loads.get(server as usize).copied()).unwrap_or(Load {
        in_flight: 0,
        latency_ewma_us: 0,
        consecutive_failures: 0,
    });
}

/// How busy all are, a column each, in the order of the last update.
pub fn all_loads() -> Loads {
    #[cfg(target_family = "wasm")]
    return imported::all_loads();
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| Loads {
        in_flight: host.loads.iter().map(|load| load.in_flight).collect(),
        latency_ewma_us: host.loads.iter().map(|load| load.latency_ewma_us).collect(),
        consecutive_failures: host.loads.iter().map(|load| load.consecutive_failures).collect(),
    });
}

/// Of the message that the server is for.
pub fn message() -> Metadata {
    #[cfg(target_family = "wasm")]
    return imported::message();
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| host.message.clone());
}
