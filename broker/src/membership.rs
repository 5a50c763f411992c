//! The APIs of consumer groups: their members come and go, tools look at them.
use crate::cluster::GROUP_OPERATIONS;
use crate::dispatch::Call;
use crate::error::{Answer, code};
use crate::group::{Group, Join, Joined, NotJoined, Phase};
use crate::server::Shared;
use crate::state::{Change, State};
use crate::wire::text;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// From this version on a new member is sent back for its id first.
const ID_REQUIRED: i16 = 4;
const KNOWS_SKIP: i16 = 9;
/// From this version on several members may leave at once.
const LEAVES_IN_BATCHES: i16 = 3;
/// The only kind of group there is here.
const CLASSIC: &str = "classic";

fn milliseconds(ms: i32) -> Duration {
    Duration::from_millis(ms.max(0) as u64)
}

impl Shared {
    pub async fn join_group(&self, call: &Call, request: JoinGroupRequest) -> JoinGroupResponse {
        let outcome = match self.check_join(call, &request) {
            Err(error) => Err(NotJoined { error, member_id: request.member_id.to_string() }),
            Ok(()) => {
                let (answer, answered) = oneshot::channel();
                let group = request.group_id.to_string();
                let join = self.as_join(call, request);
                self.state().groups.entry(group).or_default().join(join, answer, Instant::now());
                let gone = NotJoined { error: ResponseError::UnknownMemberId, member_id: String::new() };
                answered.await.unwrap_or(Err(gone))
            }
        };
        match outcome {
            Err(not) => {
                let name = (call.version < 7).then(StrBytes::default); // nullable from 7 on
                JoinGroupResponse::default()
                    .with_error_code(not.error.code())
                    .with_generation_id(-1)
                    .with_protocol_name(name)
                    .with_member_id(text(&not.member_id))
            }
            Ok(joined) => joined_response(call.version, joined),
        }
    }

