//! The verdict on a history, and how a person reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::books::Books;
use crate::checker::{Anomaly, Class, anomalies};
use crate::explain::{Slack, explained_by, is_near};
use crate::history::{Fault, FaultKind, History, Micros};

/// Examples of each class that are kept, those that nothing explains first.
const EXAMPLES: usize = 10;

/// What was found of one class.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub found: u64,
    /// Of these, what no fault near it explains. One is enough to fail.
    pub unexplained: u64,
    pub examples: Vec<Anomaly>,
}

/// One kind of fault, and the anomalies near it: those that it may be the price of, and all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub faults: u64,
    /// Those that hit while messages were in flight.
    pub counted: u64,
    /// Lost, unseen and strange messages, and commits beyond. Nothing explains these.
    pub losses: u64,
    pub duplicates: Near,
    pub order: Near,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Near {
    pub explained: u64,
    pub all: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub rows: BTreeMap<Class, Row>,
    pub matrix: BTreeMap<FaultKind, Line>,
    pub faults: Vec<Fault>,
    pub messages: u64,
    pub attempts: u64,
    pub delivered: u64,
    pub dead: u64,
    pub parked: u64,
    /// Without an outcome at the end.
    pub waiting: u64,
    pub commits: u64,
    pub settled: bool,
    pub slack: Slack,
    /// Of the storm's time, what lies near some fault: elsewhere nothing at all is excused.
    pub excused_percent: u64,
    pub took: Micros,
}

impl Report {
    pub fn of(history: &History, slack: Slack) -> Self {
        let books = Books::of(history);
        let mut report = Self {
            messages: books.messages.len() as u64,
            attempts: books.attempts.len() as u64,
            settled: books.settled,
            slack,
            took: books.end,
            commits: books.commits.values().map(|it| it.len() as u64).sum(),
            excused_percent: excused(&books.faults, slack, books.end),
            ..Self::default()
        };
        for it in &books.messages {
            report.delivered += u64::from(it.first_delivery.is_some());
            report.dead += u64::from(it.outcomes.iter().any(|it| it.host.is_none()));
            report.parked += u64::from(it.parked.is_some());
            report.waiting += u64::from(it.outcomes.is_empty());
        }
        for class in Class::ALL {
            report.rows.insert(class, Row::default());
        }
        for fault in &books.faults {
            let line = report.matrix.entry(fault.kind).or_default();
            line.faults += 1;
            line.counted += u64::from(fault.counts());
        }
        report.faults.clone_from(&books.faults);
        for anomaly in anomalies(&books) {
            report.enter(anomaly, &books.faults);
        }
        report
    }

    fn enter(&mut self, anomaly: Anomaly, faults: &[Fault]) {
        let class = anomaly.class();
        let row = self.rows.entry(class).or_default();
        row.found += 1;
        let explaining = explained_by(&anomaly, faults, self.slack);
        if explaining.is_empty() {
            row.unexplained += 1;
            if row.unexplained <= EXAMPLES as u64 {
                row.examples.insert(row.unexplained as usize - 1, anomaly);
            }
        } else if row.examples.len() < EXAMPLES {
            row.examples.push(anomaly);
        }
        row.examples.truncate(EXAMPLES);
        for (kind, line) in &mut self.matrix {
            if !faults.iter().any(|it| it.kind == *kind && is_near(it, &anomaly, self.slack)) {
                continue;
            }
            let near = match class {
                Class::Lost | Class::Unseen | Class::Phantom | Class::CommitBeyond => {
                    line.losses += 1;
                    continue;
                }
                Class::Duplicate => &mut line.duplicates,
                Class::Overtaken | Class::Rewound | Class::Overlapping => &mut line.order,
            };
            near.all += 1;
            near.explained += u64::from(explaining.contains(kind));
        }
    }

    pub fn row(&self, class: Class) -> &Row {
        &self.rows[&class]
    }

    /// Whether there is nothing of this class but what a fault explains.
    pub fn holds(&self, class: Class) -> bool {
        self.row(class).unexplained == 0
    }

