//! Batches of records straight from librdkafka, without the books that `kafka/consumer` keeps: what reading
//! costs at the least. Partitions are assigned by hand, offsets committed as they are read.
#![allow(unsafe_code, reason = "the bare loop that kafka/consumer is compared with reads batches as it does")]

use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use super::bare::{Bare, client_config};

/// Records taken at once.
const BATCH: usize = 1_000;

pub struct Batches {
    queue: NonNull<sys::rd_kafka_queue_t>,
    consumer: BaseConsumer,
    batch: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: the queue may be used from any thread; the batch is empty outside `take`.
unsafe impl Send for Batches {}

impl Batches {
    pub fn open(bare: &Bare) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = client_config(bare).create().context("making the consumer")?;
        let native = consumer.client().native_ptr();
        // SAFETY: the client lives.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(native) }).context("no queue")?;
        let topic = CString::new(bare.topic.as_str())?;
        let mut list = TopicPartitionList::new();
        for partition in 0..bare.partitions {
            list.add_partition_offset(&bare.topic, partition, Offset::Beginning)?;
            // SAFETY: client and queues live; the reference to the partition's is given back.
            unsafe {
                let of_partition = sys::rd_kafka_queue_get_partition(native, topic.as_ptr(), partition);
                if !of_partition.is_null() {
                    sys::rd_kafka_queue_forward(of_partition, queue.as_ptr());
                    sys::rd_kafka_queue_destroy(of_partition);
                }
            }
        }
        consumer.assign(&list)?;
        Ok(Self { queue, consumer, batch: Vec::new() })
    }

    /// Waits for the first records, gives each one's value to `each`, says how many there were.
    pub fn take(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        // Errors and the reports of commits; no record comes this way.
        drop(self.consumer.poll(Duration::ZERO));
        self.batch.resize(BATCH, ptr::null_mut());
        let first = self.fill(0, 1, 100);
        let taken = if first == 1 { 1 + self.fill(1, BATCH - 1, 0) } else { 0 };
        let mut good = 0;
        for message in &self.batch[..taken] {
            // SAFETY: librdkafka gave us the message, we destroy it after the last look at it.
            unsafe {
                let raw = &**message;
                if raw.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    each(slice::from_raw_parts(raw.payload.cast::<u8>(), raw.len));
                    good += 1;
                }
                sys::rd_kafka_message_destroy(*message);
            }
        }
        self.batch.clear();
        good
    }

    fn fill(&mut self, at: usize, most: usize, wait_ms: i32) -> usize {
        let into = &mut self.batch[at..at + most];
        // SAFETY: the slice has room for as many pointers as we say.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait_ms, into.as_mut_ptr(), into.len())
        };
        usize::try_from(taken).unwrap_or(0)
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_queue_new`, destroyed once, before its client.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// The bare loop *raw*: takes everything, drops everything. It tells the sink of the first and the last one.
pub fn drop_all(bare: &Bare) -> anyhow::Result<()> {
    let mut sink = TcpStream::connect(&bare.sink).context("reaching the sink")?;
    let mut batches = Batches::open(bare)?;
    let (mut taken, mut bytes) = (0, 0);
    while taken < bare.messages {
        let before = taken;
        taken += batches.take(|value| bytes += value.len()) as u64;
        if before == 0 && taken > 0 {
            tell(&mut sink)?;
        }
    }
    tracing::debug!(taken, bytes, "all dropped");
    tell(&mut sink)?;
    super::child::wait_for_parent();
    Ok(())
}

fn tell(sink: &mut TcpStream) -> anyhow::Result<()> {
    sink.write_all(b"POST / HTTP/1.1\r\nhost: sink\r\ncontent-length: 0\r\n\r\n")?;
    let _ = sink.read(&mut [0; 256])?;
    Ok(())
}
