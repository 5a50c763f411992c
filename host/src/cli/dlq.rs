//! `drover dlq`: a group's dead letters, by Kafka alone: no host needs to run, no group is joined.

use std::io::{IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::runtime::{Handle, Runtime};

use super::dlq_table as table;
use crate::clock;
use crate::config::{self, Disk, Group};
use crate::dlq::reentry::Reader;
use crate::dlq::{
    Before, Dlq, Headline, Letter, Place, Redrive, Redriven, Selection, WHOLE, Way, Wish, letter_place,
    reentry,
};
use crate::domain::dead::Filter;
use crate::kafka::producer::ProducerSettings;
use crate::kafka::topics::Topics;
use crate::outbox::Outbox;
use crate::outbox::rungs::Rungs;
use crate::shard::live;
use crate::telemetry;

/// List, look at, send again and delete a group's dead letters.
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List dead letters, partition by partition.
    #[command(after_help = "\
Examples:
  drover dlq ls --config config/drover.yaml --group drover
  drover dlq ls --command order_paid --reason 'status 500' --from 2h
  drover dlq ls --json --limit 1000000 | jq -r .code | sort | uniq -c")]
    Ls(Ls),
    /// Show one dead letter: its headers, key and value.
    #[command(after_help = "\
Examples:
  drover dlq show 0:17
  drover dlq show 0:17 --group drover --whole --json | jq -r .value.text")]
    Show(Show),
    /// Delete dead letters from the front of their partitions. Says what would go; `--yes` deletes it.
    #[command(after_help = "\
Kafka deletes only from the front of a partition. With a filter, all that stands before the end has to agree with it;
otherwise nothing is deleted, and it says what stands in the way.

Examples:
  drover dlq purge --before 7d
  drover dlq purge --partition 0 --before 1200 --yes
  drover dlq purge --before all --command order_paid --yes")]
    Purge(Purge),
    /// Send dead letters again, to their own group only. Says what would be sent; `--yes` sends it.
    #[command(after_help = "\
Letters stay where they are: who runs it again sends them again. It says for each partition how far it came; go on there
by --partition and --from-offset.

Examples:
  drover dlq redrive --letter 0:17
  drover dlq redrive --command order_paid --from 2h --yes
  drover dlq redrive --all --rate 20 --yes")]
    Redrive(Again),
}

#[derive(Args, Debug)]
struct Common {
    /// The main file.
    #[arg(long, value_name = "PATH", default_value = "config/drover.yaml")]
    config: PathBuf,
    /// The consumer group; may be left out where the file has one only.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// JSON, a line for each thing.
    #[arg(long)]
    json: bool,
    /// Time for reading, in s.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    within: u64,
}

/// Those that agree with everything that is given.
#[derive(Args, Debug, Default)]
struct Which {
    /// Of this app.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Of this command.
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
    /// With this code: unreadable, unmatched, expired, attempts, or a plugin's own.
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// That ended at this stage: decode, route, handle, select, send, judge, settle.
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// Whose reason, or first reason, contains this.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// With this key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// With this log id.
    #[arg(long, value_name = "ID")]
    log_id: Option<String>,
    /// That ended since: `2026-01-31T12:00:00Z`, ms since 1970, or how long ago (90s, 30m, 2h, 7d).
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// That ended before.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// That came from this topic.
    #[arg(long, value_name = "TOPIC")]
    origin_topic: Option<String>,
    /// That came from this partition.
    #[arg(long, value_name = "NUMBER")]
    origin_partition: Option<i32>,
    /// In this partition of the dead-letter topic.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
    /// From this offset of the dead-letter topic on.
    #[arg(long, value_name = "OFFSET")]
    from_offset: Option<i64>,
    /// Up to this offset of the dead-letter topic, which counts.
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<i64>,
}

#[derive(Args, Debug)]
struct Ls {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    which: Which,
    /// Letters that are shown; the rest is counted.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u64,
}

#[derive(Args, Debug)]
struct Show {
    /// Partition and offset, as `ls` shows them.
    #[arg(value_name = "PARTITION:OFFSET")]
    letter: String,
    #[command(flatten)]
    common: Common,
    /// The whole value, not its first 4 KiB.
    #[arg(long)]
    whole: bool,
}

