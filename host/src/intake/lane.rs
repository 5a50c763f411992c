//! One assigned partition until it is given back: its tracker, its window and what it waits for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::ladder;
use crate::domain::offsets::{Offsets, Refused};
use crate::domain::record::Record;

pub struct Lane {
    pub topic: Arc<str>,
    pub partition: i32,
    /// In the lane table.
    pub slot: u32,
    /// Changes when the partition is assigned anew or its log was cut: acknowledgements of an older one
    /// change nothing.
    pub epoch: u32,
    pub kind: Kind,
    offsets: Option<Offsets>,
    /// Where it began to receive.
    first: Option<i64>,
    window: usize,
    /// Handed over and not acknowledged, settled or dropped.
    pub handed: u32,
    /// What these weigh.
    pub bytes: usize,
    /// Taken from the client when there was no room; in order, before anything taken later.
    stash: VecDeque<Record>,
    /// What these weigh.
    stashed: usize,
    /// When the first of the stash is due, in ms since 1970. Of rungs.
    waits_until: Option<u64>,
    pub paused: bool,
    /// Acknowledged by the broker.
    pub committed: Option<i64>,
    /// When it last was.
    pub committed_at: Instant,
    /// Sent to the broker, its word is awaited.
    pub sent: Option<i64>,
    /// The group goes on without this member: its commits would be refused.
    pub lost: bool,
    pub received: u64,
    pub settled: u64,
    pub dropped: u64,
}

/// What a lane's records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fresh messages.
    Source,
    /// Those of a source that wait, until each is due.
    Rung {
        /// The topic that they came from.
        source: Arc<str>,
        /// Slot of that topic's lane of the same partition: what is ordered by partition goes to its shard.
        home: u32,
    },
}

/// What a rung's lane holds in memory of those that are not due: what it takes now is not fetched again each time
/// that some are.
const STASH_MESSAGES: usize = 256;
const STASH_BYTES: usize = 128 << 10;

/// Kafka keeps the offsets of what nobody subscribes to for 7 days, or as its operator says.
const COMMIT_AGAIN: Duration = Duration::from_secs(6 * 3_600);

/// A lane's share of its group's budgets: what it may have handed over at once. One message always fits,
/// however large (P11).
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub bytes: usize,
    pub messages: usize,
}

/// What to do with a record that was taken.
pub enum Taken {
    Hand(Record),
    /// Kept until there is room.
    Stashed,
    /// Its offset lies behind what was received: the log was cut or recreated, the lane begins anew with it.
    Restart(Record),
}

impl Lane {
    pub fn new(
        (topic, partition): (Arc<str>, i32),
        (slot, epoch): (u32, u32),
        kind: Kind,
        position: Option<i64>,
        window: usize,
    ) -> Self {
        Self {
            topic,
            partition,
            slot,
            epoch,
            kind,
            offsets: position.map(|it| Offsets::new(it, window)),
            first: position,
            window,
            handed: 0,
            bytes: 0,
            stash: VecDeque::new(),
            stashed: 0,
            waits_until: None,
            paused: false,
            committed: None,
            committed_at: Instant::now(),
            sent: None,
            lost: false,
            received: 0,
            settled: 0,
            dropped: 0,
        }
    }

    /// Takes a record in.
    pub fn take(&mut self, record: Record, share: Share, now_ms: u64) -> Taken {
        if !self.stash.is_empty() {
            self.stashed += record.bytes();
            self.stash.push_back(record);
            return Taken::Stashed;
        }
        self.enter(record, share, now_ms)
    }

    /// The next record of the stash, if it is due and there is room for it.
    pub fn unstash(&mut self, share: Share, now_ms: u64) -> Option<Taken> {
        if self.waits(now_ms) {
            return None;
        }
        let record = self.stash.pop_front()?;
        self.stashed -= record.bytes();
        match self.enter(record, share, now_ms) {
            Taken::Stashed => None,
            taken => Some(taken),
        }
    }

    fn enter(&mut self, record: Record, share: Share, now_ms: u64) -> Taken {
        self.waits_until = match self.kind {
            Kind::Source => None,
            Kind::Rung { .. } => Some(ladder::release_ms(record.headers())).filter(|it| *it > now_ms),
        };
        if self.waits_until.is_some() {
            return self.put_back(record);
        }
        let offsets = self.offsets.get_or_insert_with(|| Offsets::new(record.offset, self.window));
        self.first.get_or_insert(record.offset);
        let bytes = record.bytes();
        let is_within = self.bytes + bytes <= share.bytes && (self.handed as usize) < share.messages;
        let fits = self.handed == 0 || is_within;
        match if fits { offsets.receive(record.offset) } else { Err(Refused::Full) } {
            Ok(()) => {
                self.handed += 1;
                self.bytes += bytes;
                self.received += 1;
                Taken::Hand(record)
            }
            Err(Refused::Full) => self.put_back(record),
            Err(Refused::Backward) => Taken::Restart(record),
        }
    }

