//! Where a key lands: the hashes that producers in the field use, so that old and new producers of a
//! topic keep the order of a key (S114), and the rule for what a record's key is (S36).
//!
//! A topic's partitioner is whatever its other producers use. For a new topic take `Murmur2` (what Java
//! uses, and our own producer) or any other but `Bigpipe`, which is here for bigpipe's topics only: its
//! multiplier is 33, so over 3, 11 or 33 partitions only the last character counts (S207).

use std::num::NonZeroU32;

/// How a producer places keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioner {
    /// Sarama's: alpaca-mq, dispatcher. librdkafka calls it `fnv1a`.
    Fnv1a,
    /// Java's.
    Murmur2,
    /// librdkafka's default, `consistent`.
    Crc32,
    /// bigpipe's own.
    Bigpipe,
}

impl Partitioner {
    /// The partition of a key; none where any will do: no key, or a topic that is not there yet.
    /// An empty key is a key for all but bigpipe.
    pub fn partition(self, key: Option<&[u8]>, partitions: i32) -> Option<i32> {
        let partitions = NonZeroU32::new(u32::try_from(partitions).ok()?)?;
        let key = key?;
        let partition = match self {
            Self::Fnv1a => fnv1a(key, partitions),
            Self::Murmur2 => murmur2(key, partitions),
            Self::Crc32 => crc32(key, partitions),
            Self::Bigpipe if key.is_empty() => return None,
            Self::Bigpipe => bigpipe(&String::from_utf8_lossy(key), partitions),
        };
        // Below the count of partitions, which is an i32.
        i32::try_from(partition).ok()
    }
}

/// S36: the key that was given, else the topic's name where the whole topic is to keep its order,
/// else none (any partition).
pub fn key_of<'a>(given: Option<&'a [u8]>, ensure_order: bool, topic: &'a str) -> Option<&'a [u8]> {
    let given = given.filter(|it| !it.is_empty());
    given.or(ensure_order.then_some(topic.as_bytes()))
}

/// FNV-1a over the bytes; the hash is taken for a signed number, its remainder for an unsigned one.
pub fn fnv1a(key: &[u8], partitions: NonZeroU32) -> u32 {
    (fnv1a_hash(key) as i32).unsigned_abs() % partitions
}

/// Java's murmur2 without its sign bit.
pub fn murmur2(key: &[u8], partitions: NonZeroU32) -> u32 {
    (murmur2_hash(key) & 0x7fff_ffff) % partitions
}

/// The checksum of zip and PNG.
pub fn crc32(key: &[u8], partitions: NonZeroU32) -> u32 {
    crc32fast::hash(key) % partitions
}

/// bigpipe's hash; it goes by code points, not by bytes.
pub fn bigpipe(key: &str, partitions: NonZeroU32) -> u32 {
    let count = u64::from(partitions.get());
    // Below 2^32 after each step, so the next product fits.
    let hash = key.chars().fold(0_u64, |hash, it| (hash * 33 + u64::from(u32::from(it))) % count);
    hash as u32
}

fn fnv1a_hash(key: &[u8]) -> u32 {
    key.iter().fold(0x811c_9dc5, |hash: u32, it| (hash ^ u32::from(*it)).wrapping_mul(0x0100_0193))
}

