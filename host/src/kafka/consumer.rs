//! One member of a consumer group, as its poll thread drives it.
//!
//! Three queues, because librdkafka aborts the process when a commit report lies in a queue that is
//! consumed by batches: records (the partitions' queues, forwarded), commit reports, and the consumer's
//! own for rebalances and errors. What is measured and why it is so: `docs/decisions/0003-one-queue.md`.
#![allow(unsafe_code, reason = "the record queue, commit reports and batch calls are not in the safe crate")]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::IsError;
use rdkafka_sys as sys;

pub use super::context::Event;
use super::context::GroupContext;
use super::{ClientSettings, Error};
use crate::domain::headers;

/// 3 s by default: that was the pause of a partition that changes its owner.
const HEARTBEAT_MS: &str = "500";
/// Of one answer. The client has one fetch under way to each broker: at 20 ms to it, 100 MB a second are the limit.
const FETCH_BYTES: &str = "2097152";

/// How this member behaves in its group.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    pub group: String,
    /// Stable name of this member over restarts; none makes a dynamic one.
    pub instance: Option<String>,
    pub session_timeout_ms: u32,
    /// What librdkafka may hold fetched and not taken, in KiB, over all partitions.
    pub prefetch_kib: u32,
}

/// A record still in the client's memory; good until the call that lent it returns.
pub struct Taken<'a> {
    pub topic: &'a Arc<str>,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Header block.
    pub headers: &'a [u8],
}

/// A partition that reported an error in place of a record.
#[derive(Debug)]
pub struct PartitionError {
    pub topic: Arc<str>,
    pub partition: i32,
    pub detail: String,
}

/// What the broker said to a commit.
#[derive(Debug)]
pub struct CommitReport {
    /// The number the commit was sent with.
    pub number: u64,
    /// For the commit as a whole.
    pub error: Option<CommitError>,
    /// For each partition: topic, partition, offset, what it was refused with.
    pub partitions: Vec<(String, i32, i64, Option<CommitError>)>,
}

/// What a refused commit means for the lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// The group is joining, or the coordinator moves: send again at the next tick.
    Later(String),
    /// This member is not in the group any more: every lane is lost.
    Gone(String),
    /// Only an operator can mend it.
    Denied(String),
}

/// Where a partition is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartAt {
    pub topic: String,
    pub partition: i32,
    /// None: at the oldest record that there is.
    pub position: Option<i64>,
}

pub struct GroupConsumer {
    // Queues are destroyed before the consumer that they belong to.
    records: Queue,
    reports: Queue,
    consumer: Arc<BaseConsumer<GroupContext>>,
    /// Topic names by librdkafka's handle; emptied with each assignment, handles may be used anew.
    names: HashMap<usize, Arc<str>>,
    batch: Batch,
    block: Vec<u8>,
}

impl GroupConsumer {
    pub fn new(client: &ClientSettings, settings: &GroupSettings) -> Result<Self, Error> {
        let mut config = client.config();
        config.set("group.id", &settings.group);
        if let Some(instance) = &settings.instance {
            config.set("group.instance.id", instance);
        }
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", settings.session_timeout_ms.to_string());
        // By these the members learn that somebody came or left; until then nobody reads what is to be handed over.
        config.set("heartbeat.interval.ms", HEARTBEAT_MS);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        // Where to begin is resolved before each assignment; this acts when the log was cut below us.
        config.set("auto.offset.reset", "earliest");
        config.set("queued.max.messages.kbytes", settings.prefetch_kib.to_string());
        config.set("queued.min.messages", "10000");
        // A full queue stops fetching for a whole second by default.
        config.set("fetch.queue.backoff.ms", "10");
        config.set("fetch.error.backoff.ms", "200");
        // A fetch that finds only partitions without news holds up the others of the same broker for as long: those
        // that were left out of it while the queue was full.
        config.set("fetch.wait.max.ms", "100");
        // An answer's memory is free again when its last record is taken, so up to three of them are held.
        if !client.properties.contains_key("fetch.max.bytes") {
            config.set("fetch.max.bytes", FETCH_BYTES);
        }
        config.set("topic.metadata.refresh.interval.ms", "10000");
        config.set("allow.auto.create.topics", "false");
        let consumer: BaseConsumer<GroupContext> =
            config.create_with_context(GroupContext::default()).map_err(|it| Error::client(&it))?;
        let native = consumer.client().native_ptr();
        Ok(Self {
            records: Queue::new(native)?,
            reports: Queue::new(native)?,
            consumer: Arc::new(consumer),
            names: HashMap::new(),
            batch: Batch(Vec::new()),
            block: Vec::new(),
        })
    }

