//! Fetch: whole batches from an offset on, waited for if there are not enough.
//!
//! There are no fetch sessions: every request names all its partitions, which the protocol allows a broker to ask for.
use crate::dispatch::Call;
use crate::error::{Answer, code};
use crate::server::Shared;
use crate::state::State;
use crate::wire::LEADER_EPOCH;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

const READ_COMMITTED: i8 = 1;
/// The epochs of a request that names all it wants: it would begin a session, or end one. Whatever its session's id is:
/// kafka-go sends -1.
const NO_SESSION: [i32; 2] = [0, -1];
/// From here on topics are named by their ids.
const BY_ID: i16 = 13;
/// No client waits longer; it bounds how long a wait for nothing is kept.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// One answer's records at most, whatever the client asks for (but always one batch).
const ANSWER_MAX: usize = 64 << 20;

impl Shared {
    pub async fn fetch(&self, call: &Call, request: FetchRequest) -> FetchResponse {
        if !NO_SESSION.contains(&request.session_epoch) {
            // we gave out no session, so this goes on with one of a broker before a restart
            return FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code());
        }
        let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64).min(WAIT_MAX);
        let until = Instant::now() + wait;
        let bell = Rc::new(Notify::new());
        loop {
            {
                let mut state = self.state();
                let names = state.names(call.version, &request.topics);
                let late = Instant::now() >= until || self.stopping();
                if late || state.has_enough(&request, &names, call) {
                    return state.fetch(&request, &names, call, self.room());
                }
                for (topic, name) in request.topics.iter().zip(&names) {
                    for partition in &topic.partitions {
                        if let Some((log, _)) = state.log_mut(name, partition.partition) {
                            log.call_me(&bell);
                        }
                    }
                }
            }
            // an elapsed wait is an answer too, with what there is
            drop(timeout_at(until, bell.notified()).await);
        }
    }
}

impl State {
    /// Each topic's name; empty where its id is not known.
    fn names(&self, version: i16, topics: &[FetchTopic]) -> Vec<String> {
        let name = |topic: &FetchTopic| match version {
            BY_ID.. => self.topic_name(topic.topic_id).cloned().unwrap_or_default(),
            _ => topic.topic.to_string(),
        };
        topics.iter().map(name).collect()
    }

    /// Whether the answer is due: enough bytes, or an error.
    fn has_enough(&self, request: &FetchRequest, names: &[String], call: &Call) -> bool {
        let enough = request.min_bytes.max(0) as usize;
        let committed_only = request.isolation_level == READ_COMMITTED;
        let mut have = 0;
        for (topic, name) in request.topics.iter().zip(names) {
            if call.fault.topic(name).is_err() {
                return true;
            }
            for partition in &topic.partitions {
                let Ok(log) = self.readable(name, partition) else { return true };
                let most = partition.partition_max_bytes.max(1) as usize;
                have +=
                    log.available(partition.fetch_offset, log.limit(committed_only), most.min(enough.max(1)));
            }
        }
        have >= enough
    }

    fn readable(&self, topic: &str, wanted: &FetchPartition) -> Answer<&crate::log::Log> {
        let log = self.log(topic, wanted.partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if wanted.current_leader_epoch > LEADER_EPOCH {
            return Err(ResponseError::UnknownLeaderEpoch.into());
        }
        if wanted.fetch_offset < log.start || wanted.fetch_offset > log.end {
            return Err(ResponseError::OffsetOutOfRange.into());
        }
        Ok(log)
    }

    fn fetch(&self, request: &FetchRequest, names: &[String], call: &Call, room: usize) -> FetchResponse {
        let mut left = ANSWER_MAX.min(request.max_bytes.max(0) as usize).min(room);
        let mut responses = Vec::with_capacity(names.len());
        let mut is_empty = true;
        for (topic, name) in request.topics.iter().zip(names) {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let mut out = PartitionData::default()
                    .with_partition_index(wanted.partition)
                    .with_high_watermark(-1)
                    .with_last_stable_offset(-1)
                    .with_log_start_offset(-1)
                    .with_preferred_read_replica(BrokerId(-1))
                    .with_records(Some(Bytes::new()));
                let fault = call.fault.topic(name).map_err(Into::into);
                let outcome = if name.is_empty() {
                    Err(ResponseError::UnknownTopicId.into())
                } else {
                    fault.and_then(|()| {
                        self.fetch_partition(name, wanted, request.isolation_level, left, is_empty, &mut out)
                    })
                };
                out.error_code = code(&outcome);
                let len = out.records.as_ref().map_or(0, Bytes::len);
                is_empty &= len == 0;
                left = left.saturating_sub(len);
                partitions.push(out);
            }
            let mut response = FetchableTopicResponse::default().with_partitions(partitions);
            if call.version >= BY_ID {
                response.topic_id = topic.topic_id; // also in an error: clients look it up
            } else {
                response.topic = topic.topic.clone();
            }
            responses.push(response);
        }
        FetchResponse::default().with_responses(responses)
    }

    /// The first batch of an answer may be larger than asked for, so that a reader gets on.
    fn fetch_partition(
        &self,
        topic: &str,
        wanted: &FetchPartition,
        isolation_level: i8,
        left: usize,
        is_first: bool,
        out: &mut PartitionData,
    ) -> Answer<()> {
        if let Some(log) = self.log(topic, wanted.partition) {
            out.high_watermark = log.end;
            out.last_stable_offset = log.last_stable();
            out.log_start_offset = log.start;
        }
        let log = self.readable(topic, wanted)?;
        let committed_only = isolation_level == READ_COMMITTED;
        let most = left.min(wanted.partition_max_bytes.max(0) as usize);
        let slice = log.read(wanted.fetch_offset, log.limit(committed_only), most, is_first)?;
        if committed_only {
            let aborted = log.producers.aborted_between(wanted.fetch_offset, slice.up_to).map(|aborted| {
                AbortedTransaction::default()
                    .with_producer_id(ProducerId(aborted.producer_id))
                    .with_first_offset(aborted.first_offset)
            });
            out.aborted_transactions = Some(aborted.collect());
        }
        out.records = Some(slice.records);
        Ok(())
    }
}
