//! One assigned partition until it is given back: its tracker, its window and what it waits for.

use std::collections::VecDeque;
use std::sync::Arc;

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
    pub paused: bool,
    /// Acknowledged by the broker.
    pub committed: Option<i64>,
    /// Sent to the broker, its word is awaited.
    pub sent: Option<i64>,
    /// The group goes on without this member: its commits would be refused.
    pub lost: bool,
    pub received: u64,
    pub settled: u64,
    pub dropped: u64,
}

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
        position: Option<i64>,
        window: usize,
    ) -> Self {
        Self {
            topic,
            partition,
            slot,
            epoch,
            offsets: position.map(|it| Offsets::new(it, window)),
            first: position,
            window,
            handed: 0,
            bytes: 0,
            stash: VecDeque::new(),
            paused: false,
            committed: None,
            sent: None,
            lost: false,
            received: 0,
            settled: 0,
            dropped: 0,
        }
    }

    /// Takes a record in.
    pub fn take(&mut self, record: Record, share: Share) -> Taken {
        if !self.stash.is_empty() {
            self.stash.push_back(record);
            return Taken::Stashed;
        }
        self.enter(record, share)
    }

    /// The next record of the stash, if there is room for it.
    pub fn unstash(&mut self, share: Share) -> Option<Taken> {
        let record = self.stash.pop_front()?;
        match self.enter(record, share) {
            Taken::Stashed => None,
            taken => Some(taken),
        }
    }

    fn enter(&mut self, record: Record, share: Share) -> Taken {
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
            Err(Refused::Full) => {
                self.stash.push_front(record);
                Taken::Stashed
            }
            Err(Refused::Backward) => Taken::Restart(record),
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
        let is_new = self.committed.is_none_or(|it| it < low);
        (is_new && self.sent.is_none() && !self.lost).then_some(low)
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
        if self.paused || !self.stash.is_empty() {
            return 0;
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

    pub fn is_stashing(&self) -> bool {
        !self.stash.is_empty()
    }
}
