//! Questions about a partition's offsets: ListOffsets, OffsetForLeaderEpoch, DescribeProducers, DeleteRecords.
use crate::dispatch::Call;
use crate::error::{Answer, code};
use crate::log::Log;
use crate::server::Shared;
use crate::state::{Change, State};
use crate::wire::LEADER_EPOCH;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::*;
use std::collections::HashSet;

/// What may stand in place of a timestamp.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const READ_COMMITTED: i8 = 1;
/// In DeleteRecords: up to the end.
const TO_THE_END: i64 = -1;
/// In an answer: no such offset, no such time.
const NOTHING: (i64, i64) = (-1, -1);

fn check_leader_epoch(epoch: i32) -> Answer<()> {
    if epoch > LEADER_EPOCH { Err(ResponseError::UnknownLeaderEpoch.into()) } else { Ok(()) }
}

/// Offset and timestamp for what was asked.
fn look_up(log: &Log, wanted: &ListOffsetsPartition, isolation_level: i8) -> Answer<(i64, i64)> {
    check_leader_epoch(wanted.current_leader_epoch)?;
    Ok(match wanted.timestamp {
        LATEST => (log.limit(isolation_level == READ_COMMITTED), -1),
        EARLIEST | EARLIEST_LOCAL => (log.start, -1),
        LATEST_TIERED => NOTHING, // nothing is stored elsewhere
        MAX_TIMESTAMP => log.offset_of_latest_time()?.unwrap_or(NOTHING),
        timestamp if timestamp >= 0 => log.offset_for_time(timestamp)?.unwrap_or(NOTHING),
        _ => return Err(ResponseError::UnsupportedVersion.into()),
    })
}

impl Shared {
    pub async fn list_offsets(&self, call: &Call, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
        for topic in &request.topics {
            for wanted in &topic.partitions {
                let partition = (topic.name.as_str(), wanted.partition_index);
                if !seen.insert(partition) {
                    twice.insert(partition);
                }
            }
        }
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let found = if twice.contains(&(topic.name.as_str(), wanted.partition_index)) {
                    Err(ResponseError::InvalidRequest.into())
                } else {
                    self.list_offset(call, &topic.name, wanted, request.isolation_level)
                };
                if wanted.timestamp >= 0 || wanted.timestamp == MAX_TIMESTAMP {
                    tokio::task::yield_now().await; // a batch was unpacked; now it is the others' turn
                }
                let out = ListOffsetsPartitionResponse::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code(&found));
                let (offset, timestamp) = found.unwrap_or(NOTHING);
                // the codec refuses an epoch in a version that has no place for it
                let epoch = if call.version >= 4 && offset >= 0 { LEADER_EPOCH } else { -1 };
                partitions.push(out.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch));
            }
            let out = ListOffsetsTopicResponse::default().with_name(topic.name.clone());
            topics.push(out.with_partitions(partitions));
        }
        ListOffsetsResponse::default().with_topics(topics)
    }

    fn list_offset(
        &self,
        call: &Call,
        topic: &str,
        wanted: &ListOffsetsPartition,
        isolation_level: i8,
    ) -> Answer<(i64, i64)> {
        call.fault.topic(topic)?;
        let state = self.state();
        let log = state.log(topic, wanted.partition_index).ok_or(ResponseError::UnknownTopicOrPartition)?;
        look_up(log, wanted, isolation_level)
    }

    pub fn offset_for_leader_epoch(
        &self,
        call: &Call,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let state = self.state();
        let one = |topic: &str, wanted: &OffsetForLeaderPartition| {
            let found = call.fault.topic(topic).map_err(Into::into).and_then(|()| {
                let log = state.log(topic, wanted.partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
                check_leader_epoch(wanted.current_leader_epoch)?;
                // every record is of the one epoch there ever was
                Ok(if wanted.leader_epoch == LEADER_EPOCH { (LEADER_EPOCH, log.end) } else { (-1, -1) })
            });
            let out =
                EpochEndOffset::default().with_partition(wanted.partition).with_error_code(code(&found));
            let (epoch, offset) = found.unwrap_or((-1, -1));
            out.with_leader_epoch(epoch).with_end_offset(offset)
        };
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| one(&topic.topic, wanted)).collect();
            OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions)
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }

    pub fn delete_records(&self, call: &Call, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
        let mut state = self.state();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let outcome =
                    call.fault.topic(&topic.name).map_err(Into::into).and_then(|()| {
                        state.delete_records(&topic.name, wanted.partition_index, wanted.offset)
                    });
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code(&outcome))
                    .with_low_watermark(outcome.unwrap_or(-1))
            });
            DeleteRecordsTopicResult::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        DeleteRecordsResponse::default().with_topics(topics.collect())
    }

    pub fn describe_producers(
        &self,
        _call: &Call,
        request: DescribeProducersRequest,
    ) -> DescribeProducersResponse {
        let state = self.state();
        let one = |topic: &str, partition: i32| {
            let out = PartitionResponse::default().with_partition_index(partition);
            let Some(log) = state.log(topic, partition) else {
                return out.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            };
            let producers = log.producers.all().map(|(id, producer)| {
                ProducerState::default()
                    .with_producer_id(ProducerId(id))
                    .with_producer_epoch(i32::from(producer.epoch))
                    .with_last_sequence(producer.last_sequence())
                    .with_last_timestamp(producer.last_timestamp)
                    .with_coordinator_epoch(0)
                    .with_current_txn_start_offset(log.producers.open_since(id).unwrap_or(-1))
            });
            out.with_active_producers(producers.collect())
        };
        let topics = request.topics.iter().map(|topic| {
            let partitions =
                topic.partition_indexes.iter().map(|partition| one(&topic.name, *partition)).collect();
            TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
        });
        DescribeProducersResponse::default().with_topics(topics.collect())
    }
}

impl State {
    /// Deletes what lies before an offset; gives back the first that is left.
    fn delete_records(&mut self, topic: &str, partition: i32, before: i64) -> Answer<i64> {
        let deletes = self.topics.get(topic).is_none_or(|topic| topic.settings.delete);
        let log = self.log(topic, partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if !deletes {
            return Err(ResponseError::PolicyViolation.into()); // the topic is compacted only
        }
        let before = if before == TO_THE_END { log.end } else { before };
        if before < 0 || before > log.end {
            return Err(ResponseError::OffsetOutOfRange.into());
        }
        let start = before.max(log.start);
        self.record(&Change::LogStart { topic: topic.to_string(), partition, offset: start })?;
        if let Some((log, _)) = self.log_mut(topic, partition) {
            log.truncate_before(start);
        }
        Ok(start)
    }
}