    fn check_join(&self, call: &Call, request: &JoinGroupRequest) -> Result<(), ResponseError> {
        call.fault.whole()?;
        if request.group_id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let session = milliseconds(request.session_timeout_ms);
        if session < self.config.limits.session_min || session > self.config.limits.session_max {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        Ok(())
    }

    fn as_join(&self, call: &Call, request: JoinGroupRequest) -> Join {
        let session = milliseconds(request.session_timeout_ms);
        Join {
            member_id: request.member_id.to_string(),
            instance: request.group_instance_id.map(|instance| instance.to_string()),
            client_id: call.client_id.clone(),
            client_host: format!("/{}", call.peer.ip()),
            session,
            // version 0 had one time for both
            rebalance: if request.rebalance_timeout_ms > 0 {
                milliseconds(request.rebalance_timeout_ms)
            } else {
                session
            },
            protocol_type: request.protocol_type.to_string(),
            protocols: request.protocols.into_iter().map(|p| (p.name.to_string(), p.metadata)).collect(),
            id_required: call.version >= ID_REQUIRED,
            knows_skip: call.version >= KNOWS_SKIP,
            first_delay: self.config.first_join_delay,
        }
    }

    pub async fn sync_group(&self, call: &Call, request: SyncGroupRequest) -> SyncGroupResponse {
        let (answer, answered) = oneshot::channel();
        if let Err(error) = call.fault.whole() {
            return SyncGroupResponse::default().with_error_code(error.code());
        }
        match self.state().groups.get_mut(request.group_id.as_str()) {
            None => drop(answer.send(Err(ResponseError::UnknownMemberId))),
            Some(group) => {
                // version 5 says what it believes the group agreed on
                let differs =
                    |said: &Option<StrBytes>, is: &str| said.as_ref().is_some_and(|said| said.as_str() != is);
                if differs(&request.protocol_type, &group.protocol_type)
                    || differs(&request.protocol_name, &group.protocol)
                {
                    drop(answer.send(Err(ResponseError::InconsistentGroupProtocol)));
                } else {
                    let assignments = request
                        .assignments
                        .into_iter()
                        .map(|a| (a.member_id.to_string(), a.assignment))
                        .collect();
                    let instance = request.group_instance_id.as_deref();
                    group.sync(
                        &request.member_id,
                        instance,
                        request.generation_id,
                        assignments,
                        answer,
                        Instant::now(),
                    );
                }
            }
        }
        match answered.await.unwrap_or(Err(ResponseError::UnknownMemberId)) {
            Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
            Ok(synced) => SyncGroupResponse::default()
                .with_protocol_type(Some(text(&synced.protocol_type)))
                .with_protocol_name(Some(text(&synced.protocol)))
                .with_assignment(synced.assignment),
        }
    }

    pub fn heartbeat(&self, call: &Call, request: HeartbeatRequest) -> HeartbeatResponse {
        let outcome =
            call.fault.whole().and_then(|()| match self.state().groups.get_mut(request.group_id.as_str()) {
                None => Err(ResponseError::UnknownMemberId),
                Some(group) => {
                    let instance = request.group_instance_id.as_deref();
                    group.heartbeat(&request.member_id, instance, request.generation_id, Instant::now())
                }
            });
        HeartbeatResponse::default().with_error_code(outcome.map_or_else(|error| error.code(), |()| 0))
    }

    pub fn leave_group(&self, call: &Call, request: LeaveGroupRequest) -> LeaveGroupResponse {
        if let Err(error) = call.fault.whole() {
            return LeaveGroupResponse::default().with_error_code(error.code());
        }
        let mut state = self.state();
        let mut leave =
            |id: &str, instance: Option<&str>| match state.groups.get_mut(request.group_id.as_str()) {
                None => ResponseError::UnknownMemberId.code(),
                Some(group) => {
                    group.leave(id, instance, Instant::now()).map_or_else(|error| error.code(), |()| 0)
                }
            };
        if call.version < LEAVES_IN_BATCHES {
            return LeaveGroupResponse::default().with_error_code(leave(&request.member_id, None));
        }
        let members = request.members.iter().map(|member| {
            MemberResponse::default()
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
                .with_error_code(leave(&member.member_id, member.group_instance_id.as_deref()))
        });
        LeaveGroupResponse::default().with_members(members.collect())
    }

    pub fn list_groups(&self, call: &Call, request: ListGroupsRequest) -> ListGroupsResponse {
        if let Err(error) = call.fault.whole() {
            return ListGroupsResponse::default().with_error_code(error.code());
        }
        let state = self.state();
        let wanted = |filter: &[StrBytes], is: &str| {
            filter.is_empty() || filter.iter().any(|name| name.eq_ignore_ascii_case(is))
        };
        let mut listed = Vec::new();
        for name in state.group_names() {
            let group = state.groups.get(&name);
            let phase = group.map_or(Phase::Empty, |group| group.phase);
            if wanted(&request.states_filter, phase.name()) && wanted(&request.types_filter, CLASSIC) {
                let kind = group.map(|group| group.protocol_type.as_str()).unwrap_or_default();
                listed.push(
                    ListedGroup::default()
                        .with_group_id(GroupId(text(&name)))
                        .with_protocol_type(text(kind))
                        .with_group_state(text(phase.name()))
                        .with_group_type(text(CLASSIC)),
                );
            }
        }
        ListGroupsResponse::default().with_groups(listed)
    }

    pub fn describe_groups(&self, call: &Call, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
        let state = self.state();
        let operations = if request.include_authorized_operations { GROUP_OPERATIONS } else { i32::MIN };
        let describe = |id: &GroupId| {
            let out =
                DescribedGroup::default().with_group_id(id.clone()).with_authorized_operations(operations);
            if let Err(error) = call.fault.whole() {
                return out.with_error_code(error.code());
            }
            match state.groups.get(id.as_str()) {
                Some(group) if !group.is_forgettable() || state.offsets.of(id).is_some() => {
                    described(out, group)
                }
                None if state.offsets.of(id).is_some() => out.with_group_state(text(Phase::Empty.name())),
                _ if call.version >= 6 => out
                    .with_group_state(text("Dead"))
                    .with_error_code(ResponseError::GroupIdNotFound.code())
                    .with_error_message(Some(text(&format!("Group {} not found.", id.as_str())))),
                _ => out.with_group_state(text("Dead")),
            }
        };
        DescribeGroupsResponse::default().with_groups(request.groups.iter().map(describe).collect())
    }

    pub fn delete_groups(&self, call: &Call, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
        let mut state = self.state();
        let results = request.groups_names.iter().map(|id| {
            let outcome = call.fault.whole().map_err(Into::into).and_then(|()| state.delete_group(id));
            DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(code(&outcome))
        });
        DeleteGroupsResponse::default().with_results(results.collect())
    }
}

impl State {
    /// Groups with members or offsets.
    pub fn group_names(&self) -> BTreeSet<String> {
        let alive = self.groups.iter().filter(|(_, group)| !group.is_forgettable()).map(|(name, _)| name);
        alive.chain(self.offsets.groups().map(|(name, _)| name)).cloned().collect()
    }

    fn delete_group(&mut self, name: &str) -> Answer<()> {
        if name.is_empty() {
            return Err(ResponseError::InvalidGroupId.into());
        }
        match self.groups.get(name) {
            Some(group) if group.phase != Phase::Empty => return Err(ResponseError::NonEmptyGroup.into()),
            _ if !self.group_names().contains(name) => return Err(ResponseError::GroupIdNotFound.into()),
            _ => {}
        }
        self.record(&Change::GroupDeleted { group: name.to_string() })?;
        self.groups.remove(name);
        self.offsets.forget_group(name);
        Ok(())
    }
}

fn joined_response(version: i16, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(text(&id)).with_metadata(metadata);
        member.with_group_instance_id(instance.filter(|_| version >= 5).map(|instance| text(&instance)))
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(&joined.protocol_type)))
        .with_protocol_name(Some(text(&joined.protocol)))
        .with_leader(text(&joined.leader))
        .with_member_id(text(&joined.member_id))
        .with_skip_assignment(joined.skip_assignment)
        .with_members(members.collect())
}

fn described(out: DescribedGroup, group: &Group) -> DescribedGroup {
    let settled = group.phase == Phase::Stable;
    let members = group.members.iter().map(|(id, member)| {
        let metadata = member
            .protocols
            .iter()
            .find(|(name, _)| *name == group.protocol)
            .map(|(_, metadata)| metadata.clone());
        DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(member.instance.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(metadata.filter(|_| settled).unwrap_or_default())
            .with_member_assignment(if settled { member.assignment.clone() } else { Default::default() })
    });
    out.with_group_state(text(group.phase.name()))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(text(if settled { &group.protocol } else { "" }))
        .with_members(members.collect())
}
