//! The one task that changes what runs: it follows the ledger and the files, builds and publishes. Uploads
//! and reloads are asked of it by values; nobody else writes the `watch` that shards read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::build::{self, Compiled, Desired};
use super::groups::{Groups, Roster};
use super::ledger::Followed;
use super::side_topics::{self, SideTopic};
use super::{UploadError, Uploaded};
use crate::clock;
use crate::domain::plugin::KnownPlugin;
use crate::failpoint;
use crate::kafka::reader::Read;
use crate::kafka::topics::Topics;
use crate::plugin::Engine;
use crate::shard::live::Live;
use crate::upstream::Directory;

/// Reads the operator's files: all of it, or every problem. Called off the runtime's workers.
pub type Source = Arc<dyn Fn(&[KnownPlugin]) -> Result<Desired, Vec<String>> + Send + Sync>;

pub enum Ask {
    Reload(oneshot::Sender<Result<u64, Vec<String>>>),
    /// Answered when this digest is active under this name, as read back from the control topic.
    Await {
        name: String,
        digest: String,
        answer: oneshot::Sender<Result<Uploaded, UploadError>>,
    },
}

type Answer = oneshot::Sender<Result<Uploaded, UploadError>>;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the keeper is made of.
pub struct KeeperParts {
    pub engine: Engine,
    pub source: Source,
    pub desired: Desired,
    /// Of its files, taken when they had just been read: what changes from then on is seen.
    pub marks: Marks,
    pub roster: Roster,
    pub groups: Arc<Groups>,
    pub topics: Topics,
    pub compiled: Arc<std::sync::Mutex<Compiled>>,
    pub followed: Followed,
    pub live: watch::Sender<Arc<Live>>,
    pub directory: Directory,
    pub asked: mpsc::Receiver<Ask>,
}

pub struct Keeper {
    parts: KeeperParts,
    /// Uploads by name and digest, until they are read back.
    waiting: HashMap<(String, String), Vec<Answer>>,
}

impl Keeper {
    pub fn new(parts: KeeperParts) -> Self {
        Self { parts, waiting: HashMap::new() }
    }

