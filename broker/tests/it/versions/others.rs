//! The APIs of transactions, and of the administration.
use super::groups::committed;
use super::{World, is, metadata};
use crate::client::Client;
use crate::kit::*;
use drover_broker::{ApiKey, ResponseError};
use kafka_protocol::messages::*;

pub fn transactions(world: &mut World, api: ApiKey, version: i16, unique: &str) {
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

pub fn administration(world: &mut World, api: ApiKey, version: i16, unique: &str) {
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