fn murmur2_hash(key: &[u8]) -> u32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ key.len() as u32;
    let mut blocks = key.chunks_exact(4);
    for block in &mut blocks {
        let mut part = block.iter().rev().fold(0, |part: u32, it| part << 8 | u32::from(*it));
        part = part.wrapping_mul(MULTIPLIER);
        part ^= part >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ part.wrapping_mul(MULTIPLIER);
    }
    let rest = blocks.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |part: u32, it| part << 8 | u32::from(*it));
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Partitioner; 4] =
        [Partitioner::Fnv1a, Partitioner::Murmur2, Partitioner::Crc32, Partitioner::Bigpipe];

    fn of(partitions: u32) -> NonZeroU32 {
        NonZeroU32::new(partitions).unwrap()
    }

    /// The vectors of FNV's authors.
    #[test]
    fn fnv1a_hashes() {
        let cases: [(&str, u32); 5] = [
            ("", 0x811c_9dc5),
            ("a", 0xe40c_292c),
            ("b", 0xe70c_2de5),
            ("foobar", 0xbf9c_f968),
            ("foob", 0x3f50_76ef),
        ];
        for (key, hash) in cases {
            assert_eq!(fnv1a_hash(key.as_bytes()), hash, "{key:?}");
        }
    }

    /// The vectors that librdkafka holds against Go's and Java's hashes: key, Go's FNV-1a without its sign,
    /// Java's murmur2.
    #[test]
    fn hashes_agree_with_other_clients() {
        let cases: [(&str, u32, u32); 11] = [
            ("kafka", 0x0d33_c4e1, 0xd067_cf64),
            ("giberish123456789", 0x77a5_8295, 0x8f55_2b0c),
            ("1234", 0x023b_dd03, 0x9fc9_7b14),
            ("234", 0x2dea_3cd2, 0xe7c0_09ca),
            ("34", 0x740f_a83e, 0x8739_30da),
            ("4", 0x310c_a263, 0x5a4b_5ca1),
            ("PreAmbleWillBeRemoved,ThePrePartThatIs", 0x65cb_d69c, 0x7842_4f1c),
            ("reAmbleWillBeRemoved,ThePrePartThatIs", 0x6e49_c79a, 0x4a62_b377),
            ("eAmbleWillBeRemoved,ThePrePartThatIs", 0x69ee_d356, 0xe0e4_e09e),
            ("AmbleWillBeRemoved,ThePrePartThatIs", 0x6abc_c023, 0x62b8_b43f),
            ("", 0x7ee3_623b, 0x106e_08d9),
        ];
        for (key, fnv, murmur) in cases {
            let bytes = key.as_bytes();
            assert_eq!((fnv1a_hash(bytes) as i32).unsigned_abs(), fnv, "{key:?}");
            assert_eq!(murmur2_hash(bytes), murmur, "{key:?}");
            assert_eq!(fnv1a(bytes, of(33)), fnv % 33, "{key:?}");
            assert_eq!(murmur2(bytes, of(33)), (murmur & 0x7fff_ffff) % 33, "{key:?}");
        }
    }

    /// Go's `%` truncates and keeps the sign of the left side, which sarama then drops. This is the same as
    /// the remainder of the amount, also for the one number whose amount is no i32.
    #[test]
    fn the_sign_is_dropped_as_in_go() {
        for hash in [0, 1, -1, 7, -7, i32::MAX, i32::MIN, i32::MIN + 1] {
            for count in [1, 2, 3, 7, 11, 33, 1_000] {
                let go = i64::from(hash) % i64::from(count);
                assert_eq!(i64::from(hash.unsigned_abs() % count as u32), go.abs(), "{hash} {count}");
            }
        }
    }

    #[test]
    fn crc32_is_the_usual_one() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b"123456789", of(12)), 0xcbf4_3926 % 12);
        assert_eq!(crc32(b"", of(12)), 0);
    }

    /// By hand, after the rule.
    #[test]
    fn bigpipe_goes_by_code_points() {
        let cases = [("a", 10, 7), ("ab", 10, (7 * 33 + 98) % 10), ("发", 1_000_000, 0x53d1), ("", 7, 0)];
        for (key, partitions, partition) in cases {
            assert_eq!(bigpipe(key, of(partitions)), partition, "{key:?}");
        }
        assert!(bigpipe(&"\u{10ffff}".repeat(1_000), of(u32::MAX)) < u32::MAX);
    }

    /// S36.
    #[test]
    fn the_key_that_was_given_else_the_topic_else_none() {
        type Key<'a> = Option<&'a [u8]>;
        let cases: [(Key<'_>, bool, Key<'_>); 5] = [
            (Some(b"k"), true, Some(b"k")),
            (Some(b"k"), false, Some(b"k")),
            (None, true, Some(b"orders")),
            (Some(b""), true, Some(b"orders")),
            (None, false, None),
        ];
        for (given, ensure_order, key) in cases {
            assert_eq!(key_of(given, ensure_order, "orders"), key);
        }
    }

    #[test]
    fn no_key_and_no_topic_leave_the_choice() {
        for it in ALL {
            assert_eq!(it.partition(None, 3), None);
            assert_eq!(it.partition(Some(b"k"), 0), None);
            assert_eq!(it.partition(Some(b"k"), -1), None);
            assert_eq!(it.partition(Some(b"k"), 1), Some(0));
            assert_eq!(it.partition(Some(b"\xff\x00"), 1), Some(0));
            assert_eq!(it.partition(Some(b""), 5).is_none(), it == Partitioner::Bigpipe);
        }
    }

    /// S114: the same key, the same partition.
    #[test]
    fn a_key_stays_where_it_is() {
        for it in ALL {
            for key in ["order-1", "订单", "x"] {
                let first = it.partition(Some(key.as_bytes()), 33);
                assert!(first.is_some_and(|it| (0..33).contains(&it)));
                assert_eq!(it.partition(Some(key.as_bytes()), 33), first);
            }
        }
    }

    /// S36, S207: 4,000 keys a partition; 8 % is five times the spread that chance allows.
    #[test]
    fn keys_spread_evenly_over_3_11_and_33_partitions() {
        type Key = fn(usize) -> String;
        let shapes: [Key; 4] = [
            |it| format!("{it}"),
            |it| format!("order-{it:08}"),
            |it| format!("{it}-the-same-suffix"),
            |it| format!("用户{it}@example.com"),
        ];
        for partitioner in [Partitioner::Fnv1a, Partitioner::Murmur2, Partitioner::Crc32] {
            for partitions in [3_usize, 11, 33] {
                for shape in shapes {
                    let mut counts = vec![0; partitions];
                    for number in 0..4_000 * partitions {
                        let key = shape(number);
                        let at = partitioner.partition(Some(key.as_bytes()), partitions as i32).unwrap();
                        counts[at as usize] += 1;
                    }
                    let even = counts.iter().all(|it| (3_680..=4_320).contains(it));
                    assert!(even, "{partitioner:?} {} {counts:?}", shape(1));
                }
            }
        }
    }

    /// S207: why bigpipe's hash is for bigpipe's topics only.
    #[test]
    fn bigpipe_sees_only_the_last_character_over_3_partitions() {
        let at = |key: &str| bigpipe(key, of(3));
        assert!((0..100).all(|it| at(&format!("{it}-x")) == at("x")));
    }
}
