//! Carries an outcome out, and is tried until it is (invariant 2): a dead letter that cannot be written
//! blocks its message, by name, and never counts as done.

use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use super::admit::RouteHere;
use super::work::{Ack, Ticket};
use crate::clock;
use crate::domain::message::{Message, Past};
use crate::domain::outcome::{Failure, Outcome, Stage};
use crate::domain::record::Record;
use crate::metrics::Wait;
use crate::outbox::{Ended, Error, Outgoing, dead_headers};
use crate::plugin::Emitted;
use crate::wire::rung::Stay;

/// A message at its end, with all that its dead letter would tell.
pub struct Ending {
    pub(super) outcome: Outcome,
    subject: Subject,
    route: Option<Rc<RouteHere>>,
    attempts: u32,
    first_reason: Option<String>,
    pub(super) first_seen_ms: u64,
    emitted: Vec<Emitted>,
    /// What it takes to its ladder, where that is more than it came with.
    pub(super) stay: Option<Stay>,
}

enum Subject {
    Message(Rc<Message>),
    /// Its envelope could not be read.
    Record(Record),
}

impl Ending {
    pub fn of(
        message: Rc<Message>,
        route: Option<Rc<RouteHere>>,
        outcome: Outcome,
        first_seen_ms: u64,
    ) -> Self {
        Self {
            outcome,
            subject: Subject::Message(message),
            route,
            attempts: 0,
            first_reason: None,
            first_seen_ms,
            emitted: Vec::new(),
            stay: None,
        }
    }

    pub fn unreadable(record: Record, failure: Failure, first_seen_ms: u64) -> Self {
        Self {
            outcome: Outcome::Dead { code: "unreadable".to_owned(), failure },
            subject: Subject::Record(record),
            route: None,
            attempts: 0,
            first_reason: None,
            first_seen_ms,
            emitted: Vec::new(),
            stay: None,
        }
    }

    /// An attempt failed, and the next one is on its ladder.
    pub fn waiting(mut self, stay: Stay) -> Self {
        self.stay = Some(stay);
        self
    }

    pub fn after(mut self, attempts: u32, first_reason: Option<String>, emitted: Vec<Emitted>) -> Self {
        self.attempts = attempts;
        self.first_reason = first_reason;
        self.emitted = emitted;
        self
    }

    pub(super) fn record(&self) -> &Record {
        match &self.subject {
            Subject::Message(it) => &it.record,
            Subject::Record(it) => it,
        }
    }

    /// What it had behind it when it came here.
    pub(super) fn past(&self) -> Past {
        match &self.subject {
            Subject::Message(it) => it.past.as_deref().cloned().unwrap_or_default(),
            Subject::Record(_) => Past::default(),
        }
    }

    /// The number of its next attempt, where none has been counted.
    pub(super) fn next_attempt(&self) -> u32 {
        match &self.subject {
            Subject::Message(it) => self.attempts.max(it.attempt),
            Subject::Record(_) => 1,
        }
    }

    /// The headers of its dead or parked form.
    fn headers(&self, group: &str, kept: Kept) -> Vec<u8> {
        let (stage, code, reason) = match &self.outcome {
            Outcome::Dead { code, failure } => {
                (failure.stage.as_str(), code.as_str(), failure.detail.as_str())
            }
            Outcome::Parked(reason) => (Stage::Settle.as_str(), "parked", reason.as_str()),
            Outcome::Done | Outcome::Skipped(_) | Outcome::Retry { .. } | Outcome::Deferred(_) => {
                (Stage::Settle.as_str(), "", "")
            }
        };
        let message = match &self.subject {
            Subject::Message(it) => Some(it),
            Subject::Record(_) => None,
        };
        let plugin = self.route.as_ref().and_then(|it| it.handler.as_ref());
        let plugin = plugin.map(|it| format!("{}@{}", it.name, &it.digest[..12]));
        let record = self.record();
        dead_headers(&Ended {
            record,
            group,
            command: message.map(|it| &*it.command),
            log_id: message.map(|it| &*it.log_id),
            route: self.route.as_ref().map(|it| &*it.route.name),
            plugin: plugin.as_deref(),
            stage,
            code,
            reason,
            first_reason: self.first_reason.as_deref(),
            attempts: self.attempts,
            redriven: self.past().redriven,
            first_seen_ms: self.first_seen_ms,
            ended_ms: clock::now_ms(),
            truncated_from: record.value().map(<[u8]>::len).filter(|it| *it > kept.value_bytes()),
            headers_left_out: (kept == Kept::Place).then(|| record.headers().len()),
            key_left_out: record.key().map(<[u8]>::len).filter(|it| *it > kept.key_bytes()),
        })
    }
}

