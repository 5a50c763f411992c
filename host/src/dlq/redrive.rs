//! Sending dead letters again. They stay where they are: Kafka marks no record as done. So what was sent is told by
//! offsets, and one who goes on gives the next one.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::runtime::Handle;

use super::reentry::{Parts, ReEntry};
use super::{Dlq, Error, Found, Place, read};
use crate::clock;
use crate::domain::dead::{DeadLetter, Filter};
use crate::domain::limiter::Rate;
use crate::outbox::{Outbox, Outgoing};

/// What is to be sent, and how.
#[derive(Clone, Debug)]
pub struct Redrive {
    pub filter: Filter,
    /// Letters a second.
    pub rate: u32,
    /// One that was sent again so often is left.
    pub max_redrives: u32,
    /// Letters at most; the rest is left for another time.
    pub limit: Option<u64>,
}

/// What was done, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Redriven {
    pub letters: u64,
    pub partitions: BTreeMap<i32, Part>,
    /// Sent again too often already.
    pub looped: Left,
    /// Value, headers or key are not all there: only the source has the whole, for as long as it keeps it.
    pub cut: Left,
    /// Why it ended early.
    pub stopped: Option<String>,
}

/// Of one partition of the dead-letter topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    pub letters: u64,
    /// Offsets of the first and the last of them.
    pub first: i64,
    pub last: i64,
    /// Where one goes on: nothing before it is left that was meant, but what is named as such.
    pub next: i64,
}

/// Letters that are not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Left {
    pub letters: u64,
    /// The first few, as `partition:offset`.
    pub first: Vec<String>,
}

/// Names of letters that are told; the number of all is told anyway.
const NAMED: usize = 5;
/// Written together at most: letters, and bytes of them.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 8 << 20;

/// How records are written: nothing is, where it is only planned.
#[derive(Clone)]
pub struct Way {
    pub outbox: Outbox,
    pub re_entry: Arc<dyn ReEntry + Send + Sync>,
    pub runtime: Handle,
}

impl Dlq {
    /// Sends what is meant, or only counts it (`way` is none). `watch` hears of every step and may end it.
    ///
    /// # Errors
    /// Nothing was sent. What ends it later is told by the report.
    pub fn redrive(
        &self,
        (place, wish): (&Place, &Redrive),
        way: Option<&Way>,
        within: Duration,
        watch: &mut dyn FnMut(&Redriven) -> ControlFlow<()>,
    ) -> Result<Redriven, Error> {
        let (mut walk, filter) = self.walk(place, &wish.filter, within)?;
        let mut run = Run::new(wish, way);
        loop {
            let record = match walk.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) if run.report.letters == 0 || way.is_none() => return Err(error.into()),
                Err(error) => {
                    run.end(error.to_string());
                    break;
                }
            };
            if watch(&run.report).is_break() {
                run.end("it was told to end");
                break;
            }
            let Ok(found) = read(record, place) else { continue };
            if !filter.matches(&found.letter, found.record.key()) {
                continue;
            }
            if wish.limit.is_some_and(|it| it <= run.taken) {
                run.write();
                run.end("the limit is reached, and there are more");
                break;
            }
            if run.take(found) {
                run.write();
            }
            if run.report.stopped.is_some() {
                break;
            }
        }
        run.write();
        Ok(run.report)
    }
}

/// One redrive while it runs.
struct Run<'a> {
    wish: &'a Redrive,
    way: Option<&'a Way>,
    report: Redriven,
    batch: Vec<Found>,
    batch_bytes: usize,
    batch_most: usize,
    taken: u64,
    /// Topics that are known to be there.
    ready: HashSet<String>,
    /// When the next letter is due, by the clock of `monotonic_ns`.
    due_ns: u64,
}

impl<'a> Run<'a> {
    fn new(wish: &'a Redrive, way: Option<&'a Way>) -> Self {
        Self {
            wish,
            way,
            report: Redriven::default(),
            batch: Vec::new(),
            batch_bytes: 0,
            // A tenth of a second's at a time: evenly, and few waits.
            batch_most: (wish.rate as usize / 10).clamp(1, BATCH),
            taken: 0,
            ready: HashSet::new(),
            due_ns: 0,
        }
    }

    /// True when the batch is to be written.
    fn take(&mut self, found: Found) -> bool {
        let letter = &found.letter;
        if self.wish.max_redrives <= letter.redriven {
            self.report.looped.add(letter);
        } else if !letter.is_whole() {
            self.report.cut.add(letter);
        } else {
            self.taken += 1;
            if self.way.is_none() {
                self.report.count(letter);
                return false;
            }
            self.batch_bytes += found.record.bytes();
            self.batch.push(found);
        }
        self.batch_most <= self.batch.len() || BATCH_BYTES <= self.batch_bytes
    }

