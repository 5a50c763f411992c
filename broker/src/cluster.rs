//! What there is: Metadata and its kin, the one node, its versions, its directory.
use crate::dispatch::{APIS, Call};
use crate::error::{Refusal, code};
use crate::server::Shared;
use crate::settings::Overrides;
use crate::topics::{Topic, Wanted, check_name};
use crate::wire::{LEADER_EPOCH, NODE, text, topic};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition as DescribedPartition,
    DescribeTopicPartitionsResponseTopic as DescribedTopic,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::*;
use std::collections::BTreeMap;

/// FindCoordinator asks for several keys at once from here on.
const COORDINATORS_IN_BATCHES: i16 = 4;
/// What one may do, as a mask of operations: without access control everybody may do everything there is.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
pub(crate) const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;
/// The same mask: "not asked for".
const OPERATIONS_UNKNOWN: i32 = i32::MIN;
/// A metadata request creates so many topics at most; for the others the client asks again.
const CREATED_AT_ONCE: usize = 1000;
/// From here on a client says in ApiVersions what it is.
const NAMED: i16 = 3;
/// From here on an unknown topic's name may be null.
const NAMELESS: i16 = 12;
/// Groups and transactional ids have a coordinator; share groups are not offered.
const LAST_COORDINATOR_KIND: i8 = 1;
const ENDPOINT_BROKERS: i8 = 1;

impl Shared {
    pub fn api_versions(&self, call: &Call, request: ApiVersionsRequest) -> ApiVersionsResponse {
        // who says what it is says it in letters, digits, dots and dashes
        let named = call.version < NAMED
            || (is_software(&request.client_software_name) && is_software(&request.client_software_version));
        let outcome = call.fault.whole().and(if named { Ok(()) } else { Err(ResponseError::InvalidRequest) });
        api_versions(outcome.map_or_else(|error| error.code(), |()| 0))
    }

