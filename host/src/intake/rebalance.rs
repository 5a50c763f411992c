//! Assigned, drained, given back. Each event of the group is answered once, in order, and nothing is fetched
//! for anybody until it is: so a drain is short. What has begun ends, and what lies below it is done too, so that
//! the last commit covers all that is done. Rules and figures: `docs/decisions/0005-rebalance.md`.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::adopt::{aside, positions_of, source_of};
use super::commit::Standing;
use super::lane::Lane;
use super::poll::Poll;
use crate::failpoint;
use crate::kafka::Error;
use crate::kafka::consumer::{Event, StartAt};

#[derive(Default)]
pub struct Rebalance {
    waiting: VecDeque<Event>,
    step: Option<Step>,
    pub count: u64,
    pub joined: bool,
}

/// The event that is being answered.
enum Step {
    /// Another thread asks where each partition is to begin.
    Locate { partitions: Vec<(String, i32)>, found: mpsc::Receiver<Result<Vec<StartAt>, Error>> },
    /// That was not answered; it is asked again then.
    AskAgain { partitions: Vec<(String, i32)>, at: Instant },
    /// What has begun may end, and what lies below it.
    Drain { partitions: Vec<(String, i32)>, since: Instant },
    /// Their last commit is under way, until the broker has taken it.
    Commit { partitions: Vec<(String, i32)>, drained: Duration, until: Instant },
}

/// For the broker's word on a commit before the partitions are given back; 10 ms is usual.
const COMMIT_WAIT: Duration = Duration::from_secs(3);

/// Between two questions where partitions are to begin.
const ASK_AGAIN: Duration = Duration::from_millis(500);

impl Rebalance {
    /// Nothing comes until the group has its answer.
    pub fn is_answering(&self) -> bool {
        self.step.is_some()
    }

    /// Whether some event has come and has no answer.
    pub fn is_busy(&self) -> bool {
        self.step.is_some() || !self.waiting.is_empty()
    }
}

impl Poll {
    /// One step of the event under way; the next event when it is answered.
    pub(super) fn rebalance_turn(&mut self) {
        while let Some(event) = self.consumer.next_event() {
            self.rebalance.waiting.push_back(event);
        }
        match self.rebalance.step.take() {
            Some(step) => self.step(step),
            None => {
                if let Some(event) = self.rebalance.waiting.pop_front() {
                    self.begin(event);
                }
            }
        }
    }