    /// The first reason stays.
    fn end(&mut self, why: impl Into<String>) {
        self.report.stopped.get_or_insert_with(|| why.into());
    }

    fn write(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let Some(way) = self.way.filter(|_| self.report.stopped.is_none() && !batch.is_empty()) else {
            return;
        };
        let mut parts = Vec::with_capacity(batch.len());
        for it in &batch {
            match self.part(way, it) {
                Ok(part) => parts.push(part),
                Err(why) => {
                    // What stands before it in this batch is sent; it comes first the next time.
                    self.end(format!("{}: {why}", it.letter.place()));
                    break;
                }
            }
        }
        self.wait_for_turn(parts.len());
        let written = way.runtime.block_on(join_all(batch.iter().zip(&parts).map(|(it, part)| {
            let record = outgoing(it, part);
            async move { way.outbox.write(&record).await }
        })));
        let mut all = batch.iter().zip(written);
        for (it, written) in all.by_ref() {
            if let Err(error) = written {
                self.report.stopped = Some(format!("{}: {error}", it.letter.place()));
                break;
            }
            self.report.count(&it.letter);
        }
        // They come again when one goes on behind what is counted: that is to be said.
        let beyond = all.filter(|(_, written)| written.is_ok()).count();
        if let Some(stopped) = self.report.stopped.as_mut().filter(|_| 0 < beyond) {
            stopped.push_str(&format!(
                "; {beyond} behind it were sent, and are sent again when you go on there"
            ));
        }
    }

    fn part(&mut self, way: &Way, it: &Found) -> Result<Parts, String> {
        let part = way.re_entry.re_entry(&it.letter, &it.record, it.letter.redriven + 1)?;
        if !self.ready.contains(&part.topic) {
            way.re_entry.make_ready(&part.topic, &it.letter).map_err(|it| it.to_string())?;
            self.ready.insert(part.topic.clone());
        }
        Ok(part)
    }

    fn wait_for_turn(&mut self, count: usize) {
        let rate = Rate::per_second(self.wish.rate, 1);
        let now_ns = clock::monotonic_ns();
        let mut wait_ns = None;
        for _ in 0..count {
            let (due_ns, wait) = rate.reserve(self.due_ns, now_ns);
            self.due_ns = due_ns;
            wait_ns.get_or_insert(wait);
        }
        std::thread::sleep(Duration::from_nanos(wait_ns.unwrap_or(0)));
    }
}

fn outgoing<'a>(it: &'a Found, part: &'a Parts) -> Outgoing<'a> {
    Outgoing {
        topic: &part.topic,
        partition: part.partition,
        key: it.record.key(),
        value: it.record.value(),
        headers: &part.headers,
        timestamp_ms: None,
    }
}

impl Redriven {
    fn count(&mut self, letter: &DeadLetter) {
        self.letters += 1;
        let part = self.partitions.entry(letter.partition).or_default();
        if part.letters == 0 {
            part.first = letter.offset;
        }
        part.letters += 1;
        part.last = letter.offset;
        part.next = letter.offset + 1;
    }
}

impl Left {
    fn add(&mut self, letter: &DeadLetter) {
        self.letters += 1;
        if self.first.len() < NAMED {
            self.first.push(letter.place());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Record;

    fn found(offset: i64, redriven: u32, cut: bool) -> Found {
        let record = Record::new(("g.dead".into(), 1, offset), None, None, None, b"");
        let truncated_from = cut.then_some(1);
        let letter = DeadLetter { partition: 1, offset, redriven, truncated_from, ..DeadLetter::default() };
        Found { letter, record }
    }

    fn wish() -> Redrive {
        Redrive { filter: Filter::default(), rate: 100, max_redrives: 2, limit: None }
    }

    /// S88: who goes round for ever is stopped, who is not whole is left, and both are named.
    #[test]
    fn guards() {
        let wish = wish();
        let mut run = Run::new(&wish, None);
        for it in [
            found(3, 0, false),
            found(4, 2, false),
            found(5, 1, true),
            found(6, 1, false),
            found(7, 9, false),
        ] {
            assert!(!run.take(it));
        }
        let report = run.report;
        let part = Part { letters: 2, first: 3, last: 6, next: 7 };
        assert_eq!((report.letters, &report.partitions), (2, &BTreeMap::from([(1, part)])));
        assert_eq!(
            (report.looped.letters, report.looped.first),
            (2, vec!["1:4".to_owned(), "1:7".to_owned()])
        );
        assert_eq!((report.cut.letters, report.cut.first), (1, vec!["1:5".to_owned()]));
    }

    #[test]
    fn batches_follow_the_rate() {
        for (rate, expected) in [(1, 1), (9, 1), (100, 10), (1_000_000, BATCH)] {
            let wish = Redrive { rate, ..wish() };
            assert_eq!(Run::new(&wish, None).batch_most, expected, "{rate}");
        }
    }
}
