//! One storm, from the first broker to the verdict.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::clients::{Commits, Letters, Producer, Topics};
use crate::cluster::{BROKERS, Cluster, Ports};
use crate::faults::{DEAD_PARTITIONS, Stage};
use crate::history::{FaultKind, Micros};
use crate::hosts::{DEAD_TOPIC, GROUP, Host, TOPIC};
use crate::journal::{self, Journal};
use crate::plan::{Field, Step, plan};
use crate::random::Random;
use crate::report::Report;
use crate::service::{Services, Told};

const PARTITIONS: i32 = 12;
const KEYS: u64 = 500;
/// Messages that may wait for their outcome: what is produced beyond waits for hosts to come.
const AHEAD: u64 = 2_000;

#[derive(Clone, Debug)]
pub struct Settings {
    pub messages: u64,
    pub faults: usize,
    pub seed: u64,
    pub hosts: u16,
    /// Messages a second, at most.
    pub rate: u64,
    pub kinds: Vec<FaultKind>,
    /// Between two faults. Longer than the slack on both sides, no fault excuses what another did.
    pub rest: Duration,
    /// Without an outcome for so long, it is over.
    pub settle: Duration,
    pub kafka_dir: PathBuf,
    pub drover: PathBuf,
    pub port: u16,
}

/// What the storm's own threads need.
struct Watchers {
    letters: Arc<Letters>,
    commits: Arc<Commits>,
    threads: Vec<JoinHandle<()>>,
    producing: JoinHandle<anyhow::Result<()>>,
    /// How many messages may have been produced by now.
    allowed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Settings {
    pub fn home(&self) -> PathBuf {
        self.kafka_dir.join("run")
    }

    pub fn history(&self) -> PathBuf {
        self.home().join("history")
    }

    pub fn plan(&self) -> Vec<Step> {
        let field =
            Field { messages: self.messages, hosts: self.hosts, brokers: BROKERS, kinds: self.kinds.clone() };
        plan(self.seed, &field, self.faults)
    }
}

/// Runs it; `say` is given a line now and then.
///
/// # Errors
/// It could not begin. What breaks it off later is said, and the report has not settled.
pub async fn run(settings: &Settings, say: fn(&str)) -> anyhow::Result<Report> {
    let (home, ports) = (settings.home(), Ports(settings.port));
    say("starting three brokers");
    let (dir, started, hosts) = (settings.kafka_dir.clone(), home.clone(), settings.hosts + 1);
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&dir, &started, ports, hosts)).await??;
    let cluster = Arc::new(cluster);
    let journal = Arc::new(Journal::create(&settings.history())?);
    let services = Services::new(Arc::clone(&journal), settings.seed);
    let topics = Topics::new(&cluster.bootstrap())?;
    make(&topics).await?;
    let mut hosts = Vec::new();
    for number in 0..=settings.hosts {
        hosts.push(Host::new(&settings.drover, &home, ports, number, &services).await?);
    }
    say("starting hosts");
    for host in &mut hosts[..usize::from(settings.hosts)] {
        host.start()?;
    }
    for host in &mut hosts[..usize::from(settings.hosts)] {
        host.until_ready().await?;
    }
    let watchers = watch(settings, &cluster.bootstrap(), &journal)?;
    let letters = Arc::clone(&watchers.letters);
    let mut stage = Stage {
        cluster,
        hosts,
        topics,
        letters,
        services: Arc::clone(&services),
        journal: Arc::clone(&journal),
        version: 0,
    };
    let done = go(settings, &mut stage, &watchers, say).await;
    let settled = match done {
        Ok(()) => {
            let settled = settle(settings, &mut stage, &watchers, say).await;
            leave(&mut stage, say).await;
            settled
        }
        Err(error) => {
            say(&format!("broken off: {error:#}"));
            false
        }
    };
    watchers.end();
    journal.end(settled)?;
    if services.strange() > 0 {
        say(&format!("{} requests were none of the storm's messages", services.strange()));
    }
    let counts = journal.counts();
    say(&format!("checking {} messages, {} attempts", counts.produced, counts.attempts));
    check(&settings.history())
}

/// Of a history that was written, now or earlier.
pub fn check(history: &Path) -> anyhow::Result<Report> {
    Ok(Report::of(&journal::read(history)?, crate::explain::Slack::default()))
}