    fn put_back(&mut self, record: Record) -> Taken {
        self.stashed += record.bytes();
        self.stash.push_front(record);
        Taken::Stashed
    }

    /// Whether its first record is not due.
    pub fn waits(&self, now_ms: u64) -> bool {
        self.waits_until.is_some_and(|it| it > now_ms)
    }

    /// When its first record is due, in ms since 1970.
    pub fn waits_until(&self) -> Option<u64> {
        self.waits_until
    }

    /// Whether to fetch no more for now.
    pub fn is_stashed_full(&self) -> bool {
        match self.kind {
            Kind::Source => !self.stash.is_empty(),
            Kind::Rung { .. } => self.stash.len() >= STASH_MESSAGES || self.stashed >= STASH_BYTES,
        }
    }

    /// Whether to fetch again, having stopped.
    pub fn is_stash_low(&self) -> bool {
        match self.kind {
            Kind::Source => self.stash.is_empty(),
            Kind::Rung { .. } => self.stash.len() * 2 <= STASH_MESSAGES && self.stashed * 2 <= STASH_BYTES,
        }
    }

    /// Begins anew at another place of the log; what is in flight is acknowledged to nobody.
    pub fn restart(&mut self, epoch: u32) {
        self.dropped += u64::from(self.handed);
        self.epoch = epoch;
        self.offsets = None;
        self.first = None;
        self.handed = 0;
        self.bytes = 0;
        self.committed = None;
        self.sent = None;
    }

    pub fn acknowledge(&mut self, offset: i64, bytes: u32, settled: bool) {
        self.handed -= 1;
        self.bytes -= bytes as usize;
        if settled {
            self.settled += 1;
            if let Some(offsets) = &mut self.offsets {
                offsets.settle(offset);
            }
        } else {
            self.dropped += 1;
        }
    }

    /// The position to commit, where it is not with the broker already. None while one is under way: the client
    /// tries some refusals again by itself, and an old position that is tried again would overtake the new one.
    pub fn to_commit(&self) -> Option<i64> {
        let low = self.low()?;
        let is_new = self.committed.is_none_or(|it| it < low) || self.is_stale(self.committed_at.elapsed());
        (is_new && self.sent.is_none() && !self.lost).then_some(low)
    }

    /// Offsets of rungs expire even in an active group, which does not subscribe to them: idle ones are committed
    /// again.
    fn is_stale(&self, age: Duration) -> bool {
        matches!(self.kind, Kind::Rung { .. }) && self.committed.is_some() && age > COMMIT_AGAIN
    }

    /// Whether the broker has all that it can have, or never will.
    pub fn is_committed(&self) -> bool {
        self.lost || (self.sent.is_none() && self.to_commit().is_none())
    }

    /// Offsets settled and not committed: at most so many messages come again when another goes on from there.
    pub fn uncommitted(&self) -> u64 {
        let Some((offsets, first)) = self.offsets.as_ref().zip(self.committed.or(self.first)) else {
            return 0;
        };
        u64::try_from(offsets.next() - first).unwrap_or(0).saturating_sub(u64::from(offsets.open()))
    }

    pub fn low(&self) -> Option<i64> {
        self.offsets.as_ref().map(Offsets::low)
    }

    pub fn next(&self) -> Option<i64> {
        self.offsets.as_ref().map(Offsets::next)
    }

    /// Records that may be taken for it before it is full.
    pub fn room(&self, share: Share) -> usize {
        if self.paused {
            return 0;
        }
        if !self.stash.is_empty() {
            return match self.kind {
                Kind::Source => 0,
                Kind::Rung { .. } => STASH_MESSAGES.saturating_sub(self.stash.len()),
            };
        }
        let of_window = self.offsets.as_ref().map_or(self.window, Offsets::room);
        of_window.min(share.messages.saturating_sub(self.handed as usize))
    }

    /// Whether what it holds leaves half of its window and share free: then it is worth fetching again.
    pub fn has_drained(&self, share: Share) -> bool {
        let room = self.offsets.as_ref().map_or(self.window, Offsets::room);
        let handed = self.handed as usize;
        room * 2 >= self.window && self.bytes * 2 <= share.bytes && handed * 2 <= share.messages
    }

    /// Messages that it holds and that are not handed over.
    pub fn stashed(&self) -> usize {
        self.stash.len()
    }

    /// Whether it has a part in its group's budgets: rungs have while something of them is under way.
    pub fn is_active(&self) -> bool {
        self.kind == Kind::Source || self.handed > 0
    }
}