impl Shard {
    /// For what ends before it is a job.
    pub(super) fn settle_now(self: &Rc<Self>, ticket: Ticket, ending: Ending) {
        if !self.shared.lanes.begin(self.index, &ticket) {
            self.acknowledge(Ack { ticket, settled: false });
            return;
        }
        let shard = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let settled = shard.settle(&ticket, ending).await;
            shard.acknowledge(Ack { ticket, settled });
        });
    }

    /// True when the outcome is carried out; false when the lane was given back before it could be.
    pub(super) async fn settle(&self, ticket: &Ticket, mut ending: Ending) -> bool {
        if matches!(&ending.outcome, Outcome::Done | Outcome::Skipped(_)) && !ending.emitted.is_empty() {
            // Boxed, as all that most messages never need: a worker is as large as the largest step.
            match Box::pin(self.release(ticket, &ending)).await {
                Written::Yes => {}
                Written::Gone => return false,
                Written::Refused(error) => {
                    // The service did its part; what was to follow can never be written: somebody has to know.
                    let failure =
                        Failure::lasting(Stage::Settle, format!("what the handler emitted: {error}"));
                    ending.outcome = Outcome::Dead { code: "emit".to_owned(), failure };
                }
            }
        }
        let carried_out = match &ending.outcome {
            Outcome::Done | Outcome::Skipped(_) => true,
            Outcome::Dead { .. } => Box::pin(self.put_aside(ticket, &ending, true)).await,
            Outcome::Parked(_) => Box::pin(self.put_aside(ticket, &ending, false)).await,
            Outcome::Deferred(_) | Outcome::Retry { .. } => Box::pin(self.put_on_rung(ticket, &ending)).await,
        };
        if carried_out {
            self.count(ticket, &ending);
        }
        carried_out
    }

    /// Writes what the handler emitted: with the success, and before the commit.
    async fn release(&self, ticket: &Ticket, ending: &Ending) -> Written {
        for record in &ending.emitted {
            let outgoing = Outgoing {
                topic: &record.topic,
                partition: record.partition.and_then(|it| i32::try_from(it).ok()),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &record.headers,
                timestamp_ms: None,
            };
            match self.write(ticket, "emit", &outgoing).await {
                Written::Yes => {}
                other => return other,
            }
        }
        Written::Yes
    }

    async fn put_aside(&self, ticket: &Ticket, ending: &Ending, dead: bool) -> bool {
        let Some(policy) = self.live().groups.get(ticket.group as usize).cloned() else { return false };
        let topic = if dead { policy.dead_topic } else { policy.park_topic };
        let record = ending.record();
        let mut kept = Kept::All;
        loop {
            let headers = ending.headers(&policy.name, kept);
            let outgoing = Outgoing {
                topic: &topic,
                partition: None,
                key: record.key().filter(|it| it.len() <= kept.key_bytes()),
                value: record.value().map(|it| &it[..it.len().min(kept.value_bytes())]),
                headers: &headers,
                timestamp_ms: None,
            };
            match self.write(ticket, "dead-letters", &outgoing).await {
                Written::Yes => return true,
                Written::Gone => return false,
                // Its coordinates lead to the whole of it for as long as the source topic keeps it.
                Written::Refused(error) if is_too_large(&error) && kept.less(record).is_some() => {
                    kept = kept.less(record).unwrap_or(kept);
                }
                // Never dropped: it waits for an operator to mend the topic.
                Written::Refused(error) => {
                    tracing::error!(topic = &*topic, %error, "a message waits for its dead-letter topic");
                    self.sleep(ticket, REFUSED_PAUSE).await;
                    if !self.shared.lanes.is_live(ticket) {
                        return false;
                    }
                }
            }
        }
    }

    /// Writes until it is written, refused for good, or the lane is given back. The gate's name is what
    /// `explain` shows.
    async fn write(&self, ticket: &Ticket, gate: &'static str, record: &Outgoing<'_>) -> Written {
        let (mut pause_ms, mut waiting) = (100, None);
        loop {
            match self.shared.outbox.write(record).await {
                Ok(_) => {
                    return Written::Yes;
                }
                Err(error) => {
                    waiting.get_or_insert_with(|| self.shared.counters.waits.begin(Wait::Write));
                    self.shared.counters.gate_closed(gate);
                    if is_hopeless(&error) {
                        return Written::Refused(error);
                    }
                    tracing::warn!(gate, topic = record.topic, %error, "cannot write, will try again");
                }
            }
            self.sleep(ticket, Duration::from_millis(pause_ms)).await;
            if !self.shared.lanes.is_live(ticket) {
                return Written::Gone;
            }
            pause_ms = (pause_ms * 2).min(5_000);
        }
    }

    fn count(&self, ticket: &Ticket, ending: &Ending) {
        let record = ending.record();
        match &ending.route {
            Some(route) => self.counters(route, ticket, &record.topic).ended(ending.outcome.label()),
            None => {
                let group = self.group_name(ticket);
                self.shared.counters.unrouted(&group, &record.topic, ending.outcome.label());
            }
        }
        if let Outcome::Dead { code, failure } = &ending.outcome {
            tracing::info!(
                message = record.coordinates(),
                group = &*self.group_name(ticket),
                code,
                stage = failure.stage.as_str(),
                reason = failure.detail,
                "dead letter"
            );
        }
    }
}