#[derive(Args, Debug)]
struct Purge {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    which: Which,
    /// Up to where: an offset (which stays), a time (what ended before it), or `all` that is there now.
    #[arg(long, value_name = "OFFSET|TIME|all")]
    before: String,
    /// Take along what is no dead letter of this group.
    #[arg(long)]
    others: bool,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

#[derive(Args, Debug)]
struct Again {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    which: Which,
    /// This one, as `ls` shows it.
    #[arg(long, value_name = "PARTITION:OFFSET")]
    letter: Option<String>,
    /// All of the group.
    #[arg(long)]
    all: bool,
    /// Letters a second.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Leave those that were sent again so often.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    max_redrives: u32,
    /// Letters at most.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// Of a value that is not shown whole, in bytes.
const SHOWN_BYTES: usize = 4 << 10;
/// Between two lines about a redrive that goes on.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

impl DlqArgs {
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        telemetry::start_quiet();
        match self.what {
            What::Ls(it) => it.run(out),
            What::Show(it) => it.run(out),
            What::Purge(it) => it.run(out),
            What::Redrive(it) => it.run(out),
        }
    }
}

/// What every part of this works on.
struct Tools {
    dlq: Dlq,
    place: Place,
    reader: Reader,
    client: crate::kafka::ClientSettings,
    within: Duration,
    json: bool,
}

impl Common {
    fn tools(&self) -> anyhow::Result<Tools> {
        let config = config::load_main(&Disk, &self.config).map_err(|it| {
            let all: Vec<String> = it.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{}", all.join("\n"))
        })?;
        let names = || config.groups.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
        let path = self.config.display();
        let group: &Group = match (&self.group, &config.groups[..]) {
            (Some(name), all) => all
                .iter()
                .find(|it| it.name.as_str() == name)
                .ok_or_else(|| anyhow::anyhow!("{path} has no group {name}; it has: {}", names()))?,
            (None, [one]) => one,
            (None, []) => anyhow::bail!("{path} has no group"),
            (None, _) => anyhow::bail!("{path} has several groups: say which by --group: {}", names()),
        };
        let place = Place { group: group.name.to_string(), topic: group.dead_topic() };
        let client = config.client();
        let within = Duration::from_secs(self.within);
        let live::Ladder { replication, create } = group.ladder_policy();
        let topics = group.topics.iter().map(ToString::to_string).collect();
        let reader = Reader { topics, replication, create };
        Ok(Tools { dlq: Dlq::new(&client)?, place, reader, client, within, json: self.json })
    }
}

impl Tools {
    /// How letters of this group are sent again.
    fn way(&self, outbox: Outbox, runtime: &Handle) -> anyhow::Result<Way> {
        let rungs = Rungs::start(Topics::new(&self.client)?, outbox.clone())?;
        let (name, reader) = (self.place.group.clone(), self.reader.clone());
        let readers = Box::new(move |group: &str| (group == name).then(|| reader.clone()));
        let re_entry = Arc::new(reentry::Ladder { rungs, runtime: runtime.clone(), readers });
        Ok(Way { outbox, re_entry, runtime: runtime.clone() })
    }
}

impl Which {
    fn selection(self) -> Selection {
        Selection {
            app: self.app,
            command: self.command,
            code: self.code,
            stage: self.stage,
            reason: self.reason,
            key: self.key,
            log_id: self.log_id,
            from: self.from,
            to: self.to,
            origin_topic: self.origin_topic,
            origin_partition: self.origin_partition,
            partition: self.partition,
            from_offset: self.from_offset,
            to_offset: self.to_offset,
            letter: None,
        }
    }

