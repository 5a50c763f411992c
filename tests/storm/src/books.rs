//! A history put in order: what became of each message, what each partition committed, which faults there were.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Answer, Attempt, Event, Fault, History, Id, Lane, Micros, Produced};

/// An outcome: a delivery, by which host; or a dead letter, which does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub at: Micros,
    /// When what led to it began; a dead letter has no beginning of its own.
    pub began: Micros,
    pub host: Option<u16>,
}

/// What became of a message.
#[derive(Clone, Debug)]
pub struct Message {
    pub produced: Produced,
    /// In the order of time.
    pub outcomes: Vec<Outcome>,
    /// The earliest.
    pub parked: Option<Micros>,
    /// The attempt that ended last, of whatever kind.
    pub last_attempt: Option<Attempt>,
    /// The attempt that began first of those that delivered it.
    pub first_delivery: Option<Attempt>,
}

impl Message {
    /// The first one's time.
    pub fn outcome_at(&self) -> Option<Micros> {
        self.outcomes.first().map(|it| it.at)
    }

    /// From then on a commit may pass it.
    pub fn released_at(&self) -> Option<Micros> {
        [self.outcome_at(), self.parked].into_iter().flatten().min()
    }
}

/// An observed commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    pub offset: i64,
    pub at: Micros,
}

pub struct Books {
    /// Ordered by lane and offset.
    pub messages: Vec<Message>,
    /// Ordered by key and beginning.
    pub attempts: Vec<Attempt>,
    /// Each lane's, in the order of time.
    pub commits: BTreeMap<Lane, Vec<Commit>>,
    /// In the order of time.
    pub faults: Vec<Fault>,
    /// Outcomes of what was never produced.
    pub phantoms: Vec<Id>,
    pub settled: bool,
    /// The last moment that anything is known of.
    pub end: Micros,
}

impl Books {
    pub fn of(history: &History) -> Self {
        let mut books = Self {
            messages: Vec::new(),
            attempts: Vec::new(),
            commits: BTreeMap::new(),
            faults: Vec::new(),
            phantoms: Vec::new(),
            settled: history.settled,
            end: 0,
        };
        for event in &history.events {
            books.enter(event);
        }
        books.messages.sort_unstable_by_key(|it| (it.produced.lane, it.produced.offset));
        books.attempts.sort_unstable_by_key(|it| (it.key, it.began, it.ended, it.id));
        books.faults.sort_unstable_by_key(|it| (it.from, it.until, it.kind));
        for commits in books.commits.values_mut() {
            commits.sort_unstable_by_key(|it| (it.at, it.offset));
        }
        books.enter_outcomes(history);
        books
    }

    /// What stands by itself.
    fn enter(&mut self, event: &Event) {
        let at = match event {
            Event::Produced(produced) => {
                self.messages.push(Message {
                    produced: *produced,
                    outcomes: Vec::new(),
                    parked: None,
                    last_attempt: None,
                    first_delivery: None,
                });
                produced.at
            }
            Event::Attempted(attempt) => {
                self.attempts.push(*attempt);
                attempt.ended
            }
            Event::Committed { lane, offset, at } => {
                self.commits.entry(*lane).or_default().push(Commit { offset: *offset, at: *at });
                *at
            }
            Event::Fault(fault) => {
                self.faults.push(*fault);
                fault.until
            }
            Event::DeadLettered { at, .. } | Event::Parked { at, .. } => *at,
            Event::Unacknowledged(_) => 0,
        };
        self.end = self.end.max(at);
    }

    /// What belongs to a message.
    fn enter_outcomes(&mut self, history: &History) {
        let places: HashMap<Id, usize> =
            self.messages.iter().enumerate().map(|(place, it)| (it.produced.id, place)).collect();
        let mut doubtful = HashSet::new();
        let mut strange = HashSet::new();
        for event in &history.events {
            let (id, outcome) = match *event {
                Event::Unacknowledged(id) => {
                    doubtful.insert(id);
                    continue;
                }
                Event::Attempted(it) if it.answer == Answer::Delivered => {
                    (it.id, Some(Outcome { at: it.ended, began: it.began, host: Some(it.host) }))
                }
                Event::Attempted(it) => (it.id, None),
                Event::DeadLettered { id, at } => (id, Some(Outcome { at, began: at, host: None })),
                Event::Parked { id, .. } => (id, None),
                Event::Produced(_) | Event::Committed { .. } | Event::Fault(_) => continue,
            };
            match places.get(&id) {
                Some(place) => note(&mut self.messages[*place], event, outcome),
                None if outcome.is_some() => {
                    strange.insert(id);
                }
                None => {}
            }
        }
        self.phantoms = strange.difference(&doubtful).copied().collect();
        self.phantoms.sort_unstable();
        for message in &mut self.messages {
            message.outcomes.sort_unstable_by_key(|it| (it.at, it.began, it.host));
        }
    }
}

fn note(message: &mut Message, event: &Event, outcome: Option<Outcome>) {
    message.outcomes.extend(outcome);
    match event {
        Event::Attempted(it) => {
            if message.last_attempt.is_none_or(|last| (last.ended, last.began) < (it.ended, it.began)) {
                message.last_attempt = Some(*it);
            }
            let first = message.first_delivery;
            if it.answer == Answer::Delivered && first.is_none_or(|first| it.began < first.began) {
                message.first_delivery = Some(*it);
            }
        }
        Event::Parked { at, .. } => message.parked = Some(message.parked.unwrap_or(*at).min(*at)),
        _ => {}
    }
}
