//! A delivery engine of a few lines, which can be broken in one place: partitions, a key order, retries, a park, dead
//! letters, commits, owners that die. Whole or broken, it writes the history that a storm would see of it.

use std::collections::{BTreeMap, BTreeSet};

use drover_storm::history::{Answer, Attempt, Event, Fault, FaultKind, History, Lane, Produced, Target};
use drover_storm::random::Random;

/// Where it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Commits what it has taken, not what it has done.
    EarlyCommit,
    /// What a service refused is not tried again.
    DroppedRetry,
    /// What is parked is forgotten.
    LostPark,
    /// An answer that comes after the partition went settles the new owner's message.
    AckAfterRevoke,
    /// A message that waits for its retry does not hold its key.
    OvertakenInRetry,
    /// Some are delivered again though all is well.
    DuplicateWithoutFault,
    /// The dead letter is not written, and the message is done.
    DeadNeverWritten,
    /// Two of a key are tried at once.
    TwoAtOnce,
    /// Some are never tried again, and hold their partition.
    Stuck,
    /// Answers are given for what nobody sent.
    Forged,
}

/// A message that the engine has and has not done with.
#[derive(Clone, Copy, Debug)]
struct Work {
    message: Produced,
    attempts: u32,
    /// Not before.
    due: u64,
    /// The attempt under way began.
    trying: Option<u64>,
    parked: bool,
    /// It is not tried, by [`Bug::Stuck`].
    stuck: bool,
}

#[derive(Default)]
struct Partition {
    log: Vec<Produced>,
    owner: u16,
    /// The next to be taken from the log.
    next: usize,
    /// By offset, where the parked ones come first: they hold their key.
    open: BTreeMap<(bool, i64), Work>,
    committed: i64,
    /// Offsets that the books have for done though nobody did them: by [`Bug::AckAfterRevoke`].
    acknowledged: BTreeSet<i64>,
}

pub struct Engine {
    bug: Option<Bug>,
    random: Random,
    now: u64,
    partitions: Vec<Partition>,
    history: History,
}

const PARTITIONS: u32 = 2;
const KEYS: u64 = 5;
const MESSAGES: u64 = 120;
const WINDOW: usize = 8;
const ATTEMPTS: u32 = 3;
/// Ticks, for whoever is stuck.
const LONGEST: u64 = 20_000;

/// Runs it to its end.
pub fn run(bug: Option<Bug>, seed: u64, kills: u64) -> History {
    let mut engine = Engine {
        bug,
        random: Random::new(seed),
        now: 1,
        partitions: (0..PARTITIONS).map(|_| Partition::default()).collect(),
        history: History { events: Vec::new(), settled: true },
    };
    engine.produce();
    let mut kills: Vec<u64> = (0..kills).map(|_| engine.random.between(20, 400)).collect();
    while engine.now < LONGEST && !engine.is_done() {
        engine.now += 1;
        for at in 0..engine.partitions.len() {
            engine.take(at);
            engine.begin(at);
            engine.end(at);
            if engine.random.chance(20) {
                engine.commit(at);
            }
        }
        if kills.contains(&engine.now) {
            kills.retain(|it| *it != engine.now);
            engine.kill();
        }
    }
    (0..engine.partitions.len()).for_each(|at| engine.commit(at));
    engine.history
}

impl Engine {
    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn is_done(&self) -> bool {
        self.partitions.iter().all(|it| it.next == it.log.len() && it.open.is_empty())
    }

    fn produce(&mut self) {
        let mut seqs = BTreeMap::new();
        for id in 0..MESSAGES {
            let key = self.random.below(KEYS) as u32;
            let partition = &mut self.partitions[(key % PARTITIONS) as usize];
            let seq: &mut u32 = seqs.entry(key).or_default();
            let lane = Lane { topic: 0, partition: (key % PARTITIONS) as i32 };
            let offset = partition.log.len() as i64;
            let message = Produced { lane, offset, key, seq: *seq, id, at: 0 };
            *seq += 1;
            partition.log.push(message);
            self.history.push(Event::Produced(message));
        }
    }

    fn take(&mut self, at: usize) {
        let stuck = self.is(Bug::Stuck) && self.random.chance(2);
        let partition = &mut self.partitions[at];
        if partition.open.len() < WINDOW
            && let Some(message) = partition.log.get(partition.next).copied()
        {
            partition.next += 1;
            if partition.acknowledged.contains(&message.offset) {
                return;
            }
            let work = Work { message, attempts: 0, due: self.now, trying: None, parked: false, stuck };
            partition.open.insert((true, message.offset), work);
        }
    }

