//! Which APIs there are, in which versions, and who answers them.
use crate::faults::Met;
use crate::server::Shared;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable};
use std::net::SocketAddr;

/// One API and the versions of it that we speak.
pub(crate) struct Api {
    pub key: ApiKey,
    pub first: i16,
    pub last: i16,
}

const fn api(key: ApiKey, first: i16, last: i16) -> Api {
    Api { key, first, last }
}

/// What is advertised, and nothing else is answered. Where we stop before the newest version, the reason is given.
pub(crate) const APIS: &[Api] = &[
    // 12 takes the second transaction protocol (KIP-890), which asks for a coordinator that adds partitions itself
    api(ApiKey::Produce, 3, 11),
    api(ApiKey::Fetch, 4, 17),
    api(ApiKey::ListOffsets, 1, 10),
    api(ApiKey::Metadata, 0, 13),
    api(ApiKey::OffsetCommit, 2, 9),
    api(ApiKey::OffsetFetch, 1, 9),
    // 6 is for share groups
    api(ApiKey::FindCoordinator, 0, 5),
    api(ApiKey::JoinGroup, 0, 9),
    api(ApiKey::Heartbeat, 0, 4),
    api(ApiKey::LeaveGroup, 0, 5),
    api(ApiKey::SyncGroup, 0, 5),
    api(ApiKey::DescribeGroups, 0, 6),
    api(ApiKey::ListGroups, 0, 5),
    api(ApiKey::ApiVersions, 0, 4),
    api(ApiKey::CreateTopics, 2, 7),
    api(ApiKey::DeleteTopics, 1, 6),
    api(ApiKey::DeleteRecords, 0, 2),
    api(ApiKey::InitProducerId, 0, 5),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4),
    // 4 is for other brokers
    api(ApiKey::AddPartitionsToTxn, 0, 3),
    api(ApiKey::AddOffsetsToTxn, 0, 4),
    // 5 of these two is the second transaction protocol
    api(ApiKey::EndTxn, 0, 4),
    api(ApiKey::TxnOffsetCommit, 0, 4),
    api(ApiKey::DescribeAcls, 1, 3),
    api(ApiKey::CreateAcls, 1, 3),
    api(ApiKey::DeleteAcls, 1, 3),
    api(ApiKey::DescribeConfigs, 1, 4),
    api(ApiKey::AlterConfigs, 0, 2),
    api(ApiKey::DescribeLogDirs, 1, 4),
    api(ApiKey::CreatePartitions, 0, 3),
    api(ApiKey::DeleteGroups, 0, 2),
    api(ApiKey::ElectLeaders, 0, 2),
    api(ApiKey::IncrementalAlterConfigs, 0, 1),
    api(ApiKey::ListPartitionReassignments, 0, 0),
    api(ApiKey::OffsetDelete, 0, 0),
    api(ApiKey::DescribeClientQuotas, 0, 1),
    api(ApiKey::DescribeCluster, 0, 2),
    api(ApiKey::DescribeProducers, 0, 0),
    api(ApiKey::DescribeTransactions, 0, 0),
    api(ApiKey::ListTransactions, 0, 2),
    api(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// The API, if this version of it is advertised.
pub(crate) fn offered(key: i16, version: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key as i16 == key && (api.first..=api.last).contains(&version))
}

/// One request's circumstances.
pub(crate) struct Call {
    pub api: ApiKey,
    pub version: i16,
    pub client_id: String,
    pub peer: SocketAddr,
    pub fault: Met,
}

/// What becomes of a request that was understood.
pub(crate) enum Outcome {
    Answered,
    /// A produce request that wants no answer.
    Silent,
    /// The same, but it failed: closing the connection is the only way to say so.
    Hangup,
}

/// The bytes are not what their header says, or our answer cannot be said in this version.
pub(crate) type Unspeakable = String;

fn unspeakable(what: &str) -> impl FnOnce(anyhow_free::Any) -> Unspeakable + '_ {
    move |failure| format!("{what}: {failure}")
}

/// The codec's error type is `anyhow::Error`; naming it here would be a dependency for one word.
mod anyhow_free {
    pub(super) type Any = Box<dyn std::error::Error + Send + Sync>;
}

fn decode<T: Decodable>(mut body: Bytes, version: i16) -> Result<T, Unspeakable> {
    // Bytes behind the fields are passed over, as Apache Kafka does: librdkafka 2.12 sends some with Metadata.
    T::decode(&mut body, version).map_err(|failure| unspeakable("request")(failure.into()))
}

