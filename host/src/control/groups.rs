//! The consumer groups of this host, and how they follow the files: one of which only the pace or the policy has
//! changed stays joined; one that reads otherwise leaves its seat and joins anew at another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::intake::{self, Config, Group, GroupReport};
use crate::kafka::{ClientSettings, Error};
use crate::shard::live::GroupPolicy;
use crate::shard::work::AckBoxes;

/// A group that the files ask for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub intake: Config,
    pub policy: GroupPolicy,
}

/// Who sits where.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Of every seat that was ever taken, by its number.
    pub policies: Vec<GroupPolicy>,
    /// Those that are joined.
    seats: Vec<(u16, Config)>,
}

/// From one roster to the next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    join: Vec<(u16, Config)>,
    leave: Vec<u16>,
    pace: Vec<(u16, intake::Pace)>,
}

impl Roster {
    /// The next roster, and what leads to it. None when the seats have run out.
    pub fn follow(&self, wanted: &[Wanted]) -> Option<(Self, Change)> {
        let mut next = Self { policies: self.policies.clone(), seats: Vec::new() };
        let mut change = Change::default();
        for it in wanted {
            let held = self.seats.iter().find(|(_, held)| held.name == it.intake.name);
            match held {
                Some((seat, held)) if is_same_reading(held, &it.intake) => {
                    if held.pace != it.intake.pace {
                        change.pace.push((*seat, it.intake.pace));
                    }
                    next.policies[*seat as usize] = it.policy.clone();
                    next.seats.push((*seat, it.intake.clone()));
                }
                Some(_) | None => {
                    let seat = u16::try_from(next.policies.len()).ok()?;
                    next.policies.push(it.policy.clone());
                    next.seats.push((seat, it.intake.clone()));
                    change.join.push((seat, it.intake.clone()));
                }
            }
        }
        let stays = |seat: u16| next.seats.iter().any(|it| it.0 == seat);
        change.leave = self.seats.iter().map(|it| it.0).filter(|it| !stays(*it)).collect();
        Some((next, change))
    }
}

fn is_same_reading(held: &Config, wanted: &Config) -> bool {
    Config { pace: wanted.pace, ..held.clone() } == *wanted
}

/// Between two looks at groups that leave.
const LOOK: Duration = Duration::from_millis(20);

/// The joined groups. Shared by whoever changes, shows and ends them.
pub struct Groups {
    client: ClientSettings,
    boxes: Arc<AckBoxes>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// The way to the shards, which end when nobody has it any more; none when this host stops.
    shared: Option<intake::Shared>,
    joined: Vec<Joined>,
    /// What groups did at seats that they have left.
    past: Vec<GroupReport>,
    /// A group could not be joined.
    is_broken: bool,
}

struct Joined {
    seat: u16,
    group: Group,
    is_leaving: bool,
}

impl Groups {
    pub fn new(client: ClientSettings, shared: intake::Shared, boxes: Arc<AckBoxes>) -> Self {
        let inner = Inner { shared: Some(shared), joined: Vec::new(), past: Vec::new(), is_broken: false };
        Self { client, boxes, inner: Mutex::new(inner) }
    }

    /// Those that leave have drained, committed and left when this returns. Nothing of them is started from its
    /// first moment on: what they had not begun is their next owner's, by whatever rules that has.
    pub fn leave(&self, change: &Change) {
        let mut inner = self.lock();
        let leaves = |it: &Joined| change.leave.contains(&it.seat);
        for it in inner.joined.iter_mut().filter(|it| leaves(it)) {
            it.is_leaving = true;
            it.group.stop();
        }
        drop(inner);
        while self.lock().joined.iter().any(|it| leaves(it) && it.group.is_running()) {
            thread::park_timeout(LOOK);
        }
        let mut inner = self.lock();
        let (left, stay) = std::mem::take(&mut inner.joined).into_iter().partition(leaves);
        inner.joined = stay;
        for Joined { group, .. } in left as Vec<Joined> {
            add(&mut inner.past, group.report());
            group.wait();
        }
    }

    /// The rest of a change, when its policies have been published.
    ///
    /// # Errors
    /// A group cannot be joined: this host is not what it is to be, and ends.
    pub fn join(&self, change: Change) -> Result<(), Error> {
        for (seat, pace) in &change.pace {
            self.lock().joined.iter().filter(|it| it.seat == *seat).for_each(|it| it.group.set_pace(*pace));
        }
        for (seat, config) in change.join {
            self.join_one(seat, config)?;
        }
        Ok(())
    }

