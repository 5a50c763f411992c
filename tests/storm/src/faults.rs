//! Carries out the plan: breaks, waits, mends, and writes down what hit whom.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::Signal;

use crate::clients::{Letters, Topics};
use crate::cluster::Cluster;
use crate::history::{Event, Fault, FaultKind, Target};
use crate::hosts::{DEAD_TOPIC, Host};
use crate::journal::Journal;
use crate::plan::Step;
use crate::proxy::{Net, WELL};
use crate::service::{Mood, Services};

pub const DEAD_PARTITIONS: i32 = 3;

/// Until work is in flight; without any the fault is done all the same and does not count.
const WAIT_FOR_WORK: Duration = Duration::from_secs(5);

/// All that can be broken.
pub struct Stage {
    pub cluster: Arc<Cluster>,
    /// The last one is the further host, which runs only in a rebalance.
    pub hosts: Vec<Host>,
    pub services: Arc<Services>,
    pub topics: Topics,
    pub letters: Arc<Letters>,
    pub journal: Arc<Journal>,
    /// Counts reloads and uploads, so that each differs.
    pub version: u64,
}

impl Stage {
    pub async fn carry_out(&mut self, step: &Step) -> anyhow::Result<()> {
        let until = Instant::now() + WAIT_FOR_WORK;
        let mut in_flight = self.journal.counts().waiting();
        while in_flight == 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
            in_flight = self.journal.counts().waiting();
        }
        let from = self.journal.now();
        let lasts = Duration::from_millis(step.lasts_ms);
        self.break_and_mend(step, lasts).await.with_context(|| format!("{} failed", step.kind.name()))?;
        let (kind, target, until) = (step.kind, step.target, self.journal.now());
        self.journal.record(&Event::Fault(Fault { kind, target, from, until, in_flight }));
        Ok(())
    }

    async fn break_and_mend(&mut self, step: &Step, lasts: Duration) -> anyhow::Result<()> {
        match (step.kind, step.target) {
            (FaultKind::Rebalance, _) => self.rebalance(lasts).await,
            (FaultKind::Reload, _) => {
                self.version += 1;
                for host in 0..self.hosts.len() - 1 {
                    // It may have just been started again.
                    self.hosts[host].until_ready().await?;
                    self.hosts[host].reload(self.version).await?;
                }
                Ok(())
            }
            (FaultKind::PluginSwap, _) => {
                self.version += 1;
                self.hosts[0].until_ready().await?;
                self.hosts[0].swap(self.version).await
            }
            (FaultKind::DeadTopicGone, _) => self.without_dead_topic(lasts).await,
            (FaultKind::DeadTopicReadOnly, _) => self.with_too_few_replicas(lasts).await,
            (FaultKind::ServiceFails, _) => self.in_mood(Mood::Fails, lasts).await,
            (FaultKind::ServiceHangs, _) => self.in_mood(Mood::Hangs, lasts).await,
            (FaultKind::ServiceSlow, _) => self.in_mood(Mood::Slow, lasts).await,
            (FaultKind::ServiceResets, _) => self.in_mood(Mood::Resets, lasts).await,
            (kind, Target::Host(host)) => {
                let host = self.hosts.get_mut(usize::from(host)).context("no such host")?;
                of_host(host, kind, step.lasts_ms).await
            }
            (FaultKind::BrokerStop, Target::Broker(broker)) => {
                self.cluster.signal(broker, Signal::STOP)?;
                tokio::time::sleep(lasts).await;
                self.cluster.signal(broker, Signal::CONT)
            }
            (_, Target::Broker(broker)) => {
                self.cluster.signal(broker, Signal::KILL)?;
                tokio::time::sleep(lasts).await;
                self.restart(broker).await
            }
            (_, Target::All) => anyhow::bail!("this fault needs a target"),
        }
    }

    async fn restart(&self, broker: u16) -> anyhow::Result<()> {
        let cluster = Arc::clone(&self.cluster);
        tokio::task::spawn_blocking(move || cluster.restart(broker)).await?
    }

    async fn in_mood(&self, mood: Mood, lasts: Duration) -> anyhow::Result<()> {
        self.services.set(mood);
        tokio::time::sleep(lasts).await;
        self.services.set(Mood::Well);
        Ok(())
    }

    /// The further host comes, works, and goes as an operator has it go.
    async fn rebalance(&mut self, lasts: Duration) -> anyhow::Result<()> {
        let host = self.hosts.last_mut().context("no further host")?;
        host.start()?;
        host.until_ready().await?;
        tokio::time::sleep(lasts).await;
        let status = host.stop().await?;
        anyhow::ensure!(status.success(), "the further host ended with {status}");
        Ok(())
    }

    /// Deletes the topic when all its letters are read, and makes it anew.
    async fn without_dead_topic(&self, lasts: Duration) -> anyhow::Result<()> {
        // From here on it takes nothing more: no letter goes with it that nobody has read.
        self.topics.set(DEAD_TOPIC, "max.message.bytes", "1").await?;
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let held = tokio::task::block_in_place(|| self.topics.count(DEAD_TOPIC, DEAD_PARTITIONS))?;
            if held == self.letters.read.load(Ordering::Acquire) {
                break;
            }
            anyhow::ensure!(Instant::now() < until, "the dead letters cannot be read to their end");
        }
        self.topics.delete(DEAD_TOPIC).await?;
        tokio::time::sleep(lasts).await;
        // Brokers take a moment to forget it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.topics.make(DEAD_TOPIC, DEAD_PARTITIONS).await?;
        self.letters.epoch.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// All three replicas have to have a letter, and one broker is told to go: who goes in order leaves the set of
    /// those in sync at once.
    async fn with_too_few_replicas(&mut self, lasts: Duration) -> anyhow::Result<()> {
        self.version += 1;
        let broker = (self.version % 3) as u16;
        self.topics.set(DEAD_TOPIC, "min.insync.replicas", "3").await?;
        self.cluster.signal(broker, Signal::TERM)?;
        tokio::time::sleep(lasts).await;
        // It may not have ended yet, and then holds its port and its files.
        self.cluster.signal(broker, Signal::KILL).ok();
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.restart(broker).await?;
        self.topics.set(DEAD_TOPIC, "min.insync.replicas", "2").await
    }
}

/// One host, and what is between it and others.
async fn of_host(host: &mut Host, kind: FaultKind, lasts_ms: u64) -> anyhow::Result<()> {
    let lasts = Duration::from_millis(lasts_ms);
    let cut = if lasts_ms.is_multiple_of(2) { Net::Silent } else { Net::Reset };
    let delay = Net::Up(Duration::from_millis(50 + lasts_ms % 150));
    match kind {
        FaultKind::HostKill => {
            host.kill().await?;
            tokio::time::sleep(lasts).await;
            host.start()?;
        }
        FaultKind::HostStop => {
            host.signal(Signal::STOP)?;
            tokio::time::sleep(lasts).await;
            host.signal(Signal::CONT)?;
        }
        FaultKind::KafkaCut | FaultKind::KafkaDelay => {
            host.to_kafka(if kind == FaultKind::KafkaCut { cut } else { delay });
            tokio::time::sleep(lasts).await;
            host.to_kafka(WELL);
        }
        FaultKind::ServiceCut | FaultKind::ServiceDelay => {
            host.to_services(if kind == FaultKind::ServiceCut { cut } else { delay });
            tokio::time::sleep(lasts).await;
            host.to_services(WELL);
        }
        other => anyhow::bail!("{} is nothing that is done to a host", other.name()),
    }
    Ok(())
}
