//! Every API in every version that is advertised: a valid request, and what its answer has to mean.
//!
//! The list comes from the broker, so an API that is advertised but has no check here fails the test.
use crate::client::Client;
use crate::kit::*;
use drover_broker::{ApiKey, ResponseError};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// What stands ready for the checks: topic `t` with three records, at 1000, 2000 and 3000 ms.
struct World {
    client: Client,
    topic_id: Uuid,
}

#[test]
fn every_advertised_version_is_answered() {
    let (broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    let records = Batch::new();
    let records = [1000, 2000, 3000].iter().fold(records, |batch, at| batch.with(Some("k"), Some("v"), *at));
    assert_eq!(produce(&mut client, "t", &records), 0);
    let topic_id = metadata(&mut client, 12, "t").topics[0].topic_id;
    let advertised = client.call(
        3,
        &ApiVersionsRequest::default()
            .with_client_software_name(text("it"))
            .with_client_software_version(text("1")),
    );
    let mut world = World { client: Client::new(broker.addr()), topic_id };
    let mut checked = 0;
    for api in &advertised.api_keys {
        let key = ApiKey::try_from(api.api_key).unwrap();
        for version in api.min_version..=api.max_version {
            check(&mut world, key, version);
            checked += 1;
        }
    }
    assert!(checked > 180, "{checked}");
}

fn metadata(client: &mut Client, version: i16, topic: &str) -> MetadataResponse {
    let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(name(topic)));
    client.call(version, &MetadataRequest::default().with_topics(Some(vec![topic])))
}

fn is(code: i16, error: ResponseError) {
    assert_eq!(code, error.code(), "expected {error}");
}

fn check(world: &mut World, api: ApiKey, version: i16) {
    let unique = format!("{api:?}-{version}");
    match api {
        ApiKey::Produce
        | ApiKey::Fetch
        | ApiKey::ListOffsets
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::DeleteRecords
        | ApiKey::DescribeProducers => records(world, api, version, &unique),
        ApiKey::ApiVersions
        | ApiKey::Metadata
        | ApiKey::FindCoordinator
        | ApiKey::DescribeCluster
        | ApiKey::DescribeLogDirs
        | ApiKey::DescribeTopicPartitions => cluster(world, api, version),
        ApiKey::OffsetCommit | ApiKey::OffsetFetch | ApiKey::OffsetDelete => {
            offsets(world, api, version, &unique)
        }
        ApiKey::JoinGroup
        | ApiKey::SyncGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::DescribeGroups
        | ApiKey::ListGroups
        | ApiKey::DeleteGroups => groups(world, api, version, &unique),
        ApiKey::InitProducerId
        | ApiKey::AddPartitionsToTxn
        | ApiKey::AddOffsetsToTxn
        | ApiKey::EndTxn
        | ApiKey::TxnOffsetCommit
        | ApiKey::DescribeTransactions
        | ApiKey::ListTransactions => transactions(world, api, version, &unique),
        _ => administration(world, api, version, &unique),
    }
}

