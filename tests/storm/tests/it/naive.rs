//! The most naive checker: each rule as it reads, everything against everything.

use drover_storm::checker::{Anomaly, Class};
use drover_storm::history::{Answer, Attempt, Event, History, Id, Lane, Produced};

/// What is found, without the witnesses: (class, the message, a number that tells apart what else is the same).
pub type Found = (Class, Id, u64);

pub fn subject(anomaly: &Anomaly) -> Found {
    let (id, more) = match *anomaly {
        Anomaly::Lost { id, .. }
        | Anomaly::Unseen { id, .. }
        | Anomaly::Phantom { id }
        | Anomaly::Overtaken { id, .. }
        | Anomaly::Rewound { id, .. } => (id, 0),
        Anomaly::CommitBeyond { lane, offset, at, .. } => (number(lane, offset), at),
        Anomaly::Overlapping { later, .. } => (later.id, later.began),
        Anomaly::Duplicate { id, again, .. } => (id, again.at),
    };
    (anomaly.class(), id, more)
}

fn number(lane: Lane, offset: i64) -> u64 {
    offset as u64 * 1_000 + u64::from(lane.topic) * 100 + lane.partition as u64
}

struct Naive<'a> {
    history: &'a History,
    found: Vec<Found>,
}

/// All that is wrong, sorted.
pub fn check(history: &History) -> Vec<Found> {
    let mut naive = Naive { history, found: Vec::new() };
    for event in &history.events {
        match event {
            Event::Produced(it) => naive.message(it),
            Event::Committed { lane, offset, at } => naive.commit(*lane, *offset, *at),
            _ => {}
        }
    }
    naive.phantoms();
    naive.overlaps();
    naive.found.sort_unstable();
    naive.found
}

impl Naive<'_> {
    fn attempts(&self) -> Vec<Attempt> {
        let all = self.history.events.iter();
        all.filter_map(|it| if let Event::Attempted(it) = it { Some(*it) } else { None }).collect()
    }

    fn outcomes(&self, id: Id) -> Vec<u64> {
        let mut all = Vec::new();
        for event in &self.history.events {
            match event {
                Event::Attempted(it) if it.id == id && it.answer == Answer::Delivered => all.push(it.ended),
                Event::DeadLettered { id: it, at } if *it == id => all.push(*at),
                _ => {}
            }
        }
        all.sort_unstable();
        all
    }

    fn parked(&self, id: Id) -> Option<u64> {
        let all = self.history.events.iter();
        all.filter_map(|event| match event {
            Event::Parked { id: it, at } if *it == id => Some(*at),
            _ => None,
        })
        .min()
    }

    fn message(&mut self, produced: &Produced) {
        let (id, outcomes) = (produced.id, self.outcomes(produced.id));
        self.found.extend(outcomes.iter().skip(1).map(|at| (Class::Duplicate, id, *at)));
        let Some(first) = outcomes.first() else {
            let passed = self.history.events.iter().any(|it| {
                matches!(it, Event::Committed { lane, offset, .. }
                    if *lane == produced.lane && produced.offset < *offset)
            });
            let class = match (self.parked(id).is_some(), passed, self.history.settled) {
                (true, _, true) | (false, true, _) => Class::Lost,
                (false, false, true) => Class::Unseen,
                _ => return,
            };
            self.found.push((class, id, 0));
            return;
        };
        let attempts = self.attempts();
        let last = attempts.iter().filter(|it| it.id == id).map(|it| it.ended).max();
        let behind: Vec<Id> = self
            .history
            .events
            .iter()
            .filter_map(|it| match it {
                Event::Produced(it) if it.key == produced.key && produced.seq < it.seq => Some(it.id),
                _ => None,
            })
            .collect();
        let delivered =
            attempts.iter().filter(|it| it.answer == Answer::Delivered && behind.contains(&it.id));
        let Some(by) = delivered.map(|it| it.began).min() else { return };
        if by < *first {
            self.found.push((Class::Overtaken, id, 0));
        } else if last.is_some_and(|last| by < last) {
            self.found.push((Class::Rewound, id, 0));
        }
    }

    fn commit(&mut self, lane: Lane, offset: i64, at: u64) {
        let beyond = self.history.events.iter().any(|it| match it {
            Event::Produced(it) if it.lane == lane && it.offset < offset => {
                let outcome = self.outcomes(it.id).first().copied();
                [outcome, self.parked(it.id)].into_iter().flatten().all(|released| at < released)
            }
            _ => false,
        });
        if beyond {
            self.found.push((Class::CommitBeyond, number(lane, offset), at));
        }
    }

    fn phantoms(&mut self) {
        let mut strange: Vec<Id> = Vec::new();
        for event in &self.history.events {
            let id = match event {
                Event::Attempted(it) if it.answer == Answer::Delivered => it.id,
                Event::DeadLettered { id, .. } => *id,
                _ => continue,
            };
            let known = self.history.events.iter().any(|it| match it {
                Event::Produced(it) => it.id == id,
                Event::Unacknowledged(it) => *it == id,
                _ => false,
            });
            if !known && !strange.contains(&id) {
                strange.push(id);
            }
        }
        self.found.extend(strange.into_iter().map(|id| (Class::Phantom, id, 0)));
    }

    fn overlaps(&mut self) {
        let all = self.attempts();
        let place = |at: usize| (all[at].began, all[at].ended, all[at].id, at);
        for later in 0..all.len() {
            let overlaps = (0..all.len()).any(|earlier| {
                all[earlier].key == all[later].key
                    && place(earlier) < place(later)
                    && all[later].began < all[earlier].ended
            });
            if overlaps {
                self.found.push((Class::Overlapping, all[later].id, all[later].began));
            }
        }
    }
}
