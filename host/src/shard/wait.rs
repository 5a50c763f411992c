//! What is not to be tried yet goes to a rung of its ladder (`domain::ladder`), and is settled when it is written
//! there: from then on it waits in Kafka.

use std::time::Duration;

use super::Shard;
use super::settle::{Ending, is_too_large};
use super::work::Ticket;
use crate::clock;
use crate::domain::ladder::{Names, Purpose, Rung};
use crate::domain::message::Past;
use crate::domain::outcome::Outcome;
use crate::metrics::Wait;
use crate::outbox::rungs::NewRung;
use crate::outbox::{Error, Outgoing};
use crate::wire::rung::{self, Stay};

impl Shard {
    /// Writes it to the longest rung that fits, until it is written. False when its lane was given back first.
    pub(super) async fn put_on_rung(&self, ticket: &Ticket, ending: &Ending) -> bool {
        let Some(policy) = self.live().groups.get(ticket.group as usize).cloned() else { return false };
        let (purpose, stay) = ending.stay();
        let record = ending.record();
        let (mut pause_ms, mut waiting) = (100, None);
        loop {
            let now_ms = clock::now_ms();
            let rung = Rung::within(stay.due_ms.saturating_sub(now_ms)).unwrap_or(Rung::SHORTEST);
            let topic = Names::new(&policy.name, &record.topic).topic(purpose, rung);
            let headers = rung::headers_of(record, now_ms.saturating_add(rung.ms()), &stay);
            let outgoing = Outgoing {
                topic: &topic,
                // The same as in the source: who reads one reads the other.
                partition: Some(record.partition),
                key: record.key(),
                value: record.value(),
                headers: &headers,
                timestamp_ms: None,
            };
            let new = NewRung {
                topic: topic.clone(),
                source: record.topic.clone(),
                replication: policy.ladder.replication,
                create: policy.ladder.create,
                holds_ms: rung.ms(),
            };
            match self.write_to_rung(new, &outgoing).await {
                Ok(()) => return true,
                Err(error) => {
                    waiting.get_or_insert_with(|| self.shared.counters.waits.begin(Wait::Write));
                    self.shared.counters.gate_closed("rung");
                    if is_too_large(&error) {
                        tracing::error!(topic, %error, "raise the topic's max.message.bytes: a message waits to be put there");
                    } else {
                        tracing::warn!(topic, %error, "cannot write to a rung, will try again");
                    }
                }
            }
            self.sleep(ticket, Duration::from_millis(pause_ms)).await;
            if !self.shared.lanes.is_live(ticket) {
                return false;
            }
            pause_ms = (pause_ms * 2).min(5_000);
        }
    }

    async fn write_to_rung(&self, rung: NewRung, record: &Outgoing<'_>) -> Result<(), Error> {
        self.shared.rungs.ready(rung).await?;
        let written = self.shared.outbox.write(record).await;
        // It may have been deleted, or its source has more partitions by now.
        written.map(drop).inspect_err(|_| self.shared.rungs.forget(record.topic))
    }
}

impl Ending {
    /// What it waits for, and what it takes with it.
    fn stay(&self) -> (Purpose, Stay) {
        let past = || Past { first_seen_ms: self.first_seen_ms, ..self.past() };
        match (&self.outcome, &self.stay) {
            (Outcome::Deferred(due_ms), _) => {
                let stay = Stay { attempt: self.next_attempt(), due_ms: *due_ms, past: past(), reason: None };
                // One that has failed before and is not due yet is on its way down the retries' ladder.
                let is_retry = stay.past.first_failed_ms.is_some();
                (if is_retry { Purpose::Retry } else { Purpose::Delay }, stay)
            }
            (_, Some(stay)) => (Purpose::Retry, stay.clone()),
            (_, None) => {
                (Purpose::Retry, Stay { attempt: self.next_attempt(), past: past(), ..Stay::default() })
            }
        }
    }
}