    pub fn subscribe(&self, topics: &[&str]) -> Result<(), Error> {
        self.consumer.subscribe(topics).map_err(|it| Error::request("subscribing", &it))
    }

    /// Serves rebalances and errors; what the group asks for comes from [`Self::next_event`].
    pub fn serve(&self) {
        while let Some(answer) = self.consumer.poll(Duration::ZERO) {
            match answer {
                // Before its partition's queue is forwarded, and librdkafka forwards before it fetches.
                Ok(_) => tracing::error!("a record came by the event queue: report this as a bug"),
                Err(error) => tracing::warn!(%error, "the consumer reports"),
            }
        }
    }

    pub fn next_event(&self) -> Option<Event> {
        self.consumer.context().next_event()
    }

    /// Takes at most `most` records, waiting up to `wait` for the first.
    /// `each` gets every record, `failed` what a partition reports instead.
    pub fn take(
        &mut self,
        most: usize,
        wait: Duration,
        mut each: impl FnMut(Taken<'_>),
        mut failed: impl FnMut(PartitionError),
    ) -> usize {
        let mut taken = self.fill(1.min(most), wait);
        if taken == 1 && most > 1 {
            taken += self.fill_behind(1, most - 1);
        }
        for at in 0..taken {
            let message = Owned(self.batch.0[at]);
            self.lend(&message, &mut each, &mut failed);
        }
        taken
    }

    /// Begins to fetch these, each from where it says, in one call that answers the event.
    pub fn assign(&mut self, partitions: &[StartAt]) -> Result<(), Error> {
        self.names.clear();
        let native = self.consumer.client().native_ptr();
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for it in partitions {
            // Before the assignment: what is fetched into an unforwarded queue is never taken.
            self.records.receive_from(native, &it.topic, it.partition);
            let offset = it.position.map_or(Offset::Beginning, Offset::Offset);
            list.add_partition_offset(&it.topic, it.partition, offset)
                .map_err(|it| Error::request("assigning", &it))?;
        }
        self.consumer.incremental_assign(&list).map_err(|it| Error::request("assigning", &it))
    }

    /// Gives these back, in one call that answers the event.
    pub fn unassign(&mut self, partitions: &[(String, i32)]) -> Result<(), Error> {
        self.names.clear();
        self.consumer
            .incremental_unassign(&list_of(partitions))
            .map_err(|it| Error::request("unassigning", &it))
    }

    /// Stops fetching; what was fetched and not taken is thrown away and fetched again later.
    pub fn pause(&self, partitions: &[(String, i32)]) -> Result<(), Error> {
        self.consumer.pause(&list_of(partitions)).map_err(|it| Error::request("pausing", &it))
    }

    pub fn resume(&self, partitions: &[(String, i32)]) -> Result<(), Error> {
        self.consumer.resume(&list_of(partitions)).map_err(|it| Error::request("resuming", &it))
    }

    /// Sends a commit; the broker's word comes back as a report of this number.
    pub fn commit(&self, number: u64, offsets: &[(String, i32, i64)]) -> Result<(), Error> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (topic, partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(|it| Error::request("committing", &it))?;
        }
        let native = self.consumer.client().native_ptr();
        let opaque = number as usize as *mut c_void;
        // SAFETY: consumer, list and queue live; the opaque is a number and is never dereferenced.
        let code =
            unsafe { sys::rd_kafka_commit_queue(native, list.ptr(), self.reports.0.as_ptr(), None, opaque) };
        if code.is_error() {
            let error = rdkafka::error::KafkaError::ConsumerCommit(code.into());
            return Err(Error::request("committing", &error));
        }
        Ok(())
    }

    pub fn next_report(&self) -> Option<CommitReport> {
        self.reports.next_report()
    }

    /// For asking about offsets from another thread: these calls block.
    pub fn positions(&self) -> Positions {
        Positions(Arc::clone(&self.consumer))
    }

