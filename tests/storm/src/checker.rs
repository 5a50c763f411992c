//! What must not be, found in a history. The words are those of Jepsen's checker for Kafka, where it has one.
//!
//! Everything is found by sorting and one pass: a million messages take seconds. What is merely the price of
//! at-least-once, and what is a bug, is not decided here but by the table in `explain`.

use std::collections::BTreeMap;

use crate::books::{Books, Message, Outcome};
use crate::history::{Attempt, Id, Lane, Micros};

/// The kinds of anomalies, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// No outcome, and the group is past it or has parked it: nobody will come back to it.
    Lost,
    /// No outcome, and the group stands before it, though there was time.
    Unseen,
    /// An outcome of what was never produced.
    Phantom,
    /// A commit past a message that was neither ended nor parked.
    CommitBeyond,
    /// A message was delivered before an earlier one of its key had any outcome, which that had later.
    Overtaken,
    /// A message was tried again, or was still being tried, when a later one of its key was delivered already.
    Rewound,
    /// Two attempts of one key were open at once.
    Overlapping,
    /// A second outcome.
    Duplicate,
}

impl Class {
    pub const ALL: [Self; 8] = [
        Self::Lost,
        Self::Unseen,
        Self::Phantom,
        Self::CommitBeyond,
        Self::Overtaken,
        Self::Rewound,
        Self::Overlapping,
        Self::Duplicate,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Unseen => "unseen",
            Self::Phantom => "phantom",
            Self::CommitBeyond => "commit beyond an unfinished message",
            Self::Overtaken => "reordered: overtaken",
            Self::Rewound => "reordered: rewound",
            Self::Overlapping => "reordered: overlapping",
            Self::Duplicate => "duplicate",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// `at`: the commit that passed it was seen, or it was parked.
    Lost {
        id: Id,
        at: Micros,
    },
    Unseen {
        id: Id,
        at: Micros,
    },
    Phantom {
        id: Id,
    },
    CommitBeyond {
        lane: Lane,
        offset: i64,
        at: Micros,
        /// Of the messages that it passed the one that ended last, or not at all.
        unfinished: Id,
    },
    /// `by` was delivered first.
    Overtaken {
        id: Id,
        by: Attempt,
    },
    /// `parked`: two copies of it may be about, and who made the second is not known.
    Rewound {
        id: Id,
        first: Outcome,
        by: Attempt,
        again: Attempt,
        parked: bool,
    },
    Overlapping {
        earlier: Attempt,
        later: Attempt,
    },
    Duplicate {
        id: Id,
        before: Outcome,
        again: Outcome,
        parked: bool,
    },
}

impl Anomaly {
    pub fn class(&self) -> Class {
        match self {
            Self::Lost { .. } => Class::Lost,
            Self::Unseen { .. } => Class::Unseen,
            Self::Phantom { .. } => Class::Phantom,
            Self::CommitBeyond { .. } => Class::CommitBeyond,
            Self::Overtaken { .. } => Class::Overtaken,
            Self::Rewound { .. } => Class::Rewound,
            Self::Overlapping { .. } => Class::Overlapping,
            Self::Duplicate { .. } => Class::Duplicate,
        }
    }
}

/// All anomalies, class by class.
pub fn anomalies(books: &Books) -> Vec<Anomaly> {
    let mut found = Vec::new();
    without_outcome(books, &mut found);
    found.extend(books.phantoms.iter().map(|id| Anomaly::Phantom { id: *id }));
    commits(books, &mut found);
    order(books, &mut found);
    overlaps(books, &mut found);
    for message in &books.messages {
        let (id, parked) = (message.produced.id, message.parked.is_some());
        let pairs = message.outcomes.windows(2);
        found.extend(pairs.map(|it| Anomaly::Duplicate { id, before: it[0], again: it[1], parked }));
    }
    found
}

/// Lost ones, and unseen ones.
fn without_outcome(books: &Books, found: &mut Vec<Anomaly>) {
    let mut passed: BTreeMap<Lane, Vec<(i64, Micros)>> = BTreeMap::new();
    for (lane, commits) in &books.commits {
        // Each time a commit was higher than all before: (offset, first seen).
        let heights = passed.entry(*lane).or_default();
        for commit in commits {
            if heights.last().is_none_or(|it| it.0 < commit.offset) {
                heights.push((commit.offset, commit.at));
            }
        }
    }
    for message in books.messages.iter().filter(|it| it.outcomes.is_empty()) {
        let (id, offset) = (message.produced.id, message.produced.offset);
        let heights = passed.get(&message.produced.lane).map_or(&[][..], Vec::as_slice);
        let above = heights.partition_point(|it| it.0 <= offset);
        let passed_at = heights.get(above).map(|it| it.1);
        match (message.parked, passed_at) {
            // What is parked may still come while the storm goes on.
            (Some(at), _) if books.settled => found.push(Anomaly::Lost { id, at }),
            (None, Some(at)) => found.push(Anomaly::Lost { id, at }),
            (None, None) if books.settled => found.push(Anomaly::Unseen { id, at: books.end }),
            (Some(_) | None, _) => {}
        }
    }
}

/// Never ended.
const NEVER: Micros = Micros::MAX;

fn commits(books: &Books, found: &mut Vec<Anomaly>) {
    let mut rest = books.messages.as_slice();
    while let Some(first) = rest.first() {
        let lane = first.produced.lane;
        let (these, others) = rest.split_at(rest.partition_point(|it| it.produced.lane == lane));
        rest = others;
        let Some(commits) = books.commits.get(&lane) else { continue };
        // For each message the last to be released up to it: (when, which).
        let mut latest = (0, first.produced.id);
        let released: Vec<_> = these
            .iter()
            .map(|it| {
                let at = it.released_at().unwrap_or(NEVER);
                if latest.0 < at {
                    latest = (at, it.produced.id);
                }
                latest
            })
            .collect();
        for commit in commits {
            let below = these.partition_point(|it| it.produced.offset < commit.offset);
            if let Some((at, unfinished)) = below.checked_sub(1).map(|last| released[last])
                && commit.at < at
            {
                let (offset, at) = (commit.offset, commit.at);
                found.push(Anomaly::CommitBeyond { lane, offset, at, unfinished });
            }
        }
    }
}

/// Messages of one key against those behind them.
fn order(books: &Books, found: &mut Vec<Anomaly>) {
    let mut all: Vec<&Message> = books.messages.iter().collect();
    all.sort_unstable_by_key(|it| (it.produced.key, it.produced.seq, it.produced.offset));
    for of_key in all.chunk_by(|a, b| a.produced.key == b.produced.key) {
        // From the last to the first: the earliest delivery of what is behind.
        let mut behind: Option<Attempt> = None;
        for message in of_key.iter().rev() {
            if let Some(by) = behind {
                found.extend(against(message, by));
            }
            if let Some(it) = message.first_delivery
                && behind.is_none_or(|earliest| it.began < earliest.began)
            {
                behind = Some(it);
            }
        }
    }
}

fn against(message: &Message, by: Attempt) -> Option<Anomaly> {
    let id = message.produced.id;
    // What never ended is lost or unseen, which is worse.
    let first = *message.outcomes.first()?;
    if by.began < first.at {
        return Some(Anomaly::Overtaken { id, by });
    }
    let again = message.last_attempt?;
    let parked = message.parked.is_some();
    (by.began < again.ended).then_some(Anomaly::Rewound { id, first, by, again, parked })
}

/// Each attempt that began while another of its key was open; with the one that was open longest.
fn overlaps(books: &Books, found: &mut Vec<Anomaly>) {
    for of_key in books.attempts.chunk_by(|a, b| a.key == b.key) {
        let mut open: Option<Attempt> = None;
        for later in of_key {
            if let Some(earlier) = open
                && later.began < earlier.ended
            {
                found.push(Anomaly::Overlapping { earlier, later: *later });
            }
            if open.is_none_or(|it| it.ended < later.ended) {
                open = Some(*later);
            }
        }
    }
}
