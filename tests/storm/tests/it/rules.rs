//! Each rule in both directions: what breaks it is found, and what is next to that is not.

use drover_storm::checker::Class;
use drover_storm::history::{Answer, Event, FaultKind, Target};
use drover_storm::report::{Line, Near};

use crate::story::Story;

const NONE: [Class; 0] = [];

/// Two messages of one key, done one after the other.
fn healthy() -> Story {
    Story::new()
        .produced(0, 1, 0)
        .produced(1, 1, 1)
        .delivered(0, 1, 10, 20)
        .delivered(1, 1, 30, 40)
        .committed(1, 25)
        .committed(2, 50)
}

#[test]
fn a_healthy_history_passes() {
    assert_eq!(healthy().found(), NONE);
    assert!(healthy().report().passed());
    assert!(!healthy().broken_off().report().passed(), "it was not waited for");
    assert!(!Story::new().report().passed(), "nothing was produced");
}

#[test]
fn lost_is_what_a_commit_has_passed() {
    let story = Story::new().produced(0, 1, 0).committed(1, 50);
    assert_eq!(story.found(), [Class::Lost, Class::CommitBeyond]);
    assert_eq!(story.clone().broken_off().found(), [Class::Lost, Class::CommitBeyond], "nobody comes back");
    assert_eq!(story.tried(0, 1, 10, 20, Answer::Refused(500)).found(), [Class::Lost, Class::CommitBeyond]);
    assert_eq!(Story::new().produced(0, 1, 0).dead(0, 20).committed(1, 50).found(), NONE);
    assert_eq!(Story::new().produced(0, 1, 0).delivered(0, 1, 10, 20).committed(1, 50).found(), NONE);
}

#[test]
fn lost_is_what_was_parked_and_did_not_come_back() {
    let story = Story::new().produced(0, 1, 0).parked(0, 20).committed(1, 50);
    assert_eq!(story.found(), [Class::Lost]);
    assert_eq!(story.clone().broken_off().found(), NONE, "it may still come");
    assert_eq!(story.delivered(0, 1, 60, 70).found(), NONE);
}

#[test]
fn unseen_is_what_waits_though_there_was_time() {
    let story = Story::new().produced(0, 1, 0).committed(0, 50);
    assert_eq!(story.found(), [Class::Unseen]);
    assert_eq!(story.clone().broken_off().found(), NONE);
    assert_eq!(story.delivered(0, 1, 60, 70).found(), NONE);
}

#[test]
fn phantom_is_what_was_never_produced() {
    assert_eq!(healthy().delivered(7, 2, 10, 20).found(), [Class::Phantom]);
    assert_eq!(healthy().dead(7, 20).found(), [Class::Phantom]);
    assert_eq!(healthy().delivered(7, 2, 10, 20).and(Event::Unacknowledged(7)).found(), NONE);
}

#[test]
fn a_commit_waits_for_all_below_it() {
    assert_eq!(healthy().committed(2, 39).found(), [Class::CommitBeyond]);
    assert_eq!(healthy().committed(2, 40).found(), NONE, "seen in the same µs");
    assert_eq!(healthy().committed(1, 20).found(), NONE);
    let dead = Story::new().produced(0, 1, 0).dead(0, 30);
    assert_eq!(dead.clone().committed(1, 29).found(), [Class::CommitBeyond]);
    assert_eq!(dead.committed(1, 30).found(), NONE);
    let parked = Story::new().produced(0, 1, 0).parked(0, 30).delivered(0, 1, 60, 70);
    assert_eq!(parked.clone().committed(1, 29).found(), [Class::CommitBeyond]);
    assert_eq!(parked.committed(1, 30).found(), NONE);
}

#[test]
fn a_commit_may_stand_behind_offsets_without_a_record() {
    let story = Story::new().produced(5, 1, 0).committed(5, 1).delivered(5, 1, 10, 20).committed(9, 30);
    assert_eq!(story.found(), NONE);
}

#[test]
fn overtaken_is_who_had_no_outcome_yet() {
    let two = Story::new().produced(0, 1, 0).produced(1, 1, 1).delivered(1, 1, 10, 20);
    assert_eq!(two.clone().delivered(0, 1, 30, 40).found(), [Class::Overtaken]);
    assert_eq!(two.clone().delivered(0, 1, 1, 10).found(), NONE);
    assert_eq!(two.clone().dead(0, 30).found(), [Class::Overtaken]);
    assert_eq!(two.clone().dead(0, 10).found(), NONE);
    // Any later one of the key, not only the next.
    let third = Story::new().produced(0, 1, 0).produced(1, 1, 1).produced(2, 1, 2).dead(1, 50);
    let third = third.delivered(2, 1, 20, 30).delivered(0, 1, 40, 45);
    assert_eq!(third.found(), [Class::Overtaken, Class::Overtaken]);
    // Another key is in nobody's way.
    let other = Story::new().produced(0, 1, 0).produced(1, 2, 0);
    assert_eq!(other.delivered(1, 2, 10, 20).delivered(0, 1, 30, 40).found(), NONE);
    // An attempt that failed overtakes nobody.
    let failed = Story::new().produced(0, 1, 0).produced(1, 1, 1);
    let failed = failed.tried(1, 1, 10, 20, Answer::Refused(500)).delivered(0, 1, 30, 40);
    assert_eq!(failed.delivered(1, 1, 50, 60).found(), NONE);
}

#[test]
fn rewound_is_who_is_tried_again_behind_a_later_one() {
    let again = healthy().tried_by(1, 0, 1, 45, 50, Answer::Refused(500));
    assert_eq!(again.found(), [Class::Rewound]);
    assert_eq!(healthy().tried(0, 1, 25, 30, Answer::Refused(500)).found(), NONE, "before it");
}

