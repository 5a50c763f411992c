//! The history as it is written during a storm: a file that only grows, a line for each event. It is read back for
//! the check, then or later.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::history::{Answer, Attempt, Event, Fault, FaultKind, History, Id, Lane, Micros, Produced, Target};

/// Shared by all that see something happen.
pub struct Journal {
    start: Instant,
    /// The wall clock's µs since 1970 at the start: brokers stamp by the wall clock.
    start_wall: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    out: BufWriter<File>,
    /// Those that had an outcome.
    done: HashSet<Id>,
    counts: Counts,
}

/// So far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub produced: u64,
    pub unacknowledged: u64,
    /// Messages with an outcome.
    pub done: u64,
    pub dead: u64,
    pub attempts: u64,
}

impl Counts {
    pub fn waiting(&self) -> u64 {
        self.produced.saturating_sub(self.done)
    }
}

impl Journal {
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("writing {}", path.display()))?;
        let inner = Inner { out: BufWriter::new(file), done: HashSet::new(), counts: Counts::default() };
        Ok(Self { start: Instant::now(), start_wall: wall_us(), inner: Mutex::new(inner) })
    }

    pub fn now(&self) -> Micros {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    /// Of a broker's timestamp in ms; it is cut to the ms, so it may be a little early, never late.
    pub fn of_wall_ms(&self, at_ms: i64) -> Micros {
        u64::try_from(at_ms).unwrap_or(0).saturating_mul(1_000).saturating_sub(self.start_wall)
    }

    pub fn record(&self, event: &Event) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, counts) = match event {
            Event::Produced(_) => (None, (1, 0, 0, 0)),
            Event::Unacknowledged(_) => (None, (0, 1, 0, 0)),
            Event::Attempted(it) => (Some(it.id).filter(|_| it.answer == Answer::Delivered), (0, 0, 0, 1)),
            Event::DeadLettered { id, .. } => (Some(*id), (0, 0, 1, 0)),
            Event::Parked { .. } | Event::Committed { .. } | Event::Fault(_) => (None, (0, 0, 0, 0)),
        };
        inner.counts.produced += counts.0;
        inner.counts.unacknowledged += counts.1;
        inner.counts.dead += counts.2;
        inner.counts.attempts += counts.3;
        if let Some(id) = done
            && inner.done.insert(id)
        {
            inner.counts.done += 1;
        }
        // A full disk shows when the file is ended.
        let _ = writeln!(inner.out, "{}", line(event));
    }

    pub fn counts(&self) -> Counts {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).counts
    }

    /// Writes out what is held; says whether the storm was waited for.
    pub fn end(&self, settled: bool) -> anyhow::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if settled {
            writeln!(inner.out, "settled")?;
        }
        inner.out.flush().context("writing the history")
    }
}

#[expect(clippy::disallowed_methods, reason = "brokers stamp by the wall clock; it is read once")]
fn wall_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

/// The event's line, without its end.
pub fn line(event: &Event) -> String {
    match event {
        Event::Produced(it) => format!(
            "produced {} {} {} {} {} {} {}",
            it.lane.topic, it.lane.partition, it.offset, it.key, it.seq, it.id, it.at
        ),
        Event::Unacknowledged(id) => format!("unacknowledged {id}"),
        Event::Attempted(it) => {
            let answer = match it.answer {
                Answer::Delivered => "delivered".to_owned(),
                Answer::Broken => "broken".to_owned(),
                Answer::Gone => "gone".to_owned(),
                Answer::Refused(status) => status.to_string(),
            };
            let Attempt { id, key, seq, host, began, ended, .. } = it;
            format!("attempted {id} {key} {seq} {host} {began} {ended} {answer}")
        }
        Event::DeadLettered { id, at } => format!("dead {id} {at}"),
        Event::Parked { id, at } => format!("parked {id} {at}"),
        Event::Committed { lane, offset, at } => {
            format!("committed {} {} {offset} {at}", lane.topic, lane.partition)
        }
        Event::Fault(it) => {
            let target = match it.target {
                Target::Host(it) => format!("host-{it}"),
                Target::Broker(it) => format!("broker-{it}"),
                Target::All => "all".to_owned(),
            };
            format!("fault {} {target} {} {} {}", it.kind.name(), it.from, it.until, it.in_flight)
        }
    }
}