    /// A storm that was not waited for proves nothing.
    pub fn passed(&self) -> bool {
        self.settled && self.messages > 0 && Class::ALL.into_iter().all(|it| self.holds(it))
    }

    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        writeln!(text, "# Storm: {verdict}\n")?;
        writeln!(
            text,
            "{} messages: {} delivered, {} dead letters, {} parked, {} waiting; {} attempts, {} commits seen, \
             {}.{} s{}.\n",
            self.messages,
            self.delivered,
            self.dead,
            self.parked,
            self.waiting,
            self.attempts,
            self.commits,
            self.took / 1_000_000,
            self.took / 100_000 % 10,
            if self.settled { "" } else { ", broken off before it settled" },
        )?;
        writeln!(text, "|rule|found|unexplained|verdict|\n|-|-:|-:|-|")?;
        for (class, row) in &self.rows {
            let verdict = if row.unexplained == 0 { "holds" } else { "BROKEN" };
            writeln!(text, "|{}|{}|{}|{verdict}|", class.name(), row.found, row.unexplained)?;
        }
        writeln!(
            text,
            "\nExplained is what lies near a fault that may cause it: {} ms before it to {} ms after it, which is \
             {} % of the time.\n",
            self.slack.before / 1_000,
            self.slack.after / 1_000,
            self.excused_percent
        )?;
        writeln!(text, "Of duplicates and order: what the kind explains, of what is near it.\n")?;
        writeln!(text, "|fault|times|with work in flight|losses|duplicates|order|")?;
        writeln!(text, "|-|-:|-:|-:|-:|-:|")?;
        for (kind, it) in &self.matrix {
            let name = kind.name();
            let (faults, counted) = (it.faults, it.counted);
            let of = |it: Near| format!("{} of {}", it.explained, it.all);
            let (losses, duplicates, order) = (it.losses, of(it.duplicates), of(it.order));
            writeln!(text, "|{name}|{faults}|{counted}|{losses}|{duplicates}|{order}|")?;
        }
        writeln!(text, "\n|from (s)|to (s)|fault|target|in flight|\n|-:|-:|-|-|-:|")?;
        for it in &self.faults {
            let s = |at: Micros| format!("{}.{}", at / 1_000_000, at / 100_000 % 10);
            let (from, until, target) = (s(it.from), s(it.until), it.target);
            writeln!(text, "|{from}|{until}|{}|{target:?}|{}|", it.kind.name(), it.in_flight)?;
        }
        for (class, row) in self.rows.iter().filter(|it| !it.1.examples.is_empty()) {
            writeln!(text, "\n## {}\n", class.name())?;
            for it in &row.examples {
                writeln!(text, "- `{it:?}`")?;
            }
        }
        Ok(())
    }

    pub fn json(&self) -> Value {
        let row = |(class, it): (&Class, &Row)| {
            let examples: Vec<_> = it.examples.iter().map(|it| format!("{it:?}")).collect();
            json!({"rule": class.name(), "found": it.found, "unexplained": it.unexplained, "examples": examples})
        };
        let line = |(kind, it): (&FaultKind, &Line)| {
            json!({
                "fault": kind.name(), "times": it.faults, "counted": it.counted,
                "losses": it.losses, "duplicates": it.duplicates.all, "order": it.order.all,
                "duplicates_explained": it.duplicates.explained, "order_explained": it.order.explained,
            })
        };
        json!({
            "passed": self.passed(),
            "settled": self.settled,
            "messages": self.messages,
            "delivered": self.delivered,
            "dead": self.dead,
            "parked": self.parked,
            "waiting": self.waiting,
            "attempts": self.attempts,
            "commits": self.commits,
            "took_us": self.took,
            "slack_before_us": self.slack.before,
            "slack_after_us": self.slack.after,
            "excused_percent": self.excused_percent,
            "rules": self.rows.iter().map(row).collect::<Vec<_>>(),
            "faults": self.matrix.iter().map(line).collect::<Vec<_>>(),
        })
    }
}

/// The share of the time near faults that explain anything, in percent.
fn excused(faults: &[Fault], slack: Slack, end: Micros) -> u64 {
    let able = |it: &&Fault| Class::ALL.into_iter().any(|class| crate::explain::may_explain(it.kind, class));
    let mut spans: Vec<(Micros, Micros)> = faults
        .iter()
        .filter(able)
        .map(|it| (it.from.saturating_sub(slack.before), it.until.saturating_add(slack.after).min(end)))
        .collect();
    spans.sort_unstable();
    let (mut covered, mut up_to) = (0, 0);
    for (from, until) in spans {
        covered += until.saturating_sub(from.max(up_to));
        up_to = up_to.max(until);
    }
    (covered * 100).checked_div(end).unwrap_or(0)
}
