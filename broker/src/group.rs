//! One consumer group of the classic protocol, as a state machine: members join, the leader assigns, all sync.
//!
//! ```text
//!  Empty -> PreparingRebalance -> CompletingRebalance -> Stable
//!              ^   joins are gathered   the leader's      |
//!              |                        assignment is due |
//!              +------- a member comes, goes or changes --+
//! ```
//!
//! It reads no clock (`now` is an argument) and does no IO; answers that have to wait go out by channels.
use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Phase {
    #[default]
    Empty,
    Preparing,
    Completing,
    Stable,
}

impl Phase {
    /// As Kafka spells it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::Preparing => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }
}

pub(crate) type Protocols = Vec<(String, Bytes)>;

/// What a member is told when its generation begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub member_id: String,
    /// A static leader came back: the old assignment stands.
    pub skip_assignment: bool,
    /// For the leader: id, instance, metadata.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

/// Why a member may not join; MEMBER_ID_REQUIRED brings the id to come back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotJoined {
    pub error: ResponseError,
    pub member_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    pub protocol_type: String,
    pub protocol: String,
    pub assignment: Bytes,
}

pub(crate) type JoinAnswer = oneshot::Sender<Result<Joined, NotJoined>>;
pub(crate) type SyncAnswer = oneshot::Sender<Result<Synced, ResponseError>>;

/// A request to join.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub member_id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session: Duration,
    pub rebalance: Duration,
    pub protocol_type: String,
    pub protocols: Protocols,
    /// From version 4 on a new member is sent back for its id first, so that lost answers leave no ghosts.
    pub id_required: bool,
    /// From version 9 on a static leader that comes back can be told to keep the assignment.
    pub knows_skip: bool,
    /// How long the first member of an empty group waits for others.
    pub first_delay: Duration,
}

pub(crate) struct Member {
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub protocols: Protocols,
    pub assignment: Bytes,
    pub(crate) session: Duration,
    pub(crate) rebalance: Duration,
    pub(crate) seen: Instant,
    pub(crate) join: Option<JoinAnswer>,
    pub(crate) sync: Option<SyncAnswer>,
}

impl Member {
    fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }
    fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
    /// Whether somebody waits for our answer to its join (and has not hung up).
    fn waits(&self) -> bool {
        self.join.as_ref().is_some_and(|answer| !answer.is_closed())
    }
}

#[derive(Default)]
pub(crate) struct Group {
    pub phase: Phase,
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub members: BTreeMap<String, Member>,
    /// Instance to member.
    pub(crate) statics: HashMap<String, String>,
    /// Ids given out that have not come back, and until when they may.
    pub(crate) pending: HashMap<String, Instant>,
    /// The end of the wait for joins (Preparing) or for syncs (Completing).
    deadline: Option<Instant>,
    /// Not before: the first member waits for others.
    pub(crate) not_before: Option<Instant>,
}

impl Group {
    pub(crate) fn current(&self, id: &str) -> Joined {
        let metadata = |(id, member): (&String, &Member)| {
            (id.clone(), member.instance.clone(), member.metadata(&self.protocol))
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: id.to_string(),
            skip_assignment: false,
            members: if id == self.leader { self.members.iter().map(metadata).collect() } else { Vec::new() },
        }
    }

    /// Whether all the others know one of these protocols.
    pub(crate) fn suits(&self, protocols: &Protocols, id: &str) -> bool {
        let others = || self.members.iter().filter(|(other, _)| *other != id);
        protocols.iter().any(|(name, _)| others().all(|(_, member)| member.supports(name)))
    }

    /// Begins to gather joins.
    pub(crate) fn prepare(&mut self, now: Instant) {
        if self.phase == Phase::Preparing {
            return;
        }
        for member in self.members.values_mut() {
            if let Some(answer) = member.sync.take() {
                drop(answer.send(Err(ResponseError::RebalanceInProgress)));
            }
        }
        self.phase = Phase::Preparing;
        self.deadline = Some(now + self.longest_rebalance());
    }

    fn longest_rebalance(&self) -> Duration {
        self.members.values().map(|member| member.rebalance).max().unwrap_or_default()
    }

