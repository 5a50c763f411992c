//! Random numbers that cost a nanosecond, for choosing servers. Not for secrets.

/// A generator (SplitMix64): any seed is good, the period is 2^64.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The same numbers for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "it never ends, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `end`, all equally likely; 0 where `end` is 0.
    pub fn below(&mut self, end: u32) -> u32 {
        // Lemire's method: the high half of a product, with the few values that would favour some drawn again.
        loop {
            let product = (self.next() >> 32) * u64::from(end);
            let low = product as u32;
            if low >= end || low >= end.wrapping_neg() % end.max(1) {
                return (product >> 32) as u32;
            }
        }
    }
}

/// An instance's generator, with a seed from the host.
impl Default for Random {
    fn default() -> Self {
        Self::from_seed(seed())
    }
}

/// Spreads each bit of the input over all bits of the result.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// 64 bits of the host's randomness.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    #[cfg(not(target_family = "wasm"))]
    if let Some(seed) = crate::mock::with(|host| host.seed) {
        return seed;
    }
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_uniform_and_reaches_the_last() {
        let mut random = Random::from_seed(1);
        for end in [1_u32, 2, 3, 7, 32] {
            let mut counts = vec![0_u32; end as usize];
            for _ in 0..end * 2_000 {
                counts[random.below(end) as usize] += 1;
            }
            assert!(counts.iter().all(|count| (1_700..2_300).contains(count)), "{end}: {counts:?}");
        }
        assert_eq!(random.below(0), 0);
    }
}
