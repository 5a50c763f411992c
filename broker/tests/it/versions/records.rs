//! The APIs of records, and of what there is.
use super::{World, is, metadata};
use crate::kit::*;
use drover_broker::{ApiKey, ResponseError};
use kafka_protocol::messages::*;
use uuid::Uuid;

pub fn records(world: &mut World, api: ApiKey, version: i16, unique: &str) {
    let client = &mut world.client;
    match api {
        ApiKey::Produce => {
            create(client, unique, 1, &[]);
            let response =
                client.call(version, &produce_request(unique, Batch::of(&["a", "b"]).bytes(), None));
            let answer = &response.responses[0].partition_responses[0];
            assert_eq!((answer.error_code, answer.base_offset), (0, 0));
            let missing = client.call(version, &produce_request("missing", Batch::of(&["a"]).bytes(), None));
            is(
                missing.responses[0].partition_responses[0].error_code,
                ResponseError::UnknownTopicOrPartition,
            );
        }
        ApiKey::Fetch => {
            let partition = fetch_request::FetchPartition::default()
                .with_fetch_offset(1)
                .with_partition_max_bytes(1 << 20);
            let mut topic = fetch_request::FetchTopic::default().with_partitions(vec![partition]);
            if version >= 13 {
                topic.topic_id = world.topic_id
            } else {
                topic.topic = name("t")
            }
            let mut request =
                FetchRequest::default().with_max_bytes(1 << 20).with_min_bytes(1).with_topics(vec![topic]);
            let response = client.call(version, &request);
            let answer = &response.responses[0].partitions[0];
            assert_eq!((answer.error_code, answer.high_watermark, answer.last_stable_offset), (0, 3, 3));
            assert!(!answer.records.as_ref().unwrap().is_empty());
            request.topics[0].partitions[0].fetch_offset = 4;
            is(
                client.call(version, &request).responses[0].partitions[0].error_code,
                ResponseError::OffsetOutOfRange,
            );
            if version >= 13 {
                request.topics[0].topic_id = Uuid::from_u128(7);
                let response = client.call(version, &request);
                assert_eq!(response.responses[0].topic_id, Uuid::from_u128(7));
                is(response.responses[0].partitions[0].error_code, ResponseError::UnknownTopicId);
            }
        }
        ApiKey::ListOffsets => {
            let mut ask = |timestamp| {
                let partition =
                    list_offsets_request::ListOffsetsPartition::default().with_timestamp(timestamp);
                let topic = list_offsets_request::ListOffsetsTopic::default()
                    .with_name(name("t"))
                    .with_partitions(vec![partition]);
                let response = client.call(version, &ListOffsetsRequest::default().with_topics(vec![topic]));
                let answer = &response.topics[0].partitions[0];
                (answer.error_code, answer.offset, answer.timestamp)
            };
            assert_eq!(ask(-1), (0, 3, -1));
            assert_eq!(ask(-2), (0, 0, -1));
            assert_eq!(ask(-3), (0, 2, 3000));
            assert_eq!(ask(1500), (0, 1, 2000));
            assert_eq!(ask(3001), (0, -1, -1));
        }
        ApiKey::OffsetForLeaderEpoch => {
            let partition =
                offset_for_leader_epoch_request::OffsetForLeaderPartition::default().with_leader_epoch(0);
            let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                .with_topic(name("t"))
                .with_partitions(vec![partition]);
            let response = client.call(
                version,
                &OffsetForLeaderEpochRequest::default()
                    .with_replica_id(BrokerId(-1))
                    .with_topics(vec![topic]),
            );
            let answer = &response.topics[0].partitions[0];
            assert_eq!((answer.error_code, answer.leader_epoch, answer.end_offset), (0, 0, 3));
        }
        ApiKey::DeleteRecords => {
            create(client, unique, 1, &[]);
            produce(client, unique, &Batch::of(&["a", "b"]));
            let mut delete = |offset| {
                let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(offset);
                let topic = delete_records_request::DeleteRecordsTopic::default()
                    .with_name(name(unique))
                    .with_partitions(vec![partition]);
                let response =
                    client.call(version, &DeleteRecordsRequest::default().with_topics(vec![topic]));
                let answer = &response.topics[0].partitions[0];
                (answer.error_code, answer.low_watermark)
            };
            assert_eq!(delete(1), (0, 1));
            assert_eq!(delete(3).0, ResponseError::OffsetOutOfRange.code());
            assert_eq!(delete(-1), (0, 2));
        }
        _ => {
            create(client, unique, 1, &[]);
            let (id, epoch) = init_producer(client, None, 1000);
            produce(client, unique, &Batch::of(&["a"]).by_producer(id, epoch, 0, false));
            let topic = describe_producers_request::TopicRequest::default()
                .with_name(name(unique))
                .with_partition_indexes(vec![0]);
            let response =
                client.call(version, &DescribeProducersRequest::default().with_topics(vec![topic]));
            let producer = &response.topics[0].partitions[0].active_producers[0];
            assert_eq!((producer.producer_id.0, producer.last_sequence), (id, 0));
        }
    }
}