    /// Begins the next generation, when all have joined or the time is up.
    pub(crate) fn complete_if_due(&mut self, now: Instant) {
        if self.phase != Phase::Preparing || self.not_before.is_some_and(|until| until > now) {
            return;
        }
        let late = self.deadline.is_none_or(|deadline| now >= deadline);
        let all_here = self.pending.is_empty() && self.members.values().all(|member| member.join.is_some());
        if !late && !all_here {
            return;
        }
        // static members keep their place until their session ends
        let gone = |member: &Member| !member.waits() && member.instance.is_none();
        let gone: Vec<String> =
            self.members.iter().filter(|(_, m)| gone(m)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.remove(&id);
        }
        self.not_before = None;
        self.deadline = None;
        self.generation += 1;
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.protocol.clear();
            self.leader.clear();
            return;
        }
        self.begin_generation(now);
    }

    fn begin_generation(&mut self, now: Instant) {
        if self.members.get(&self.leader).is_none_or(|leader| leader.join.is_none()) {
            let first = self.members.iter().find(|(_, member)| member.join.is_some());
            self.leader = first.or(self.members.iter().next()).map(|(id, _)| id.clone()).unwrap_or_default();
        }
        self.protocol = self.elect_protocol();
        self.phase = Phase::Completing;
        self.deadline = Some(now + self.longest_rebalance());
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.current(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = Bytes::new();
            if let Some(answer) = member.join.take() {
                member.seen = now;
                drop(answer.send(Ok(joined)));
            }
        }
    }

    /// Of the protocols that all know, the one that most members like best; the first name of equals.
    fn elect_protocol(&self) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let favourite = member
                .protocols
                .iter()
                .find(|(name, _)| self.members.values().all(|other| other.supports(name)));
            if let Some((name, _)) = favourite {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().max().copied().unwrap_or_default();
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.to_string())
            .unwrap_or_default()
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some(member) = self.members.remove(id) else { return false };
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        let error = ResponseError::UnknownMemberId;
        if let Some(answer) = member.join {
            drop(answer.send(Err(NotJoined { error, member_id: id.to_string() })));
        }
        if let Some(answer) = member.sync {
            drop(answer.send(Err(error)));
        }
        true
    }

    /// Whether this is a member of this generation.
    fn check(&self, id: &str, instance: Option<&str>, generation: i32) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(known) if known != id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if !self.members.contains_key(id) {
            return Err(ResponseError::UnknownMemberId);
        }
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(())
    }

    fn touch(&mut self, id: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(id) {
            member.seen = now;
        }
    }

    pub fn sync(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        assignments: Vec<(String, Bytes)>,
        answer: SyncAnswer,
        now: Instant,
    ) {
        let refused = match (self.check(id, instance, generation), self.phase) {
            (Err(error), _) => Some(error),
            (Ok(()), Phase::Preparing) => Some(ResponseError::RebalanceInProgress),
            (Ok(()), Phase::Empty) => Some(ResponseError::UnknownMemberId),
            (Ok(()), Phase::Completing | Phase::Stable) => None,
        };
        if let Some(error) = refused {
            drop(answer.send(Err(error)));
            return;
        }
        self.touch(id, now);
        if self.phase == Phase::Stable {
            drop(answer.send(Ok(self.synced(id))));
            return;
        }
        if let Some(member) = self.members.get_mut(id) {
            member.sync = Some(answer);
        }
        if self.leader == id {
            self.assign(assignments, now);
        }
    }

    fn assign(&mut self, assignments: Vec<(String, Bytes)>, now: Instant) {
        let mut assignments: HashMap<String, Bytes> = assignments.into_iter().collect();
        self.phase = Phase::Stable;
        // who has not asked yet has its session to do so
        self.deadline = None;
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let synced = self.synced(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            if let Some(answer) = member.sync.take() {
                member.seen = now;
                drop(answer.send(Ok(synced)));
            }
        }
    }

    fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    pub fn heartbeat(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check(id, instance, generation)?;
        self.touch(id, now);
        if self.phase == Phase::Preparing { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// By its id, or by its instance from anybody who knows that.
    pub fn leave(&mut self, id: &str, instance: Option<&str>, now: Instant) -> Result<(), ResponseError> {
        let id = match instance {
            None => id.to_string(),
            Some(instance) => match self.statics.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(known) if !id.is_empty() && known != id => return Err(ResponseError::FencedInstanceId),
                Some(known) => known.clone(),
            },
        };
        if self.pending.remove(&id).is_some() {
            self.complete_if_due(now);
            return Ok(());
        }
        if !self.remove(&id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.after_loss(now);
        Ok(())
    }

    fn after_loss(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Stable | Phase::Completing) {
            self.prepare(now);
        }
        self.complete_if_due(now);
    }

    /// Whether offsets may be committed by this member, or by an outsider (no id, no generation).
    pub fn may_commit(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if generation < 0 && id.is_empty() && instance.is_none() {
            // tools and consumers without a group; where there are members the offsets are theirs
            return if self.phase == Phase::Empty { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        self.check(id, instance, generation)?;
        self.touch(id, now);
        if self.phase == Phase::Completing { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// What the passing of time does: sessions end, waits are over.
    pub fn tick(&mut self, now: Instant) {
        let pending = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        let silent =
            |member: &Member| !member.waits() && now.saturating_duration_since(member.seen) > member.session;
        let unsynced =
            self.phase == Phase::Completing && self.deadline.is_some_and(|deadline| now >= deadline);
        let lost = |member: &Member| silent(member) || (unsynced && member.sync.is_none());
        let lost: Vec<String> =
            self.members.iter().filter(|(_, m)| lost(m)).map(|(id, _)| id.clone()).collect();
        for id in &lost {
            self.remove(id);
        }
        if !lost.is_empty() {
            self.after_loss(now);
        } else if pending != self.pending.len() || self.phase == Phase::Preparing {
            self.complete_if_due(now);
        }
    }

    /// Whether a member reads this topic, as consumers say in their metadata (version, topics, ...).
    pub fn subscribes(&self, topic: &str) -> bool {
        let reads = |member: &Member| {
            let mut metadata = member.metadata(&self.protocol);
            let mut topics = || -> Option<Vec<Bytes>> {
                metadata.try_get_i16().ok()?;
                let count = metadata.try_get_i32().ok()?;
                (0..count)
                    .map(|_| {
                        let len = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
                        (len <= metadata.len()).then(|| metadata.split_to(len))
                    })
                    .collect()
            };
            // who cannot be understood might read anything
            topics().is_none_or(|topics| topics.iter().any(|name| name == topic.as_bytes()))
        };
        self.members.values().any(reads)
    }

    /// Nobody is in it and nobody was told to come back.
    pub fn is_forgettable(&self) -> bool {
        self.phase == Phase::Empty && self.members.is_empty() && self.pending.is_empty()
    }
}
