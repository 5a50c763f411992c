//! Publishing, the same for every transport: a place in the accept queue (S35), the partition that the
//! topic's other producers would choose, the outbox, and each message's own result (S32).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::Config;
use crate::clock;
use crate::domain::partitioner::Partitioner;
use crate::metrics::Counters;
use crate::outbox::{Error, Outbox, Outgoing, Position};
use crate::wire::Encoded;

/// How long a topic's count of partitions is believed.
const COUNT_MS: u64 = 30_000;
const COUNT_WAIT: Duration = Duration::from_secs(5);
/// What one request may have with the client at once; the rest of a batch follows.
const CHUNK_MESSAGES: usize = 1_000;
const CHUNK_BYTES: usize = 4 << 20;

pub struct Producer {
    outbox: Outbox,
    counters: Arc<Counters>,
    places: Semaphore,
    queue: u32,
    timeout: Duration,
    /// Topics of the ancestors, whose producers place keys in their own way (S114).
    partitioners: HashMap<String, Partitioner>,
    counts: Mutex<HashMap<String, Count>>,
}

#[derive(Clone, Copy)]
struct Count {
    partitions: i32,
    at_ms: u64,
}

/// A place in the accept queue, for as long as it is held.
pub struct Place<'a> {
    _permit: SemaphorePermit<'a>,
    counters: &'a Counters,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.counters.gateway.left();
    }
}

/// A record on its way.
pub struct Ready {
    pub topic: String,
    pub record: Encoded,
    /// None: the client chooses by the key.
    pub partition: Option<i32>,
}

/// Why a message is not known to be in Kafka.
#[derive(Debug)]
pub enum Failure {
    Kafka(Error),
    /// It may be written or not.
    Late(Duration),
    /// It is not: where its key belongs is not known.
    Unplaced(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Kafka(error) => error.fmt(f),
            Failure::Late(after) => {
                let ms = after.as_millis();
                write!(f, "Kafka has not answered within {ms} ms: the message may be written or not")
            }
            Failure::Unplaced(topic) => write!(
                f,
                "Kafka has not said how many partitions {topic} has, so the key's own is not known: nothing was \
                 written"
            ),
        }
    }
}

impl Producer {
    pub fn new(config: &Config, outbox: Outbox, counters: Arc<Counters>) -> Self {
        let mut partitioners = HashMap::new();
        for acl in config.bigpipe.iter().flat_map(|it| &it.acl) {
            partitioners.insert(acl.topic.clone(), Partitioner::Bigpipe);
        }
        if let Some(alpaca) = &config.alpaca {
            partitioners.insert(alpaca.topic.clone(), Partitioner::Fnv1a);
        }
        Self {
            outbox,
            counters,
            places: Semaphore::new(config.accept_queue as usize),
            queue: config.accept_queue,
            timeout: Duration::from_millis(config.timeout_ms),
            partitioners,
            counts: Mutex::default(),
        }
    }

    /// S35: places for so many messages, at once or not at all. More than the queue has are the whole queue.
    pub fn place(&self, messages: usize) -> Option<Place<'_>> {
        let wanted = u32::try_from(messages).unwrap_or(u32::MAX).min(self.queue);
        match self.places.try_acquire_many(wanted) {
            Ok(permit) => {
                self.counters.gateway.accepted();
                Some(Place { _permit: permit, counters: &self.counters })
            }
            Err(_) => {
                self.counters.gateway.overload();
                None
            }
        }
    }

    /// Where a key goes on this topic; none where the client may choose. `end`: when it has to be known.
    pub async fn partition(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        end: Instant,
    ) -> Result<Option<i32>, Failure> {
        let Some(partitioner) = self.partitioners.get(topic).filter(|_| key.is_some()) else {
            return Ok(None);
        };
        Ok(partitioner.partition(key, self.count(topic, end).await?))
    }

    /// How many partitions a topic has; 0 for none such.
    pub async fn count(&self, topic: &str, end: Instant) -> Result<i32, Failure> {
        let now_ms = clock::now_ms();
        let known = self.lock().get(topic).copied();
        if let Some(known) = known.filter(|it| now_ms < it.at_ms + COUNT_MS) {
            return Ok(known.partitions);
        }
        let (outbox, name) = (self.outbox.clone(), topic.to_owned());
        let wait = end.saturating_duration_since(Instant::now()).min(COUNT_WAIT);
        let asked = tokio::task::spawn_blocking(move || outbox.partitions(&name, wait)).await;
        match asked {
            Ok(Ok(partitions)) if partitions > 0 => {
                self.lock().insert(topic.to_owned(), Count { partitions, at_ms: now_ms });
                Ok(partitions)
            }
            Ok(Ok(none)) => Ok(none),
            // What was true is a better guess than none: keys stay where they were.
            _ => known.map(|it| it.partitions).ok_or_else(|| Failure::Unplaced(topic.to_owned())),
        }
    }

    /// Writes all, in their order, and tells each one's own result (S208). `end`: when it has to be known.
    pub async fn write(&self, all: &[Ready], end: Instant) -> Vec<Result<Position, Failure>> {
        let mut results = Vec::with_capacity(all.len());
        let mut rest = all;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunk_of(rest));
            rest = after;
            results.extend(join_all(chunk.iter().map(|it| self.write_one(it, end))).await);
        }
        results
    }

    async fn write_one(&self, it: &Ready, end: Instant) -> Result<Position, Failure> {
        let outgoing = Outgoing {
            topic: &it.topic,
            partition: it.partition,
            key: it.record.key.as_deref(),
            value: it.record.value.as_deref(),
            headers: &it.record.headers,
            timestamp_ms: None,
        };
        let written = match tokio::time::timeout_at(end, self.outbox.write(&outgoing)).await {
            Ok(written) => written.map_err(Failure::Kafka),
            Err(_) => Err(Failure::Late(self.timeout)),
        };
        self.counters.gateway.written(&it.topic, written.is_ok());
        written
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Count>> {
        self.counts.lock().unwrap_or_else(|it| it.into_inner())
    }
}

/// How many of these go at once: at least one.
fn chunk_of(rest: &[Ready]) -> usize {
    let mut bytes = 0;
    let fits = rest.iter().take(CHUNK_MESSAGES).take_while(|it| {
        bytes += it.record.value.as_ref().map_or(0, bytes::Bytes::len);
        bytes <= CHUNK_BYTES
    });
    fits.count().max(1)
}