    pub fn metadata(&self, call: &Call, request: MetadataRequest) -> MetadataResponse {
        // in version 0 an empty list stands for all
        let all = request.topics.as_ref().is_none_or(|topics| call.version == 0 && topics.is_empty());
        let topics: Vec<_> = if all {
            let state = self.state();
            state.topics.iter().map(|(name, topic)| self.with_fault(call, known_topic(name, topic))).collect()
        } else {
            let create = self.config.auto_create && (call.version < 4 || request.allow_auto_topic_creation);
            let mut may_create = if create { CREATED_AT_ONCE } else { 0 };
            let one = |wanted| self.metadata_topic(call, wanted, &mut may_create);
            request.topics.iter().flatten().map(one).collect()
        };
        let topics = topics.into_iter().map(|topic: MetadataResponseTopic| match request {
            MetadataRequest { include_topic_authorized_operations: true, .. } if topic.error_code == 0 => {
                topic.with_topic_authorized_operations(TOPIC_OPERATIONS)
            }
            _ => topic,
        });
        let operations = if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_UNKNOWN
        };
        let node = MetadataResponseBroker::default()
            .with_node_id(NODE)
            .with_host(text(&self.node.host))
            .with_port(i32::from(self.node.port));
        MetadataResponse::default()
            .with_cluster_id(Some(text(&self.node.cluster_id)))
            .with_controller_id(NODE)
            .with_brokers(vec![node])
            .with_cluster_authorized_operations(operations)
            .with_topics(topics.collect())
    }

    fn with_fault(&self, call: &Call, mut topic: MetadataResponseTopic) -> MetadataResponseTopic {
        let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        if let Err(error) = call.fault.topic(&name) {
            topic.error_code = error.code();
            topic.partitions.clear();
        }
        topic
    }

    fn metadata_topic(
        &self,
        call: &Call,
        wanted: &MetadataRequestTopic,
        may_create: &mut usize,
    ) -> MetadataResponseTopic {
        let out = MetadataResponseTopic::default().with_topic_authorized_operations(OPERATIONS_UNKNOWN);
        // by its id where there is one: Java sends an empty name with it
        let by_name = wanted.name.as_ref().filter(|_| wanted.topic_id.is_nil());
        let Some(name) = by_name else {
            let state = self.state();
            let found = state.topics.iter().find(|(_, topic)| topic.id == wanted.topic_id);
            return match found {
                Some((name, topic)) => self.with_fault(call, known_topic(name, topic)),
                None => out
                    .with_topic_id(wanted.topic_id)
                    .with_name((call.version < NAMELESS).then(TopicName::default))
                    .with_error_code(ResponseError::UnknownTopicId.code()),
            };
        };
        let mut outcome = check_name(name);
        if outcome.is_ok() && *may_create > 0 && !self.state().topics.contains_key(name.as_str()) {
            *may_create -= 1;
            let new = Wanted {
                partitions: self.config.default_partitions,
                overrides: Overrides::new(),
                validate_only: false,
            };
            outcome = self.state().create_topic(name, new).map(drop);
        }
        match self.state().topics.get(name.as_str()) {
            Some(topic) => self.with_fault(call, known_topic(name, topic)),
            None => {
                let outcome = outcome.and(Err::<(), Refusal>(ResponseError::UnknownTopicOrPartition.into()));
                out.with_name(Some(name.clone())).with_error_code(code(&outcome))
            }
        }
    }

    pub fn find_coordinator(&self, call: &Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
        let outcome = call.fault.whole().and(match request.key_type {
            0..=LAST_COORDINATOR_KIND => Ok(()),
            _ => Err(ResponseError::InvalidRequest),
        });
        let error = outcome.map_or_else(|error| error.code(), |()| 0);
        let (node, host, port) = match outcome {
            Ok(()) => (NODE, text(&self.node.host), i32::from(self.node.port)),
            Err(_) => (BrokerId(-1), text(""), -1),
        };
        if call.version < COORDINATORS_IN_BATCHES {
            return FindCoordinatorResponse::default()
                .with_error_code(error)
                .with_node_id(node)
                .with_host(host)
                .with_port(port);
        }
        let one = |key: &kafka_protocol::protocol::StrBytes| {
            let out = Coordinator::default().with_key(key.clone()).with_error_code(error);
            out.with_node_id(node).with_host(host.clone()).with_port(port)
        };
        FindCoordinatorResponse::default()
            .with_coordinators(request.coordinator_keys.iter().map(one).collect())
    }

    pub fn describe_cluster(&self, call: &Call, request: DescribeClusterRequest) -> DescribeClusterResponse {
        let out = DescribeClusterResponse::default()
            .with_cluster_id(text(&self.node.cluster_id))
            .with_cluster_authorized_operations(if request.include_cluster_authorized_operations {
                CLUSTER_OPERATIONS
            } else {
                OPERATIONS_UNKNOWN
            });
        if let Err(error) = call.fault.whole() {
            return out.with_error_code(error.code());
        }
        if call.version >= 1 && request.endpoint_type != ENDPOINT_BROKERS {
            let why = text("this broker has no controllers to talk to");
            return out
                .with_error_code(ResponseError::UnsupportedEndpointType.code())
                .with_error_message(Some(why))
                .with_endpoint_type(request.endpoint_type);
        }
        let node = DescribeClusterBroker::default()
            .with_broker_id(NODE)
            .with_host(text(&self.node.host))
            .with_port(i32::from(self.node.port));
        out.with_controller_id(NODE).with_brokers(vec![node])
    }

    pub fn describe_log_dirs(
        &self,
        _call: &Call,
        request: DescribeLogDirsRequest,
    ) -> DescribeLogDirsResponse {
        let state = self.state();
        let wanted: Option<BTreeMap<&str, &Vec<i32>>> = request
            .topics
            .as_ref()
            .map(|topics| topics.iter().map(|topic| (topic.topic.as_str(), &topic.partitions)).collect());
        let (mut topics, mut total) = (Vec::new(), 0);
        for (name, known) in &state.topics {
            let only = match &wanted {
                None => None,
                Some(wanted) => match wanted.get(name.as_str()) {
                    None => continue,
                    Some(partitions) => Some(partitions),
                },
            };
            let partitions: Vec<_> = (0..known.partitions.len())
                .filter(|index| only.is_none_or(|only| only.contains(&(*index as i32))))
                .map(|index| {
                    let size = known.partitions[index].size() as i64;
                    total += size;
                    DescribeLogDirsPartition::default()
                        .with_partition_index(index as i32)
                        .with_partition_size(size)
                })
                .collect();
            topics.push(DescribeLogDirsTopic::default().with_name(topic(name)).with_partitions(partitions));
        }
        let directory =
            state.data.as_ref().map_or_else(|| "(memory)".to_string(), |data| data.display().to_string());
        let result = DescribeLogDirsResult::default().with_log_dir(text(&directory)).with_topics(topics);
        // the volume's size is not known to us
        DescribeLogDirsResponse::default()
            .with_results(vec![result.with_total_bytes(-1).with_usable_bytes(-1)])
    }

    pub fn describe_topic_partitions(
        &self,
        call: &Call,
        request: DescribeTopicPartitionsRequest,
    ) -> DescribeTopicPartitionsResponse {
        let state = self.state();
        let mut names: Vec<String> = request.topics.iter().map(|topic| topic.name.to_string()).collect();
        if names.is_empty() {
            names = state.topics.keys().cloned().collect();
        }
        names.sort();
        names.dedup();
        let mut left = request.response_partition_limit.clamp(1, 2000) as usize;
        let cursor =
            request.cursor.as_ref().map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
        let mut out = DescribeTopicPartitionsResponse::default();
        for name in names {
            let first = match &cursor {
                Some((at, _)) if name < *at => continue,
                Some((at, partition)) if name == *at => (*partition).max(0) as usize,
                _ => 0,
            };
            if left == 0 {
                out.next_cursor =
                    Some(Cursor::default().with_topic_name(topic(&name)).with_partition_index(0));
                break;
            }
            let mut described = DescribedTopic::default()
                .with_name(Some(topic(&name)))
                .with_topic_authorized_operations(OPERATIONS_UNKNOWN);
            let known = check_name(&name)
                .map_err(|refusal| refusal.error)
                .and_then(|()| state.topics.get(&name).ok_or(ResponseError::UnknownTopicOrPartition));
            match call.fault.topic(&name).and(known) {
                Err(error) => described.error_code = error.code(),
                Ok(known) => {
                    described.topic_authorized_operations = TOPIC_OPERATIONS;
                    described.topic_id = known.id;
                    let end = known.partitions.len().min(first.saturating_add(left));
                    described.partitions =
                        (first..end).map(|index| described_partition(index as i32)).collect();
                    left -= described.partitions.len();
                    if end < known.partitions.len() {
                        out.next_cursor = Some(
                            Cursor::default().with_topic_name(topic(&name)).with_partition_index(end as i32),
                        );
                    }
                }
            }
            out.topics.push(described);
            if out.next_cursor.is_some() {
                break;
            }
        }
        out
    }
}

