//! Rungs are read by whoever reads their source: the same partition of each is added to what the group assigned, in
//! the same call, and given back with it. So one host sees all of a key, and the group fences the commits of rungs
//! as those of their source (`docs/decisions/0011`).
//!
//! One that is made later is added in between two events of the group.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::lane::Kind;
use super::poll::Poll;
use super::{Config, Start};
use crate::domain::ladder::Names;
use crate::kafka::Error;
use crate::kafka::consumer::{Positions, StartAt};
use crate::outbox::rungs::Rungs;

/// Rungs that another process has made are found by then: another host, or whoever sends dead letters again.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// After a look that led to nothing.
const AGAIN: Duration = Duration::from_millis(500);

/// Looks for rungs that are there and not read.
pub struct Adopt {
    rungs: Rungs,
    /// Of the rungs that were known when it last looked.
    generation: u64,
    next_look: Instant,
    found: Option<mpsc::Receiver<Result<Vec<StartAt>, Error>>>,
}

/// A topic of the group, and the names of its rungs.
pub type Ladders = Vec<(String, Names)>;

impl Adopt {
    pub fn new(rungs: Rungs) -> Self {
        let next_look = Instant::now() + LOOK_EVERY;
        Self { generation: rungs.generation(), rungs, next_look, found: None }
    }

    pub fn ladders(&self, config: &Config) -> Ladders {
        config.topics.iter().map(|it| (it.clone(), Names::new(&config.name, it))).collect()
    }

    fn is_due(&self) -> bool {
        self.generation != self.rungs.generation() || self.next_look <= Instant::now()
    }
}

impl Poll {
    /// Asks for new rungs when there may be some, and adds those that were found. What is found while an event of
    /// the group waits is thrown away: an assignment would be taken for its answer.
    pub(super) fn adopt_turn(&mut self) {
        if let Some(found) = &self.adopt.found {
            match found.try_recv() {
                Err(mpsc::TryRecvError::Empty) => {}
                Ok(Ok(starts)) if !self.rebalance.is_busy() => {
                    self.adopt.found = None;
                    self.add(starts);
                }
                Ok(Ok(_)) | Ok(Err(_)) | Err(mpsc::TryRecvError::Disconnected) => {
                    self.adopt.found = None;
                    self.adopt.next_look = Instant::now() + AGAIN;
                }
            }
        } else if self.adopt.is_due() && !self.rebalance.is_busy() {
            self.look();
        }
    }

    fn look(&mut self) {
        self.adopt.generation = self.adopt.rungs.generation();
        self.adopt.next_look = Instant::now() + LOOK_EVERY;
        let sources: Vec<(String, i32)> = self
            .books
            .iter()
            .filter(|it| it.kind == Kind::Source)
            .map(|it| (it.topic.to_string(), it.partition))
            .collect();
        if sources.is_empty() {
            return;
        }
        let (tell, found) = mpsc::channel();
        let (positions, ladders) = (self.consumer.positions(), self.adopt.ladders(&self.config));
        let known: Vec<(String, i32)> =
            self.books.iter().map(|it| (it.topic.to_string(), it.partition)).collect();
        aside("rungs-of", move || {
            let rungs = rungs_of(&positions, &sources, &ladders);
            let starts = rungs.and_then(|mut rungs| {
                rungs.retain(|it| !known.contains(it));
                if rungs.is_empty() { Ok(Vec::new()) } else { starts_of(&positions, &rungs) }
            });
            // The poll thread may have ended meanwhile.
            let _ = tell.send(starts);
        });
        self.adopt.found = Some(found);
    }

    /// Of those whose source is still read here.
    fn add(&mut self, mut starts: Vec<StartAt>) {
        let ladders = self.adopt.ladders(&self.config);
        starts.retain(|it| {
            let source = source_of(&ladders, &it.topic);
            source.is_some_and(|source| self.books.get(source, it.partition).is_some())
                && self.books.get(&it.topic, it.partition).is_none()
        });
        if !starts.is_empty() {
            self.assign(&starts);
        }
    }
}

/// The topic whose rung this is.
pub fn source_of<'a>(ladders: &'a Ladders, topic: &str) -> Option<&'a str> {
    ladders.iter().find(|it| it.1.find(topic).is_some()).map(|it| it.0.as_str())
}

/// Asks on a thread of its own, for the calls block.
pub fn aside(name: &str, ask: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(ask) {
        tracing::error!(%error, "cannot start a thread");
    }
}

/// For the cluster to answer.
const WAIT: Duration = Duration::from_secs(10);

/// Where each of these partitions is to begin, and of each rung that it has: the commits of the group; where there
/// are none, the start that the operator chose (S51, S65), or a rung's first record. Blocks.
pub fn positions_of(
    positions: &Positions,
    partitions: &[(String, i32)],
    start: Start,
    ladders: &Ladders,
) -> Result<Vec<StartAt>, Error> {
    let mut starts = starts_of(positions, partitions)?;
    for it in starts.iter_mut().filter(|it| it.position.is_none() && start == Start::Newest) {
        it.position = Some(positions.watermarks(&it.topic, it.partition, WAIT)?.1);
    }
    let rungs = rungs_of(positions, partitions, ladders)?;
    if !rungs.is_empty() {
        starts.extend(starts_of(positions, &rungs)?);
    }
    Ok(starts)
}

/// The commits of the group; at the first record where there are none. Blocks.
fn starts_of(positions: &Positions, partitions: &[(String, i32)]) -> Result<Vec<StartAt>, Error> {
    let committed = positions.committed(partitions, WAIT)?;
    Ok(committed.into_iter().map(|it| StartAt { topic: it.0, partition: it.1, position: it.2 }).collect())
}

/// The same partition of every rung that these sources have. Blocks.
fn rungs_of(
    positions: &Positions,
    sources: &[(String, i32)],
    ladders: &Ladders,
) -> Result<Vec<(String, i32)>, Error> {
    let mut rungs = Vec::new();
    for (topic, width) in positions.topics(WAIT)? {
        if let Some(source) = source_of(ladders, &topic) {
            let same = sources.iter().filter(|it| it.0 == source && it.1 < width);
            rungs.extend(same.map(|it| (topic.clone(), it.1)));
        }
    }
    Ok(rungs)
}