    fn filter(self) -> anyhow::Result<Filter> {
        Ok(self.selection().filter(clock::now_ms())?)
    }
}

impl Ls {
    fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let tools = self.common.tools()?;
        let filter = self.which.filter()?;
        if !tools.json {
            table::head(out)?;
        }
        let listing = tools.dlq.list((&tools.place, &filter), self.limit, tools.within, |it| {
            if tools.json {
                json_line(out, &Headline::of(it))?;
            } else {
                table::row(out, it)?;
            }
            Ok(())
        })?;
        if tools.json {
            // Lines are letters and nothing else: what was left out is said beside them.
            if 0 < listing.more {
                aside(&format!("{} more; raise --limit", listing.more));
            }
        } else {
            table::foot(out, &tools.place, &listing)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let letter = letter_place(&self.letter)?;
        let tools = self.common.tools()?;
        let found = tools.dlq.show(&tools.place, letter, tools.within)?;
        let shown = Letter::of(&found, if self.whole { WHOLE } else { SHOWN_BYTES });
        if tools.json {
            json_line(out, &shown)?;
        } else {
            table::letter(out, &shown)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Purge {
    fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let before = Before::parse(&self.before, clock::now_ms())?;
        let wish = Wish { filter: self.which.filter()?, before, others: self.others };
        let tools = self.common.tools()?;
        let cuts = tools.dlq.plan_purge(&tools.place, &wish, tools.within)?;
        let purged = match self.yes {
            true => runtime()?.block_on(tools.dlq.purge(&tools.place, &cuts))?,
            false => Vec::new(),
        };
        if tools.json {
            let (group, topic) = (&tools.place.group, &tools.place.topic);
            let answer = json!({ "group": group, "topic": topic, "dry-run": !self.yes, "partitions": cuts, "purged": purged });
            json_line(out, &answer)?;
        } else {
            table::purge(out, &tools.place, &cuts, self.yes.then_some(&purged[..]))?;
        }
        Ok(code(purged.iter().all(|it| it.error.is_none())))
    }
}

impl Again {
    fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let selection = Selection { letter: self.letter, ..self.which.selection() };
        let filter = selection.filter(clock::now_ms())?;
        anyhow::ensure!(
            self.all || !filter.is_all(),
            "say which letters: one by --letter, those of a filter, or --all of the group"
        );
        anyhow::ensure!(!self.all || filter.is_all(), "--all and a filter: leave one of them out");
        let tools = self.common.tools()?;
        let (rate, max_redrives, limit) = (self.rate, self.max_redrives, self.limit);
        let wish = Redrive { filter, rate, max_redrives, limit };
        let report = if self.yes {
            let runtime = runtime()?;
            let outbox = Outbox::start(&tools.client, &ProducerSettings::default())?;
            let way = tools.way(outbox, runtime.handle())?;
            let mut progress = Progress::new(&runtime);
            let mut watch = |it: &Redriven| progress.show(it);
            tools.dlq.redrive((&tools.place, &wish), Some(&way), tools.within, &mut watch)?
        } else {
            let mut watch = |_: &Redriven| ControlFlow::Continue(());
            tools.dlq.redrive((&tools.place, &wish), None, tools.within, &mut watch)?
        };
        if tools.json {
            let (group, topic) = (&tools.place.group, &tools.place.topic);
            let answer = json!({ "group": group, "topic": topic, "dry-run": !self.yes, "redriven": report });
            json_line(out, &answer)?;
        } else {
            table::redrive(out, &tools.place, &wish, &report, self.yes)?;
        }
        let is_stopped = report.stopped.is_some() && wish.limit != Some(report.letters);
        Ok(code(!is_stopped && report.looped.letters + report.cut.letters == 0))
    }
}

/// Shows a redrive that goes on, and ends it at a signal.
struct Progress {
    told: Arc<AtomicBool>,
    next: Instant,
}

impl Progress {
    fn new(runtime: &Runtime) -> Self {
        let told = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&told);
        runtime.spawn(async move {
            if super::until_signal().await.is_ok() {
                flag.store(true, Ordering::Relaxed);
            }
        });
        Self { told, next: Instant::now() + PROGRESS_EVERY }
    }

    fn show(&mut self, report: &Redriven) -> ControlFlow<()> {
        if self.next <= Instant::now() {
            self.next = Instant::now() + PROGRESS_EVERY;
            let last = report.partitions.iter().next_back();
            let at =
                last.map(|(partition, it)| format!(", up to {partition}:{}", it.last)).unwrap_or_default();
            aside(&format!("{} sent{at}", report.letters));
        }
        if self.told.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// A line for a person, beside what the command was asked for.
fn aside(line: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // Nobody is served by an error about a closed terminal.
        let _ = writeln!(terminal, "{line}");
    }
}

fn json_line(out: &mut dyn Write, it: &impl serde::Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(it)?;
    line.push(b'\n');
    out.write_all(&line)
}

fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}
