//! What the contestants are given: a topic filled beforehand, or messages at a steady pace.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::machine::now_ns;
use super::progress::Progress;
use super::sink::{STAMP, STAMP_DIGITS};

/// What lies in a topic.
#[derive(Clone, Debug)]
pub struct Load {
    pub topic: String,
    pub messages: u64,
    /// Of a value.
    pub bytes: usize,
    pub partitions: i32,
    /// Different ones, uniformly; each belongs to one partition.
    pub keys: u64,
}

/// The header of the first and the last message of each partition: handlers that drop pass these on.
const MARK: &str = "mark";

pub struct Producer {
    inner: BaseProducer<Context>,
    /// Values are cut out of this, each elsewhere.
    noise: Vec<u8>,
    random: u64,
}

#[derive(Default)]
struct Context {
    failed: AtomicU64,
}

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, message: &str) {
        tracing::warn!(message, "the producer reports");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the producer reports");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Producer {
    pub fn new(brokers: &str, linger_ms: u32) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("linger.ms", linger_ms.to_string());
        config.set("acks", "all").set("queue.buffering.max.kbytes", "65536");
        config.set("batch.num.messages", "2000").set("batch.size", "1000000");
        let inner = config.create_with_context(Context::default()).context("making the producer")?;
        let mut random = 0x9e37_79b9_7f4a_7c15;
        let noise = (0..1 << 20).map(|_| b'a' + (next(&mut random) % 26) as u8).collect();
        Ok(Self { inner, noise, random })
    }

    /// Puts all of it into its topic.
    pub fn fill(&mut self, load: &Load, progress: &Progress) -> anyhow::Result<()> {
        let partitions = load.partitions as u64;
        let mut told = Instant::now();
        for at in 0..load.messages {
            let marked = at < partitions || at >= load.messages.saturating_sub(partitions);
            // The marked ones go to each partition in turn; so does every key, and stays there.
            let key = if load.keys == 1 {
                0
            } else if marked {
                at % partitions
            } else {
                next(&mut self.random) % load.keys
            };
            self.send(load, key, None, marked)?;
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                progress.say(&format!("{}: {at} of {} messages", load.topic, load.messages));
            }
        }
        self.finish(&load.topic)
    }

    /// Sends them one after the other at this rate, each with the time of its sending in its value.
    pub fn pace(&mut self, load: &Load, a_second: u64) -> anyhow::Result<()> {
        let begun_ns = now_ns();
        for at in 0..load.messages {
            let due_ns = begun_ns + at * 1_000_000_000 / a_second;
            let wait_ns = due_ns.saturating_sub(now_ns());
            if wait_ns > 0 {
                std::thread::sleep(Duration::from_nanos(wait_ns));
            }
            let key = next(&mut self.random) % load.keys;
            self.send(load, key, Some(now_ns()), false)?;
            self.inner.poll(Duration::ZERO);
        }
        self.finish(&load.topic)
    }

    fn send(&mut self, load: &Load, key: u64, stamp_ns: Option<u64>, marked: bool) -> anyhow::Result<()> {
        let from = (next(&mut self.random) % (self.noise.len() - load.bytes) as u64) as usize;
        let cut = &self.noise[from..from + load.bytes];
        let stamped = stamp_ns.map(|it| stamped(cut, it));
        let value = stamped.as_deref().unwrap_or(cut);
        let name = format!("key-{key:06}");
        let mut record = BaseRecord::to(&load.topic).key(&name).payload(value);
        record = record.partition((key % load.partitions as u64) as i32);
        if marked {
            record = record.headers(OwnedHeaders::new().insert(Header { key: MARK, value: Some("1") }));
        }
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    anyhow::ensure!(full, "writing to {}: {error}", load.topic);
                    record = back;
                    self.inner.poll(Duration::from_millis(2));
                }
            }
        }
    }

    fn finish(&self, topic: &str) -> anyhow::Result<()> {
        self.inner.flush(Duration::from_secs(60)).with_context(|| format!("writing to {topic}"))?;
        let failed = self.inner.context().failed.load(Ordering::Relaxed);
        anyhow::ensure!(failed == 0, "{failed} messages could not be written to {topic}");
        Ok(())
    }
}

fn stamped(value: &[u8], at_ns: u64) -> Vec<u8> {
    let stamp = format!("{at_ns:0STAMP_DIGITS$x}");
    let mut all = [STAMP, stamp.as_bytes(), value].concat();
    all.truncate(value.len().max(STAMP.len() + STAMP_DIGITS));
    all
}

/// xorshift: the same sequence in every run.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