fn records(world: &mut World, api: ApiKey, version: i16, unique: &str) {
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
            produce(client, unique, &Batch::of(&["a"]).from_producer(id, epoch, 0, false));
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

fn cluster(world: &mut World, api: ApiKey, version: i16) {
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

fn commit(client: &mut Client, version: i16, group: &str, metadata: &str) -> i16 {
    let partition = offset_commit_request::OffsetCommitRequestPartition::default()
        .with_committed_offset(2)
        .with_committed_metadata(Some(text(metadata)));
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    client.call(version, &request).topics[0].partitions[0].error_code
}

/// Offset and metadata of partition 0 of `t`.
fn committed(client: &mut Client, version: i16, group: &str) -> (i64, StrBytes) {
    let group_id = GroupId(text(group));
    if version >= 8 {
        let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
            .with_name(name("t"))
            .with_partition_indexes(vec![0]);
        let group = offset_fetch_request::OffsetFetchRequestGroup::default()
            .with_group_id(group_id)
            .with_topics(Some(vec![topic]))
            .with_member_epoch(-1);
        let response = client.call(version, &OffsetFetchRequest::default().with_groups(vec![group]));
        let answer = &response.groups[0].topics[0].partitions[0];
        return (answer.committed_offset, answer.metadata.clone().unwrap());
    }
    let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(name("t"))
        .with_partition_indexes(vec![0]);
    let response = client
        .call(version, &OffsetFetchRequest::default().with_group_id(group_id).with_topics(Some(vec![topic])));
    let answer = &response.topics[0].partitions[0];
    (answer.committed_offset, answer.metadata.clone().unwrap())
}

fn offsets(world: &mut World, api: ApiKey, version: i16, unique: &str) {
    let client = &mut world.client;
    match api {
        ApiKey::OffsetCommit => {
            assert_eq!(commit(client, version, unique, "note"), 0);
            is(commit(client, version, unique, &"x".repeat(4097)), ResponseError::OffsetMetadataTooLarge);
            assert_eq!(committed(client, 5, unique), (2, text("note")));
        }
        ApiKey::OffsetFetch => {
            assert_eq!(committed(client, version, unique), (-1, text("")));
            assert_eq!(commit(client, 8, unique, "note"), 0);
            assert_eq!(committed(client, version, unique), (2, text("note")));
        }
        _ => {
            assert_eq!(commit(client, 8, unique, "note"), 0);
            let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
            let topic = offset_delete_request::OffsetDeleteRequestTopic::default()
                .with_name(name("t"))
                .with_partitions(vec![partition]);
            let request =
                OffsetDeleteRequest::default().with_group_id(GroupId(text(unique))).with_topics(vec![topic]);
            let response = client.call(version, &request);
            assert_eq!((response.error_code, response.topics[0].partitions[0].error_code), (0, 0));
            assert_eq!(committed(client, 5, unique).0, -1);
        }
    }
}

fn join(client: &mut Client, version: i16, group: &str) -> JoinGroupResponse {
    let protocol = join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(b"m"[..].into());
    let mut request = JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    if version >= 1 {
        request.rebalance_timeout_ms = 10_000;
    }
    let response = client.call(version, &request);
    if response.error_code != ResponseError::MemberIdRequired.code() {
        assert!(version < 4);
        return response;
    }
    request.member_id = response.member_id;
    client.call(version, &request)
}

/// A group with one member that has its assignment.
fn stable(client: &mut Client, join_version: i16, sync_version: i16, group: &str) -> StrBytes {
    let joined = join(client, join_version, group);
    assert_eq!((joined.error_code, joined.generation_id, &joined.leader), (0, 1, &joined.member_id));
    assert_eq!((joined.members.len(), joined.protocol_name), (1, Some(text("range"))));
    let assignment = sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(b"yours"[..].into());
    let mut request = SyncGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id(1)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![assignment]);
    if sync_version >= 5 {
        request = request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")));
    }
    let synced = client.call(sync_version, &request);
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"yours"[..]));
    joined.member_id
}

fn leave(client: &mut Client, version: i16, group: &str, member: &StrBytes) -> i16 {
    let request = LeaveGroupRequest::default().with_group_id(GroupId(text(group)));
    if version < 3 {
        return client.call(version, &request.with_member_id(member.clone())).error_code;
    }
    let member = leave_group_request::MemberIdentity::default().with_member_id(member.clone());
    client.call(version, &request.with_members(vec![member])).members[0].error_code
}

