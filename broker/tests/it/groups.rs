//! Groups: members come and go, static ones come back, offsets are theirs; and faults, which tests ask for.
use crate::client::Client;
use crate::kit::*;
use drover_broker::{ApiKey, Broker, Config, ResponseError};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

fn request(group: &str, member: &StrBytes, instance: Option<&str>) -> JoinGroupRequest {
    let protocol = |name: &str| {
        join_group_request::JoinGroupRequestProtocol::default()
            .with_name(text(name))
            .with_metadata(b"m"[..].into())
    };
    JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(member.clone())
        .with_group_instance_id(instance.map(text))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("cooperative-sticky"), protocol("range")])
}

/// A member with a connection of its own.
struct Member {
    client: Client,
    group: String,
    instance: Option<String>,
    id: StrBytes,
    generation: i32,
}

impl Member {
    /// With an id, but in no generation yet.
    fn new(broker: &Broker, group: &str) -> Member {
        let mut client = Client::new(broker.addr());
        let response = client.call(7, &request(group, &StrBytes::default(), None));
        assert_eq!(response.error_code, ResponseError::MemberIdRequired.code());
        Member { client, group: group.to_string(), instance: None, id: response.member_id, generation: -1 }
    }
    fn ask_to_join(&mut self) {
        self.client.send(7, &request(&self.group, &self.id, self.instance.as_deref()));
    }
    fn joined(&mut self) -> JoinGroupResponse {
        let response = self.client.receive::<JoinGroupRequest>(7).unwrap();
        assert_eq!(response.error_code, 0);
        (self.id, self.generation) = (response.member_id.clone(), response.generation_id);
        response
    }
    fn sync_request(&self, for_all: &[&StrBytes]) -> SyncGroupRequest {
        let assign = |id: &&StrBytes| {
            let assignment =
                sync_group_request::SyncGroupRequestAssignment::default().with_member_id((*id).clone());
            assignment.with_assignment(id.as_bytes().to_vec().into())
        };
        SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.as_deref().map(text))
            .with_assignments(for_all.iter().map(assign).collect())
    }
    fn heartbeat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.as_deref().map(text));
        self.client.call(4, &request).error_code
    }
    fn commit(&mut self, topic: &str) -> i16 {
        let partition =
            offset_commit_request::OffsetCommitRequestPartition::default().with_committed_offset(1);
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone())
            .with_topics(vec![topic]);
        self.client.call(8, &request).topics[0].partitions[0].error_code
    }
}

/// A group of one that is stable.
fn alone(broker: &Broker, group: &str) -> Member {
    let mut member = Member::new(broker, group);
    member.ask_to_join();
    assert_eq!(member.joined().leader, member.id);
    let synced = member.client.call(5, &member.sync_request(&[&member.id.clone()]));
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, member.id.as_bytes()));
    member
}

