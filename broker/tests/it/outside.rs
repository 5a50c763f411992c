//! What clients from outside were found to rely on, and what hostile ones were found to get away with.
use crate::client::Client;
use crate::kit::*;
use drover_broker::{Broker, Config, Limits, ResponseError};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::*;
use kafka_protocol::records::Compression;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use uuid::Uuid;

fn ask_metadata(client: &mut Client, version: i16, request: MetadataRequest) -> MetadataResponse {
    client.call(version, &request)
}

#[test]
fn a_topic_is_found_by_its_id_whatever_name_stands_next_to_it() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    let all = ask_metadata(&mut client, 12, MetadataRequest::default().with_topics(None));
    let id = all.topics[0].topic_id;
    // Java sends an empty name with an id, others null; before version 12 an answer's name cannot be null
    for (version, nameless) in
        [(10, TopicName::default()), (12, TopicName::default()), (13, TopicName::default())]
            .map(|(version, empty)| (version, Some(empty)))
            .into_iter()
            .chain([(12, None), (13, None)])
    {
        let mut ask = |id: Uuid| {
            let topic = metadata_request::MetadataRequestTopic::default();
            let topics = vec![topic.with_topic_id(id).with_name(nameless.clone())];
            let request = MetadataRequest::default().with_topics(Some(topics));
            ask_metadata(&mut client, version, request).topics.remove(0)
        };
        let found = ask(id);
        assert_eq!((found.error_code, found.name, found.topic_id), (0, Some(name("t")), id), "{version}");
        let stranger = Uuid::from_u128(7);
        let missing = ask(stranger);
        let unknown = ResponseError::UnknownTopicId.code();
        assert_eq!((missing.error_code, missing.topic_id), (unknown, stranger), "{version}");
    }
}

#[test]
fn who_asks_what_he_may_do_is_told() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    for (asked, of_topic, of_cluster) in [(true, 3576, 8096), (false, i32::MIN, i32::MIN)] {
        let request = MetadataRequest::default()
            .with_topics(None)
            .with_include_topic_authorized_operations(asked)
            .with_include_cluster_authorized_operations(asked);
        let answer = ask_metadata(&mut client, 9, request);
        assert_eq!(answer.cluster_authorized_operations, of_cluster);
        assert_eq!(answer.topics[0].topic_authorized_operations, of_topic);
        let request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(asked);
        assert_eq!(client.call(0, &request).cluster_authorized_operations, of_cluster);
        let request = DescribeGroupsRequest::default()
            .with_groups(vec![GroupId(text("g"))])
            .with_include_authorized_operations(asked);
        let of_group = if asked { 3400 } else { i32::MIN };
        assert_eq!(client.call(5, &request).groups[0].authorized_operations, of_group);
    }
    let topics = ["t", "no name"]
        .map(|topic| describe_topic_partitions_request::TopicRequest::default().with_name(name(topic)));
    let request = DescribeTopicPartitionsRequest::default().with_topics(topics.to_vec());
    let answer = client.call(0, &request.with_response_partition_limit(10));
    let said: Vec<_> = answer.topics.iter().map(|t| (t.error_code, t.topic_authorized_operations)).collect();
    assert_eq!(said, [(ResponseError::InvalidTopicException.code(), i32::MIN), (0, 3576)]);
}

#[test]
fn only_a_fetch_that_goes_on_with_a_session_is_refused() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    produce(&mut client, "t", &Batch::of(&["v"]));
    let not_found = ResponseError::FetchSessionIdNotFound.code();
    let table =
        [(0, 0, 0), (0, -1, 0), (-1, -1, 0), (7, 0, 0), (7, -1, 0), (7, 1, not_found), (0, 1, not_found)];
    for (session, epoch, error) in table {
        let partition = fetch_request::FetchPartition::default().with_partition_max_bytes(1000);
        let topic =
            fetch_request::FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_bytes(1000)
            .with_session_id(session)
            .with_session_epoch(epoch)
            .with_topics(vec![topic]);
        let answer = client.call(12, &request);
        assert_eq!(answer.error_code, error, "session {session}, epoch {epoch}");
        assert_eq!(answer.responses.is_empty(), error != 0, "session {session}, epoch {epoch}");
    }
}

