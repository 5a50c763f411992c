//! A million messages: the checker's work grows as n log n. No time is asserted; a quadratic one would not end.

use drover_storm::checker::Class;
use drover_storm::explain::Slack;
use drover_storm::history::{Answer, Attempt, Event, Fault, FaultKind, History, Lane, Produced, Target};
use drover_storm::report::Report;

const MESSAGES: u64 = 1_000_000;
const KEYS: u64 = 10_000;
const PARTITIONS: u64 = 12;

#[test]
fn a_million_messages() {
    let mut history = History { events: Vec::new(), settled: true };
    let mut offsets = [0; PARTITIONS as usize];
    for id in 0..MESSAGES {
        let key = id % KEYS;
        let lane = Lane { topic: 0, partition: (key % PARTITIONS) as i32 };
        let (seq, offset) = ((id / KEYS) as u32, &mut offsets[(key % PARTITIONS) as usize]);
        let produced = Produced { lane, offset: *offset, key: key as u32, seq, id, at: id };
        *offset += 1;
        history.push(Event::Produced(produced));
        let attempt = Attempt {
            id,
            key: key as u32,
            seq,
            host: 0,
            began: id * 50,
            ended: id * 50 + 20,
            answer: Answer::Delivered,
        };
        history.push(Event::Attempted(attempt));
        if id % 1_000 == 0 {
            // The next owner repeats it.
            let again = Attempt { host: 1, began: id * 50 + 30, ended: id * 50 + 40, ..attempt };
            history.push(Event::Attempted(again));
            history.push(Event::Committed { lane, offset: *offset, at: id * 50 + 45 });
        }
        if id % 50_000 == 0 {
            let (kind, target) = (FaultKind::HostKill, Target::Host(0));
            let (from, until) = (id * 50, id * 50 + 1_000_000);
            history.push(Event::Fault(Fault { kind, target, from, until, in_flight: 1 }));
        }
    }
    let report = Report::of(&history, Slack::default());
    assert_eq!((report.messages, report.delivered), (MESSAGES, MESSAGES));
    assert_eq!(report.row(Class::Duplicate).found, MESSAGES / 1_000);
    assert!(report.passed(), "{}", report.markdown());
}