fn encode<T: Encodable>(answer: T, version: i16, out: &mut BytesMut) -> Result<Outcome, Unspeakable> {
    answer.encode(out, version).map_err(|failure| unspeakable("answer")(failure.into()))?;
    Ok(Outcome::Answered)
}

impl Shared {
    /// Carries a request out and writes the answer's body.
    pub async fn dispatch(
        &self,
        call: &Call,
        body: Bytes,
        out: &mut BytesMut,
    ) -> Result<Outcome, Unspeakable> {
        let version = call.version;
        macro_rules! answer {
            ($handler:ident) => {
                encode(self.$handler(call, decode(body, version)?), version, out)
            };
        }
        match call.api {
            ApiKey::Produce => {
                let request: ProduceRequest = decode(body, version)?;
                let silent = request.acks == 0;
                let response = self.produce(call, request).await;
                if !silent {
                    return encode(response, version, out);
                }
                let failed = response
                    .responses
                    .iter()
                    .flat_map(|topic| &topic.partition_responses)
                    .any(|p| p.error_code != 0);
                Ok(if failed { Outcome::Hangup } else { Outcome::Silent })
            }
            ApiKey::Fetch => encode(self.fetch(call, decode(body, version)?).await, version, out),
            ApiKey::JoinGroup => encode(self.join_group(call, decode(body, version)?).await, version, out),
            ApiKey::SyncGroup => encode(self.sync_group(call, decode(body, version)?).await, version, out),
            ApiKey::ApiVersions => answer!(api_versions),
            ApiKey::Metadata => answer!(metadata),
            ApiKey::ListOffsets => {
                encode(self.list_offsets(call, decode(body, version)?).await, version, out)
            }
            ApiKey::OffsetForLeaderEpoch => answer!(offset_for_leader_epoch),
            ApiKey::FindCoordinator => answer!(find_coordinator),
            ApiKey::OffsetCommit => answer!(offset_commit),
            ApiKey::OffsetFetch => answer!(offset_fetch),
            ApiKey::OffsetDelete => answer!(offset_delete),
            ApiKey::Heartbeat => answer!(heartbeat),
            ApiKey::LeaveGroup => answer!(leave_group),
            ApiKey::DescribeGroups => answer!(describe_groups),
            ApiKey::ListGroups => answer!(list_groups),
            ApiKey::DeleteGroups => answer!(delete_groups),
            ApiKey::InitProducerId => answer!(init_producer_id),
            ApiKey::AddPartitionsToTxn => answer!(add_partitions_to_txn),
            ApiKey::AddOffsetsToTxn => answer!(add_offsets_to_txn),
            ApiKey::TxnOffsetCommit => answer!(txn_offset_commit),
            ApiKey::EndTxn => answer!(end_txn),
            ApiKey::DescribeProducers => answer!(describe_producers),
            ApiKey::DescribeTransactions => answer!(describe_transactions),
            ApiKey::ListTransactions => answer!(list_transactions),
            ApiKey::CreateTopics => answer!(create_topics),
            ApiKey::DeleteTopics => answer!(delete_topics),
            ApiKey::CreatePartitions => answer!(create_partitions),
            ApiKey::DeleteRecords => answer!(delete_records),
            ApiKey::ElectLeaders => answer!(elect_leaders),
            ApiKey::ListPartitionReassignments => answer!(list_partition_reassignments),
            ApiKey::DescribeConfigs => answer!(describe_configs),
            ApiKey::AlterConfigs => answer!(alter_configs),
            ApiKey::IncrementalAlterConfigs => answer!(incremental_alter_configs),
            ApiKey::DescribeCluster => answer!(describe_cluster),
            ApiKey::DescribeLogDirs => answer!(describe_log_dirs),
            ApiKey::DescribeTopicPartitions => answer!(describe_topic_partitions),
            ApiKey::DescribeAcls => answer!(describe_acls),
            ApiKey::CreateAcls => answer!(create_acls),
            ApiKey::DeleteAcls => answer!(delete_acls),
            ApiKey::DescribeClientQuotas => answer!(describe_client_quotas),
            other => Err(format!("{other:?} is not offered")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_what_is_offered() {
        let readme = include_str!("../README.md");
        for api in APIS {
            let row = format!("| {:?} | {} to {} |", api.key, api.first, api.last);
            assert!(readme.contains(&row), "README.md lacks: {row}");
        }
    }
}