#[test]
fn records_are_blamed_one_by_one() {
    let (_broker, mut client) = broker();
    let hour = [("message.timestamp.before.max.ms", "3600000")];
    create(&mut client, "recent", 1, &hour);
    create(&mut client, "keyed", 1, &[("cleanup.policy", "compact")]);
    let old = now_ms() - 2 * 3_600_000;
    let table = [
        ("recent", Batch::of(&["new"]).with(None, Some("old"), old), ResponseError::InvalidTimestamp),
        ("keyed", Batch::new().with(Some("k"), None, 1).with(None, None, 1), ResponseError::InvalidRecord),
    ];
    for (topic, batch, error) in table {
        let answer = try_produce(&mut client, topic, &batch, None);
        assert_eq!(answer.error_code, error.code(), "{topic}");
        assert_eq!(answer.record_errors.len(), 1, "{topic}");
        assert_eq!(answer.record_errors[0].batch_index, 1, "{topic}");
    }
}

#[test]
fn a_marker_can_be_the_latest_record() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    let mut producer = crate::records::Transactional::new(&mut client, "id", 60_000);
    assert_eq!(producer.add(&mut client, "t"), 0);
    assert_eq!(producer.write(&mut client, "t", "v"), 0);
    let data = list_offset(&mut client, "t", -3);
    assert_eq!((data.0, data.1), (0, 0));
    assert_eq!(producer.end(&mut client, true), 0);
    let (error, offset, at) = list_offset(&mut client, "t", -3);
    assert_eq!(error, 0);
    // within one millisecond the first of the two is the latest
    assert!(offset == 1 || at == data.2, "offset {offset}");
    assert!(at >= data.2, "{at}");
}

#[test]
fn a_partition_has_one_batch_and_one_question_in_a_request() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    let one = Batch::of(&["v"]).bytes();
    let two = [&one[..], &one[..]].concat();
    let answer = client.call(9, &produce_request("t", two.into(), None));
    let refused = ResponseError::InvalidRecord.code();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, refused);
    let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
    let topic = list_offsets_request::ListOffsetsTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition.clone(), partition]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    for answer in &client.call(7, &request).topics[0].partitions {
        assert_eq!(answer.error_code, ResponseError::InvalidRequest.code());
    }
}

/// A request of some kilobytes that unpacks into gigabytes; a second client is answered before it is done.
#[test]
fn bombs_do_not_hold_up_the_others() {
    let (broker, mut client) = broker();
    const PARTITIONS: i32 = 60;
    create(&mut client, "t", PARTITIONS, &[]);
    let batch = Batch::of(&[&"\0".repeat(64 << 20)]).packed(Compression::Zstd).bytes();
    assert!(batch.len() < 1 << 20, "{}", batch.len());
    let mut request = produce_request("t", batch, None);
    let first = request.topic_data[0].partition_data[0].clone();
    let all = (0..PARTITIONS).map(|index| first.clone().with_index(index));
    request.topic_data[0].partition_data = all.collect();
    client.send(9, &request);
    let mut other = Client::new(broker.addr());
    let ends = |other: &mut Client| {
        let partitions = (0..PARTITIONS).map(|index| {
            let partition = list_offsets_request::ListOffsetsPartition::default();
            partition.with_partition_index(index).with_timestamp(-1)
        });
        let topic = list_offsets_request::ListOffsetsTopic::default()
            .with_name(name("t"))
            .with_partitions(partitions.collect());
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        other.call(7, &request).topics[0].partitions.iter().map(|p| p.offset).sum::<i64>()
    };
    eventually("an answer in the middle of it", || {
        (1..i64::from(PARTITIONS)).contains(&ends(&mut other)).then_some(())
    });
    let answer = client.receive::<ProduceRequest>(9).unwrap();
    assert!(answer.responses[0].partition_responses.iter().all(|partition| partition.error_code == 0));
}

