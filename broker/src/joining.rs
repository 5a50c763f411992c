//! How a member gets into a group: under which id, in whose place, and whether that takes a rebalance.
use crate::group::{Group, Join, JoinAnswer, Member, NotJoined, Phase};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use std::time::Instant;

/// Members of one group, with those who were given an id and have not come back with it yet.
const MEMBERS_MAX: usize = 10_000;

impl Group {
    pub fn join(&mut self, request: Join, answer: JoinAnswer, now: Instant) {
        let refuse = |answer: JoinAnswer, error, member_id: &str| {
            let member_id = member_id.to_string();
            drop(answer.send(Err(NotJoined { error, member_id })));
        };
        let kind_differs = !self.members.is_empty() && self.protocol_type != request.protocol_type;
        if request.protocols.is_empty() || request.protocol_type.is_empty() || kind_differs {
            return refuse(answer, ResponseError::InconsistentGroupProtocol, &request.member_id);
        }
        let id = match self.identify(&request, now) {
            Err(error) => return refuse(answer, error.error, &error.member_id),
            Ok(id) => id,
        };
        if !self.suits(&request.protocols, &id) {
            return refuse(answer, ResponseError::InconsistentGroupProtocol, &id);
        }
        if request.member_id.is_empty() && self.members.contains_key(&id) {
            let (knows_skip, unchanged) = (request.knows_skip, self.take_over(&id, &request, now));
            if self.phase == Phase::Stable && unchanged {
                return self.welcome_back(&id, knows_skip, answer);
            }
        }
        let unchanged = self.members.get(&id).map(|member| member.protocols == request.protocols);
        let nothing_new = match (self.phase, unchanged) {
            (Phase::Stable, Some(true)) => id != self.leader, // a leader that joins again asks for a rebalance
            (Phase::Completing, Some(true)) => true,          // its answer was lost
            _ => false,
        };
        self.enter(&id, request, now);
        if nothing_new {
            drop(answer.send(Ok(self.current(&id))));
            return;
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.join = Some(answer);
        }
        self.prepare(now);
        self.complete_if_due(now);
    }

    /// Under which id this request may join.
    fn identify(&mut self, request: &Join, now: Instant) -> Result<String, NotJoined> {
        let not = |error, member_id: &str| Err(NotJoined { error, member_id: member_id.to_string() });
        let given = request.member_id.as_str();
        if let Some(instance) = &request.instance {
            return match self.statics.get(instance).cloned() {
                Some(old) if given.is_empty() => Ok(self.rename(&old, instance)),
                Some(old) if given != old => not(ResponseError::FencedInstanceId, given),
                Some(old) => Ok(old),
                None if given.is_empty() && self.members.len() >= MEMBERS_MAX => {
                    not(ResponseError::GroupMaxSizeReached, "")
                }
                None if given.is_empty() => Ok(fresh_id(instance)),
                None => not(ResponseError::UnknownMemberId, given),
            };
        }
        if given.is_empty() {
            let id = fresh_id(&request.client_id);
            if self.members.len() + self.pending.len() >= MEMBERS_MAX {
                return not(ResponseError::GroupMaxSizeReached, "");
            }
            if request.id_required {
                self.pending.insert(id.clone(), now + request.session);
                return not(ResponseError::MemberIdRequired, &id);
            }
            return Ok(id);
        }
        if self.members.contains_key(given) || self.pending.remove(given).is_some() {
            return Ok(given.to_string());
        }
        not(ResponseError::UnknownMemberId, given)
    }

    /// A restarted static member takes its place under a new id; the old one is fenced.
    fn rename(&mut self, old: &str, instance: &str) -> String {
        let id = fresh_id(instance);
        if let Some(mut member) = self.members.remove(old) {
            if let Some(answer) = member.join.take() {
                let member_id = old.to_string();
                drop(answer.send(Err(NotJoined { error: ResponseError::FencedInstanceId, member_id })));
            }
            if let Some(answer) = member.sync.take() {
                drop(answer.send(Err(ResponseError::FencedInstanceId)));
            }
            self.members.insert(id.clone(), member);
        }
        if self.leader == old {
            self.leader = id.clone();
        }
        self.statics.insert(instance.to_string(), id.clone());
        id
    }

    /// Notes what a returned static member says of itself; whether it is what it said before.
    fn take_over(&mut self, id: &str, request: &Join, now: Instant) -> bool {
        let Some(member) = self.members.get_mut(id) else { return false };
        let unchanged = member.protocols == request.protocols;
        member.session = request.session;
        member.seen = now;
        unchanged
    }

    /// No rebalance for a static member that came back unchanged.
    fn welcome_back(&mut self, id: &str, knows_skip: bool, answer: JoinAnswer) {
        let mut joined = self.current(id);
        if joined.leader == id {
            if knows_skip {
                joined.skip_assignment = true;
            } else {
                // as a follower it asks for its stored assignment instead of making a new one
                joined.leader = String::new();
                joined.members.clear();
            }
        }
        drop(answer.send(Ok(joined)));
    }

    fn enter(&mut self, id: &str, request: Join, now: Instant) {
        if self.members.is_empty() {
            self.protocol_type = request.protocol_type;
            if !request.first_delay.is_zero() && self.phase == Phase::Empty {
                self.not_before = Some(now + request.first_delay);
            }
        }
        let member = self.members.entry(id.to_string()).or_insert_with(|| Member {
            instance: request.instance.clone(),
            client_id: request.client_id,
            client_host: request.client_host,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            session: request.session,
            rebalance: request.rebalance,
            seen: now,
            join: None,
            sync: None,
        });
        member.session = request.session;
        member.rebalance = request.rebalance;
        member.protocols = request.protocols;
        member.seen = now;
        if let Some(instance) = request.instance {
            self.statics.insert(instance, id.to_string());
        }
    }
}

fn fresh_id(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4())
}
