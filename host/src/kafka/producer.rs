//! The one producer of this process, shared by all threads. Idempotent, acks=all: what it reports as
//! written is replicated as the topic demands.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{Message as _, util::Timeout};
use std::time::Duration;
use tokio::sync::oneshot;

use super::{ClientSettings, Error, context};
use crate::domain::headers::Headers;

/// A record to be written.
#[derive(Clone, Debug, Default)]
pub struct Outgoing<'a> {
    pub topic: &'a str,
    /// None: the partitioner chooses by the key.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Header block.
    pub headers: &'a [u8],
    /// In ms since 1970; none is now.
    pub timestamp_ms: Option<i64>,
}

/// Where a written record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// How much the producer may hold, and how long it tries.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    pub queue_kib: u32,
    pub queue_messages: u32,
    /// Until a record is given up and reported, in ms.
    pub timeout_ms: u32,
    /// Largest record, in bytes.
    pub message_bytes_max: u32,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        // The queue has to hold the largest record, or its dead letter waits for ever.
        Self { queue_kib: 64 << 10, queue_messages: 100_000, timeout_ms: 30_000, message_bytes_max: 21 << 20 }
    }
}

type Report = oneshot::Sender<Result<Position, Error>>;

pub struct Producer {
    inner: ThreadedProducer<Context>,
}

impl Producer {
    pub fn new(client: &ClientSettings, settings: &ProducerSettings) -> Result<Self, Error> {
        let mut config = client.config();
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        // Java's: what most producers of a topic use, so that keys land where theirs do.
        config.set("partitioner", "murmur2_random");
        config.set("linger.ms", "1");
        config.set("queue.buffering.max.kbytes", settings.queue_kib.to_string());
        config.set("queue.buffering.max.messages", settings.queue_messages.to_string());
        config.set("message.timeout.ms", settings.timeout_ms.to_string());
        config.set("message.max.bytes", settings.message_bytes_max.to_string());
        let inner = config.create_with_context(Context).map_err(|it| Error::client(&it))?;
        Ok(Self { inner })
    }

    /// Queues a record. The receiver resolves when the brokers have answered, or time is up; an error
    /// here (the queue is full) comes at once.
    pub fn send(&self, record: &Outgoing<'_>) -> Result<oneshot::Receiver<Result<Position, Error>>, Error> {
        let (report, reported) = oneshot::channel();
        let mut base: BaseRecord<'_, [u8], [u8], Box<Report>> =
            BaseRecord::with_opaque_to(record.topic, Box::new(report));
        base.partition = record.partition;
        base.key = record.key;
        base.payload = record.value;
        base.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            base.headers = Some(owned_headers(record.headers));
        }
        match self.inner.send(base) {
            Ok(()) => Ok(reported),
            Err((error, _)) => Err(write_error(record.topic, &error)),
        }
    }

    /// Waits until all that was queued is written or given up.
    pub fn flush(&self, wait: Duration) -> Result<(), Error> {
        self.inner.flush(Timeout::After(wait)).map_err(|it| Error::request("flushing", &it))
    }

    /// Records queued and not reported.
    pub fn queued(&self) -> usize {
        usize::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }

    /// How many partitions a topic has.
    pub fn partitions(&self, topic: &str, wait: Duration) -> Result<i32, Error> {
        super::topics::partitions_of(self.inner.client(), topic, wait)
    }
}

fn owned_headers(block: &[u8]) -> OwnedHeaders {
    Headers::new(block).fold(OwnedHeaders::new(), |all, it| {
        all.insert(Header { key: &String::from_utf8_lossy(it.name), value: it.value })
    })
}

fn write_error(topic: &str, error: &KafkaError) -> Error {
    Error::request(format!("writing to topic {topic}"), error)
}

struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Topics that are made on demand are unknown at first; the record's own report tells if it stays so.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            tracing::warn!(target: "kafka", %error, reason, "Kafka producer error");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Report>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Box<Report>) {
        let answer = match result {
            Ok(message) => Ok(Position { partition: message.partition(), offset: message.offset() }),
            Err((error, message)) => Err(write_error(message.topic(), error)),
        };
        // Whoever waited may have gone; the record is written all the same.
        let _ = report.send(answer);
    }
}