    /// Leaves the group. Blocks until the broker was told, at most some seconds.
    pub fn close(self) {
        self.consumer.context().close();
        drop(self);
    }

    fn fill(&mut self, most: usize, wait: Duration) -> usize {
        self.batch.0.clear();
        self.batch.0.resize(most, ptr::null_mut());
        self.records.consume(&mut self.batch.0, wait)
    }

    fn fill_behind(&mut self, at: usize, most: usize) -> usize {
        self.batch.0.resize(at + most, ptr::null_mut());
        self.records.consume(&mut self.batch.0[at..], Duration::ZERO)
    }

    fn lend(
        &mut self,
        message: &Owned,
        each: &mut impl FnMut(Taken<'_>),
        failed: &mut impl FnMut(PartitionError),
    ) {
        // SAFETY: librdkafka gave us the message, `Owned` destroys it after this call.
        let raw = unsafe { &*message.0 };
        // SAFETY: the handle lives as long as the message; its name is a C string.
        let topic = self.names.entry(raw.rkt as usize).or_insert_with(|| unsafe {
            CStr::from_ptr(sys::rd_kafka_topic_name(raw.rkt)).to_string_lossy().into()
        });
        if raw.err.is_error() {
            let detail = text(unsafe { sys::rd_kafka_message_errstr(message.0) });
            failed(PartitionError { topic: Arc::clone(topic), partition: raw.partition, detail });
            return;
        }
        read_headers(message.0, &mut self.block);
        each(Taken {
            topic,
            partition: raw.partition,
            offset: raw.offset,
            timestamp_ms: timestamp(message.0),
            key: bytes_of(raw.key, raw.key_len),
            value: bytes_of(raw.payload, raw.len),
            headers: &self.block,
        });
    }
}

/// Asks the cluster about offsets. The calls block: not for the poll thread.
#[derive(Clone)]
pub struct Positions(Arc<BaseConsumer<GroupContext>>);

impl Positions {
    /// What the group committed for each; none where it never did.
    pub fn committed(
        &self,
        partitions: &[(String, i32)],
        wait: Duration,
    ) -> Result<Vec<(String, i32, Option<i64>)>, Error> {
        let list = self
            .0
            .committed_offsets(list_of(partitions), wait)
            .map_err(|it| Error::request("asking for committed offsets", &it))?;
        let all = list.elements();
        all.iter()
            .map(|it| {
                it.error().map_err(|it| Error::request("asking for committed offsets", &it))?;
                let offset = match it.offset() {
                    Offset::Offset(offset) => Some(offset),
                    Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid => None,
                    Offset::OffsetTail(_) => None,
                };
                Ok((it.topic().to_owned(), it.partition(), offset))
            })
            .collect()
    }

    /// All topics of the cluster, each with its number of partitions.
    pub fn topics(&self, wait: Duration) -> Result<Vec<(String, i32)>, Error> {
        let known = self.0.fetch_metadata(None, wait);
        let known = known.map_err(|it| Error::request("asking for the topics", &it))?;
        Ok(known.topics().iter().map(|it| (it.name().to_owned(), it.partitions().len() as i32)).collect())
    }

    /// First offset held and the one that the next record will get.
    pub fn watermarks(&self, topic: &str, partition: i32, wait: Duration) -> Result<(i64, i64), Error> {
        self.0
            .fetch_watermarks(topic, partition, wait)
            .map_err(|it| Error::request(format!("asking for the ends of {topic}[{partition}]"), &it))
    }
}

/// A queue of librdkafka's.
struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues may be used from any thread; ours are used from the poll thread.
unsafe impl Send for Queue {}

impl Queue {
    fn new(native: *mut sys::rd_kafka_t) -> Result<Self, Error> {
        // SAFETY: the client lives.
        let queue = unsafe { sys::rd_kafka_queue_new(native) };
        NonNull::new(queue).map(Self).ok_or_else(|| Error::Client("no memory for a queue".to_owned()))
    }

    /// From now on the partition's records come by this queue.
    fn receive_from(&self, native: *mut sys::rd_kafka_t, topic: &str, partition: i32) {
        let Ok(name) = CString::new(topic) else { return };
        // SAFETY: client and both queues live; the partition's reference is given back.
        unsafe {
            let queue = sys::rd_kafka_queue_get_partition(native, name.as_ptr(), partition);
            if !queue.is_null() {
                sys::rd_kafka_queue_forward(queue, self.0.as_ptr());
                sys::rd_kafka_queue_destroy(queue);
            }
        }
    }

