//! Topics from outside: CreateTopics, DeleteTopics, CreatePartitions, and the answers that one node can give to
//! questions about replicas.
use crate::dispatch::Call;
use crate::error::{Answer, Refusal, code};
use crate::server::Shared;
use crate::settings::{DEFINITIONS, Overrides};
use crate::topics::{PARTITIONS_MAX, Wanted};
use crate::wire::{NODE, text};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::*;
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

/// Stands for "as the broker has it".
const AS_THE_BROKER: i32 = -1;
/// Where a value comes from, in answers.
pub(crate) const FROM_TOPIC: i8 = 1;
pub(crate) const FROM_DEFAULT: i8 = 5;
/// DeleteTopics names topics by name or by id from here on.
const BY_STATE: i16 = 6;

fn invalid(error: ResponseError, why: impl Into<String>) -> Refusal {
    Refusal::new(error, why)
}

impl Shared {
    pub fn create_topics(&self, call: &Call, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let mut seen = HashSet::new();
        let twice: HashSet<_> = request
            .topics
            .iter()
            .filter(|topic| !seen.insert(topic.name.clone()))
            .map(|topic| topic.name.clone())
            .collect();
        let too_many = self.asks_for_too_much(&request);
        let mut answers = Vec::new();
        for topic in &request.topics {
            if twice.contains(&topic.name) {
                if answers.iter().any(|known: &CreatableTopicResult| known.name == topic.name) {
                    continue;
                }
                let out = CreatableTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_error_code(ResponseError::InvalidRequest.code());
                answers.push(out.with_error_message(Some(text("Duplicate topic name."))));
                continue;
            }
            let created = call
                .fault
                .topic(&topic.name)
                .map_err(Into::into)
                .and_then(|()| too_many.clone())
                .and_then(|()| self.create_topic(topic, request.validate_only));
            let out = CreatableTopicResult::default()
                .with_name(topic.name.clone())
                .with_num_partitions(-1)
                .with_replication_factor(-1);
            answers.push(match created {
                Ok((id, partitions)) => {
                    let out =
                        if call.version >= 7 && !request.validate_only { out.with_topic_id(id) } else { out };
                    out.with_num_partitions(partitions)
                        .with_replication_factor(1)
                        .with_configs(Some(shown(topic)))
                }
                Err(refusal) => out
                    .with_error_code(refusal.error.code())
                    .with_error_message(refusal.message.as_deref().map(text)),
            });
        }
        CreateTopicsResponse::default().with_topics(answers)
    }

    /// As Kafka's controller does, which carries a request out as a whole.
    fn asks_for_too_much(&self, request: &CreateTopicsRequest) -> Answer<()> {
        let of = |topic: &CreatableTopic| self.wanted_partitions(topic).map_or(0, |n| i64::from(n.max(0)));
        let wanted: i64 = request.topics.iter().map(of).sum();
        if wanted <= i64::from(PARTITIONS_MAX) {
            return Ok(());
        }
        Err(invalid(ResponseError::PolicyViolation, "Excessively large number of partitions per request."))
    }

    /// The new topic's id and number of partitions.
    fn create_topic(&self, topic: &CreatableTopic, validate_only: bool) -> Answer<(Uuid, i32)> {
        let partitions = self.wanted_partitions(topic)?;
        let mut overrides = Overrides::new();
        for setting in &topic.configs {
            let Some(value) = &setting.value else {
                let why = format!("Null value not supported for topic configs: {}", setting.name.as_str());
                return Err(invalid(ResponseError::InvalidConfig, why));
            };
            overrides.insert(setting.name.to_string(), value.to_string());
        }
        let wanted = Wanted { partitions, overrides, validate_only };
        let id = self.state().create_topic(&topic.name, wanted)?;
        Ok((id, partitions))
    }