fn groups(world: &mut World, api: ApiKey, version: i16, unique: &str) {
    let client = &mut world.client;
    let group_id = GroupId(text(unique));
    match api {
        ApiKey::JoinGroup => drop(stable(client, version, 3, unique)),
        ApiKey::SyncGroup => drop(stable(client, 5, version, unique)),
        ApiKey::Heartbeat => {
            let member = stable(client, 5, 3, unique);
            let request = HeartbeatRequest::default()
                .with_group_id(group_id)
                .with_generation_id(1)
                .with_member_id(member);
            assert_eq!(client.call(version, &request).error_code, 0);
            is(
                client.call(version, &request.clone().with_generation_id(9)).error_code,
                ResponseError::IllegalGeneration,
            );
            is(
                client.call(version, &request.with_member_id(text("x"))).error_code,
                ResponseError::UnknownMemberId,
            );
        }
        ApiKey::LeaveGroup => {
            let member = stable(client, 5, 3, unique);
            assert_eq!(leave(client, version, unique, &member), 0);
            is(leave(client, version, unique, &member), ResponseError::UnknownMemberId);
        }
        ApiKey::DescribeGroups => {
            let member = stable(client, 5, 3, unique);
            let response = client.call(
                version,
                &DescribeGroupsRequest::default().with_groups(vec![group_id, GroupId(text("none"))]),
            );
            let group = &response.groups[0];
            assert_eq!(
                (group.error_code, group.group_state.as_str(), group.protocol_data.as_str()),
                (0, "Stable", "range")
            );
            assert_eq!(
                (&group.members[0].member_id, &group.members[0].member_assignment[..]),
                (&member, &b"yours"[..])
            );
            assert_eq!(response.groups[1].group_state.as_str(), "Dead");
            assert_eq!(
                response.groups[1].error_code,
                if version >= 6 { ResponseError::GroupIdNotFound.code() } else { 0 }
            );
        }
        ApiKey::ListGroups => {
            stable(client, 5, 3, unique);
            let mut listed = |request: ListGroupsRequest| {
                client.call(version, &request).groups.iter().any(|group| group.group_id == group_id)
            };
            assert!(listed(ListGroupsRequest::default()));
            if version >= 4 {
                assert!(listed(ListGroupsRequest::default().with_states_filter(vec![text("Stable")])));
                assert!(!listed(ListGroupsRequest::default().with_states_filter(vec![text("Empty")])));
            }
        }
        _ => {
            let member = stable(client, 5, 3, unique);
            let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id]);
            is(client.call(version, &request).results[0].error_code, ResponseError::NonEmptyGroup);
            assert_eq!(commit_as(client, unique, &member), 0);
            assert_eq!(leave(client, 3, unique, &member), 0);
            assert_eq!(client.call(version, &request).results[0].error_code, 0);
            is(client.call(version, &request).results[0].error_code, ResponseError::GroupIdNotFound);
        }
    }
}

fn commit_as(client: &mut Client, group: &str, member: &StrBytes) -> i16 {
    let partition = offset_commit_request::OffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(1)
        .with_member_id(member.clone())
        .with_topics(vec![topic]);
    client.call(8, &request).topics[0].partitions[0].error_code
}

