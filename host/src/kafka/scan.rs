//! Reads what partitions hold, from an offset to another, and ends. For looking at a topic of which one is no consumer:
//! no group is joined, nothing is committed. Only committed records are told, as consumers are told them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::consumer::read_headers;
use super::reader::ReaderContext;
use super::{ClientSettings, Error};
use crate::domain::record::Record;

/// A part of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub partition: i32,
    pub from: i64,
    /// The first that is not told any more.
    pub end: i64,
}

/// Partition after partition, in the log's order. Its calls block.
pub struct Scan {
    consumer: BaseConsumer<ReaderContext>,
    topic: Arc<str>,
    current: Option<Span>,
    todo: VecDeque<Span>,
    /// What it may still wait for Kafka, over all; the time of who takes the records does not count.
    left: Duration,
    /// What went wrong last, for who waits in vain.
    trouble: Option<String>,
    block: Vec<u8>,
}

/// What is fetched ahead, in KiB.
const AHEAD_KIB: &str = "8192";
/// Between two looks at the time.
const LOOK: Duration = Duration::from_millis(100);

impl Scan {
    pub fn start(
        client: &ClientSettings,
        topic: &str,
        spans: &[Span],
        within: Duration,
    ) -> Result<Self, Error> {
        let mut config = client.config();
        // Demanded by librdkafka for an assignment; nothing is joined or committed under it.
        config.set("group.id", "drover-reader");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "true");
        // Where the log was cut meanwhile it goes on at what is left.
        config.set("auto.offset.reset", "earliest");
        config.set("isolation.level", "read_committed");
        config.set("allow.auto.create.topics", "false");
        config.set("fetch.wait.max.ms", "100");
        config.set("queued.max.messages.kbytes", AHEAD_KIB);
        let consumer = config.create_with_context(ReaderContext).map_err(|it| Error::client(&it))?;
        Ok(Self {
            consumer,
            topic: topic.into(),
            current: None,
            todo: spans.iter().copied().filter(|it| it.from < it.end).collect(),
            left: within,
            trouble: None,
            block: Vec::new(),
        })
    }

    /// None at the end.
    ///
    /// # Errors
    /// Kafka refuses, or the time is over.
    pub fn next_record(&mut self) -> Result<Option<Record>, Error> {
        loop {
            let Some(span) = self.current else {
                let Some(next) = self.todo.pop_front() else { return Ok(None) };
                self.assign(next)?;
                self.current = Some(next);
                continue;
            };
            if self.left.is_zero() {
                return Err(self.in_vain(span));
            }
            let since = Instant::now();
            let polled = self.consumer.poll(LOOK.min(self.left));
            self.left = self.left.saturating_sub(since.elapsed());
            match polled {
                Some(Ok(it)) if it.partition() == span.partition => {
                    if it.offset() + 1 >= span.end {
                        self.current = None;
                    }
                    if (span.from..span.end).contains(&it.offset()) {
                        return Ok(Some(record(&it, &self.topic, &mut self.block)));
                    }
                }
                // Nothing committed stands between here and the end.
                Some(Err(KafkaError::PartitionEOF(partition))) if partition == span.partition => {
                    self.current = None;
                }
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) | None => {}
                Some(Err(error)) => {
                    let doing = format!("reading {}[{}]", self.topic, span.partition);
                    let error = Error::request(doing, &error);
                    if !matches!(error, Error::Request { transient: true, .. }) {
                        return Err(error);
                    }
                    self.trouble = Some(error.to_string());
                }
            }
        }
    }

    fn assign(&self, span: Span) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, span.partition, Offset::Offset(span.from))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|it| Error::request(format!("reading topic {}", self.topic), &it))
    }

    fn in_vain(&self, span: Span) -> Error {
        let detail = match &self.trouble {
            Some(trouble) => format!("its time is over; the last trouble was: {trouble}"),
            None => "its time is over".to_owned(),
        };
        Error::Request {
            doing: format!("reading {}[{}]", self.topic, span.partition),
            detail,
            transient: true,
        }
    }
}

fn record(it: &BorrowedMessage<'_>, topic: &Arc<str>, block: &mut Vec<u8>) -> Record {
    // The safe crate's headers panic at a name that is not UTF-8.
    read_headers(it.ptr(), block);
    let place = (Arc::clone(topic), it.partition(), it.offset());
    Record::new(place, it.timestamp().to_millis(), it.key(), it.payload(), block)
}