#[test]
fn a_second_member_makes_a_new_generation() {
    let (broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    let mut first = alone(&broker, "g");
    let mut second = Member::new(&broker, "g");
    second.ask_to_join();
    eventually("the first hears of it", || {
        (first.heartbeat() == ResponseError::RebalanceInProgress.code()).then_some(())
    });
    first.ask_to_join();
    let (one, two) = (first.joined(), second.joined());
    assert_eq!((one.generation_id, two.generation_id, one.members.len(), two.members.len()), (2, 2, 2, 0));
    assert_eq!(one.protocol_name, Some(text("cooperative-sticky")));
    assert_eq!(first.commit("t"), ResponseError::RebalanceInProgress.code(), "not before the assignment");
    second.client.send(5, &second.sync_request(&[]));
    let all = first.sync_request(&[&first.id.clone(), &second.id.clone()]);
    assert_eq!(&first.client.call(5, &all).assignment[..], first.id.as_bytes());
    assert_eq!(&second.client.receive::<SyncGroupRequest>(5).unwrap().assignment[..], second.id.as_bytes());
    assert_eq!((first.commit("t"), second.commit("t")), (0, 0));
    second.generation = 1;
    assert_eq!(second.commit("t"), ResponseError::IllegalGeneration.code());
    second.id = text("stranger");
    assert_eq!(second.commit("t"), ResponseError::UnknownMemberId.code());
}

#[test]
fn a_silent_member_is_dropped() {
    let (broker, _) = broker();
    let mut first = alone(&broker, "g");
    let mut lost = Client::new(broker.addr());
    let mut short = request("g", &StrBytes::default(), None);
    short.session_timeout_ms = 100;
    short.member_id = lost.call(7, &short).member_id;
    lost.send(7, &short);
    eventually("a rebalance", || (first.heartbeat() != 0).then_some(()));
    first.ask_to_join();
    first.joined();
    drop(lost); // it never syncs, and says nothing more
    let all = first.sync_request(&[&first.id.clone()]);
    assert_eq!(first.client.call(5, &all).error_code, 0);
    eventually("another one", || (first.heartbeat() != 0).then_some(()));
    first.ask_to_join();
    assert_eq!(first.joined().members.len(), 1);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let (broker, _) = broker();
    let join = |client: &mut Client| client.call(9, &request("g", &StrBytes::default(), Some("one")));
    let mut client = Client::new(broker.addr());
    let before = join(&mut client);
    assert_eq!((before.error_code, before.generation_id), (0, 1));
    let mut member = Member {
        client,
        group: "g".into(),
        instance: Some("one".into()),
        id: before.member_id,
        generation: 1,
    };
    let synced = member.client.call(5, &member.sync_request(&[&member.id.clone()]));
    let after = join(&mut Client::new(broker.addr()));
    assert_eq!((after.error_code, after.generation_id, after.skip_assignment), (0, 1, true));
    assert_eq!(member.heartbeat(), ResponseError::FencedInstanceId.code(), "there is one of it");
    member.id = after.member_id;
    assert_eq!(member.heartbeat(), 0);
    let again = member.client.call(5, &member.sync_request(&[]));
    assert_eq!(again.assignment, synced.assignment, "the assignment stands");
}

#[test]
fn offsets_of_an_empty_group_expire() {
    let config = Config { offsets_kept: Duration::from_millis(1), ..quick(None) };
    let broker = Broker::start(config).unwrap();
    let mut client = Client::new(broker.addr());
    create(&mut client, "t", 1, &[]);
    let mut member = alone(&broker, "g");
    assert_eq!(member.commit("t"), 0);
    let leave = leave_group_request::MemberIdentity::default().with_member_id(member.id.clone());
    client.call(4, &LeaveGroupRequest::default().with_group_id(GroupId(text("g"))).with_members(vec![leave]));
    eventually("forgotten", || client.call(4, &ListGroupsRequest::default()).groups.is_empty().then_some(()));
}

#[test]
fn faults_come_as_they_are_asked_for() {
    let (broker, mut client) = broker();
    create(&mut client, "good", 1, &[]);
    create(&mut client, "bad", 1, &[]);
    let faults = broker.faults().clone();
    let moved = ResponseError::NotLeaderOrFollower;
    faults.fail_topic(ApiKey::Produce, "bad", moved, 2);
    for wanted in [moved.code(), moved.code(), 0] {
        assert_eq!(try_produce(&mut client, "good", &Batch::of(&["v"]), None).error_code, 0);
        assert_eq!(try_produce(&mut client, "bad", &Batch::of(&["v"]), None).error_code, wanted);
    }
    faults.fail(ApiKey::FindCoordinator, ResponseError::CoordinatorNotAvailable, 1);
    for wanted in [ResponseError::CoordinatorNotAvailable.code(), 0] {
        assert_eq!(client.call(3, &FindCoordinatorRequest::default().with_key(text("g"))).error_code, wanted);
    }
    faults.drop_connection(ApiKey::Produce, 1);
    assert!(client.try_call(9, &produce_request("good", Batch::of(&["v"]).bytes(), None)).is_none());
    let mut client = Client::new(broker.addr());
    assert_eq!(read_all(&mut client, "good", 0, false).len(), 4, "carried out, but not answered");
    faults.refuse_connections(true);
    assert!(Client::new(broker.addr()).try_call(1, &MetadataRequest::default()).is_none());
    faults.clear();
    assert!(Client::new(broker.addr()).try_call(1, &MetadataRequest::default()).is_some());
}

#[test]
fn a_fetch_waits_for_what_is_produced() {
    let (broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    let partition = fetch_request::FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = fetch_request::FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    let patient = FetchRequest::default()
        .with_max_wait_ms(300_000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    let mut reader = Client::new(broker.addr());
    reader.send(12, &patient);
    produce(&mut client, "t", &Batch::of(&["v"]));
    let answer = reader.receive::<FetchRequest>(12).unwrap();
    assert!(!answer.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
    // and a topic that goes ends the wait
    let mut patient = patient;
    patient.topics[0].partitions[0].fetch_offset = 1;
    reader.send(12, &patient);
    client.call(5, &DeleteTopicsRequest::default().with_topic_names(vec![name("t")]));
    let answer = reader.receive::<FetchRequest>(12).unwrap();
    assert_eq!(answer.responses[0].partitions[0].error_code, ResponseError::UnknownTopicOrPartition.code());
}
