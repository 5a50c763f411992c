//! Contestants in turn, and what comes of it: rows of ratios.

use std::time::Duration;

use super::lab::{Contestant, Lab, PARTITIONS, Run};
use super::load::{Load, Producer};
use super::progress::Progress;
use super::rows::{Limit, Row, median, ratios};
use super::table::Table;
use super::{Part, Plan};

const KEYS: u64 = 100_000;
const IN_FLIGHT: usize = 128;
const PACE_A_SECOND: u64 = 500;
/// With one in flight a message takes ten times as long.
const ONE_KEY_SHARE: u64 = 10;
const MB: f64 = 1e6;

pub struct Races<'a> {
    plan: &'a Plan,
    lab: Lab,
    progress: Progress,
}

impl<'a> Races<'a> {
    pub fn new(plan: &'a Plan, lab: Lab, progress: Progress) -> Self {
        Self { plan, lab, progress }
    }

    pub fn run(mut self, table: &mut Table) -> anyhow::Result<()> {
        if self.plan.wants(Part::Rate) || self.plan.wants(Part::Drop) {
            let load = self.filled("load", self.plan.messages, KEYS)?;
            if self.plan.wants(Part::Rate) {
                self.rate(&load, table)?;
            }
            if self.plan.wants(Part::Drop) {
                self.drop_all(&load, table)?;
            }
        }
        if self.plan.peer.is_some() {
            self.peer(table)?;
        }
        if self.plan.wants(Part::OneKey) {
            self.one_key(table)?;
        }
        if self.plan.wants(Part::Latency) {
            self.latency(table)?;
        }
        Ok(())
    }

    fn rate(&mut self, load: &Load, table: &mut Table) -> anyhow::Result<()> {
        let field = [
            Contestant::Pool { in_flight: IN_FLIGHT },
            Contestant::Drover,
            Contestant::Conn { in_flight: IN_FLIGHT },
        ];
        let [pool, drover, conn] = self.alternate(field, |lab, it| lab.drain(it, load))?;
        let with_pool: &[&[Run]] = &[&drover, &pool];
        let with_conn: &[&[Run]] = &[&drover, &conn];
        table.rows.extend([
            Row::of("rate / bare pool", "", ratios(&drover, &pool, |it| it.rate))
                .gate(Limit::AtLeast(0.90))
                .aim(Limit::AtLeast(1.05))
                .beside(rates(&drover, &pool))
                .disturbed_as(with_pool),
            Row::of("CPU a message / bare pool", "", ratios(&drover, &pool, |it| it.cpu_us_a_message))
                .gate(Limit::AtMost(1.15))
                .aim(Limit::AtMost(0.95))
                .beside(cpus(&drover, &pool))
                .disturbed_as(with_pool),
            Row::of("rate / bare conn", "", ratios(&drover, &conn, |it| it.rate))
                .gate(Limit::AtLeast(0.80))
                .aim(Limit::AtLeast(0.92))
                .beside(rates(&drover, &conn))
                .disturbed_as(with_conn),
            Row::of("CPU a message / bare conn", "", ratios(&drover, &conn, |it| it.cpu_us_a_message))
                .beside(cpus(&drover, &conn))
                .disturbed_as(with_conn),
            Row::of("peak memory", "MB", drover.iter().map(megabytes).collect())
                .gate(Limit::AtMost(100.0))
                .aim(Limit::AtMost(60.0))
                .beside(format!("pool {:.0}, conn {:.0}", median(&pool, megabytes), median(&conn, megabytes)))
                .disturbed_as(with_pool),
        ]);
        table.runs.extend([pool, drover, conn].into_iter().flatten());
        Ok(())
    }

    /// With twice the load: the peer's first half is its warming up.
    fn peer(&mut self, table: &mut Table) -> anyhow::Result<()> {
        let load = self.filled("peer", self.plan.messages * 2, KEYS)?;
        let field = [Contestant::Peer { in_flight: IN_FLIGHT }, Contestant::Drover];
        let [peer, drover] = self.alternate(field, |lab, it| lab.drain(it, &load))?;
        let both: &[&[Run]] = &[&drover, &peer];
        table.rows.extend([
            Row::of("rate / peer", "", ratios(&drover, &peer, |it| it.rate))
                .gate(Limit::AtLeast(3.0))
                .aim(Limit::AtLeast(4.0))
                .beside(rates(&drover, &peer))
                .disturbed_as(both),
            Row::of("CPU a message / peer", "", ratios(&drover, &peer, |it| it.cpu_us_a_message))
                .gate(Limit::AtMost(0.25))
                .aim(Limit::AtMost(0.20))
                .beside(format!("{}, peak memory {:.0} MB", cpus(&drover, &peer), median(&peer, megabytes)))
                .disturbed_as(both),
        ]);
        table.runs.extend(peer.into_iter().chain(drover));
        Ok(())
    }

    fn drop_all(&mut self, load: &Load, table: &mut Table) -> anyhow::Result<()> {
        let field = [Contestant::Raw, Contestant::DroverDrop];
        let [raw, drover] = self.alternate(field, |lab, it| lab.drain(it, load))?;
        table.rows.push(
            Row::of("drop all / raw batches", "", ratios(&drover, &raw, |it| it.rate))
                .gate(Limit::AtLeast(0.4))
                .aim(Limit::AtLeast(0.6))
                .beside(format!(
                    "{:.0} and {:.0} messages / s, {:.2} and {:.2} µs CPU",
                    median(&drover, |it| it.rate),
                    median(&raw, |it| it.rate),
                    median(&drover, |it| it.cpu_us_a_message),
                    median(&raw, |it| it.cpu_us_a_message)
                ))
                .disturbed_as(&[&drover, &raw]),
        );
        table.runs.extend(raw.into_iter().chain(drover));
        Ok(())
    }