#[test]
fn a_batch_that_unpacks_into_too_much_is_too_large() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    let batch = Batch::of(&[&"\0".repeat(257 << 20)]).packed(Compression::Zstd);
    let answer = try_produce(&mut client, "t", &batch, None);
    // Java takes the batch apart and tries again; CORRUPT_MESSAGE would make it try the same for ever
    assert_eq!(answer.error_code, ResponseError::MessageTooLarge.code());
}

#[test]
fn what_clients_make_the_broker_hold_is_bounded() {
    let limits = Limits { held_bytes: 8 << 20, ..Limits::default() };
    let broker = Broker::start(Config { limits, ..quick(None) }).unwrap();
    // large requests whose ends do not come
    let mut half: Vec<TcpStream> = (0..6).map(|_| TcpStream::connect(broker.addr()).unwrap()).collect();
    let mut refused = 0;
    for stream in &mut half {
        stream.write_all(&(64u32 << 20).to_be_bytes()).unwrap();
        let part = vec![0; 1 << 20];
        // a closed connection is noticed by one of the writes
        refused += usize::from((0..32).any(|_| stream.write_all(&part).is_err()));
    }
    assert_eq!(refused, half.len());
    // the others are served, and a fetch of more than there is room for gets a batch
    let mut client = Client::new(broker.addr());
    create(&mut client, "t", 1, &[]);
    for _ in 0..3 {
        produce(&mut client, "t", &Batch::of(&["v"]));
    }
    assert_eq!(read_all(&mut client, "t", 0, false).len(), 3);
}

/// A megabyte is no large request, but many of them are.
#[test]
fn many_half_requests_are_bounded_too() {
    let limits = Limits { held_bytes: 8 << 20, ..Limits::default() };
    let broker = Broker::start(Config { limits, ..quick(None) }).unwrap();
    let half: Vec<TcpStream> = (0..32).map(|_| TcpStream::connect(broker.addr()).unwrap()).collect();
    for mut stream in &half {
        stream.write_all(&(1u32 << 20).to_be_bytes()).unwrap();
        // the broker may have closed it by now
        drop(stream.write_all(&vec![0; 1 << 19]));
        stream.set_nonblocking(true).unwrap();
    }
    eventually("those that there is no room for are closed", || {
        let open = |stream: &&TcpStream| matches!(stream.peek(&mut [0]), Err(failure) if failure.kind() == ErrorKind::WouldBlock);
        (half.iter().filter(open).count() <= 8).then_some(())
    });
    let mut client = Client::new(broker.addr());
    create(&mut client, "t", 1, &[]);
    produce(&mut client, "t", &Batch::of(&["v"]));
    assert_eq!(read_all(&mut client, "t", 0, false).len(), 1);
}

#[test]
fn no_request_makes_topics_without_end() {
    let config = Config { auto_create: true, ..quick(None) };
    let broker = Broker::start(config).unwrap();
    let mut client = Client::new(broker.addr());
    let wanted = (0..1500)
        .map(|n| metadata_request::MetadataRequestTopic::default().with_name(Some(name(&format!("t{n}")))));
    let request = MetadataRequest::default().with_topics(Some(wanted.collect()));
    let made = |answer: &MetadataResponse| answer.topics.iter().filter(|t| t.error_code == 0).count();
    for so_far in [1000, 1500] {
        let request = request.clone().with_allow_auto_topic_creation(true);
        assert_eq!(made(&ask_metadata(&mut client, 9, request)), so_far);
    }
    let topics = ["a", "b"].map(|topic| {
        let topic = create_topics_request::CreatableTopic::default().with_name(name(topic));
        topic.with_num_partitions(6000).with_replication_factor(1)
    });
    let answer = client.call(5, &CreateTopicsRequest::default().with_topics(topics.to_vec()));
    for topic in answer.topics {
        assert_eq!(topic.error_code, ResponseError::PolicyViolation.code());
    }
}