/// What became of a record that was to be written.
enum Written {
    Yes,
    /// Its lane was given back first.
    Gone,
    /// It can never be written as it is.
    Refused(Error),
}

/// How much of a record its dead letter has, which is larger than the record: less each time it is too large for
/// the topic, for otherwise a record whose bulk is its headers or its key would stop its partition for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    All,
    /// The start of the value.
    Start,
    /// Less of that, no headers of its own, and no key that is long: where it came from, and why.
    Place,
}

impl Kept {
    fn value_bytes(self) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::Start => 64 << 10,
            Self::Place => 4 << 10,
        }
    }

    /// One that is longer is not kept at all: the start of a key is another key.
    fn key_bytes(self) -> usize {
        match self {
            Self::All | Self::Start => usize::MAX,
            Self::Place => 4 << 10,
        }
    }

    /// The next to try, where that is less of this record: else the bulk is another's, which Kafka refused in the
    /// same batch, and it has only to be tried again.
    fn less(self, record: &Record) -> Option<Self> {
        let value = record.value().map_or(0, <[u8]>::len);
        let rest = record.headers().len() + record.key().map_or(0, <[u8]>::len);
        match self {
            Self::All if value > Self::Start.value_bytes() => Some(Self::Start),
            Self::All | Self::Start if rest > 16 << 10 => Some(Self::Place),
            Self::All | Self::Start | Self::Place => None,
        }
    }
}

/// Before a dead letter that was refused is tried again.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

pub(super) fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::Request { detail, .. } if detail.contains("MessageSizeTooLarge") || detail.contains("too large"))
}

/// Whether no waiting mends it: the record itself, or the name of its topic, is at fault.
fn is_hopeless(error: &Error) -> bool {
    is_too_large(error) || matches!(error, Error::Request { detail, .. } if detail.contains("InvalidTopic"))
}
