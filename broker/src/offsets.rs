//! Committed offsets: OffsetCommit, OffsetFetch, OffsetDelete.
use crate::dispatch::Call;
use crate::error::{Answer, code};
use crate::group::Phase;
use crate::server::Shared;
use crate::state::{Change, State, now_ms};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response as answer;
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// Kafka's `offset.metadata.max.bytes`.
pub(crate) const METADATA_MAX: usize = 4096;

/// One committed offset, as it stands in the journal.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    pub at_ms: i64,
    /// Old clients may say how long it shall be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_ms: Option<i64>,
}

type OfGroup = BTreeMap<(String, i32), Committed>;

#[derive(Default)]
pub(crate) struct Offsets {
    by_group: HashMap<String, OfGroup>,
}

impl Offsets {
    pub fn groups(&self) -> impl Iterator<Item = (&String, &OfGroup)> {
        self.by_group.iter()
    }
    pub fn of(&self, group: &str) -> Option<&OfGroup> {
        self.by_group.get(group)
    }
    pub fn put(&mut self, group: &str, offsets: Vec<Committed>) {
        let of_group = self.by_group.entry(group.to_string()).or_default();
        of_group.extend(
            offsets.into_iter().map(|committed| ((committed.topic.clone(), committed.partition), committed)),
        );
    }
    pub fn remove(&mut self, group: &str, partitions: &[(String, i32)]) {
        if let Some(of_group) = self.by_group.get_mut(group) {
            of_group.retain(|key, _| !partitions.contains(key));
            if of_group.is_empty() {
                self.by_group.remove(group);
            }
        }
    }
    pub fn forget_group(&mut self, group: &str) {
        self.by_group.remove(group);
    }
    pub fn forget_topic(&mut self, topic: &str) {
        for of_group in self.by_group.values_mut() {
            of_group.retain(|(name, _), _| name != topic);
        }
    }
}

impl State {
    pub fn commit_offsets(&mut self, group: &str, offsets: Vec<Committed>) -> Answer<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.record(&Change::Offsets { group: group.to_string(), offsets: offsets.clone() })?;
        self.offsets.put(group, offsets);
        Ok(())
    }

    /// What can be said against one partition of a commit.
    pub fn check_commit(&self, topic: &str, partition: i32, metadata: Option<&StrBytes>) -> Answer<()> {
        if self.log(topic, partition).is_none() {
            return Err(ResponseError::UnknownTopicOrPartition.into());
        }
        if metadata.is_some_and(|metadata| metadata.len() > METADATA_MAX) {
            return Err(ResponseError::OffsetMetadataTooLarge.into());
        }
        Ok(())
    }

    /// Whether a transaction that is not decided yet commits this offset.
    fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        let touches = |committed: &Committed| committed.topic == topic && committed.partition == partition;
        self.transactions.values().filter(|transaction| transaction.is_open()).any(|transaction| {
            transaction.offsets.get(group).is_some_and(|offsets| offsets.iter().any(touches))
        })
    }

    /// Offsets of groups that nobody is in go some time after they were committed.
    pub fn expire_offsets(&mut self, keep_ms: i64, now_ms: i64) -> Answer<()> {
        let mut expired: Vec<(String, Vec<(String, i32)>)> = Vec::new();
        for (group, offsets) in self.offsets.groups() {
            if self.groups.get(group).is_some_and(|group| group.phase != Phase::Empty) {
                continue;
            }
            let old = |committed: &Committed| now_ms - committed.at_ms > committed.keep_ms.unwrap_or(keep_ms);
            let gone: Vec<(String, i32)> =
                offsets.iter().filter(|(_, c)| old(c)).map(|(key, _)| key.clone()).collect();
            if !gone.is_empty() {
                expired.push((group.clone(), gone));
            }
        }
        for (group, partitions) in expired {
            self.record(&Change::OffsetsDeleted { group: group.clone(), partitions: partitions.clone() })?;
            self.offsets.remove(&group, &partitions);
        }
        Ok(())
    }
}