#[test]
fn a_client_that_names_itself_does_so_in_plain_letters() {
    let (_broker, mut client) = broker();
    let refused = ResponseError::InvalidRequest.code();
    let table = [
        ("librdkafka", "2.12.1", 0),
        ("x", "1-a", 0),
        ("a b", "1", refused),
        ("", "1", refused),
        ("a", "1/", refused),
    ];
    for (software, version, error) in table {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text(software))
            .with_client_software_version(text(version));
        assert_eq!(client.call(3, &request).error_code, error, "{software:?} {version:?}");
    }
}

#[test]
fn numbers_at_the_ends_of_their_range_break_nothing() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    for count in [i32::MIN, -1, 0, 1, i32::MAX] {
        let assignment = create_partitions_request::CreatePartitionsAssignment::default();
        let topic = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(name("t"))
            .with_count(count)
            .with_assignments(Some(vec![assignment.with_broker_ids(vec![BrokerId(1)])]));
        let answer = client.call(3, &CreatePartitionsRequest::default().with_topics(vec![topic]));
        let refused = ResponseError::InvalidReplicaAssignment.code();
        assert_eq!(answer.results[0].error_code, refused, "{count}");
    }
    for offset in [i64::MIN, -2, 1, i64::MAX] {
        let answer = try_fetch(&mut client, "t", offset, false);
        assert_eq!(answer.error_code, ResponseError::OffsetOutOfRange.code(), "{offset}");
    }
    for at in [i64::MIN, -99] {
        assert_eq!(list_offset(&mut client, "t", at).0, ResponseError::UnsupportedVersion.code(), "{at}");
    }
    assert_eq!(list_offset(&mut client, "t", i64::MAX), (0, -1, -1));
}

#[test]
fn settings_are_held_to_what_kafka_allows() {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[("min.compaction.lag.ms", "1000")]);
    let mut alter = |topic: &str, setting: &str, operation: i8, value: Option<&str>| {
        let setting = AlterableConfig::default()
            .with_name(text(setting))
            .with_config_operation(operation)
            .with_value(value.map(text));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(topic))
            .with_configs(vec![setting]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        client.call(1, &request).responses[0].error_code
    };
    let (invalid, none) = (ResponseError::InvalidConfig.code(), 0);
    let table = [
        ("t", "compression.gzip.level", SET, Some("0"), invalid),
        ("t", "compression.gzip.level", SET, Some("9"), none),
        ("t", "max.compaction.lag.ms", SET, Some("10"), invalid), // less than the other lag
        ("t", "max.compaction.lag.ms", SET, Some("1000"), none),
        ("t", "leader.replication.throttled.replicas", SET, Some("zz"), invalid),
        ("t", "leader.replication.throttled.replicas", SET, Some("0:1,1:1"), none),
        ("t", "leader.replication.throttled.replicas", SET, Some("*"), none),
        ("t", "remote.storage.enable", SET, Some("true"), invalid),
        ("t", "remote.storage.enable", SET, Some("false"), none),
        ("t", "cleanup.policy", SET, Some(""), none),
        ("t", "no.such.setting", DELETE, None, none), // it is not set, as was wanted
        ("t", "no.such.setting", SET, Some("1"), invalid),
        ("t", "retention.ms", SET, None, ResponseError::InvalidRequest.code()),
        ("missing", "retention.ms", SET, Some("1"), ResponseError::UnknownTopicOrPartition.code()),
    ];
    for (topic, setting, operation, value, error) in table {
        assert_eq!(alter(topic, setting, operation, value), error, "{topic} {setting} {value:?}");
    }
}
