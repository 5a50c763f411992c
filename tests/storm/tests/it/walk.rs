//! Random histories, most of them nonsense: the checker finds what the naive one finds, no more and no less.

use std::collections::BTreeMap;

use drover_storm::books::Books;
use drover_storm::checker::{Class, anomalies};
use drover_storm::history::{Answer, Attempt, Event, History, Lane, Produced};
use drover_storm::random::Random;

use crate::naive::{check, subject};

const WALKS: u64 = 4_000;

fn history(seed: u64) -> History {
    let mut random = Random::new(seed);
    let (messages, keys) = (random.below(12), random.between(1, 4));
    // Short times make ties, long ones make order.
    let time = [8, 40, 400][random.below(3) as usize];
    let mut history = History { events: Vec::new(), settled: random.chance(70) };
    let mut seqs: BTreeMap<u32, u32> = BTreeMap::new();
    let mut offsets: BTreeMap<Lane, i64> = BTreeMap::new();
    for id in 0..messages {
        let key = random.below(keys) as u32;
        let lane = Lane { topic: 0, partition: (key % 2) as i32 };
        let (seq, offset) = (seqs.entry(key).or_default(), offsets.entry(lane).or_default());
        *seq += 1;
        // Offsets have gaps.
        *offset += random.between(1, 3) as i64;
        history.push(match random.chance(95) {
            true => Event::Produced(Produced {
                lane,
                offset: *offset,
                key,
                seq: *seq,
                id,
                at: random.below(time),
            }),
            false => Event::Unacknowledged(id),
        });
        for _ in 0..[0, 1, 1, 1, 2, 3][random.below(6) as usize] {
            let began = random.below(time);
            let answer = [Answer::Delivered, Answer::Delivered, Answer::Refused(500), Answer::Gone]
                [random.below(4) as usize];
            let ended = began + random.below(time / 2);
            let host = random.below(2) as u16;
            history.push(Event::Attempted(Attempt { id, key, seq: *seq, host, began, ended, answer }));
        }
        if random.chance(10) {
            history.push(Event::DeadLettered { id, at: random.below(time) });
        }
        if random.chance(10) {
            history.push(Event::Parked { id, at: random.below(time) });
        }
    }
    if random.chance(10) {
        history.push(Event::DeadLettered { id: 99, at: 3 });
    }
    for _ in 0..random.below(5) {
        let lane = Lane { topic: 0, partition: random.below(2) as i32 };
        history.push(Event::Committed { lane, offset: random.below(14) as i64, at: random.below(2 * time) });
    }
    random.shuffle(&mut history.events);
    history
}

#[test]
fn finds_what_the_naive_checker_finds() {
    let mut seen: BTreeMap<Class, u64> = BTreeMap::new();
    let mut clean = 0;
    for seed in 0..WALKS {
        let history = history(seed);
        let mut found: Vec<_> = anomalies(&Books::of(&history)).iter().map(subject).collect();
        found.sort_unstable();
        assert_eq!(found, check(&history), "seed {seed}: {history:#?}");
        clean += u64::from(found.is_empty());
        for it in found {
            *seen.entry(it.0).or_default() += 1;
        }
    }
    // The walk has been everywhere.
    for class in Class::ALL {
        assert!(seen.get(&class).is_some_and(|it| 100 < *it), "{class:?}: {seen:?}");
    }
    assert!(clean > 100, "{clean}");
}
