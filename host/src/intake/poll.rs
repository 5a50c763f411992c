//! The poll thread's loop. It waits for nothing but `take` (invariant 4), for acknowledgements when it has no
//! room for records, and for the shards' appetite when they have enough.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::adopt::Adopt;
use super::books::Books;
use super::commit::{Commits, Standing};
use super::hand::{self, Hand};
use super::lane::{Share, Taken};
use super::lease::Lease;
use super::rebalance::Rebalance;
use super::report::{GroupReport, LaneReport};
use super::{Config, Pace, Shared};
use crate::clock;
use crate::failpoint;
use crate::kafka::consumer::GroupConsumer;
use crate::shard::appetite::Appetite;
use crate::shard::work::Ack;

/// Records taken in one turn.
const BATCH: usize = 1_000;
/// A wait for records while work is in flight, so that acknowledgements are not kept waiting; and while not.
const WAIT_BUSY: Duration = Duration::from_millis(10);
const WAIT_IDLE: Duration = Duration::from_millis(100);
/// While no shard wants more: what lies behind may be of a route that has nothing to do.
const LOOK_AHEAD: usize = 100;
const LOOK_AHEAD_EVERY: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// What a poll thread is sent.
pub struct Inbox {
    /// Of the group: by it the acknowledgements find here.
    pub seat: u16,
    pub acks: mpsc::Receiver<Vec<Ack>>,
    pub paces: mpsc::Receiver<Pace>,
}

pub struct Poll {
    pub(super) config: Config,
    pub(super) consumer: GroupConsumer,
    pub(super) books: Books,
    pub(super) commits: Commits,
    pub(super) hand: Hand,
    pub(super) rebalance: Rebalance,
    pub(super) adopt: Adopt,
    pub(super) lease: Lease,
    inbox: Inbox,
    report: Arc<Mutex<GroupReport>>,
    next_report: Instant,
    appetite: Arc<Appetite>,
    shards_gone: bool,
}

impl Poll {
    pub fn new(
        config: Config,
        consumer: GroupConsumer,
        shared: Shared,
        inbox: Inbox,
        report: Arc<Mutex<GroupReport>>,
    ) -> Self {
        Self {
            books: Books::new(&shared),
            commits: Commits::new(config.pace.commit_every_ms),
            hand: Hand::new(&config, inbox.seat, &shared),
            rebalance: Rebalance::default(),
            adopt: Adopt::new(shared.rungs),
            lease: Lease::new(inbox.seat, config.session_timeout_ms, shared.lanes),
            config,
            consumer,
            inbox,
            report,
            next_report: Instant::now(),
            appetite: shared.appetite,
            shards_gone: false,
        }
    }

    /// Until it is told to stop, or a shard is gone.
    pub fn run(mut self, stop: &AtomicBool) {
        self.appetite.watch();
        let mut last_taken = Instant::now();
        while !stop.load(Ordering::Relaxed) && !self.shards_gone {
            let credit = self.turn();
            if credit == 0 {
                self.wait_for_acks(WAIT_BUSY);
            } else if self.appetite.wants(self.inbox.seat) {
                last_taken = Instant::now();
                self.take(credit);
            } else if last_taken.elapsed() >= LOOK_AHEAD_EVERY {
                last_taken = Instant::now();
                self.take(credit.min(LOOK_AHEAD));
            } else {
                std::thread::park_timeout(WAIT_BUSY);
            }
        }
        self.finish();
        self.tell();
        self.appetite.unwatch();
        self.consumer.close();
    }

    /// Everything but records. How many of those may be taken now.
    pub(super) fn turn(&mut self) -> usize {
        while let Ok(pace) = self.inbox.paces.try_recv() {
            self.config.pace = pace;
            self.commits.set_every(pace.commit_every_ms);
        }
        while let Ok(acks) = self.inbox.acks.try_recv() {
            self.acknowledge(&acks);
        }
        self.lease_turn();
        self.consumer.serve();
        while let Some(report) = self.consumer.next_report() {
            self.lease.hear(&report);
            if self.commits.report(&report, &mut self.books) == Standing::Gone {
                self.lose_all();
            }
        }
        self.rebalance_turn();
        self.adopt_turn();
        if self.commits.is_due() {
            self.commits.send(&self.consumer, &mut self.books, |_, _| true);
        }
        self.refill();
        if self.next_report <= Instant::now() {
            self.tell();
        }
        self.credit()
    }

    pub(super) fn wait_for_acks(&mut self, wait: Duration) {
        if let Ok(acks) = self.inbox.acks.recv_timeout(wait) {
            self.acknowledge(&acks);
        }
    }

    fn acknowledge(&mut self, acks: &[Ack]) {
        for ack in acks {
            self.books.acknowledge(ack);
        }
    }

    /// Half of all free windows: what is taken for a lane that is full has to be stashed.
    fn credit(&self) -> usize {
        if self.rebalance.is_answering() {
            return 0;
        }
        if self.books.len() == 0 {
            // Nothing comes, but the wait for it serves the group.
            return 1;
        }
        let share = self.share();
        let room: usize = self.books.iter().map(|it| it.room(share)).sum();
        room.div_ceil(2).min(BATCH)
    }