    fn begin(&mut self, event: Event) {
        self.rebalance.count += 1;
        match event {
            Event::Assign(partitions) if partitions.is_empty() => self.assign(&[]),
            Event::Assign(partitions) => self.locate(partitions),
            Event::Revoke { partitions, lost: true } => {
                tracing::warn!(group = self.config.name, ?partitions, "lost");
                let partitions = self.with_rungs(partitions);
                self.give_back(&partitions, Duration::ZERO);
            }
            Event::Revoke { partitions, lost: false } => {
                let partitions = self.with_rungs(partitions);
                self.end(&partitions);
                failpoint::reached("rebalance");
                self.rebalance.step = Some(Step::Drain { partitions, since: Instant::now() });
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Locate { partitions, found } => match found.try_recv() {
                Ok(Ok(starts)) => self.assign(&starts),
                Ok(Err(error)) => {
                    tracing::warn!(group = self.config.name, %error, "cannot tell where to begin, asking again");
                    let at = Instant::now() + ASK_AGAIN;
                    self.rebalance.step = Some(Step::AskAgain { partitions, at });
                }
                Err(mpsc::TryRecvError::Empty) => {
                    self.rebalance.step = Some(Step::Locate { partitions, found });
                    self.wait_for_acks(Duration::from_millis(1));
                }
                Err(mpsc::TryRecvError::Disconnected) => self.locate(partitions),
            },
            Step::AskAgain { partitions, at } if at <= Instant::now() => self.locate(partitions),
            again @ Step::AskAgain { .. } => self.rebalance.step = Some(again),
            Step::Drain { partitions, since } => {
                let drained = since.elapsed();
                if self.is_drained(&partitions) || Duration::from_millis(self.config.pace.drain_ms) <= drained
                {
                    self.close_drained(&partitions);
                    let until = Instant::now() + COMMIT_WAIT;
                    self.commit_last(partitions, drained, until);
                } else {
                    self.rebalance.step = Some(Step::Drain { partitions, since });
                }
            }
            Step::Commit { partitions, drained, until } => self.commit_last(partitions, drained, until),
        }
    }

    fn locate(&mut self, partitions: Vec<(String, i32)>) {
        let (tell, found) = mpsc::channel();
        let (positions, start) = (self.consumer.positions(), self.config.start);
        let (asked, ladders) = (partitions.clone(), self.adopt.ladders(&self.config));
        aside("positions", move || {
            // The poll thread may have ended meanwhile.
            let _ = tell.send(positions_of(&positions, &asked, start, &ladders));
        });
        self.rebalance.step = Some(Step::Locate { partitions, found });
    }

    /// These and their rungs: events name sources only.
    fn with_rungs(&self, mut partitions: Vec<(String, i32)>) -> Vec<(String, i32)> {
        partitions.extend(self.books.rungs_of(&partitions));
        partitions
    }

    /// Sources first, then their rungs.
    pub(super) fn assign(&mut self, starts: &[StartAt]) {
        let (window, name) = (self.config.window, self.config.name.clone());
        let ladders = self.adopt.ladders(&self.config);
        for it in starts {
            let source = source_of(&ladders, &it.topic);
            if !self.books.open((&it.topic, it.partition), source, it.position, window) {
                tracing::error!(group = name, "this process holds as many partitions as it can");
            }
        }
        if let Err(error) = self.consumer.assign(starts) {
            tracing::error!(group = name, %error, "the assignment failed");
        }
        self.rebalance.joined = true;
        let all: Vec<String> = starts.iter().map(|it| format!("{}[{}]", it.topic, it.partition)).collect();
        tracing::info!(group = name, partitions = all.join(" "), "assigned");
    }

    /// Nothing of these is begun any more but what lies below something that was.
    fn end(&self, partitions: &[(String, i32)]) {
        for (topic, partition) in partitions {
            self.books.end(topic, *partition);
        }
        self.hand.sweep();
    }

    /// Nothing of these is begun any more.
    fn close(&self, partitions: &[(String, i32)]) {
        for (topic, partition) in partitions {
            self.books.close(topic, *partition);
        }
        self.hand.sweep();
    }

    /// The end of a drain, be it too early.
    fn close_drained(&self, partitions: &[(String, i32)]) {
        let lanes = partitions.iter().filter_map(|it| self.books.get(&it.0, it.1));
        let open: u32 = lanes.map(|it| it.handed).sum();
        if open > 0 {
            tracing::warn!(
                group = self.config.name,
                open,
                "the drain is over: what has not ended comes again"
            );
        }
        self.close(partitions);
    }

    fn is_drained(&self, partitions: &[(String, i32)]) -> bool {
        partitions
            .iter()
            .all(|(topic, partition)| self.books.get(topic, *partition).is_none_or(|it| it.handed == 0))
    }

    fn is_committed(&self, partitions: &[(String, i32)]) -> bool {
        partitions.iter().all(|it| self.books.get(&it.0, it.1).is_none_or(Lane::is_committed))
    }

    /// Commits until the broker has taken it: what is under way is waited for, what is refused is sent again.
    fn commit_last(&mut self, partitions: Vec<(String, i32)>, drained: Duration, until: Instant) {
        let of_these =
            |topic: &str, partition: i32| partitions.iter().any(|it| it.0 == topic && it.1 == partition);
        self.commits.send_last(&self.consumer, &mut self.books, of_these);
        if self.is_committed(&partitions) || until <= Instant::now() {
            self.give_back(&partitions, drained);
        } else {
            self.rebalance.step = Some(Step::Commit { partitions, drained, until });
        }
    }

    fn give_back(&mut self, partitions: &[(String, i32)], drained: Duration) {
        let repeated_before = self.books.gone.repeated;
        for (topic, partition) in partitions {
            self.books.remove(topic, *partition);
        }
        // Of lost lanes something may still wait.
        self.hand.sweep();
        if let Err(error) = self.consumer.unassign(partitions) {
            tracing::warn!(group = self.config.name, %error, "giving back failed");
        }
        let repeated = self.books.gone.repeated - repeated_before;
        let drained_ms = drained.as_millis() as u64;
        tracing::info!(group = self.config.name, ?partitions, drained_ms, repeated, "given back");
    }

    /// The group has gone on without this member: nothing can be committed, nothing more may be sent.
    /// librdkafka says so itself only later, by a revoke that is lost.
    pub(super) fn lose_all(&mut self) {
        self.books.iter_mut().for_each(|it| it.lost = true);
        self.close(&self.all());
    }

    fn all(&self) -> Vec<(String, i32)> {
        self.books.iter().map(|it| (it.topic.to_string(), it.partition)).collect()
    }

    /// The group is left: drains all, commits until it is accepted, as long as a session lasts.
    pub(super) fn finish(&mut self) {
        let (all, since) = (self.all(), Instant::now());
        self.end(&all);
        let until = since + Duration::from_millis(self.config.pace.stop_drain_ms);
        while !self.is_drained(&all) && Instant::now() < until {
            self.finishing_turn();
        }
        self.close_drained(&all);
        let drained_ms = since.elapsed().as_millis() as u64;
        let until = Instant::now() + Duration::from_millis(u64::from(self.config.session_timeout_ms));
        while !self.is_committed(&all) && Instant::now() < until {
            self.commits.send_last(&self.consumer, &mut self.books, |_, _| true);
            self.finishing_turn();
        }
        let repeated: u64 = self.books.iter().map(Lane::uncommitted).sum();
        tracing::info!(group = self.config.name, partitions = all.len(), drained_ms, repeated, "leaving");
        for (topic, partition) in &all {
            self.books.remove(topic, *partition);
        }
    }

    /// Serves acknowledgements and commit reports; takes no records and answers no events.
    fn finishing_turn(&mut self) {
        self.wait_for_acks(Duration::from_millis(5));
        self.lease_turn();
        self.consumer.serve();
        while let Some(report) = self.consumer.next_report() {
            self.lease.hear(&report);
            if self.commits.report(&report, &mut self.books) == Standing::Gone {
                self.lose_all();
            }
        }
    }
}