/// The brokers' ports answer before they can make topics.
async fn make(topics: &Topics) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    for (topic, partitions) in [(TOPIC, PARTITIONS), (DEAD_TOPIC, DEAD_PARTITIONS)] {
        while let Err(error) = topics.make(topic, partitions).await {
            if until < Instant::now() {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    Ok(())
}

fn watch(settings: &Settings, bootstrap: &str, journal: &Arc<Journal>) -> anyhow::Result<Watchers> {
    let letters = Arc::new(Letters {
        bootstrap: bootstrap.to_owned(),
        topic: DEAD_TOPIC.to_owned(),
        journal: Arc::clone(journal),
        epoch: AtomicU64::new(0),
        read: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let commits = Arc::new(Commits {
        bootstrap: bootstrap.to_owned(),
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        partitions: PARTITIONS,
        journal: Arc::clone(journal),
        stop: AtomicBool::new(false),
        total: AtomicU64::new(0),
    });
    let (reading, asking) = (Arc::clone(&letters), Arc::clone(&commits));
    let threads = vec![
        std::thread::spawn(move || reading.run()),
        // Its only error is a client that cannot be made, which the others have shown it can.
        std::thread::spawn(move || drop(asking.run())),
    ];
    let allowed = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let producer = Producer::new(bootstrap, TOPIC, Arc::clone(journal))?;
    let (may, ends, journal) = (Arc::clone(&allowed), Arc::clone(&stop), Arc::clone(journal));
    let (messages, rate, seed) = (settings.messages, settings.rate, settings.seed);
    let producing = std::thread::spawn(move || {
        let mut random = Random::new(seed);
        let mut seqs = vec![0; KEYS as usize];
        let mut sent = 0;
        while sent < messages && !ends.load(Ordering::Relaxed) {
            let most = may.load(Ordering::Acquire).min(journal.counts().done + AHEAD).min(messages);
            let batch = most.saturating_sub(sent).min(rate.div_ceil(100));
            for _ in 0..batch {
                let key = random.below(KEYS) as usize;
                let told = Told { id: sent, key: key as u32, seq: seqs[key] };
                if !producer.send(told)? {
                    break;
                }
                seqs[key] += 1;
                sent += 1;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        producer.flush()
    });
    Ok(Watchers { letters, commits, threads, producing, allowed, stop })
}

impl Watchers {
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.letters.stop.store(true, Ordering::Relaxed);
        self.commits.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// The plan, step by step, and all messages.
async fn go(
    settings: &Settings,
    stage: &mut Stage,
    watchers: &Watchers,
    say: fn(&str),
) -> anyhow::Result<()> {
    let steps = settings.plan();
    for (number, step) in steps.iter().enumerate() {
        let next = steps.get(number + 1).map_or(settings.messages, |it| it.after);
        // Some beyond the next one, so that it finds work however long this one lasts.
        watchers.allowed.store(next.max(step.after) + AHEAD / 2, Ordering::Release);
        let rested = Instant::now() + if number == 0 { Duration::ZERO } else { settings.rest };
        let mut stall = Stall::new(stage.journal.counts().done);
        while stage.journal.counts().done < step.after || Instant::now() < rested {
            alive(stage)?;
            let counts = stage.journal.counts();
            if step.after <= counts.done {
                stall = Stall::new(counts.done);
            }
            anyhow::ensure!(stall.moves(counts.done, settings.settle), "nothing moves before the next fault");
            progress(stage, say, "");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        say(&format!(
            "fault {} of {}: {} {:?}, {} ms",
            number + 1,
            steps.len(),
            step.kind.name(),
            step.target,
            step.lasts_ms
        ));
        let journal = Arc::clone(&stage.journal);
        let broken = stage.carry_out(step);
        tokio::pin!(broken);
        loop {
            tokio::select! {
                done = &mut broken => break done?,
                () = tokio::time::sleep(Duration::from_millis(500)) => tell(&journal, say, step.kind.name()),
            }
        }
    }
    watchers.allowed.store(settings.messages, Ordering::Release);
    Ok(())
}

/// A host that ends by itself is a finding of its own.
fn alive(stage: &mut Stage) -> anyhow::Result<()> {
    for (number, host) in stage.hosts.iter_mut().enumerate() {
        if let Some(status) = host.ended() {
            anyhow::bail!("host {number} ended by itself: {status}");
        }
    }
    Ok(())
}

/// Whether something moves.
struct Stall {
    done: u64,
    since: Instant,
}

impl Stall {
    fn new(done: u64) -> Self {
        Self { done, since: Instant::now() }
    }

    fn moves(&mut self, done: u64, patience: Duration) -> bool {
        if self.done != done {
            *self = Self::new(done);
        }
        self.since.elapsed() < patience
    }
}

/// Waits until all have an outcome and all is committed, or nothing moves any more. True when it was waited for.
async fn settle(settings: &Settings, stage: &mut Stage, watchers: &Watchers, say: fn(&str)) -> bool {
    let mut stall = Stall::new(0);
    loop {
        let (counts, committed) = (stage.journal.counts(), watchers.commits.total.load(Ordering::Relaxed));
        let all = watchers.producing.is_finished();
        if all && counts.waiting() == 0 && counts.produced <= committed {
            return true;
        }
        if !stall.moves(counts.done + counts.produced + committed, settings.settle) {
            let uncommitted = counts.produced.saturating_sub(committed);
            say(&format!(
                "nothing moves any more: {} without outcome, {uncommitted} not committed",
                counts.waiting()
            ));
            return all;
        }
        if let Err(error) = alive(stage) {
            say(&format!("{error:#}"));
            return false;
        }
        progress(stage, say, "settling");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn leave(stage: &mut Stage, say: fn(&str)) {
    let last = stage.hosts.len() - 1;
    for host in &mut stage.hosts[..last] {
        match host.stop().await {
            Ok(status) if status.success() => {}
            Ok(status) => say(&format!("a host ended with {status}")),
            Err(error) => say(&format!("{error:#}")),
        }
    }
}

fn progress(stage: &Stage, say: fn(&str), doing: &str) {
    tell(&stage.journal, say, doing);
}

/// About once a second, however often it is asked to.
fn tell(journal: &Journal, say: fn(&str), doing: &str) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now: Micros = journal.now();
    if now < LAST.load(Ordering::Relaxed) + 1_000_000 {
        return;
    }
    LAST.store(now, Ordering::Relaxed);
    let it = journal.counts();
    say(&format!(
        "{:>4} s  produced {}  done {}  waiting {}  dead {}  attempts {}  {doing}",
        now / 1_000_000,
        it.produced,
        it.done,
        it.waiting(),
        it.dead,
        it.attempts
    ));
}

/// Leaves the report beside the history.
pub fn leave_report(report: &Report, home: &Path) -> anyhow::Result<()> {
    std::fs::write(home.join("report.md"), report.markdown()).context("writing report.md")?;
    std::fs::write(home.join("report.json"), format!("{:#}\n", report.json())).context("writing report.json")
}