    /// Until the last handle is gone.
    pub async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                ask = self.parts.asked.recv() => match ask {
                    Some(ask) => self.answer(ask).await,
                    None => return,
                },
                news = self.parts.followed.news.recv() => {
                    if let Some(Read::Record { key, value, .. }) = news
                        && self.parts.followed.ledger.apply(&key, value.as_ref())
                    {
                        self.follow(&key);
                    }
                }
                _ = look.tick() => {
                    let now = marks_of(&self.parts.desired.files);
                    if now != self.parts.marks {
                        self.parts.marks = now;
                        self.reload_by_watch().await;
                    }
                }
            }
        }
    }

    async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Reload(answer) => {
                let reloaded = self.reload().await;
                // Whoever asked may have gone.
                let _ = answer.send(reloaded);
            }
            Ask::Await { name, digest, answer } => {
                let active =
                    self.parts.followed.ledger.active().any(|it| it.0 == name && it.1.digest == digest);
                self.waiting.entry((name.clone(), digest)).or_default().push(answer);
                if active {
                    self.tell(&name);
                }
            }
        }
    }

    /// An activation was read: it runs from now on, or what ran goes on and the log says why.
    fn follow(&mut self, key: &[u8]) {
        let name = String::from_utf8_lossy(key).trim_start_matches("active/").to_owned();
        match self.publish() {
            Ok(generation) => tracing::info!(plugin = name, generation, "activated"),
            Err(problems) => {
                let problems = problems.join("; ");
                tracing::error!(
                    plugin = name,
                    problems,
                    "an activation cannot be followed: the last version goes on"
                );
            }
        }
        self.tell(&name);
    }

    /// Builds from the files and the ledger as they are, and publishes.
    fn publish(&mut self) -> Result<u64, Vec<String>> {
        let live = self.build(&self.parts.desired, &self.parts.roster)?;
        Ok(self.run_from_now_on(live))
    }

    fn build(&self, desired: &Desired, roster: &Roster) -> Result<Live, Vec<String>> {
        let KeeperParts { engine, live, compiled, followed, .. } = &self.parts;
        let generation = live.borrow().generation + 1;
        let mut compiled = compiled.lock().unwrap_or_else(|it| it.into_inner());
        build::live(engine, &mut compiled, (desired, &roster.policies), &followed.ledger, generation)
    }

    fn run_from_now_on(&mut self, live: Live) -> u64 {
        let generation = live.generation;
        self.parts.directory.apply(&self.parts.desired.apps, clock::monotonic_ms());
        self.parts.compiled.lock().unwrap_or_else(|it| it.into_inner()).keep(&live);
        self.parts.live.send_replace(Arc::new(live));
        failpoint::reached("swap");
        generation
    }

    async fn reload_by_watch(&mut self) {
        match self.reload().await {
            Ok(generation) => tracing::info!(generation, "the files changed: reloaded"),
            Err(problems) => {
                tracing::error!(
                    "the files changed, but are refused; what runs goes on:\n{}",
                    problems.join("\n")
                );
            }
        }
    }

    /// All of the new, or all of the old (S173): whatever may fail is done before anything takes effect.
    async fn reload(&mut self) -> Result<u64, Vec<String>> {
        let (source, known) = (Arc::clone(&self.parts.source), self.known());
        let loaded = tokio::task::spawn_blocking(move || source(&known)).await;
        let new = loaded.map_err(|it| vec![format!("reading the files: {it}")])??;
        // Kept whatever becomes of the rest: where that is refused, a change of these files is what mends it.
        self.parts.desired.files.clone_from(&new.files);
        let old = &self.parts.desired;
        let fixed = new.fixed.iter().zip(&old.fixed).find(|(new, old)| new != old);
        if let Some(((key, _), _)) = fixed {
            return Err(vec![format!(
                "`{key}` cannot change while drover runs, so nothing was changed: restart it, or write what it was"
            )]);
        }
        let Some((roster, change)) = self.parts.roster.follow(&new.groups) else {
            let text = "groups were joined anew so often that their numbers have run out: restart drover";
            return Err(vec![text.to_owned()]);
        };
        let live = self.build(&new, &roster)?;
        self.make_side_topics(&new).await?;
        let roof = new.roof.as_ref().map(|it| it.prepare()).transpose().map_err(|it| vec![it])?;
        let groups = Arc::clone(&self.parts.groups);
        // Those that are left go first: the new rules are not for what they read.
        let left = tokio::task::spawn_blocking(move || {
            groups.leave(&change);
            change
        });
        let change = left.await.map_err(|it| vec![format!("leaving groups: {it}")])?;
        (self.parts.desired, self.parts.roster) = (new, roster);
        let generation = self.run_from_now_on(live);
        if let Some(change) = roof {
            change();
        }
        let groups = Arc::clone(&self.parts.groups);
        let joined = tokio::task::spawn_blocking(move || groups.join(change)).await;
        joined
            .map_err(|it| vec![format!("joining groups: {it}")])?
            .map_err(|it| vec![format!("a group cannot be joined, this host ends: {it}")])?;
        Ok(generation)
    }

    /// Of those that are new; the others were there when they were wanted first.
    async fn make_side_topics(&self, new: &Desired) -> Result<(), Vec<String>> {
        let had = &self.parts.desired.side_topics;
        let missing: Vec<SideTopic> =
            new.side_topics.iter().filter(|it| !had.contains(it)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let topics = self.parts.topics.clone();
        let runtime = tokio::runtime::Handle::current();
        let made =
            tokio::task::spawn_blocking(move || runtime.block_on(side_topics::make(&topics, &missing))).await;
        made.map_err(|it| vec![format!("making topics: {it}")])?.map_err(|it| vec![it])
    }

    /// Uploaded plugins, for the files to name.
    fn known(&self) -> Vec<KnownPlugin> {
        self.parts
            .followed
            .ledger
            .active()
            .map(|(name, _)| KnownPlugin { name: name.into(), kind: None })
            .collect()
    }

    /// Answers those who wait for what is active under the name now.
    fn tell(&mut self, name: &str) {
        let Some((_, active)) = self.parts.followed.ledger.active().find(|it| it.0 == name) else { return };
        let digest = active.digest.clone();
        let Some(waiting) = self.waiting.remove(&(name.to_owned(), digest.clone())) else { return };
        let live = Arc::clone(&self.parts.live.borrow());
        let runs = live.plugins.get(name).filter(|it| it.digest == digest);
        for answer in waiting {
            let _ = answer.send(Ok(Uploaded {
                name: name.to_owned(),
                kind: runs.map_or("unused", |it| it.code.kind()),
                digest: digest.clone(),
                unchanged: false,
                generation: live.generation,
            }));
        }
    }
}

/// What tells a file's change without reading it: time, size and number of each.
pub type Marks = Vec<Option<(std::time::SystemTime, u64, u64)>>;

pub fn marks_of(files: &[std::path::PathBuf]) -> Marks {
    use std::os::unix::fs::MetadataExt;
    let mark = |path: &std::path::PathBuf| {
        let it = std::fs::metadata(path).ok()?;
        Some((it.modified().ok()?, it.len(), it.ino()))
    };
    files.iter().map(mark).collect()
}
