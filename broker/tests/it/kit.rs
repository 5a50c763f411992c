//! What the tests share: names, batches of records, and the few requests that nearly every test makes.
use crate::client::Client;
use bytes::{Bytes, BytesMut};
use drover_broker::{Broker, Config};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub fn text(of: &str) -> StrBytes {
    StrBytes::from_string(of.to_string())
}
pub fn name(of: &str) -> TopicName {
    TopicName(text(of))
}
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A broker in memory that looks after things as often as it can, and a connection to it.
pub fn broker() -> (Broker, Client) {
    let broker = Broker::start(quick(None)).unwrap();
    let client = Client::new(broker.addr());
    (broker, client)
}
pub fn quick(data: Option<PathBuf>) -> Config {
    Config { data, housekeeping: Duration::from_millis(10), auto_create: false, ..Config::default() }
}

/// A directory that goes with the test.
pub struct Scratch(pub PathBuf);
impl Scratch {
    pub fn new() -> Scratch {
        let path = std::env::temp_dir().join(format!("drover-broker-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asks again and again, until the answer is there; fails after a time that is never reached when all is well.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// A batch to be.
#[derive(Clone)]
pub struct Batch {
    pub records: Vec<Record>,
    pub compression: Compression,
}

impl Batch {
    pub fn new() -> Batch {
        Batch { records: Vec::new(), compression: Compression::None }
    }
    pub fn of(values: &[&str]) -> Batch {
        values.iter().fold(Batch::new(), |batch, value| batch.with(None, Some(value), now_ms()))
    }
    pub fn with(mut self, key: Option<&str>, value: Option<&str>, timestamp: i64) -> Batch {
        let nth = self.records.len();
        self.records.push(Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: nth as i64,
            sequence: nth as i32,
            timestamp,
            key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
            headers: Default::default(),
        });
        self
    }
    pub fn by_producer(mut self, id: i64, epoch: i16, sequence: i32, transactional: bool) -> Batch {
        for (nth, record) in self.records.iter_mut().enumerate() {
            record.producer_id = id;
            record.producer_epoch = epoch;
            record.sequence = sequence + nth as i32;
            record.transactional = transactional;
        }
        self
    }
    pub fn packed(mut self, compression: Compression) -> Batch {
        self.compression = compression;
        self
    }
    pub fn bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: self.compression };
        RecordBatchEncoder::encode(&mut out, &self.records, &options).unwrap();
        out.freeze()
    }
}

pub fn create(client: &mut Client, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let configs = settings.iter().map(|(key, value)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    });
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let response = client.call(5, &CreateTopicsRequest::default().with_topics(vec![topic]));
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
}

pub fn produce_request(topic: &str, records: Bytes, transactional_id: Option<&str>) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_records(Some(records));
    let data = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_transactional_id(transactional_id.map(|id| TransactionalId(text(id))))
        .with_topic_data(vec![data])
}

/// Into partition 0, whatever comes of it.
pub fn try_produce(
    client: &mut Client,
    topic: &str,
    batch: &Batch,
    transactional_id: Option<&str>,
) -> PartitionProduceResponse {
    let response = client.call(9, &produce_request(topic, batch.bytes(), transactional_id));
    response.responses[0].partition_responses[0].clone()
}
/// The offset.
pub fn produce(client: &mut Client, topic: &str, batch: &Batch) -> i64 {
    let answer = try_produce(client, topic, batch, None);
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    answer.base_offset
}

pub fn try_fetch(client: &mut Client, topic: &str, offset: i64, committed_only: bool) -> PartitionData {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_isolation_level(i8::from(committed_only))
        .with_topics(vec![topic]);
    client.call(12, &request).responses.remove(0).partitions.remove(0)
}

/// All records of partition 0 from an offset on, control records and (if asked for) aborted ones left out, as a
/// consumer would.
pub fn read_all(client: &mut Client, topic: &str, from: i64, committed_only: bool) -> Vec<Record> {
    let (mut out, mut offset) = (Vec::new(), from);
    loop {
        let mut part = try_fetch(client, topic, offset, committed_only);
        assert_eq!(part.error_code, 0);
        let mut aborted = part.aborted_transactions.take().unwrap_or_default();
        let mut aborting = Vec::new();
        let mut bytes = part.records.take().unwrap();
        if bytes.is_empty() {
            return out;
        }
        while !bytes.is_empty() {
            offset = last_offset(&bytes) + 1;
            for record in RecordBatchDecoder::decode(&mut bytes).unwrap().records {
                aborted.retain(|one| {
                    let begins = one.first_offset <= record.offset;
                    if begins {
                        aborting.push(one.producer_id.0);
                    }
                    !begins
                });
                if record.control {
                    aborting.retain(|id| *id != record.producer_id);
                } else if record.offset >= from
                    && !(record.transactional && aborting.contains(&record.producer_id))
                {
                    out.push(record);
                }
            }
        }
    }
}
fn last_offset(batch: &Bytes) -> i64 {
    let base = i64::from_be_bytes(batch[..8].try_into().unwrap());
    base + i64::from(i32::from_be_bytes(batch[23..27].try_into().unwrap()))
}

pub fn values(records: &[Record]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.value.clone().unwrap_or_default().to_vec()).unwrap()).collect()
}

/// Error, offset, timestamp.
pub fn list_offset(client: &mut Client, topic: &str, timestamp: i64) -> (i16, i64, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let response =
        client.call(7, &ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]));
    let answer = &response.topics[0].partitions[0];
    (answer.error_code, answer.offset, answer.timestamp)
}

pub fn init_producer(client: &mut Client, transactional_id: Option<&str>, timeout_ms: i32) -> (i64, i16) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(transactional_id.map(|id| TransactionalId(text(id))))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let response = client.call(4, &request);
    assert_eq!(response.error_code, 0);
    (response.producer_id.0, response.producer_epoch)
}
