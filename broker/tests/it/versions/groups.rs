//! The APIs of groups and of their offsets.
use super::{World, is};
use crate::client::Client;
use crate::kit::*;
use drover_broker::{ApiKey, ResponseError};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

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
pub fn committed(client: &mut Client, version: i16, group: &str) -> (i64, StrBytes) {
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

pub fn offsets(world: &mut World, api: ApiKey, version: i16, unique: &str) {
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

pub fn groups(world: &mut World, api: ApiKey, version: i16, unique: &str) {
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
