//! Reads one partition of a topic from its start, and then on for as long as it is wanted, on a thread of
//! its own. For topics that are state: no group, no commits, every reader reads everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::{ClientSettings, Error, context};

/// What a reader tells, in the log's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    Record {
        offset: i64,
        key: Bytes,
        /// None: a tombstone.
        value: Option<Bytes>,
    },
    /// All that was in the log when it was asked has been told.
    End,
}

/// A running reader; ends when dropped.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Records told and not taken; then the reader waits.
const QUEUE: usize = 1_024;

/// Begins to read. Records come by the receiver.
pub fn start(client: &ClientSettings, topic: &str) -> Result<(Reader, mpsc::Receiver<Read>), Error> {
    let mut config = client.config();
    // Demanded by librdkafka for an assignment; nothing is joined or committed under it.
    config.set("group.id", "drover-reader");
    config.set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true");
    config.set("auto.offset.reset", "earliest");
    config.set("fetch.wait.max.ms", "100");
    let consumer: BaseConsumer<ReaderContext> =
        config.create_with_context(ReaderContext).map_err(|it| Error::client(&it))?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning)
        .and_then(|()| consumer.assign(&list))
        .map_err(|it| Error::request(format!("reading topic {topic}"), &it))?;
    let (tell, told) = mpsc::channel(QUEUE);
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, name) = (Arc::clone(&stop), format!("read-{topic}"));
    let thread = thread::Builder::new()
        .name(name)
        .spawn(move || read(&consumer, &stopped, &tell))
        .map_err(|it| Error::Client(it.to_string()))?;
    Ok((Reader { stop, thread: Some(thread) }, told))
}

fn read(consumer: &BaseConsumer<ReaderContext>, stop: &AtomicBool, tell: &mpsc::Sender<Read>) {
    while !stop.load(Ordering::Relaxed) {
        let read = match consumer.poll(Duration::from_millis(100)) {
            None => continue,
            Some(Ok(it)) => Read::Record {
                offset: it.offset(),
                key: Bytes::copy_from_slice(it.key().unwrap_or_default()),
                value: it.payload().map(Bytes::copy_from_slice),
            },
            Some(Err(KafkaError::PartitionEOF(_))) => Read::End,
            Some(Err(error)) => {
                tracing::warn!(target: "kafka", %error, "reading a state topic: trying on");
                continue;
            }
        };
        if tell.blocking_send(read).is_err() {
            return;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a reader ended by a panic");
        }
    }
}

/// Log lines go to ours; the end of a log is no error.
pub(super) struct ReaderContext;

impl rdkafka::client::ClientContext for ReaderContext {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of the log is news, told by `poll`.
        if error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::warn!(target: "kafka", %error, reason, "Kafka client error");
    }
}

impl rdkafka::consumer::ConsumerContext for ReaderContext {}
