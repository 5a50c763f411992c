//! The hash that orders, shards and consistent hashing go by: xxh3, the same on every host and in every
//! version, so that a key keeps its server through restarts.

/// Of a key's bytes.
pub fn hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}