    fn join_one(&self, seat: u16, config: Config) -> Result<(), Error> {
        let (next, acks) = self.boxes.add();
        assert_eq!(seat, next, "seats are numbered by one roster alone");
        let mut inner = self.lock();
        let Some(shared) = inner.shared.clone() else { return Ok(()) };
        let started = intake::start(&self.client, config, shared, (seat, acks));
        inner.is_broken |= started.is_err();
        inner.joined.push(Joined { seat, group: started?, is_leaving: false });
        Ok(())
    }

    /// A group's picture, whatever seats it has had.
    pub fn reports(&self) -> Vec<GroupReport> {
        let inner = self.lock();
        let mut all = Vec::new();
        for it in &inner.joined {
            add(&mut all, it.group.report());
        }
        for it in &inner.past {
            // One that was removed is shown no more.
            if all.iter().any(|at| at.group == it.group) {
                add(&mut all, it.clone());
            }
        }
        all
    }

    /// Whether every poll thread that has to run does.
    pub fn is_running(&self) -> bool {
        let inner = self.lock();
        !inner.is_broken && inner.joined.iter().all(|it| it.is_leaving || it.group.is_running())
    }

    /// Drains, commits and leaves all of them; none is joined after it.
    pub fn stop(&self) {
        let mut inner = self.lock();
        inner.shared = None;
        let all = std::mem::take(&mut inner.joined);
        drop(inner);
        all.iter().for_each(|it| it.group.stop());
        all.into_iter().for_each(|it| it.group.wait());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(all: &mut Vec<GroupReport>, one: GroupReport) {
    match all.iter_mut().find(|it| it.group == one.group) {
        Some(known) => known.add(one),
        None => all.push(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::Order;
    use crate::intake::{Pace, Start};
    use crate::shard::live::{Ladder, Unmatched};
    use crate::wire::Format;

    fn wanted(name: &str, topic: &str, bytes: usize) -> Wanted {
        let pace = Pace { bytes, messages: 1, commit_every_ms: 1, drain_ms: 1, stop_drain_ms: 1 };
        Wanted {
            intake: Config {
                name: name.to_owned(),
                topics: vec![topic.to_owned()],
                start: Start::Oldest,
                order: Order::Key,
                order_header: None,
                window: 1,
                instance: None,
                session_timeout_ms: 6_000,
                prefetch_kib: 1,
                pace,
            },
            policy: GroupPolicy {
                name: name.into(),
                topics: vec![topic.to_owned()],
                format: Format::Auto,
                unmatched: Unmatched::Dead,
                dead_topic: topic.into(),
                park_topic: "park".into(),
                ladder: Ladder { replication: -1, create: true },
            },
        }
    }

    /// S172: seats are for a group as it reads; only what has changed is joined or left.
    #[test]
    fn what_reads_as_before_stays() {
        let none = Roster::default();
        let (first, change) = none.follow(&[wanted("a", "x", 1), wanted("b", "x", 1)]).unwrap();
        assert_eq!(change.join.iter().map(|it| it.0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((change.leave, change.pace), (vec![], vec![]));

        let again = [wanted("b", "x", 1), wanted("a", "x", 1)];
        assert_eq!(first.follow(&again).unwrap().1, Change::default(), "their order says nothing");

        let (second, change) = first.follow(&[wanted("a", "y", 1), wanted("b", "x", 2)]).unwrap();
        assert_eq!(change.join.iter().map(|it| it.0).collect::<Vec<_>>(), [2], "a reads another topic");
        assert_eq!(change.leave, [0]);
        assert_eq!(change.pace.iter().map(|it| (it.0, it.1.bytes)).collect::<Vec<_>>(), [(1, 2)]);
        let dead: Vec<&str> = second.policies.iter().map(|it| &*it.dead_topic).collect();
        assert_eq!(dead, ["x", "x", "y"], "what is in flight of the old seat ends by its rules");

        let (third, change) = second.follow(&[wanted("c", "x", 1)]).unwrap();
        assert_eq!((change.leave, change.join[0].0), (vec![2, 1], 3));
        assert_eq!(third.policies.len(), 4);
    }
}
