//! What is broken when: a plan of faults over a run, the same for the same seed.
//!
//! A fault begins when so many messages have had their outcome, not at a time: so it finds work in flight on a slow
//! machine as on a quick one. Faults follow one another and do not overlap, so that each anomaly has one fault near
//! it; the next one waits until the last one is mended.

use crate::history::{FaultKind, Target};
use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// It begins when so many messages have had their outcome.
    pub after: u64,
    pub kind: FaultKind,
    pub target: Target,
    /// How long it lasts, in ms.
    pub lasts_ms: u64,
}

/// What there is to break.
#[derive(Clone, Debug)]
pub struct Field {
    pub messages: u64,
    pub hosts: u16,
    pub brokers: u16,
    /// Kinds that may be used; each at least once where there are faults enough.
    pub kinds: Vec<FaultKind>,
}

/// How long a fault of the kind lasts, in ms: from, to.
fn lasts(kind: FaultKind) -> (u64, u64) {
    match kind {
        // Down for so long before it is started again.
        FaultKind::HostKill => (200, 3_000),
        FaultKind::BrokerKill => (1_000, 5_000),
        // Some shorter than a session, some longer: the zombie.
        FaultKind::HostStop | FaultKind::KafkaCut => (1_000, 12_000),
        FaultKind::BrokerStop => (1_000, 10_000),
        FaultKind::KafkaDelay | FaultKind::ServiceDelay => (2_000, 5_000),
        FaultKind::ServiceCut => (500, 4_000),
        // Until the further host goes again.
        FaultKind::Rebalance => (3_000, 8_000),
        FaultKind::Reload | FaultKind::PluginSwap => (0, 0),
        FaultKind::DeadTopicGone | FaultKind::DeadTopicReadOnly => (2_000, 6_000),
        FaultKind::ServiceFails
        | FaultKind::ServiceHangs
        | FaultKind::ServiceSlow
        | FaultKind::ServiceResets => (1_000, 4_000),
    }
}

/// The plan: `faults` steps, spread over the run.
pub fn plan(seed: u64, field: &Field, faults: usize) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut kinds = Vec::with_capacity(faults);
    while kinds.len() < faults && !field.kinds.is_empty() {
        let mut round = field.kinds.clone();
        random.shuffle(&mut round);
        kinds.extend(round.into_iter().take(faults - kinds.len()));
    }
    let share = field.messages / (faults as u64 + 1).max(1);
    let step = |(number, kind): (usize, FaultKind)| {
        let (least, most) = lasts(kind);
        Step {
            // Each within its own share of the run, the first after the run is warm.
            after: share * (number as u64) + share / 2 + random.below(share.max(2) / 2),
            kind,
            target: target(kind, field, &mut random),
            lasts_ms: random.between(least, most),
        }
    };
    kinds.into_iter().enumerate().map(step).collect()
}

fn target(kind: FaultKind, field: &Field, random: &mut Random) -> Target {
    match kind {
        FaultKind::HostKill
        | FaultKind::HostStop
        | FaultKind::KafkaCut
        | FaultKind::KafkaDelay
        | FaultKind::ServiceCut
        | FaultKind::ServiceDelay => Target::Host(random.below(u64::from(field.hosts)) as u16),
        FaultKind::BrokerKill | FaultKind::BrokerStop => {
            Target::Broker(random.below(u64::from(field.brokers)) as u16)
        }
        FaultKind::Rebalance
        | FaultKind::Reload
        | FaultKind::PluginSwap
        | FaultKind::DeadTopicGone
        | FaultKind::DeadTopicReadOnly
        | FaultKind::ServiceFails
        | FaultKind::ServiceHangs
        | FaultKind::ServiceSlow
        | FaultKind::ServiceResets => Target::All,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn field() -> Field {
        Field { messages: 20_000, hosts: 2, brokers: 3, kinds: FaultKind::ALL.to_vec() }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_gives_another() {
        for seed in 0..50 {
            let one = plan(seed, &field(), 30);
            assert_eq!(one, plan(seed, &field(), 30));
            assert_ne!(one, plan(seed + 1, &field(), 30));
        }
    }

    #[test]
    fn each_kind_comes_when_there_are_faults_enough_and_none_twice_before_all_came() {
        for seed in 0..200 {
            for faults in [1, 8, 17, 18, 40] {
                let steps = plan(seed, &field(), faults);
                assert_eq!(steps.len(), faults);
                for round in steps.chunks(17) {
                    let kinds: BTreeSet<_> = round.iter().map(|it| it.kind).collect();
                    assert_eq!(kinds.len(), round.len());
                }
            }
        }
    }

    #[test]
    fn faults_lie_within_the_run_one_after_the_other() {
        for seed in 0..200 {
            for messages in [0, 10, 20_000, 1_000_000] {
                let field = Field { messages, ..field() };
                let steps = plan(seed, &field, 25);
                assert!(steps.is_sorted_by(|a, b| a.after <= b.after));
                assert!(steps.iter().all(|it| it.after <= messages));
            }
        }
    }

    #[test]
    fn targets_are_there() {
        for seed in 0..200 {
            for it in plan(seed, &field(), 34) {
                match it.target {
                    Target::Host(host) => assert!(host < 2),
                    Target::Broker(broker) => assert!(broker < 3),
                    Target::All => {}
                }
                let (least, most) = lasts(it.kind);
                assert!((least..=most).contains(&it.lasts_ms));
            }
        }
    }

    #[test]
    fn only_kinds_that_may_be_used() {
        let field = Field { kinds: vec![FaultKind::HostKill, FaultKind::Reload], ..field() };
        assert!(plan(1, &field, 9).iter().all(|it| field.kinds.contains(&it.kind)));
        assert!(plan(1, &Field { kinds: Vec::new(), ..field }, 9).is_empty());
    }
}
