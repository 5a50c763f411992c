//! A record goes in and comes out.
use crate::client::Client;
use bytes::{Bytes, BytesMut};
use drover_broker::{Broker, Config};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

fn name(of: &str) -> TopicName {
    TopicName(StrBytes::from_string(of.to_string()))
}

fn batch(values: &[&str]) -> Bytes {
    let record = |(nth, value): (usize, &&str)| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: nth as i64,
        sequence: nth as i32,
        timestamp: 1_700_000_000_000,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    };
    let records: Vec<Record> = values.iter().enumerate().map(record).collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.freeze()
}

fn produce(client: &mut Client, topic: &str, values: &[&str]) -> i64 {
    let partition = PartitionProduceData::default().with_records(Some(batch(values)));
    let data = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![data]);
    let response = client.call(9, &request);
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    answer.base_offset
}

fn fetch(client: &mut Client, topic: &str) -> Vec<String> {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_bytes(1 << 20).with_min_bytes(1).with_topics(vec![topic]);
    let mut response = client.call(12, &request);
    let partition = &mut response.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    let mut out = Vec::new();
    let mut records = partition.records.take().unwrap();
    while !records.is_empty() {
        for record in RecordBatchDecoder::decode(&mut records).unwrap().records {
            out.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    out
}

fn create(client: &mut Client, topic: &str) {
    let topic =
        CreatableTopic::default().with_name(name(topic)).with_num_partitions(1).with_replication_factor(1);
    let response = client.call(5, &CreateTopicsRequest::default().with_topics(vec![topic]));
    assert_eq!(response.topics[0].error_code, 0);
}

#[test]
fn a_record_goes_in_and_comes_out() {
    let broker = Broker::start(Config::default()).unwrap();
    let mut client = Client::new(broker.addr());
    create(&mut client, "greetings");
    assert_eq!(produce(&mut client, "greetings", &["hello", "world"]), 0);
    assert_eq!(produce(&mut client, "greetings", &["again"]), 2);
    assert_eq!(fetch(&mut client, "greetings"), ["hello", "world", "again"]);
}

#[test]
fn a_restart_keeps_what_was_written_and_a_directory_has_one_broker() {
    let data = std::env::temp_dir().join(format!("drover-broker-{}", uuid::Uuid::new_v4()));
    let config = || Config { data: Some(data.clone()), ..Config::default() };
    for round in 0..3 {
        let broker = Broker::start(config()).unwrap();
        let taken = Broker::start(config()).err().unwrap().to_string();
        assert!(taken.contains(&data.display().to_string()), "{taken}");
        let mut client = Client::new(broker.addr());
        if round == 0 {
            create(&mut client, "greetings");
        }
        assert_eq!(produce(&mut client, "greetings", &["hello"]), round);
        assert_eq!(fetch(&mut client, "greetings").len(), round as usize + 1);
        broker.shutdown();
    }
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn a_taken_port_is_named() {
    let broker = Broker::start(Config::default()).unwrap();
    let refused =
        Broker::start(Config { listen: broker.addr(), ..Config::default() }).err().unwrap().to_string();
    assert!(refused.contains(&broker.addr().to_string()), "{refused}");
}
