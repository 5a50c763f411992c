//! The checker can fail: engines that are broken in one place each are caught, by the rule that is meant for it, and
//! the whole one passes with and without faults.

use drover_storm::checker::Class;
use drover_storm::explain::Slack;
use drover_storm::report::Report;

use crate::engine::{Bug, run};

const SEEDS: u64 = 40;
/// In the engine's ticks.
const SLACK: Slack = Slack { before: 60, after: 200 };

fn report(bug: Option<Bug>, seed: u64, kills: u64) -> Report {
    Report::of(&run(bug, seed, kills), SLACK)
}

/// Whether the rule is broken for most seeds, and only those that may be.
fn caught(bug: Bug, kills: u64, by: Class, also: &[Class]) {
    let mut times = 0;
    for seed in 0..SEEDS {
        let report = report(Some(bug), seed, kills);
        times += u64::from(!report.holds(by));
        for class in Class::ALL {
            let may = class == by || also.contains(&class);
            assert!(may || report.holds(class), "{bug:?}, seed {seed}: {}", report.markdown());
        }
    }
    assert!(SEEDS * 9 / 10 <= times, "{bug:?} was caught {times} times of {SEEDS}");
}

#[test]
fn the_whole_engine_passes() {
    let mut repeated = 0;
    for seed in 0..200 {
        for kills in [0, 3] {
            let report = report(None, seed, kills);
            assert!(report.passed(), "seed {seed}, {kills} kills: {}", report.markdown());
            assert_eq!(report.waiting, 0);
            let duplicates = report.row(Class::Duplicate).found;
            assert!(0 < kills || duplicates == 0, "seed {seed}: {}", report.markdown());
            repeated += duplicates;
        }
    }
    assert!(100 < repeated, "kills repeat something: {repeated}");
}

#[test]
fn an_early_commit() {
    caught(Bug::EarlyCommit, 0, Class::CommitBeyond, &[]);
}

/// With a host that dies it loses messages.
#[test]
fn an_early_commit_and_a_kill() {
    caught(Bug::EarlyCommit, 3, Class::CommitBeyond, &[Class::Lost, Class::Overtaken]);
}

#[test]
fn a_dropped_retry() {
    caught(Bug::DroppedRetry, 0, Class::Lost, &[Class::CommitBeyond]);
}

#[test]
fn a_lost_park() {
    caught(Bug::LostPark, 0, Class::Lost, &[]);
}

#[test]
fn an_ack_after_the_revoke() {
    caught(Bug::AckAfterRevoke, 8, Class::Lost, &[Class::CommitBeyond]);
}

#[test]
fn a_key_that_overtakes_in_retry() {
    caught(Bug::OvertakenInRetry, 0, Class::Overtaken, &[Class::Rewound, Class::Overlapping]);
}

#[test]
fn a_duplicate_without_a_fault() {
    caught(Bug::DuplicateWithoutFault, 0, Class::Duplicate, &[]);
}

#[test]
fn a_dead_letter_never_written_but_committed() {
    caught(Bug::DeadNeverWritten, 0, Class::Lost, &[Class::CommitBeyond]);
}

#[test]
fn two_of_a_key_at_once() {
    caught(Bug::TwoAtOnce, 0, Class::Overlapping, &[Class::Overtaken, Class::Rewound]);
}

#[test]
fn messages_that_are_stuck() {
    caught(Bug::Stuck, 0, Class::Unseen, &[]);
}

#[test]
fn answers_for_what_nobody_sent() {
    caught(Bug::Forged, 0, Class::Phantom, &[Class::Overlapping]);
}