    /// Starts what is the first of its key, and due.
    fn begin(&mut self, at: usize) {
        let (now, overtakes, at_once) = (self.now, self.is(Bug::OvertakenInRetry), self.is(Bug::TwoAtOnce));
        let mut held = Vec::new();
        for work in self.partitions[at].open.values_mut() {
            let waits = now < work.due || work.stuck;
            let free = !held.contains(&work.message.key);
            if free && !waits && work.trying.is_none() && self.random.chance(50) {
                work.trying = Some(now);
            }
            let holds = match work.trying {
                Some(_) => !at_once,
                None => !(overtakes && waits && work.attempts > 0),
            };
            if holds {
                held.push(work.message.key);
            }
        }
    }

    /// Ends some of the attempts under way.
    fn end(&mut self, at: usize) {
        let trying = self.partitions[at].open.iter().filter(|it| it.1.trying.is_some_and(|it| it < self.now));
        let trying: Vec<_> = trying.map(|it| *it.0).collect();
        for place in trying {
            if !self.random.chance(40) {
                continue;
            }
            let Some(mut work) = self.partitions[at].open.remove(&place) else { continue };
            let answer = if self.random.chance(75) { Answer::Delivered } else { Answer::Refused(503) };
            let host = self.partitions[at].owner;
            self.attempted(&mut work, host, self.now, answer);
            if answer == Answer::Delivered {
                if self.is(Bug::DuplicateWithoutFault) && self.random.chance(5) {
                    work.due = self.now + 1;
                    self.partitions[at].open.insert(place, work);
                }
                if self.is(Bug::Forged) && self.random.chance(5) {
                    work.message.id += 1_000_000;
                    work.trying = Some(self.now);
                    self.attempted(&mut work, host, self.now, answer);
                }
            } else {
                self.refused(at, work);
            }
        }
    }

    fn attempted(&mut self, work: &mut Work, host: u16, ended: u64, answer: Answer) {
        let Some(began) = work.trying.take() else { return };
        work.attempts += 1;
        let Produced { id, key, seq, .. } = work.message;
        self.history.push(Event::Attempted(Attempt { id, key, seq, host, began, ended, answer }));
    }

    /// Tried again, parked, or dead.
    fn refused(&mut self, at: usize, mut work: Work) {
        let id = work.message.id;
        if self.is(Bug::DroppedRetry) && self.random.chance(30) {
            return;
        }
        if ATTEMPTS <= work.attempts {
            if !self.is(Bug::DeadNeverWritten) {
                self.history.push(Event::DeadLettered { id, at: self.now });
            }
            return;
        }
        work.due = self.now + self.random.between(3, 20);
        if !work.parked && self.random.chance(30) {
            work.parked = true;
            self.history.push(Event::Parked { id, at: self.now });
            if self.is(Bug::LostPark) && self.random.chance(30) {
                return;
            }
        }
        self.partitions[at].open.insert((!work.parked, work.message.offset), work);
    }

    fn commit(&mut self, at: usize) {
        let early = self.is(Bug::EarlyCommit);
        let partition = &mut self.partitions[at];
        let low = partition.open.values().filter(|it| !it.parked).map(|it| it.message.offset).min();
        let offset = match low {
            Some(low) if !early => low,
            _ => partition.next as i64,
        };
        if partition.committed < offset {
            partition.committed = offset;
            let lane = Lane { topic: 0, partition: at as i32 };
            self.history.push(Event::Committed { lane, offset, at: self.now });
        }
    }

    /// The owner of a partition dies; the next one begins where the last commit stands.
    fn kill(&mut self) {
        let at = self.random.below(self.partitions.len() as u64) as usize;
        let (late_ack, now, owner) = (self.is(Bug::AckAfterRevoke), self.now, self.partitions[at].owner);
        let in_flight = self.partitions[at].open.len() as u64;
        let gone = std::mem::take(&mut self.partitions[at].open);
        let mut settled = Vec::new();
        for (place, mut work) in gone {
            if work.trying.is_some() {
                // The service may have done it, and a little after its client went.
                let answer = if self.random.chance(50) { Answer::Delivered } else { Answer::Gone };
                let ended = now + self.random.below(4);
                self.attempted(&mut work, owner, ended, answer);
                settled.push(work.message.offset);
            }
            // The park is as durable as the log.
            if work.parked {
                self.partitions[at].open.insert(place, work);
            }
        }
        let partition = &mut self.partitions[at];
        partition.owner = 1 - owner;
        partition.next = partition.committed as usize;
        if late_ack {
            // The books of the new owner have them for done, whatever the answer was.
            partition.acknowledged.extend(settled);
        }
        let fault = Fault {
            kind: FaultKind::HostKill,
            target: Target::Host(owner),
            from: now,
            until: now,
            in_flight,
        };
        self.history.push(Event::Fault(fault));
    }
}
