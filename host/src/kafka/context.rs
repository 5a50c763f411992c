//! librdkafka's callbacks: its log lines go to ours, its rebalances become events for the poll thread.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

/// What the group asks of this member. Each is answered once, in order, by the poll thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Assign(Vec<(String, i32)>),
    /// `lost`: the group has given them away already; nothing can be committed any more.
    Revoke {
        partitions: Vec<(String, i32)>,
        lost: bool,
    },
}

/// Context of a group's consumer. The callbacks run in `poll`, on the poll thread.
#[derive(Default)]
pub struct GroupContext {
    events: Mutex<VecDeque<Event>>,
    closing: AtomicBool,
}

impl GroupContext {
    pub fn next_event(&self) -> Option<Event> {
        self.lock().pop_front()
    }

    /// From now on rebalances are answered in the callback: nobody drains any more, and a consumer
    /// whose last event waits for an answer never closes.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(|it| it.into_inner())
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(target: "kafka", %error, reason, "Kafka client error");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = list.elements().iter().map(|it| (it.topic().to_owned(), it.partition())).collect();
        let assigned = err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            if !assigned && let Err(error) = consumer.incremental_unassign(list) {
                tracing::warn!(target: "kafka", %error, "could not give back partitions while closing");
            }
            return;
        }
        let event = if assigned {
            Event::Assign(partitions)
        } else {
            Event::Revoke { partitions, lost: consumer.assignment_lost() }
        };
        self.lock().push_back(event);
    }
}

/// Context of producers and admin clients.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(target: "kafka", facility, "{message}"),
        RDKafkaLogLevel::Warning => tracing::warn!(target: "kafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "kafka", facility, "{message}")
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "kafka", facility, "{message}"),
    }
}
