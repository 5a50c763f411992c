//! The storm's own clients of Kafka, which no proxy stands before: the producer, who reads the dead letters, who asks
//! for commits, who changes topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};

use crate::history::{Event, Lane, Produced};
use crate::journal::Journal;
use crate::service::Told;

/// For one answer of the brokers.
const WAIT: Duration = Duration::from_secs(20);
/// Between two questions what is committed.
const ASK_EVERY: Duration = Duration::from_millis(200);

pub fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("reconnect.backoff.max.ms", "500");
    config.set("allow.auto.create.topics", "false").set("log_level", "2");
    config
}

/// Writes down what the brokers acknowledged.
pub struct Reports(Arc<Journal>);

impl ClientContext for Reports {
    fn error(&self, _: rdkafka::error::KafkaError, _: &str) {
        // Brokers come and go here; each record's own report tells what became of it.
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Told>;

    fn delivery(&self, result: &DeliveryResult<'_>, told: Box<Told>) {
        let Told { id, key, seq } = *told;
        let at = self.0.now();
        self.0.record(&match result {
            Ok(it) => {
                let lane = Lane { topic: 0, partition: it.partition() };
                Event::Produced(Produced { lane, offset: it.offset(), key, seq, id, at })
            }
            Err(_) => Event::Unacknowledged(id),
        });
    }
}

pub struct Producer {
    inner: ThreadedProducer<Reports>,
    topic: String,
}

impl Producer {
    pub fn new(bootstrap: &str, topic: &str, journal: Arc<Journal>) -> anyhow::Result<Self> {
        let mut config = config(bootstrap);
        config.set("linger.ms", "2").set("acks", "all").set("enable.idempotence", "true");
        // Longer than any fault: an unacknowledged record proves nothing.
        config.set("message.timeout.ms", "300000").set("partitioner", "murmur2_random");
        Ok(Self { inner: config.create_with_context(Reports(journal))?, topic: topic.to_owned() })
    }

    /// False where its queue is full.
    pub fn send(&self, told: Told) -> anyhow::Result<bool> {
        let (key, value) = (told.key.to_string(), told.value());
        let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(told)).key(&key).payload(&value);
        let command = Header { key: "drover-command", value: Some("pay") };
        record.headers = Some(OwnedHeaders::new().insert(command));
        match self.inner.send(record) {
            Ok(()) => Ok(true),
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => Ok(false),
            Err((error, _)) => Err(error).context("producing"),
        }
    }

    pub fn flush(&self) -> anyhow::Result<()> {
        self.inner.flush(Duration::from_secs(300)).context("what was produced is not acknowledged")
    }
}

/// Reads a topic of dead letters, over and over where it is made anew.
pub struct Letters {
    pub bootstrap: String,
    pub topic: String,
    pub journal: Arc<Journal>,
    /// Counts the topics of this name that there were.
    pub epoch: AtomicU64,
    /// Letters read of the present one.
    pub read: AtomicU64,
    pub stop: AtomicBool,
}

