//! Where a message waits that is not to be tried yet: a ladder of topics, each of which holds what it is given for
//! one constant time, so that the first of its records is the first that is due. Waiting costs no memory and
//! survives whatever Kafka survives.
//!
//! A wait of any length is gone down in steps: on the longest rung that fits, then on the next, so that 36 hours
//! take 17 writes at most. What is left in the end, less than the shortest rung, is waited out in memory.
//!
//! Each topic that a group reads has its own ladder, with its own number of partitions: whoever reads a partition
//! reads the same one of every rung, so one host sees all of a key, waiting or fresh (`docs/decisions/0011`).

use std::fmt;

use crate::domain::hash::hash;
use crate::domain::headers::Headers;

/// Why something waits. Each has topics of its own, so that many delays hold up no retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// An attempt failed.
    Retry,
    /// It was sent with a delay, or its handler deferred it.
    Delay,
}

impl Purpose {
    pub const ALL: [Self; 2] = [Self::Retry, Self::Delay];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Delay => "delay",
        }
    }
}

/// One rung: by its number, the shortest is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rung(u8);

/// From one second to 36 hours and 24 minutes, each twice as long as the one before.
const RUNGS: u8 = 18;

impl Rung {
    pub const SHORTEST: Self = Self(0);
    pub const LONGEST: Self = Self(RUNGS - 1);

    /// How long it holds a record, in ms.
    pub const fn ms(self) -> u64 {
        1_000 << self.0
    }

    /// The longest that is over when this many ms are; none where that is less than any.
    pub fn within(wait_ms: u64) -> Option<Self> {
        let seconds = wait_ms / 1_000;
        let log = seconds.checked_ilog2()?;
        Some(Self((log as u8).min(RUNGS - 1)))
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..RUNGS).map(Self)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.ms() / 1_000)
    }
}

/// The names of one ladder's topics: `<group>.<topic>.<purpose>.<rung>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    stem: String,
}

/// Kafka's limit for the name of a topic, and what stands behind the stem at most.
const NAME_MAX: usize = 249;
const BEHIND_STEM: usize = ".retry.131072s".len();

impl Names {
    /// The ladder of a topic that a group reads. Two long names that are cut alike differ by their hash.
    pub fn new(group: &str, topic: &str) -> Self {
        // `group:topic` is a good group, but no good topic.
        let mut stem = format!("{}.{topic}", group.replace(':', "-"));
        if stem.len() + BEHIND_STEM > NAME_MAX {
            let hash = format!("-{:016x}", hash(stem.as_bytes()));
            stem.truncate(NAME_MAX - BEHIND_STEM - hash.len());
            stem.push_str(&hash);
        }
        Self { stem }
    }

    pub fn topic(&self, purpose: Purpose, rung: Rung) -> String {
        format!("{}.{}.{rung}", self.stem, purpose.as_str())
    }

    /// Which rung of this ladder a topic is.
    pub fn find(&self, topic: &str) -> Option<(Purpose, Rung)> {
        let rest = topic.strip_prefix(&self.stem)?.strip_prefix('.')?;
        let (purpose, rung) = rest.split_once('.')?;
        let purpose = Purpose::ALL.into_iter().find(|it| it.as_str() == purpose)?;
        Some((purpose, Rung::all().find(|it| it.to_string() == rung)?))
    }
}

/// The header that stands before those that drover adds to a record on a rung. Its value: when this rung lets it
/// go, in ms since 1970.
pub const RELEASE: &[u8] = b"drover-rung";

/// When its rung lets a record go. The last of these headers is ours, whatever a producer has written. A record
/// without any is nothing that drover wrote: it waits for nothing.
pub fn release_ms(headers: &[u8]) -> u64 {
    let ours = Headers::new(headers).filter(|it| it.name == RELEASE).last();
    let text = ours.and_then(|it| std::str::from_utf8(it.value?).ok());
    text.and_then(|it| it.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::headers;

    /// S53: any length, by a bounded number of writes, never early, and what is left at the end is less than a rung.
    #[test]
    fn any_wait_is_gone_down_in_few_steps() {
        for wait_ms in [0, 1, 999, 1_000, 1_999, 2_000, 86_399_000, 131_072_000, 262_143_999, u64::MAX / 4] {
            let (mut left, mut writes) = (wait_ms, 0_u64);
            let turns = (wait_ms / Rung::LONGEST.ms()).saturating_sub(1);
            // A year and more stays on the longest rung: those steps are only counted.
            left -= turns * Rung::LONGEST.ms();
            while let Some(rung) = Rung::within(left) {
                assert!(rung.ms() <= left, "never early");
                left -= rung.ms();
                writes += 1;
            }
            assert!(left < Rung::SHORTEST.ms(), "{wait_ms}");
            assert!(writes <= 19, "{wait_ms}: {writes}");
        }
        assert_eq!(Rung::within(Rung::LONGEST.ms() - 1), Some(Rung(RUNGS - 2)));
    }

    #[test]
    fn names_lead_there_and_back() {
        let names = Names::new("shop:orders", "orders.v1");
        assert_eq!(names.topic(Purpose::Retry, Rung::SHORTEST), "shop-orders.orders.v1.retry.1s");
        assert_eq!(names.topic(Purpose::Delay, Rung::LONGEST), "shop-orders.orders.v1.delay.131072s");
        for purpose in Purpose::ALL {
            for rung in Rung::all() {
                assert_eq!(names.find(&names.topic(purpose, rung)), Some((purpose, rung)));
            }
        }
        for other in ["orders.v1.retry.1s", "shop-orders.orders.v1.retry.3s", "shop-orders.orders.v1", ""] {
            assert_eq!(names.find(other), None, "{other}");
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let of = |end: &str| Names::new(&"g".repeat(200), &format!("{}{end}", "t".repeat(240)));
        let (one, two) =
            (of("a").topic(Purpose::Retry, Rung::LONGEST), of("b").topic(Purpose::Retry, Rung::LONGEST));
        assert!(one.len() <= NAME_MAX && one != two, "{one}");
        assert_eq!(of("a").find(&one), Some((Purpose::Retry, Rung::LONGEST)));
    }

    #[test]
    fn a_producers_header_of_that_name_says_nothing() {
        let mut block = Vec::new();
        assert_eq!(release_ms(&block), 0);
        headers::push(&mut block, RELEASE, Some(b"99999999999999"));
        headers::push(&mut block, b"drover-attempt", Some(b"2"));
        headers::push(&mut block, RELEASE, Some(b"17"));
        assert_eq!(release_ms(&block), 17);
        headers::push(&mut block, RELEASE, None);
        assert_eq!(release_ms(&block), 0);
    }
}