impl Shared {
    pub fn offset_commit(&self, call: &Call, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let mut state = self.state();
        let group = request.group_id.as_str();
        let generation = request.generation_id_or_member_epoch;
        let allowed = call.fault.whole().and_then(|()| {
            if group.is_empty() && generation >= 0 {
                return Err(ResponseError::InvalidGroupId);
            }
            let instance = request.group_instance_id.as_deref();
            match state.groups.get_mut(group) {
                Some(known) => known.may_commit(&request.member_id, instance, generation, Instant::now()),
                None if generation < 0 && request.member_id.is_empty() => Ok(()),
                // the group's members are not kept over a restart: they are told to join again
                None if generation < 0 => Err(ResponseError::UnknownMemberId),
                None => Err(ResponseError::IllegalGeneration),
            }
        });
        let keep_ms = (request.retention_time_ms >= 0).then_some(request.retention_time_ms);
        let (mut kept, mut answers) = (Vec::new(), Vec::new());
        for topic in &request.topics {
            let mut partition = |wanted: &OffsetCommitRequestPartition| {
                let outcome =
                    allowed.and_then(|()| call.fault.topic(&topic.name)).map_err(Into::into).and_then(|()| {
                        state.check_commit(
                            &topic.name,
                            wanted.partition_index,
                            wanted.committed_metadata.as_ref(),
                        )
                    });
                if outcome.is_ok() {
                    kept.push(Committed {
                        topic: topic.name.to_string(),
                        partition: wanted.partition_index,
                        offset: wanted.committed_offset,
                        leader_epoch: wanted.committed_leader_epoch,
                        metadata: wanted
                            .committed_metadata
                            .as_ref()
                            .map(|text| text.to_string())
                            .unwrap_or_default(),
                        at_ms: now_ms(),
                        keep_ms,
                    });
                }
                OffsetCommitResponsePartition::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code(&outcome))
            };
            let partitions = topic.partitions.iter().map(&mut partition).collect();
            answers.push(
                OffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        if !kept.is_empty() {
            state.groups.entry(group.to_string()).or_default();
        }
        if let Err(refusal) = state.commit_offsets(group, kept) {
            for partition in
                answers.iter_mut().flat_map(|topic| &mut topic.partitions).filter(|p| p.error_code == 0)
            {
                partition.error_code = refusal.error.code();
            }
        }
        OffsetCommitResponse::default().with_topics(answers)
    }

    pub fn offset_fetch(&self, call: &Call, request: OffsetFetchRequest) -> OffsetFetchResponse {
        let state = self.state();
        if call.version >= 8 {
            let groups = request.groups.iter().map(|group| {
                let out = answer::OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
                if let Err(error) = call.fault.whole() {
                    return out.with_error_code(error.code());
                }
                let wanted = group.topics.as_ref().map(|topics| {
                    topics.iter().map(|t| (t.name.clone(), t.partition_indexes.clone())).collect()
                });
                let topics = self
                    .fetch_group(&state, &group.group_id, wanted, request.require_stable)
                    .into_iter()
                    .map(|(name, partitions)| {
                        let partitions = partitions.into_iter().map(|p| {
                            answer::OffsetFetchResponsePartitions::default()
                                .with_partition_index(p.partition_index)
                                .with_committed_offset(p.committed_offset)
                                .with_committed_leader_epoch(p.committed_leader_epoch)
                                .with_metadata(p.metadata)
                                .with_error_code(p.error_code)
                        });
                        answer::OffsetFetchResponseTopics::default()
                            .with_name(name)
                            .with_partitions(partitions.collect())
                    });
                out.with_topics(topics.collect())
            });
            return OffsetFetchResponse::default().with_groups(groups.collect());
        }
        if let Err(error) = call.fault.whole() {
            return OffsetFetchResponse::default().with_error_code(error.code());
        }
        let wanted = request
            .topics
            .as_ref()
            .map(|topics| topics.iter().map(|t| (t.name.clone(), t.partition_indexes.clone())).collect());
        let topics = self.fetch_group(&state, &request.group_id, wanted, request.require_stable);
        let topics = topics.into_iter().map(|(name, partitions)| {
            answer::OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions)
        });
        OffsetFetchResponse::default().with_topics(topics.collect())
    }

    /// A group's offsets for these partitions; None: for all that it has.
    fn fetch_group(
        &self,
        state: &State,
        group: &str,
        wanted: Option<Vec<(TopicName, Vec<i32>)>>,
        require_stable: bool,
    ) -> Vec<(TopicName, Vec<answer::OffsetFetchResponsePartition>)> {
        let known = state.offsets.of(group);
        let wanted = wanted.unwrap_or_else(|| {
            let mut all: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for (topic, partition) in known.iter().flat_map(|known| known.keys()) {
                all.entry(topic).or_default().push(*partition);
            }
            all.into_iter().map(|(topic, partitions)| (crate::wire::topic(topic), partitions)).collect()
        });
        let one = |topic: &str, partition: i32| {
            let out = answer::OffsetFetchResponsePartition::default()
                .with_partition_index(partition)
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(StrBytes::default()));
            if require_stable && state.is_unstable(group, topic, partition) {
                return out.with_error_code(ResponseError::UnstableOffsetCommit.code());
            }
            match known.and_then(|known| known.get(&(topic.to_string(), partition))) {
                None => out,
                Some(committed) => out
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(crate::wire::text(&committed.metadata))),
            }
        };
        let topic = |(name, partitions): (TopicName, Vec<i32>)| {
            let partitions = partitions.into_iter().map(|partition| one(&name, partition)).collect();
            (name, partitions)
        };
        wanted.into_iter().map(topic).collect()
    }

    pub fn offset_delete(&self, call: &Call, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
        let mut state = self.state();
        let group = request.group_id.as_str();
        let known = state.groups.contains_key(group) || state.offsets.of(group).is_some();
        if let Err(error) =
            call.fault.whole().and(if known { Ok(()) } else { Err(ResponseError::GroupIdNotFound) })
        {
            return OffsetDeleteResponse::default().with_error_code(error.code());
        }
        let mut gone = Vec::new();
        let mut answers = Vec::new();
        for topic in &request.topics {
            // the offsets of a topic that members read are theirs
            let in_use = state.groups.get(group).is_some_and(|group| group.subscribes(&topic.name));
            let partitions = topic.partitions.iter().map(|wanted| {
                let partition = wanted.partition_index;
                let outcome: Answer<()> = if in_use {
                    Err(ResponseError::GroupSubscribedToTopic.into())
                } else if state.log(&topic.name, partition).is_none() {
                    Err(ResponseError::UnknownTopicOrPartition.into())
                } else {
                    gone.push((topic.name.to_string(), partition));
                    Ok(())
                };
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(partition)
                    .with_error_code(code(&outcome))
            });
            let partitions = partitions.collect();
            answers.push(
                OffsetDeleteResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        let recorded =
            state.record(&Change::OffsetsDeleted { group: group.to_string(), partitions: gone.clone() });
        if recorded.is_ok() {
            state.offsets.remove(group, &gone);
        }
        OffsetDeleteResponse::default().with_error_code(code(&recorded)).with_topics(answers)
    }
}