    fn consume(&self, into: &mut [*mut sys::rd_kafka_message_t], wait: Duration) -> usize {
        if into.is_empty() {
            return 0;
        }
        let wait_ms = wait.as_millis().min(60_000) as i32;
        // SAFETY: the slice has room for as many pointers as we say.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(self.0.as_ptr(), wait_ms, into.as_mut_ptr(), into.len())
        };
        usize::try_from(taken).unwrap_or(0)
    }

    fn next_report(&self) -> Option<CommitReport> {
        // SAFETY: the event is ours until we destroy it, below, after the last look at it.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.0.as_ptr(), 0);
            if event.is_null() {
                return None;
            }
            let report = CommitReport {
                number: sys::rd_kafka_event_opaque(event) as usize as u64,
                error: CommitError::of(sys::rd_kafka_event_error(event)),
                partitions: reported(sys::rd_kafka_event_topic_partition_list(event)),
            };
            sys::rd_kafka_event_destroy(event);
            Some(report)
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_queue_new`, destroyed once, before its client.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// Room for a batch; empty but within `take`.
struct Batch(Vec<*mut sys::rd_kafka_message_t>);

// SAFETY: outside `take` no pointer in it is looked at.
unsafe impl Send for Batch {}

/// A message that is ours to destroy.
struct Owned(*mut sys::rd_kafka_message_t);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: from a batch call, destroyed once.
        unsafe { sys::rd_kafka_message_destroy(self.0) }
    }
}

impl CommitError {
    fn of(code: sys::rd_kafka_resp_err_t) -> Option<Self> {
        use sys::rd_kafka_resp_err_t as Code;
        if !code.is_error() {
            return None;
        }
        let name = rdkafka::types::RDKafkaErrorCode::from(code).to_string();
        Some(match code {
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
            | Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
            | Code::RD_KAFKA_RESP_ERR__FENCED => Self::Gone(name),
            Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE => Self::Denied(name),
            // The rest passes: the group joins (22, 27), the coordinator moves or does not answer.
            other => {
                let _ = other;
                Self::Later(name)
            }
        })
    }
}

fn reported(list: *mut sys::rd_kafka_topic_partition_list_t) -> Vec<(String, i32, i64, Option<CommitError>)> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the list belongs to the event, which outlives this call; `elems` holds `cnt` entries.
    let entries = unsafe { slice::from_raw_parts((*list).elems, (*list).cnt as usize) };
    entries.iter().map(|it| (text(it.topic), it.partition, it.offset, CommitError::of(it.err))).collect()
}

fn list_of(partitions: &[(String, i32)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

fn text(it: *const std::ffi::c_char) -> String {
    if it.is_null() {
        return String::new();
    }
    // SAFETY: a C string of librdkafka's that outlives this call.
    unsafe { CStr::from_ptr(it) }.to_string_lossy().into_owned()
}

fn bytes_of<'a>(at: *mut c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: librdkafka's pair of pointer and length; the caller keeps the message alive.
    (!at.is_null()).then(|| unsafe { slice::from_raw_parts(at.cast::<u8>(), len) })
}

fn timestamp(message: *const sys::rd_kafka_message_t) -> Option<i64> {
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message lives.
    let at = unsafe { sys::rd_kafka_message_timestamp(message, &mut kind) };
    (at >= 0).then_some(at)
}

/// Fills `block` with the message's headers.
pub(super) fn read_headers(message: *const sys::rd_kafka_message_t, block: &mut Vec<u8>) {
    block.clear();
    let mut list = ptr::null_mut();
    // SAFETY: the message lives, and its headers with it.
    if unsafe { sys::rd_kafka_message_headers(message, &mut list) }.is_error() {
        return;
    }
    let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
    for at in 0.. {
        // SAFETY: as above; the three are written before it returns without error.
        if unsafe { sys::rd_kafka_header_get_all(list, at, &mut name, &mut value, &mut len) }.is_error() {
            return;
        }
        // SAFETY: a C string within the headers.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        headers::push(block, name, bytes_of(value as *mut c_void, len));
    }
}
