//! The result: as a table for people, as JSON for whatever compares results.

use std::io::Write;

use serde::Serialize;

use super::lab::Run;
use super::rows::{Limit, Row};

#[derive(Clone, Debug, Serialize)]
pub struct Table {
    pub version: &'static str,
    pub machine: String,
    pub broker: String,
    /// The command line of the contestant that is not ours.
    pub peer: Option<String>,
    /// Why its figures say nothing; then nothing is judged by them.
    pub void: Option<&'static str>,
    pub messages: u64,
    pub bytes: usize,
    pub pairs: usize,
    pub rows: Vec<Row>,
    pub runs: Vec<Run>,
}

const HEADINGS: [&str; 6] = ["", "measured", "least – most", "gate", "aim", "beside"];

impl Table {
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let bytes = self.bytes;
        writeln!(out, "drover {}, {}", self.version, self.machine)?;
        writeln!(out, "{}; {} messages of {bytes} B; {} pairs", self.broker, self.messages, self.pairs)?;
        if let Some(command) = &self.peer {
            writeln!(out, "peer, measured when it has carried as many to get warm: {command}")?;
        }
        writeln!(out)?;
        let mut cells: Vec<[String; 6]> = vec![HEADINGS.map(str::to_owned)];
        cells.extend(self.rows.iter().map(|it| cells_of(it, self.void.is_none())));
        let width = |at: usize| cells.iter().map(|it| it[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
        for row in &cells {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let gap = width - cell.chars().count() + 2;
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', gap));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out)?;
        writeln!(out, "{}", self.conclusion())
    }

    fn conclusion(&self) -> String {
        if let Some(why) = self.void {
            return format!("{why}: these figures say nothing, so nothing is judged by them.");
        }
        let reached = |row: &&Row, limit: Option<Limit>| {
            limit.zip(row.value).is_some_and(|(limit, value)| limit.is_reached(value))
        };
        let gates: Vec<&Row> =
            self.rows.iter().filter(|it| it.gate.is_some() && it.value.is_some()).collect();
        let aims: Vec<&Row> = self.rows.iter().filter(|it| it.aim.is_some() && it.value.is_some()).collect();
        let disturbed = self.rows.iter().filter(|it| it.disturbance.is_much()).count();
        let mut text = format!(
            "{} of {} gates and {} of {} aims reached.",
            gates.iter().filter(|it| reached(it, it.gate)).count(),
            gates.len(),
            aims.iter().filter(|it| reached(it, it.aim)).count(),
            aims.len(),
        );
        if disturbed > 0 {
            text.push_str(&format!(
                " The machine was disturbed during {disturbed} rows: others used it too; ratios hold better \
                 than absolute figures, and neither is to be published."
            ));
        }
        text
    }
}

fn cells_of(row: &Row, judged: bool) -> [String; 6] {
    let unit = if row.unit.is_empty() { String::new() } else { format!(" {}", row.unit) };
    let measured = row.value.map_or_else(|| "–".to_owned(), |it| format!("{}{unit}", number(it)));
    let range = if row.value.is_some() && row.least != row.most {
        format!("{} – {}", number(row.least), number(row.most))
    } else {
        String::new()
    };
    let mut beside = row.beside.clone();
    if row.disturbance.is_much() {
        let (others, stolen) = (row.disturbance.others * 100.0, row.disturbance.stolen * 100.0);
        beside = format!("{beside}; DISTURBED: others {others:.0} %, stolen {stolen:.0} %");
    }
    let value = row.value.filter(|_| judged);
    [row.name.clone(), measured, range, standing(row.gate, value), standing(row.aim, value), beside]
}

fn standing(limit: Option<Limit>, value: Option<f64>) -> String {
    let Some(limit) = limit else { return String::new() };
    let text = match limit {
        Limit::AtLeast(it) => format!("≥ {}", number(it)),
        Limit::AtMost(it) => format!("≤ {}", number(it)),
    };
    match value {
        None => text,
        Some(value) if limit.is_reached(value) => format!("{text} reached"),
        Some(_) => format!("{text} MISSED"),
    }
}

fn number(it: f64) -> String {
    if it >= 10.0 { format!("{it:.0}") } else { format!("{it:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::machine::Disturbance;

    #[test]
    fn it_says_what_is_missed_and_when_it_was_disturbed() {
        let rows = vec![
            Row::of("rate / pool", "", vec![0.95])
                .gate(Limit::AtLeast(0.9))
                .aim(Limit::AtLeast(1.05))
                .beside("70000 / s"),
            Row {
                disturbance: Disturbance { others: 0.2, stolen: 0.0 },
                ..Row::of("memory", "MB", vec![50.0, 60.0, 55.0])
            },
            Row::missing("swap", "ms", "later").gate(Limit::AtMost(250.0)),
        ];
        let mut table = Table {
            version: "1",
            machine: "m".to_owned(),
            broker: "b".to_owned(),
            peer: Some("sh peer.sh".to_owned()),
            void: None,
            messages: 10,
            bytes: 1_000,
            pairs: 3,
            rows,
            runs: Vec::new(),
        };
        let text = written(&table);
        assert!(text.contains("0.95"), "{text}");
        assert!(text.contains("≥ 0.90 reached") && text.contains("≥ 1.05 MISSED"), "{text}");
        assert!(text.contains("55 MB") && text.contains("50 – 60"), "{text}");
        assert!(text.contains("DISTURBED: others 20 %"), "{text}");
        assert!(text.contains("1 of 1 gates and 0 of 1 aims reached. The machine was disturbed"), "{text}");
        assert!(text.contains(": sh peer.sh\n"), "{text}");

        table.void = Some("a quick run");
        let text = written(&table);
        assert!(text.contains("≥ 0.90 ") && text.contains("≥ 1.05 "), "{text}");
        assert!(
            text.ends_with("a quick run: these figures say nothing, so nothing is judged by them.\n"),
            "{text}"
        );
        for verdict in ["reached", "MISSED"] {
            assert!(!text.contains(verdict), "{text}");
        }
    }

    fn written(table: &Table) -> String {
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}