fn is_software(name: &str) -> bool {
    let inner = |letter: u8| letter.is_ascii_alphanumeric() || b"-.".contains(&letter);
    let ends = [name.bytes().next(), name.bytes().last()];
    ends.iter().all(|end| end.is_some_and(|end| end.is_ascii_alphanumeric())) && name.bytes().all(inner)
}

/// What we speak; also the answer to a version of this API that we do not.
pub(crate) fn api_versions(error_code: i16) -> ApiVersionsResponse {
    let one = |api: &crate::dispatch::Api| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(api.first)
            .with_max_version(api.last)
    };
    ApiVersionsResponse::default().with_error_code(error_code).with_api_keys(APIS.iter().map(one).collect())
}

fn known_topic(name: &str, known: &Topic) -> MetadataResponseTopic {
    let partition = |index: usize| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(NODE)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    };
    MetadataResponseTopic::default()
        .with_name(Some(topic(name)))
        .with_topic_id(known.id)
        .with_topic_authorized_operations(OPERATIONS_UNKNOWN)
        .with_partitions((0..known.partitions.len()).map(partition).collect())
}

fn described_partition(index: i32) -> DescribedPartition {
    DescribedPartition::default()
        .with_partition_index(index)
        .with_leader_id(NODE)
        .with_leader_epoch(LEADER_EPOCH)
        .with_replica_nodes(vec![NODE])
        .with_isr_nodes(vec![NODE])
        .with_eligible_leader_replicas(Some(Vec::new())) // null breaks the Java client
        .with_last_known_elr(Some(Vec::new()))
}