fn transactions(world: &mut World, api: ApiKey, version: i16, unique: &str) {
    let client = &mut world.client;
    let id = TransactionalId(text(unique));
    let (producer_id, epoch) = init_producer(client, Some(unique), 60_000);
    let producer = ProducerId(producer_id);
    let add = |client: &mut Client, version| {
        let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![0]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id.clone())
            .with_v3_and_below_producer_id(producer)
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(vec![topic]);
        client.call(version, &request).results_by_topic_v3_and_below[0].results_by_partition[0]
            .partition_error_code
    };
    let end = |client: &mut Client, version, committed| {
        let request = EndTxnRequest::default()
            .with_transactional_id(id.clone())
            .with_producer_id(producer)
            .with_producer_epoch(epoch);
        client.call(version, &request.with_committed(committed)).error_code
    };
    let add_offsets = |client: &mut Client, version| {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(id.clone())
            .with_producer_id(producer)
            .with_producer_epoch(epoch);
        client.call(version, &request.with_group_id(GroupId(text(unique)))).error_code
    };
    match api {
        ApiKey::InitProducerId => {
            let mut request = InitProducerIdRequest::default()
                .with_transactional_id(Some(id.clone()))
                .with_transaction_timeout_ms(60_000);
            if version >= 3 {
                request = request.with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
            }
            let response = client.call(version, &request);
            assert_eq!(
                (response.error_code, response.producer_id, response.producer_epoch),
                (0, producer, epoch + 1)
            );
            is(
                client.call(version, &request.with_transaction_timeout_ms(0)).error_code,
                ResponseError::InvalidTransactionTimeout,
            );
            is(end(client, 3, true), ResponseError::ProducerFenced);
        }
        ApiKey::AddPartitionsToTxn => {
            assert_eq!(add(client, version), 0);
            assert_eq!(end(client, 3, false), 0);
        }
        ApiKey::AddOffsetsToTxn => {
            assert_eq!(add_offsets(client, version), 0);
            assert_eq!(end(client, 3, false), 0);
        }
        ApiKey::EndTxn => {
            is(end(client, version, true), ResponseError::InvalidTxnState);
            assert_eq!(add(client, 3), 0);
            assert_eq!(end(client, version, true), 0);
            assert_eq!(end(client, version, true), 0, "asked again, as when the answer was lost");
            is(end(client, version, false), ResponseError::InvalidTxnState);
        }
        ApiKey::TxnOffsetCommit => {
            assert_eq!(add_offsets(client, 3), 0);
            let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()
                .with_committed_offset(2)
                .with_committed_metadata(Some(text("note")));
            let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                .with_name(name("t"))
                .with_partitions(vec![partition]);
            let request = TxnOffsetCommitRequest::default()
                .with_transactional_id(id.clone())
                .with_group_id(GroupId(text(unique)))
                .with_producer_id(producer)
                .with_producer_epoch(epoch)
                .with_topics(vec![topic]);
            assert_eq!(client.call(version, &request).topics[0].partitions[0].error_code, 0);
            assert_eq!(committed(client, 5, unique).0, -1, "not before the end");
            assert_eq!(end(client, 3, true), 0);
            assert_eq!(committed(client, 5, unique), (2, text("note")));
        }
        ApiKey::DescribeTransactions => {
            assert_eq!(add(client, 3), 0);
            let response = client.call(
                version,
                &DescribeTransactionsRequest::default().with_transactional_ids(vec![id.clone()]),
            );
            let state = &response.transaction_states[0];
            assert_eq!(
                (state.error_code, state.transaction_state.as_str(), state.topics.len()),
                (0, "Ongoing", 1)
            );
            assert_eq!(end(client, 3, false), 0);
        }
        _ => {
            let request =
                ListTransactionsRequest::default().with_state_filters(vec![text("Empty"), text("Nonsense")]);
            let request = if version >= 1 { request.with_duration_filter(-1) } else { request };
            let response = client.call(version, &request);
            assert_eq!(response.unknown_state_filters, [text("Nonsense")]);
            assert!(response.transaction_states.iter().any(|state| state.transactional_id == id));
        }
    }
}

