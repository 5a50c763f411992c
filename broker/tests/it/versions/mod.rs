//! Every API in every version that is advertised: a valid request, and what its answer has to mean.
//!
//! The list comes from the broker, so an API that is advertised but has no check here fails the test.

mod groups;
mod others;
mod records;

use crate::client::Client;
use crate::kit::*;
use drover_broker::{ApiKey, ResponseError};
use groups::{groups, offsets};
use kafka_protocol::messages::*;
use others::{administration, transactions};
use records::{cluster, records};
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