impl Letters {
    /// The body of its thread.
    pub fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let epoch = self.epoch.load(Ordering::Acquire);
            self.read.store(0, Ordering::Release);
            // The topic may be away; then it is asked for again.
            if self.follow(epoch).is_err() {
                std::thread::sleep(ASK_EVERY);
            }
        }
    }

    fn follow(&self, epoch: u64) -> anyhow::Result<()> {
        let mut config = config(&self.bootstrap);
        config.set("group.id", "storm-letters").set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer = config.create()?;
        let mut list = TopicPartitionList::new();
        let metadata = consumer.fetch_metadata(Some(&self.topic), WAIT)?;
        let known = metadata.topics().first().context("no such topic")?;
        anyhow::ensure!(!known.partitions().is_empty(), "no such topic");
        for partition in known.partitions() {
            list.add_partition_offset(&self.topic, partition.id(), Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        while !self.stop.load(Ordering::Relaxed) && self.epoch.load(Ordering::Acquire) == epoch {
            // Errors are the brokers' coming and going.
            let Some(Ok(letter)) = consumer.poll(Duration::from_millis(100)) else { continue };
            let at = self.journal.of_wall_ms(letter.timestamp().to_millis().unwrap_or(0));
            if let Some(told) = letter.payload().and_then(Told::read) {
                self.journal.record(&Event::DeadLettered { id: told.id, at });
            }
            self.read.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }
}

/// Asks again and again what the group has committed.
pub struct Commits {
    pub bootstrap: String,
    pub group: String,
    pub topic: String,
    pub partitions: i32,
    pub journal: Arc<Journal>,
    pub stop: AtomicBool,
    /// The sum of what was found last.
    pub total: AtomicU64,
}

impl Commits {
    /// The body of its thread.
    pub fn run(&self) -> anyhow::Result<()> {
        let consumer: BaseConsumer = config(&self.bootstrap).set("group.id", &self.group).create()?;
        let mut last = vec![None; usize::try_from(self.partitions).unwrap_or(0)];
        while !self.stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let mut list = TopicPartitionList::new();
            for partition in 0..self.partitions {
                list.add_partition(&self.topic, partition);
            }
            // The coordinator may be away.
            if let Ok(found) = consumer.committed_offsets(list, Duration::from_secs(2)) {
                let at = self.journal.now();
                for (it, last) in found.elements().iter().zip(&mut last) {
                    if let Offset::Offset(offset) = it.offset()
                        && *last != Some(offset)
                    {
                        *last = Some(offset);
                        let lane = Lane { topic: 0, partition: it.partition() };
                        self.journal.record(&Event::Committed { lane, offset, at });
                    }
                }
                let total = last.iter().flatten().map(|it| u64::try_from(*it).unwrap_or(0)).sum();
                self.total.store(total, Ordering::Relaxed);
            }
            std::thread::sleep(ASK_EVERY.saturating_sub(began.elapsed()));
        }
        Ok(())
    }
}

/// Makes and changes topics.
pub struct Topics {
    admin: AdminClient<DefaultClientContext>,
}

impl Topics {
    pub fn new(bootstrap: &str) -> anyhow::Result<Self> {
        Ok(Self { admin: config(bootstrap).create()? })
    }

    /// Of three replicas, two of which have to have a record; stamped by the brokers.
    pub async fn make(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(3));
        let new = new.set("min.insync.replicas", "2").set("message.timestamp.type", "LogAppendTime");
        let answers = self.admin.create_topics([&new], &options()).await?;
        match answers.into_iter().next() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
                anyhow::bail!("making topic {topic}: {code}")
            }
            _ => Ok(()),
        }
    }

    pub async fn delete(&self, topic: &str) -> anyhow::Result<()> {
        let answers = self.admin.delete_topics(&[topic], &options()).await?;
        match answers.into_iter().next() {
            Some(Err((_, code))) => anyhow::bail!("deleting topic {topic}: {code}"),
            _ => Ok(()),
        }
    }

    /// Sets one key beside those of [`Self::make`].
    pub async fn set(&self, topic: &str, key: &str, value: &str) -> anyhow::Result<()> {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let usual = [("min.insync.replicas", "2"), ("message.timestamp.type", "LogAppendTime")];
        let change = usual.into_iter().filter(|it| it.0 != key).fold(change, |it, (k, v)| it.set(k, v));
        let answers = self.admin.alter_configs([&change.set(key, value)], &options()).await?;
        match answers.into_iter().next() {
            Some(Err((_, code))) => anyhow::bail!("setting {key} of {topic}: {code}"),
            _ => Ok(()),
        }
    }

    /// Records in the topic. Blocks.
    pub fn count(&self, topic: &str, partitions: i32) -> anyhow::Result<u64> {
        let client = self.admin.inner();
        let mut total = 0;
        for partition in 0..partitions {
            let (low, high) = client.fetch_watermarks(topic, partition, WAIT)?;
            total += u64::try_from(high - low).unwrap_or(0);
        }
        Ok(total)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT))
}