fn administration(world: &mut World, api: ApiKey, version: i16, unique: &str) {
    let client = &mut world.client;
    match api {
        ApiKey::CreateTopics => {
            let topic = create_topics_request::CreatableTopic::default()
                .with_name(name(unique))
                .with_num_partitions(2)
                .with_replication_factor(1);
            let request = CreateTopicsRequest::default().with_topics(vec![topic]);
            assert_eq!(client.call(version, &request).topics[0].error_code, 0);
            let again = client.call(version, &request).topics.remove(0);
            is(again.error_code, ResponseError::TopicAlreadyExists);
            assert!(again.error_message.is_some());
            assert_eq!(metadata(client, 9, unique).topics[0].partitions.len(), 2);
        }
        ApiKey::DeleteTopics => {
            create(client, unique, 1, &[]);
            let request = if version < 6 {
                DeleteTopicsRequest::default().with_topic_names(vec![name(unique)])
            } else {
                let topic = delete_topics_request::DeleteTopicState::default().with_name(Some(name(unique)));
                DeleteTopicsRequest::default().with_topics(vec![topic])
            };
            assert_eq!(client.call(version, &request).responses[0].error_code, 0);
            is(
                client.call(version, &request).responses[0].error_code,
                ResponseError::UnknownTopicOrPartition,
            );
        }
        ApiKey::CreatePartitions => {
            create(client, unique, 1, &[]);
            let topic = create_partitions_request::CreatePartitionsTopic::default()
                .with_name(name(unique))
                .with_count(3)
                .with_assignments(None);
            let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
            assert_eq!(client.call(version, &request).results[0].error_code, 0);
            is(client.call(version, &request).results[0].error_code, ResponseError::InvalidPartitions);
            assert_eq!(metadata(client, 9, unique).topics[0].partitions.len(), 3);
        }
        ApiKey::DescribeConfigs => {
            let resource = describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_configuration_keys(Some(vec![text("cleanup.policy")]));
            let response =
                client.call(version, &DescribeConfigsRequest::default().with_resources(vec![resource]));
            let shown = &response.results[0].configs[0];
            assert_eq!(
                (shown.name.as_str(), shown.value.clone(), shown.config_source),
                ("cleanup.policy", Some(text("delete")), 5)
            );
        }
        ApiKey::AlterConfigs => {
            create(client, unique, 1, &[]);
            let mut alter = |key: &str, value: &str| {
                let setting = alter_configs_request::AlterableConfig::default()
                    .with_name(text(key))
                    .with_value(Some(text(value)));
                let resource = alter_configs_request::AlterConfigsResource::default()
                    .with_resource_type(2)
                    .with_resource_name(text(unique))
                    .with_configs(vec![setting]);
                client.call(version, &AlterConfigsRequest::default().with_resources(vec![resource])).responses
                    [0]
                .error_code
            };
            assert_eq!(alter("retention.ms", "1000"), 0);
            is(alter("retention.ms", "soon"), ResponseError::InvalidConfig);
            is(alter("no.such.setting", "1"), ResponseError::InvalidConfig);
        }
        ApiKey::IncrementalAlterConfigs => {
            create(client, unique, 1, &[]);
            let mut alter = |key: &str, operation, value: &str| {
                let setting = incremental_alter_configs_request::AlterableConfig::default()
                    .with_name(text(key))
                    .with_config_operation(operation)
                    .with_value(Some(text(value)));
                let resource = incremental_alter_configs_request::AlterConfigsResource::default()
                    .with_resource_type(2)
                    .with_resource_name(text(unique))
                    .with_configs(vec![setting]);
                client
                    .call(version, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource]))
                    .responses[0]
                    .error_code
            };
            assert_eq!(alter("cleanup.policy", 2, "compact"), 0);
            is(alter("retention.ms", 2, "1"), ResponseError::InvalidConfig);
            assert_eq!(alter("cleanup.policy", 3, "delete"), 0);
            assert_eq!(alter("cleanup.policy", 1, ""), 0);
        }
        ApiKey::ElectLeaders => {
            let topic = elect_leaders_request::TopicPartitions::default()
                .with_topic(name("t"))
                .with_partitions(vec![0]);
            let response = client
                .call(version, &ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic])));
            is(
                response.replica_election_results[0].partition_result[0].error_code,
                ResponseError::ElectionNotNeeded,
            );
        }
        ApiKey::ListPartitionReassignments => {
            let response =
                client.call(version, &ListPartitionReassignmentsRequest::default().with_topics(None));
            assert_eq!((response.error_code, response.topics.len()), (0, 0));
        }
        ApiKey::DescribeAcls => {
            let request = DescribeAclsRequest::default()
                .with_resource_type_filter(1)
                .with_pattern_type_filter(1)
                .with_operation(1)
                .with_permission_type(1);
            is(client.call(version, &request).error_code, ResponseError::SecurityDisabled);
        }
        ApiKey::CreateAcls => {
            let acl = create_acls_request::AclCreation::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_resource_pattern_type(3);
            let response = client.call(version, &CreateAclsRequest::default().with_creations(vec![acl]));
            is(response.results[0].error_code, ResponseError::SecurityDisabled);
        }
        ApiKey::DeleteAcls => {
            let filter = delete_acls_request::DeleteAclsFilter::default()
                .with_resource_type_filter(1)
                .with_pattern_type_filter(1);
            let response = client.call(version, &DeleteAclsRequest::default().with_filters(vec![filter]));
            is(response.filter_results[0].error_code, ResponseError::SecurityDisabled);
        }
        ApiKey::DescribeClientQuotas => {
            let response = client.call(version, &DescribeClientQuotasRequest::default());
            assert_eq!((response.error_code, response.entries.map(|entries| entries.len())), (0, Some(0)));
        }
        other => panic!("{other:?} is advertised and has no check"),
    }
}