    fn wanted_partitions(&self, topic: &CreatableTopic) -> Answer<i32> {
        if topic.assignments.is_empty() {
            if i32::from(topic.replication_factor) != AS_THE_BROKER && topic.replication_factor != 1 {
                let why = if topic.replication_factor < 1 {
                    "Replication factor must be larger than 0, or -1 to use the default value.".to_string()
                } else {
                    format!(
                        "Unable to replicate the partition {} time(s): only 1 broker(s) are registered.",
                        topic.replication_factor
                    )
                };
                return Err(invalid(ResponseError::InvalidReplicationFactor, why));
            }
            return Ok(if topic.num_partitions == AS_THE_BROKER {
                self.config.default_partitions
            } else {
                topic.num_partitions
            });
        }
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            return Err(invalid(
                ResponseError::InvalidRequest,
                "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.",
            ));
        }
        let mut indexes: Vec<i32> = topic.assignments.iter().map(|a| a.partition_index).collect();
        indexes.sort_unstable();
        if indexes.iter().enumerate().any(|(nth, index)| nth as i32 != *index) {
            return Err(invalid(
                ResponseError::InvalidReplicaAssignment,
                "partitions should be a consecutive 0-based integer sequence",
            ));
        }
        if topic.assignments.iter().any(|a| a.broker_ids != [NODE]) {
            return Err(invalid(
                ResponseError::InvalidReplicaAssignment,
                "The only broker is 1; each partition has one replica, there.",
            ));
        }
        Ok(indexes.len() as i32)
    }

    pub fn delete_topics(&self, call: &Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let mut state = self.state();
        let mut answers = Vec::new();
        if call.version < BY_STATE {
            for name in &request.topic_names {
                let outcome =
                    call.fault.topic(name).map_err(Into::into).and_then(|()| state.delete_topic(name));
                answers.push(
                    DeletableTopicResult::default()
                        .with_name(Some(name.clone()))
                        .with_error_code(code(&outcome)),
                );
            }
            return DeleteTopicsResponse::default().with_responses(answers);
        }
        for wanted in &request.topics {
            let name = match &wanted.name {
                Some(name) => Some(name.to_string()),
                None => state.topic_name(wanted.topic_id).cloned(),
            };
            let outcome = match &name {
                None => Err(ResponseError::UnknownTopicId.into()),
                Some(name) => {
                    call.fault.topic(name).map_err(Into::into).and_then(|()| state.delete_topic(name))
                }
            };
            let out = DeletableTopicResult::default()
                .with_name(name.as_deref().map(crate::wire::topic))
                .with_error_code(code(&outcome));
            answers.push(out.with_topic_id(outcome.unwrap_or(wanted.topic_id)));
        }
        DeleteTopicsResponse::default().with_responses(answers)
    }

    pub fn create_partitions(
        &self,
        call: &Call,
        request: CreatePartitionsRequest,
    ) -> CreatePartitionsResponse {
        let mut state = self.state();
        let mut grow = |topic: &CreatePartitionsTopic| -> Answer<()> {
            call.fault.topic(&topic.name)?;
            let known =
                state.topics.get(topic.name.as_str()).map_or(0, |known| known.partitions.len() as i32);
            if let Some(assignments) = &topic.assignments
                && known > 0
            {
                let more = i64::from(topic.count) - i64::from(known);
                let fits =
                    assignments.len() as i64 == more && assignments.iter().all(|a| a.broker_ids == [NODE]);
                if !fits {
                    return Err(invalid(
                        ResponseError::InvalidReplicaAssignment,
                        "each new partition has one replica, on broker 1",
                    ));
                }
            }
            state.grow_topic(&topic.name, topic.count, request.validate_only)
        };
        let results = request.topics.iter().map(|topic| {
            let outcome = grow(topic);
            let message = outcome.as_ref().err().and_then(|refusal| refusal.message.as_deref()).map(text);
            CreatePartitionsTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(code(&outcome))
                .with_error_message(message)
        });
        CreatePartitionsResponse::default().with_results(results.collect())
    }

    /// The leader is the one there is, so no election is ever needed.
    pub fn elect_leaders(&self, _call: &Call, request: ElectLeadersRequest) -> ElectLeadersResponse {
        let state = self.state();
        let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for topic in request.topic_partitions.iter().flatten() {
            wanted.entry(topic.topic.to_string()).or_default().extend(&topic.partitions);
        }
        let results = wanted.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|partition| {
                let error = match state.log(&name, partition) {
                    Some(_) => ResponseError::ElectionNotNeeded,
                    None => ResponseError::UnknownTopicOrPartition,
                };
                PartitionResult::default().with_partition_id(partition).with_error_code(error.code())
            });
            ReplicaElectionResult::default()
                .with_topic(crate::wire::topic(&name))
                .with_partition_result(partitions.collect())
        });
        ElectLeadersResponse::default().with_replica_election_results(results.collect())
    }

    /// Nothing can be moved, so nothing is on the move.
    pub fn list_partition_reassignments(
        &self,
        _call: &Call,
        _request: ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        ListPartitionReassignmentsResponse::default()
    }
}

/// A new topic's settings, for the answer.
fn shown(topic: &CreatableTopic) -> Vec<CreatableTopicConfigs> {
    let set: BTreeMap<&str, &str> = topic
        .configs
        .iter()
        .filter_map(|setting| Some((setting.name.as_str(), setting.value.as_ref()?.as_str())))
        .collect();
    let one = |definition: &crate::settings::Definition| {
        let own = set.get(definition.name);
        CreatableTopicConfigs::default()
            .with_name(text(definition.name))
            .with_value(Some(text(own.unwrap_or(&definition.default))))
            .with_config_source(if own.is_some() { FROM_TOPIC } else { FROM_DEFAULT })
    };
    DEFINITIONS.iter().map(one).collect()
}
