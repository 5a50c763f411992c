//! Members that do what they like, in an order that a seed decides, against what must hold for any group.
use crate::group::*;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What one member believes.
#[derive(Default)]
struct Player {
    id: String,
    generation: i32,
    joining: Option<oneshot::Receiver<Result<Joined, NotJoined>>>,
    syncing: Option<oneshot::Receiver<Result<Synced, ResponseError>>>,
    assigned: Option<Bytes>,
}

struct Walk {
    group: Group,
    players: Vec<Player>,
    now: Instant,
    seed: u64,
}

impl Walk {
    fn below(&mut self, end: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as usize % end
    }

    fn join(&mut self, nth: usize) {
        let (answer, answered) = oneshot::channel();
        let request = Join {
            member_id: self.players[nth].id.clone(),
            instance: None,
            client_id: format!("p{nth}"),
            client_host: "/here".to_string(),
            session: Duration::from_secs(10),
            rebalance: Duration::from_secs(20),
            protocol_type: "consumer".to_string(),
            protocols: vec![("range".to_string(), Bytes::from(format!("p{nth}")))],
            id_required: true,
            knows_skip: true,
            first_delay: Duration::ZERO,
        };
        self.group.join(request, answer, self.now);
        let player = &mut self.players[nth];
        (player.joining, player.syncing, player.assigned) = (Some(answered), None, None);
    }

    fn sync(&mut self, nth: usize) {
        let (answer, answered) = oneshot::channel();
        let (id, generation) = (self.players[nth].id.clone(), self.players[nth].generation);
        let assignments = self.group.members.keys().map(|id| (id.clone(), Bytes::from(id.clone()))).collect();
        self.group.sync(&id, None, generation, assignments, answer, self.now);
        self.players[nth].syncing = Some(answered);
    }

    /// Players read their answers and act as clients do.
    fn deliver(&mut self) {
        for nth in 0..self.players.len() {
            let player = &mut self.players[nth];
            if let Some(Ok(answer)) = player.joining.as_mut().map(|answered| answered.try_recv()) {
                player.joining = None;
                match answer {
                    Ok(joined) => {
                        assert!(joined.generation >= player.generation, "generations only grow");
                        assert_eq!(joined.member_id, player.id);
                        assert_eq!(joined.members.is_empty(), joined.leader != player.id);
                        player.generation = joined.generation;
                        self.sync(nth);
                    }
                    Err(not) if not.error == ResponseError::MemberIdRequired => {
                        player.id = not.member_id;
                        self.join(nth);
                    }
                    Err(_) => *player = Player::default(),
                }
            }
            let player = &mut self.players[nth];
            if let Some(Ok(answer)) = player.syncing.as_mut().map(|answered| answered.try_recv()) {
                player.syncing = None;
                match answer {
                    Ok(synced) => {
                        assert_eq!(synced.assignment, player.id.as_bytes(), "everybody gets its own");
                        player.assigned = Some(synced.assignment);
                    }
                    Err(ResponseError::RebalanceInProgress) => self.join(nth),
                    Err(_) => *player = Player::default(),
                }
            }
        }
    }

    fn heartbeat(&mut self, nth: usize) {
        let player = &mut self.players[nth];
        if player.id.is_empty() || player.joining.is_some() {
            return;
        }
        match self.group.heartbeat(&player.id, None, player.generation, self.now) {
            Ok(()) => {}
            Err(ResponseError::RebalanceInProgress) => self.join(nth),
            Err(_) => *player = Player::default(),
        }
    }

    fn step(&mut self) {
        let nth = self.below(self.players.len());
        match self.below(10) {
            0 if self.players[nth].id.is_empty() => self.join(nth),
            1 if self.below(4) == 0 => {
                let id = std::mem::take(&mut self.players[nth]).id;
                let _refused = self.group.leave(&id, None, self.now); // a stranger may ask, too
            }
            2 if self.below(8) == 0 => self.players[nth] = Player::default(), // dies without a word
            3 => {
                let pause = self.below(4000) as u64;
                self.now += Duration::from_millis(pause);
            }
            _ => self.heartbeat(nth),
        }
        self.group.tick(self.now);
        self.deliver();
        self.check();
    }

    /// What must hold at any time.
    fn check(&self) {
        let group = &self.group;
        assert_eq!(group.phase == Phase::Empty, group.members.is_empty() && group.phase != Phase::Preparing);
        if matches!(group.phase, Phase::Completing | Phase::Stable) {
            assert!(group.members.contains_key(&group.leader), "the leader is a member");
        }
        for player in self.players.iter().filter(|player| player.assigned.is_some()) {
            let current = player.generation == group.generation && group.members.contains_key(&player.id);
            assert!(
                !current || group.phase != Phase::Completing,
                "nobody is assigned before the leader spoke"
            );
        }
    }
}

#[test]
fn any_order_of_events_ends_in_a_stable_group() {
    for seed in 1..=200u64 {
        let players = (0..4).map(|_| Player::default()).collect();
        let mut walk =
            Walk { group: Group::default(), players, now: Instant::now(), seed: seed * 0x9e37_79b9 };
        for _ in 0..300 {
            walk.step();
        }
        // left alone, everybody comes in
        for _ in 0..100 {
            walk.now += Duration::from_secs(1);
            for nth in 0..4 {
                if walk.players[nth].id.is_empty() && walk.players[nth].joining.is_none() {
                    walk.join(nth);
                }
                walk.heartbeat(nth);
            }
            walk.group.tick(walk.now);
            walk.deliver();
        }
        assert_eq!(walk.group.phase, Phase::Stable, "seed {seed}");
        assert_eq!(walk.group.members.len(), 4, "seed {seed}");
        assert!(walk.players.iter().all(|player| player.assigned.is_some()), "seed {seed}");
    }
}
