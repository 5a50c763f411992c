//! When and what is committed, and what the broker's answers mean. A commit counts when it is acknowledged,
//! never when it is sent: while a group joins none passes, and the reports come when the join is over.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::books::Books;
use crate::kafka::consumer::{CommitError, CommitReport, GroupConsumer};

/// Topic, partition, position, the lane's epoch.
type Sent = (String, i32, i64, u32);

pub struct Commits {
    every: Duration,
    next: Instant,
    /// Before that no last commit is tried again.
    again: Instant,
    number: u64,
    /// What was sent and not reported: number → when, lanes.
    open: HashMap<u64, (Instant, Vec<Sent>)>,
    pub acknowledged: u64,
    pub refused: u64,
    /// Why the last one was refused, until one passes.
    pub closed: Option<String>,
}

/// A commit that librdkafka has not reported by then is sent again: when the coordinator moves or the group joins
/// anew at just the wrong moment, the report never comes.
const UNREPORTED: Duration = Duration::from_secs(10);

/// Between a last commit that is refused and the next.
const AGAIN: Duration = Duration::from_millis(100);

fn every_of(ms: u64) -> Duration {
    Duration::from_millis(ms.max(10))
}

/// What a report says of this member.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    Member,
    /// The group goes on without this member: all of its lanes are lost.
    Gone,
}

impl Commits {
    pub fn new(every_ms: u64) -> Self {
        let every = every_of(every_ms);
        Self {
            every,
            next: Instant::now() + every,
            again: Instant::now(),
            number: 0,
            open: HashMap::new(),
            acknowledged: 0,
            refused: 0,
            closed: None,
        }
    }

    /// From the next commit on.
    pub fn set_every(&mut self, every_ms: u64) {
        self.every = every_of(every_ms);
    }

    pub fn is_due(&self) -> bool {
        self.next <= Instant::now()
    }

    /// To be called until the broker has all of these: sends at once what is new, and some times a second what
    /// was refused.
    pub fn send_last(
        &mut self,
        consumer: &GroupConsumer,
        books: &mut Books,
        only: impl Fn(&str, i32) -> bool,
    ) {
        if self.again <= Instant::now() && self.send(consumer, books, only) {
            self.again = Instant::now() + AGAIN;
        }
    }

    /// Sends what is not with the broker yet; whether there was anything.
    pub fn send(
        &mut self,
        consumer: &GroupConsumer,
        books: &mut Books,
        only: impl Fn(&str, i32) -> bool,
    ) -> bool {
        self.next = Instant::now() + self.every;
        self.forget_unreported(books);
        let mut lanes = Vec::new();
        for lane in books.iter_mut().filter(|it| only(&it.topic, it.partition)) {
            if let Some(low) = lane.to_commit() {
                lane.sent = Some(low);
                lanes.push((lane.topic.to_string(), lane.partition, low, lane.epoch));
            }
        }
        if lanes.is_empty() {
            return false;
        }
        self.number += 1;
        let offsets: Vec<_> = lanes.iter().map(|it| (it.0.clone(), it.1, it.2)).collect();
        match consumer.commit(self.number, &offsets) {
            Ok(()) => {
                self.open.insert(self.number, (Instant::now(), lanes));
            }
            Err(error) => {
                self.closed = Some(error.to_string());
                unsend(books, &lanes);
            }
        }
        true
    }

    /// Commits one lane's position, be it there already, to hear whether this process is still a member. None: there
    /// is no such lane, or it could not be sent.
    pub fn prove(&mut self, consumer: &GroupConsumer, books: &Books) -> Option<u64> {
        let (lane, low) = books.iter().filter(|it| !it.lost).find_map(|it| Some((it, it.low()?)))?;
        self.number += 1;
        let (topic, partition) = (lane.topic.to_string(), lane.partition);
        consumer.commit(self.number, &[(topic.clone(), partition, low)]).ok()?;
        self.open.insert(self.number, (Instant::now(), vec![(topic, partition, low, lane.epoch)]));
        Some(self.number)
    }

    /// Takes a report into the books.
    pub fn report(&mut self, report: &CommitReport, books: &mut Books) -> Standing {
        let Some((_, lanes)) = self.open.remove(&report.number) else { return Standing::Member };
        if let Some(error) = &report.error {
            return self.refuse(error, books, &lanes);
        }
        let mut standing = Standing::Member;
        for (topic, partition, offset, epoch) in lanes {
            let said = report.partitions.iter().find(|it| it.0 == topic && it.1 == partition);
            if let Some((_, _, _, Some(error))) = said {
                let lane = [(topic, partition, offset, epoch)];
                if self.refuse(error, books, &lane) == Standing::Gone {
                    standing = Standing::Gone;
                }
                continue;
            }
            self.acknowledged += 1;
            self.closed = None;
            if let Some(lane) = books.get_mut(&topic, partition).filter(|it| it.epoch == epoch) {
                lane.committed = lane.committed.max(Some(offset));
                lane.committed_at = Instant::now();
                if lane.sent == Some(offset) {
                    lane.sent = None;
                }
            }
        }
        standing
    }

    fn forget_unreported(&mut self, books: &mut Books) {
        let old: Vec<u64> =
            self.open.iter().filter(|it| it.1.0.elapsed() > UNREPORTED).map(|it| *it.0).collect();
        for number in old {
            if let Some((_, lanes)) = self.open.remove(&number) {
                tracing::warn!(number, "a commit was never reported, it is sent again");
                unsend(books, &lanes);
            }
        }
    }

    fn refuse(&mut self, error: &CommitError, books: &mut Books, lanes: &[Sent]) -> Standing {
        self.refused += lanes.len() as u64;
        unsend(books, lanes);
        match error {
            CommitError::Later(detail) => {
                self.closed = Some(detail.clone());
                Standing::Member
            }
            CommitError::Denied(detail) => {
                tracing::error!(detail, "a commit is denied: the work goes on, a restart would repeat it");
                self.closed = Some(detail.clone());
                Standing::Member
            }
            CommitError::Gone(detail) => {
                tracing::warn!(detail, "the group goes on without this member");
                self.closed = Some(detail.clone());
                Standing::Gone
            }
        }
    }
}

/// These are to be sent again.
fn unsend(books: &mut Books, lanes: &[Sent]) {
    for (topic, partition, offset, epoch) in lanes {
        if let Some(lane) = books.get_mut(topic, *partition)
            && lane.epoch == *epoch
            && lane.sent == Some(*offset)
        {
            lane.sent = None;
        }
    }
}