/// Reads a whole file.
pub fn read(path: &Path) -> anyhow::Result<History> {
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let mut history = History::default();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line?;
        if line == "settled" {
            history.settled = true;
            continue;
        }
        let event = parse(&line).with_context(|| format!("{}:{}: {line:?}", path.display(), number + 1))?;
        history.push(event);
    }
    Ok(history)
}

/// The words of a line, one after the other.
struct Words<'a>(std::str::SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    fn word(&mut self) -> anyhow::Result<&'a str> {
        self.0.next().context("a word is missing")
    }

    fn number<T: FromStr>(&mut self) -> anyhow::Result<T> {
        let word = self.word()?;
        word.parse().ok().with_context(|| format!("{word:?} is not the number that belongs here"))
    }

    fn lane(&mut self) -> anyhow::Result<Lane> {
        Ok(Lane { topic: self.number()?, partition: self.number()? })
    }
}

fn parse(line: &str) -> anyhow::Result<Event> {
    let mut words = Words(line.split_ascii_whitespace());
    Ok(match words.word()? {
        "produced" => Event::Produced(Produced {
            lane: words.lane()?,
            offset: words.number()?,
            key: words.number()?,
            seq: words.number()?,
            id: words.number()?,
            at: words.number()?,
        }),
        "unacknowledged" => Event::Unacknowledged(words.number()?),
        "attempted" => Event::Attempted(Attempt {
            id: words.number()?,
            key: words.number()?,
            seq: words.number()?,
            host: words.number()?,
            began: words.number()?,
            ended: words.number()?,
            answer: match words.word()? {
                "delivered" => Answer::Delivered,
                "broken" => Answer::Broken,
                "gone" => Answer::Gone,
                status => Answer::Refused(status.parse().context("an answer that is none")?),
            },
        }),
        "dead" => Event::DeadLettered { id: words.number()?, at: words.number()? },
        "parked" => Event::Parked { id: words.number()?, at: words.number()? },
        "committed" => Event::Committed { lane: words.lane()?, offset: words.number()?, at: words.number()? },
        "fault" => Event::Fault(Fault {
            kind: FaultKind::named(words.word()?).context("a fault that is none")?,
            target: match words.word()?.split_once('-') {
                Some(("host", it)) => Target::Host(it.parse()?),
                Some(("broker", it)) => Target::Broker(it.parse()?),
                _ => Target::All,
            },
            from: words.number()?,
            until: words.number()?,
            in_flight: words.number()?,
        }),
        other => bail!("there is no event {other:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_comes_back() {
        let lane = Lane { topic: 1, partition: 2 };
        let attempt =
            |answer| Event::Attempted(Attempt { id: 1, key: 2, seq: 3, host: 4, began: 5, ended: 6, answer });
        let fault = |kind, target| Event::Fault(Fault { kind, target, from: 1, until: 2, in_flight: 3 });
        let mut all = vec![
            Event::Produced(Produced { lane, offset: 3, key: 4, seq: 5, id: 6, at: 7 }),
            Event::Unacknowledged(9),
            attempt(Answer::Delivered),
            attempt(Answer::Refused(503)),
            attempt(Answer::Broken),
            attempt(Answer::Gone),
            Event::DeadLettered { id: 1, at: 2 },
            Event::Parked { id: 1, at: 2 },
            Event::Committed { lane, offset: 3, at: 4 },
            fault(FaultKind::Reload, Target::All),
            fault(FaultKind::HostKill, Target::Host(1)),
        ];
        all.extend(FaultKind::ALL.map(|it| fault(it, Target::Broker(2))));
        for it in all {
            assert_eq!(parse(&line(&it)).unwrap(), it);
        }
        assert!(parse("attempted 1 2").is_err() && parse("other").is_err() && parse("").is_err());
    }
}