    fn take(&mut self, credit: usize) {
        let busy = self.books.iter().any(|it| it.handed > 0);
        let now_ms = clock::now_ms();
        let due = self.books.iter().filter_map(|it| it.waits_until()).min();
        let until_due = due.map_or(WAIT_IDLE, |it| Duration::from_millis(it.saturating_sub(now_ms)));
        let wait = if busy { WAIT_BUSY } else { WAIT_IDLE }.min(until_due);
        let share = self.share();
        let (books, hand) = (&mut self.books, &mut self.hand);
        let mut full = Vec::new();
        let taken = self.consumer.take(
            credit,
            wait,
            |it| {
                // Fetched before its partition was given back.
                let Some(at) = books.place_of(it.topic, it.partition) else { return };
                put(books, hand, at, hand::copy(&it), (share, now_ms), &mut full);
            },
            |it| {
                tracing::warn!(topic = &*it.topic, partition = it.partition, it.detail, "a partition reports")
            },
        );
        if taken > 0 {
            failpoint::reached("read");
        }
        self.shards_gone |= !self.hand.send();
        if !full.is_empty() {
            self.pause(&full);
        }
    }

    /// Each lane's share of the budgets: one that is blocked cannot use up its neighbours'.
    fn share(&self) -> Share {
        let lanes = self.books.iter().filter(|it| it.is_active()).count().max(1);
        let pace = &self.config.pace;
        Share { bytes: pace.bytes / lanes, messages: (pace.messages / lanes).max(1) }
    }

    fn pause(&mut self, full: &[usize]) {
        let mut names = Vec::new();
        for at in full {
            let lane = self.books.at(*at);
            if !lane.paused {
                lane.paused = true;
                names.push((lane.topic.to_string(), lane.partition));
            }
        }
        if !names.is_empty()
            && let Err(error) = self.consumer.pause(&names)
        {
            tracing::warn!(%error, "cannot pause full partitions");
        }
    }

    /// Hands over what was stashed for want of room, and fetches again where a lane has drained.
    fn refill(&mut self) {
        let share = self.share();
        let now_ms = clock::now_ms();
        let (books, hand) = (&mut self.books, &mut self.hand);
        let mut resumed = Vec::new();
        let mut stashed = Vec::new();
        for at in 0..books.len() {
            let lane = books.at(at);
            if !lane.has_drained(share) {
                continue;
            }
            while let Some(taken) = books.at(at).unstash(share, now_ms) {
                match taken {
                    Taken::Hand(record) => hand.put(books.at(at), record, now_ms),
                    Taken::Restart(record) => {
                        books.restart(at);
                        put(books, hand, at, record, (share, now_ms), &mut stashed);
                    }
                    Taken::Stashed => break,
                }
            }
            let lane = books.at(at);
            if lane.paused && lane.is_stash_low() {
                lane.paused = false;
                resumed.push((lane.topic.to_string(), lane.partition));
            }
        }
        self.shards_gone |= !self.hand.send();
        if !resumed.is_empty()
            && let Err(error) = self.consumer.resume(&resumed)
        {
            tracing::warn!(%error, "cannot resume partitions");
        }
    }

    /// Publishes the picture that stats and explain show.
    fn tell(&mut self) {
        let share = self.share();
        self.next_report = Instant::now() + REPORT_EVERY;
        let lanes: Vec<LaneReport> = self
            .books
            .iter()
            .map(|it| LaneReport {
                topic: it.topic.to_string(),
                partition: it.partition,
                low: it.low(),
                next: it.next(),
                committed: it.committed,
                open: it.handed,
                bytes: it.bytes,
                gate: match it.waits_until() {
                    Some(_) => Some("due"),
                    None => (it.paused || it.room(share) == 0).then_some("window"),
                },
                waits_until_ms: it.waits_until(),
                stashed: it.stashed(),
            })
            .collect();
        let sum = |part: fn(&super::lane::Lane) -> u64| self.books.iter().map(part).sum::<u64>();
        let gone = self.books.gone;
        let new = GroupReport {
            group: self.config.name.clone(),
            lanes,
            received: gone.received + sum(|it| it.received),
            settled: gone.settled + sum(|it| it.settled),
            open: sum(|it| u64::from(it.handed)),
            dropped: gone.dropped + sum(|it| it.dropped),
            repeated: gone.repeated,
            commits_acknowledged: self.commits.acknowledged,
            commits_refused: self.commits.refused,
            commit_gate: self.commits.closed.clone(),
            late_acks: self.books.late_acks,
            rebalances: self.rebalance.count,
            joined: self.rebalance.joined,
        };
        *self.report.lock().unwrap_or_else(|it| it.into_inner()) = new;
    }
}

/// A record into its lane and, if there is room, on to its shard.
fn put(
    books: &mut Books,
    hand: &mut Hand,
    at: usize,
    record: crate::domain::record::Record,
    (share, now_ms): (Share, u64),
    full: &mut Vec<usize>,
) {
    match books.at(at).take(record, share, now_ms) {
        Taken::Hand(record) => hand.put(books.at(at), record, now_ms),
        Taken::Stashed => {
            if books.at(at).is_stashed_full() && full.last() != Some(&at) {
                full.push(at);
            }
        }
        Taken::Restart(record) => {
            let lane = books.at(at);
            tracing::warn!(
                topic = &*lane.topic,
                partition = lane.partition,
                offset = record.offset,
                "the partition's log was cut or made anew: beginning there"
            );
            books.restart(at);
            put(books, hand, at, record, (share, now_ms), full);
        }
    }
}
