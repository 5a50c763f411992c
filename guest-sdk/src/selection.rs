//! What a selector may look at beside its arguments. Each call costs; ask only for what is needed.

#[cfg(target_family = "wasm")]
use crate::bindings::imports::drover::plugin::selection as imported;

pub use crate::bindings::imports::drover::plugin::selection::{Loads, Metadata};

/// How busy one server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests under way on this host; at most [`Load::IN_FLIGHT_MAX`].
    pub in_flight: u32,
    /// Exponentially weighted mean of the latency; 0 before the first answer.
    pub latency_ewma_us: u32,
    /// At most [`Load::FAILURES_MAX`].
    pub consecutive_failures: u32,
}

impl Load {
    /// The most requests under way that are told.
    pub const IN_FLIGHT_MAX: u32 = (1 << 24) - 1;
    /// The most failures in a row that are told.
    pub const FAILURES_MAX: u32 = 255;

    /// As the contract has it, one number: bits 0 to 31 the latency, 32 to 39 the failures, 40 to 63 the requests.
    pub const fn packed(self) -> u64 {
        const fn least(a: u32, b: u32) -> u64 {
            if a < b { a as u64 } else { b as u64 }
        }
        let (failures, in_flight) = (
            least(self.consecutive_failures, Self::FAILURES_MAX),
            least(self.in_flight, Self::IN_FLIGHT_MAX),
        );
        self.latency_ewma_us as u64 | failures << 32 | in_flight << 40
    }

    /// From the contract's number.
    pub const fn from_packed(packed: u64) -> Self {
        Self {
            in_flight: (packed >> 40) as u32,
            latency_ewma_us: packed as u32,
            consecutive_failures: (packed >> 32) as u32 & Self::FAILURES_MAX,
        }
    }
}

/// How busy one server is, as an index into the last update. Allocates nothing.
pub fn load_of(server: u32) -> Load {
    #[cfg(target_family = "wasm")]
    let packed = imported::load_of(server);
    #[cfg(not(target_family = "wasm"))]
    let packed =
        crate::mock::with(|host| host.loads.get(server as usize).copied()).unwrap_or_default().packed();
    Load::from_packed(packed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn load(in_flight: u32, latency_ewma_us: u32, consecutive_failures: u32) -> Load {
        Load { in_flight, latency_ewma_us, consecutive_failures }
    }

    #[test]
    fn the_bits_are_the_contracts() {
        assert_eq!(load(1, 2, 3).packed(), 1 << 40 | 3 << 32 | 2);
        assert_eq!(load(u32::MAX, u32::MAX, u32::MAX).packed(), u64::MAX);
        assert_eq!(Load::from_packed(load(1 << 24, 0, 256).packed()), load((1 << 24) - 1, 0, 255));
    }

    #[test]
    fn a_load_comes_back() {
        let mut random = Random::from_seed(14);
        for _ in 0..10_000 {
            let it = load(random.below(1 << 24), random.next() as u32, random.below(256));
            assert_eq!(Load::from_packed(it.packed()), it);
        }
        assert_eq!(Load::from_packed(0), Load::default());
    }
}