#[test]
fn overlapping_are_two_attempts_that_are_open_at_once() {
    let one = Story::new().produced(0, 1, 0).tried(0, 1, 10, 30, Answer::Gone);
    assert_eq!(one.clone().delivered(0, 1, 29, 40).found(), [Class::Overlapping]);
    assert_eq!(one.delivered(0, 1, 30, 40).found(), NONE);
    // One that is open for long, and several within it.
    let long = Story::new().produced(0, 1, 0).tried(0, 1, 10, 100, Answer::Gone);
    let long = long.tried(0, 1, 20, 30, Answer::Gone).delivered(0, 1, 40, 50);
    assert_eq!(long.found(), [Class::Overlapping, Class::Overlapping]);
    let keys = Story::new().produced(0, 1, 0).produced(1, 2, 0);
    assert_eq!(keys.delivered(0, 1, 10, 20).delivered(1, 2, 10, 20).found(), NONE);
}

#[test]
fn duplicate_is_every_outcome_but_the_first() {
    let one = || Story::new().produced(0, 1, 0).delivered(0, 1, 10, 20);
    assert_eq!(one().found(), NONE);
    assert_eq!(one().tried(0, 1, 30, 40, Answer::Refused(500)).found(), NONE);
    assert_eq!(one().delivered(0, 1, 30, 40).found(), [Class::Duplicate]);
    assert_eq!(one().delivered(0, 1, 30, 40).delivered(0, 1, 50, 60).found(), [Class::Duplicate; 2]);
    assert_eq!(one().dead(0, 40).found(), [Class::Duplicate]);
    assert_eq!(one().parked(0, 5).found(), NONE);
}

/// Delivered at 100 by host 0 and at 200 by host 1.
fn twice() -> Story {
    let one = Story::new().produced(0, 1, 0).delivered(0, 1, 90, 100);
    one.tried_by(1, 0, 1, 190, 200, Answer::Delivered)
}

#[test]
fn a_duplicate_is_explained_by_a_fault_near_it() {
    // The slack is 10 before a fault and 20 after it.
    let cases = [
        (0, 79, false),
        (0, 80, true),
        (110, 115, true),
        (111, 179, false),
        (111, 180, true),
        (210, 300, true),
        (211, 300, false),
    ];
    for (from, until, explained) in cases {
        let report = twice().fault(FaultKind::BrokerKill, Target::Broker(0), from, until).report();
        assert_eq!((report.row(Class::Duplicate).found, report.passed()), (1, explained), "{from}..{until}");
    }
    assert!(!twice().report().passed(), "without any fault");
}

#[test]
fn only_by_a_kind_that_can_be_its_cause() {
    for kind in FaultKind::ALL {
        let explained = twice().fault(kind, Target::All, 100, 100).report().passed();
        let able = matches!(
            kind,
            FaultKind::HostKill
                | FaultKind::HostStop
                | FaultKind::BrokerKill
                | FaultKind::BrokerStop
                | FaultKind::KafkaCut
                | FaultKind::ServiceCut
                | FaultKind::DeadTopicReadOnly
        );
        assert_eq!(explained, able, "{kind:?}");
    }
}

#[test]
fn a_topic_that_is_away_explains_letters_only() {
    let gone = |it: Story| it.fault(FaultKind::DeadTopicGone, Target::All, 100, 200).report().passed();
    let one = || Story::new().produced(0, 1, 0).dead(0, 100);
    assert!(gone(one().dead(0, 200)));
    assert!(!gone(one().delivered(0, 1, 190, 200)));
    assert!(!gone(twice()));
}

#[test]
fn only_by_a_fault_of_a_host_that_took_part() {
    for (host, explained) in [(0, true), (1, true), (2, false)] {
        let report = twice().fault(FaultKind::HostKill, Target::Host(host), 100, 100).report();
        assert_eq!(report.passed(), explained, "host {host}");
    }
}

/// What must never be is not excused by any fault, however near.
#[test]
fn no_fault_explains_a_loss() {
    let stories = [
        Story::new().produced(0, 1, 0).committed(1, 50),
        Story::new().produced(0, 1, 0).committed(0, 50),
        healthy().delivered(7, 2, 10, 20),
        healthy().committed(2, 39),
        Story::new().produced(0, 1, 0).produced(1, 1, 1).delivered(1, 1, 10, 20).delivered(0, 1, 30, 40),
    ];
    for story in stories {
        let all = FaultKind::ALL.into_iter().fold(story, |it, kind| it.fault(kind, Target::All, 0, 100));
        assert!(!all.report().passed(), "{:?}", all.found());
    }
}

#[test]
fn the_matrix_counts_what_is_near_each_kind() {
    let story = twice()
        .fault(FaultKind::HostKill, Target::Host(0), 100, 110)
        .fault(FaultKind::HostKill, Target::Host(0), 5_000, 5_000)
        .and(Event::Fault(drover_storm::history::Fault {
            kind: FaultKind::Reload,
            target: Target::All,
            from: 100,
            until: 100,
            in_flight: 0,
        }));
    let report = story.report();
    let near = |explained, all| Near { explained, all };
    let line =
        |faults, counted, duplicates| Line { faults, counted, losses: 0, duplicates, order: near(0, 0) };
    assert_eq!(report.matrix[&FaultKind::HostKill], line(2, 2, near(1, 1)));
    assert_eq!(report.matrix[&FaultKind::Reload], line(1, 0, near(0, 1)));
    let text = report.markdown();
    assert!(text.contains("|host-kill|2|2|0|1 of 1|0 of 0|"), "{text}");
    assert!(text.contains("|duplicate|1|0|holds|"), "{text}");
    assert_eq!(report.json()["passed"], true);
}
