//! A history told in a few words. Offsets are ids; there is one partition.

use drover_storm::books::Books;
use drover_storm::checker::{Class, anomalies};
use drover_storm::explain::Slack;
use drover_storm::history::{Answer, Attempt, Event, Fault, FaultKind, History, Lane, Produced, Target};
use drover_storm::report::Report;

pub const LANE: Lane = Lane { topic: 0, partition: 0 };
pub const SLACK: Slack = Slack { before: 10, after: 20 };

#[derive(Clone, Default)]
pub struct Story(pub History);

impl Story {
    /// Waited for to its end.
    pub fn new() -> Self {
        Self(History { settled: true, ..History::default() })
    }

    #[must_use]
    pub fn and(mut self, event: Event) -> Self {
        self.0.push(event);
        self
    }

    #[must_use]
    pub fn produced(self, id: u64, key: u32, seq: u32) -> Self {
        let offset = id as i64;
        self.and(Event::Produced(Produced { lane: LANE, offset, key, seq, id, at: 0 }))
    }

    /// By host 0.
    #[must_use]
    pub fn tried(self, id: u64, key: u32, began: u64, ended: u64, answer: Answer) -> Self {
        self.tried_by(0, id, key, began, ended, answer)
    }

    #[must_use]
    pub fn tried_by(self, host: u16, id: u64, key: u32, began: u64, ended: u64, answer: Answer) -> Self {
        self.and(Event::Attempted(Attempt { id, key, seq: 0, host, began, ended, answer }))
    }

    #[must_use]
    pub fn delivered(self, id: u64, key: u32, began: u64, ended: u64) -> Self {
        self.tried(id, key, began, ended, Answer::Delivered)
    }

    #[must_use]
    pub fn dead(self, id: u64, at: u64) -> Self {
        self.and(Event::DeadLettered { id, at })
    }

    #[must_use]
    pub fn parked(self, id: u64, at: u64) -> Self {
        self.and(Event::Parked { id, at })
    }

    #[must_use]
    pub fn committed(self, offset: i64, at: u64) -> Self {
        self.and(Event::Committed { lane: LANE, offset, at })
    }

    #[must_use]
    pub fn fault(self, kind: FaultKind, target: Target, from: u64, until: u64) -> Self {
        self.and(Event::Fault(Fault { kind, target, from, until, in_flight: 1 }))
    }

    #[must_use]
    pub fn broken_off(mut self) -> Self {
        self.0.settled = false;
        self
    }

    /// The classes that were found, each as often as it was.
    pub fn found(&self) -> Vec<Class> {
        anomalies(&Books::of(&self.0)).iter().map(drover_storm::checker::Anomaly::class).collect()
    }

    pub fn report(&self) -> Report {
        Report::of(&self.0, SLACK)
    }
}
