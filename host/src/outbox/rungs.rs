//! Rungs are made when they are first needed, by a thread of their own: making a topic waits for the cluster.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Outbox;
use crate::kafka::Error;
use crate::kafka::topics::{NewTopicSettings, Topics};

/// A rung as it is to be.
#[derive(Clone, Debug)]
pub struct NewRung {
    pub topic: String,
    /// The topic whose messages wait there: it has as many partitions.
    pub source: Arc<str>,
    /// -1: as the cluster does by itself.
    pub replication: i32,
    /// If not, it has to be there.
    pub create: bool,
    /// How long it holds a record, in ms.
    pub holds_ms: u64,
}

/// The rungs that are known to be there. Shared by the shards, which write to them, and the poll threads, which
/// read a new one from then on. Cheap to clone.
#[derive(Clone)]
pub struct Rungs {
    known: Arc<Mutex<HashSet<String>>>,
    /// Grows with each that is found or made.
    generation: Arc<AtomicU64>,
    ask: mpsc::Sender<(NewRung, oneshot::Sender<Result<(), Error>>)>,
}

/// For the cluster to answer.
const WAIT: Duration = Duration::from_secs(10);
/// Rungs keep what they are given for at least so long, in ms: 28 days, as a host may be away for some.
const KEPT_MS: u64 = 28 * 86_400_000;
/// Largest record of a rung, in bytes: what the producer takes, for it has more headers than the original.
const RECORD_MAX: &str = "22020096";

impl Rungs {
    /// Its thread ends when the last of its clones is gone.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(topics: Topics, outbox: Outbox) -> std::io::Result<Self> {
        let (ask, asked) = mpsc::channel::<(NewRung, oneshot::Sender<Result<(), Error>>)>();
        let rungs = Self { known: Arc::default(), generation: Arc::default(), ask };
        let (known, generation) = (Arc::clone(&rungs.known), Arc::clone(&rungs.generation));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        thread::Builder::new().name("rungs".to_owned()).spawn(move || {
            while let Ok((rung, answer)) = asked.recv() {
                let is_known = lock(&known).contains(&rung.topic);
                let made = if is_known { Ok(()) } else { runtime.block_on(make(&topics, &outbox, &rung)) };
                if made.is_ok() && lock(&known).insert(rung.topic) {
                    generation.fetch_add(1, Ordering::Release);
                }
                // Who asked may have gone.
                let _ = answer.send(made);
            }
        })?;
        Ok(rungs)
    }

    /// Returns when the topic is there.
    ///
    /// # Errors
    /// It could not be made, or may not be.
    pub async fn ready(&self, rung: NewRung) -> Result<(), Error> {
        if lock(&self.known).contains(&rung.topic) {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let gone = || Error::Client("the thread that makes rungs is gone".to_owned());
        self.ask.send((rung, answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Another number than before when there are new ones.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// It was refused: it may have been deleted, or have too few partitions.
    pub fn forget(&self, topic: &str) {
        lock(&self.known).remove(topic);
    }
}

fn lock(known: &Mutex<HashSet<String>>) -> std::sync::MutexGuard<'_, HashSet<String>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blocks this thread until it is there, and as wide as its source.
async fn make(topics: &Topics, outbox: &Outbox, rung: &NewRung) -> Result<(), Error> {
    let wanted = topics.partitions(&rung.source, WAIT)?;
    // As the producer sees it, which by itself looks again only after minutes.
    let there = outbox.partitions(&rung.topic, WAIT)?;
    if there >= wanted.max(1) {
        return Ok(());
    }
    if !rung.create {
        let detail = match there {
            0 => "it is missing and `create` is false: make it, or let drover make it".to_owned(),
            _ => format!("it has {there} partitions and {} has {wanted}: give it as many", rung.source),
        };
        return Err(Error::Request { doing: format!("topic {}", rung.topic), detail, transient: true });
    }
    if there > 0 {
        tracing::info!(
            topic = rung.topic,
            from = there,
            to = wanted,
            "a rung follows its source's partitions"
        );
        topics.widen(&rung.topic, wanted).await?;
        return outbox.partitions(&rung.topic, WAIT).map(drop);
    }
    let kept_ms = (2 * rung.holds_ms).max(KEPT_MS);
    let config = [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", kept_ms.to_string()),
        ("retention.bytes", "-1".to_owned()),
        ("max.message.bytes", RECORD_MAX.to_owned()),
    ];
    let new = NewTopicSettings {
        name: rung.topic.clone(),
        partitions: wanted.max(1),
        replication: rung.replication,
        config: config.into_iter().map(|it| (it.0.to_owned(), it.1)).collect(),
    };
    if topics.ensure(&new).await? {
        tracing::info!(topic = rung.topic, partitions = wanted, "made a rung");
    }
    outbox.partitions(&rung.topic, WAIT).map(drop)
}