pub fn cluster(world: &mut World, api: ApiKey, version: i16) {
    let client = &mut world.client;
    match api {
        ApiKey::ApiVersions => {
            let request = match version {
                3.. => ApiVersionsRequest::default()
                    .with_client_software_name(text("it"))
                    .with_client_software_version(text("1")),
                _ => ApiVersionsRequest::default(),
            };
            let response = client.call(version, &request);
            assert_eq!(response.error_code, 0);
            assert!(response.api_keys.iter().any(|api| api.api_key == ApiKey::Produce as i16));
        }
        ApiKey::Metadata => {
            let response = metadata(client, version, "t");
            assert_eq!(response.brokers.len(), 1);
            assert_eq!((response.topics[0].error_code, response.topics[0].partitions.len()), (0, 1));
            is(
                metadata(client, version, "missing").topics[0].error_code,
                ResponseError::UnknownTopicOrPartition,
            );
            is(
                metadata(client, version, "no good!").topics[0].error_code,
                ResponseError::InvalidTopicException,
            );
            let all = if version == 0 { Some(Vec::new()) } else { None };
            let response = client.call(version, &MetadataRequest::default().with_topics(all));
            assert!(response.topics.iter().any(|topic| topic.name == Some(name("t"))));
            if version >= 12 {
                let by_id = metadata_request::MetadataRequestTopic::default()
                    .with_name(None)
                    .with_topic_id(world.topic_id);
                let response =
                    client.call(version, &MetadataRequest::default().with_topics(Some(vec![by_id])));
                assert_eq!(response.topics[0].name, Some(name("t")));
            }
        }
        ApiKey::FindCoordinator => {
            if version < 4 {
                let response = client.call(version, &FindCoordinatorRequest::default().with_key(text("g")));
                assert_eq!((response.error_code, response.node_id.0), (0, 1));
            } else {
                let response = client.call(
                    version,
                    &FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"), text("h")]),
                );
                let keys: Vec<&str> = response.coordinators.iter().map(|one| one.key.as_str()).collect();
                assert_eq!(keys, ["g", "h"]);
            }
        }
        ApiKey::DescribeCluster => {
            let response = client.call(version, &DescribeClusterRequest::default());
            assert_eq!((response.error_code, response.brokers.len(), response.controller_id.0), (0, 1, 1));
        }
        ApiKey::DescribeLogDirs => {
            let response = client.call(version, &DescribeLogDirsRequest::default().with_topics(None));
            let topic = response.results[0].topics.iter().find(|topic| topic.name == name("t")).unwrap();
            assert!(topic.partitions[0].partition_size > 61);
        }
        _ => {
            let topic = describe_topic_partitions_request::TopicRequest::default().with_name(name("t"));
            let response = client.call(
                version,
                &DescribeTopicPartitionsRequest::default()
                    .with_topics(vec![topic])
                    .with_response_partition_limit(10),
            );
            assert_eq!((response.topics[0].error_code, response.topics[0].partitions.len()), (0, 1));
            // the Java client breaks on null
            assert_eq!(response.topics[0].partitions[0].eligible_leader_replicas, Some(Vec::new()));
        }
    }
}