    fn one_key(&mut self, table: &mut Table) -> anyhow::Result<()> {
        let load = self.filled("one-key", (self.plan.messages / ONE_KEY_SHARE).max(100), 1)?;
        let field = [Contestant::Pool { in_flight: 1 }, Contestant::Drover];
        let [pool, drover] = self.alternate(field, |lab, it| lab.drain(it, &load))?;
        table.rows.push(
            Row::of("one key / bare pool, 1 in flight", "", ratios(&drover, &pool, |it| it.rate))
                .gate(Limit::AtLeast(0.80))
                .aim(Limit::AtLeast(0.95))
                .beside(rates(&drover, &pool))
                .disturbed_as(&[&drover, &pool]),
        );
        table.runs.extend(pool.into_iter().chain(drover));
        Ok(())
    }

    fn latency(&mut self, table: &mut Table) -> anyhow::Result<()> {
        let messages = (PACE_A_SECOND as f64 * self.plan.latency.as_secs_f64()) as u64;
        let mut topics = Vec::new();
        for _ in 0..self.plan.pairs * 2 {
            topics.push(self.lab.new_topic("pace")?);
        }
        let bytes = self.plan.bytes;
        let field = [Contestant::Pool { in_flight: IN_FLIGHT }, Contestant::Drover];
        let [pool, drover] = self.alternate(field, |lab, it| {
            let topic = topics.pop().unwrap_or_default();
            lab.pace(it, &Load { topic, messages, bytes, partitions: PARTITIONS, keys: KEYS }, PACE_A_SECOND)
        })?;
        type Percentile = fn(&Run) -> f64;
        let both: [(&str, f64, Percentile); 2] = [
            ("p50", 0.6, |it| it.latency_us.map_or(0.0, |it| it.p50 / 1e3)),
            ("p99", 2.5, |it| it.latency_us.map_or(0.0, |it| it.p99 / 1e3)),
        ];
        for (name, gate, of) in both {
            let theirs = median(&pool, of);
            let name = format!("{name}, produced → at the sink, {PACE_A_SECOND} / s");
            table.rows.push(
                Row::of(name, "ms", drover.iter().map(of).collect())
                    .gate(Limit::AtMost(gate))
                    .aim(Limit::AtMost(theirs))
                    .beside(format!("pool {theirs:.2} ms"))
                    .disturbed_as(&[&drover, &pool]),
            );
        }
        table.runs.extend(pool.into_iter().chain(drover));
        Ok(())
    }

    /// Each of them in turn, as many rounds as pairs are wanted.
    fn alternate<const N: usize>(
        &mut self,
        field: [Contestant; N],
        mut run: impl FnMut(&mut Lab, Contestant) -> anyhow::Result<Run>,
    ) -> anyhow::Result<[Vec<Run>; N]> {
        let mut all: [Vec<Run>; N] = std::array::from_fn(|_| Vec::new());
        for round in 1..=self.plan.pairs {
            for (runs, contestant) in all.iter_mut().zip(field) {
                let done = run(&mut self.lab, contestant)?;
                self.progress.say(&told(round, self.plan.pairs, &done));
                runs.push(done);
                // What the one before left to the broker is not to be the next one's load.
                std::thread::sleep(Duration::from_millis(300));
            }
        }
        Ok(all)
    }

    fn filled(&mut self, of: &str, messages: u64, keys: u64) -> anyhow::Result<Load> {
        let topic = self.lab.new_topic(of)?;
        let load = Load { topic, messages, bytes: self.plan.bytes, partitions: PARTITIONS, keys };
        self.progress.say(&format!("filling {}", load.topic));
        Producer::new(&self.lab.brokers, 5)?.fill(&load, &self.progress)?;
        Ok(load)
    }
}

fn rates(ours: &[Run], theirs: &[Run]) -> String {
    format!("{:.0} and {:.0} messages / s", median(ours, |it| it.rate), median(theirs, |it| it.rate))
}

fn cpus(ours: &[Run], theirs: &[Run]) -> String {
    let of = |it: &Run| it.cpu_us_a_message;
    format!("{:.1} and {:.1} µs", median(ours, of), median(theirs, of))
}

fn megabytes(run: &Run) -> f64 {
    run.memory_peak_bytes as f64 / MB
}

fn told(round: usize, rounds: usize, run: &Run) -> String {
    let name = run.contestant;
    let figures = match run.latency_us {
        Some(it) => format!("p50 {:.2} ms, p99 {:.2} ms", it.p50 / 1e3, it.p99 / 1e3),
        None => format!("{:.0} messages / s", run.rate),
    };
    let mut text = format!("{round}/{rounds} {name}: {figures}, {:.1} µs CPU", run.cpu_us_a_message);
    if run.disturbance.is_much() {
        text.push_str(&format!(", disturbed: others {:.0} %", run.disturbance.others * 100.0));
    }
    text
}
