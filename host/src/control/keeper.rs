//! The one task that changes what runs: it follows the ledger and the files, builds and publishes. Uploads
//! and reloads are asked of it by values; nobody else writes the `watch` that shards read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::build::{self, Compiled, Desired};
use super::ledger::Followed;
use super::{UploadError, Uploaded};
use crate::clock;
use crate::domain::plugin::KnownPlugin;
use crate::failpoint;
use crate::kafka::reader::Read;
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

pub struct Keeper {
    pub engine: Engine,
    pub source: Source,
    pub desired: Desired,
    pub compiled: Arc<std::sync::Mutex<Compiled>>,
    pub followed: Followed,
    pub live: watch::Sender<Arc<Live>>,
    pub directory: Directory,
    pub asked: mpsc::Receiver<Ask>,
    /// Uploads by name and digest, until they are read back.
    waiting: HashMap<(String, String), Vec<Answer>>,
}

impl Keeper {
    #[allow(clippy::too_many_arguments, reason = "made once, from the parts that app has just started")]
    pub fn new(
        engine: Engine,
        source: Source,
        desired: Desired,
        compiled: Arc<std::sync::Mutex<Compiled>>,
        followed: Followed,
        live: watch::Sender<Arc<Live>>,
        directory: Directory,
        asked: mpsc::Receiver<Ask>,
    ) -> Self {
        Self { engine, source, desired, compiled, followed, live, directory, asked, waiting: HashMap::new() }
    }

    /// Until the last handle is gone. Every health decision is made here as well, five times a second.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        let mut marks = marks_of(&self.desired.files);
        let mut turns = 0u32;
        loop {
            tokio::select! {
                ask = self.asked.recv() => match ask {
                    Some(ask) => self.answer(ask).await,
                    None => return,
                },
                news = self.followed.news.recv() => {
                    if let Some(Read::Record { key, value, .. }) = news
                        && self.followed.ledger.apply(&key, value.as_ref())
                    {
                        self.follow(&key);
                    }
                }
                _ = tick.tick() => {
                    self.directory.tick(clock::now_ms());
                    turns = turns.wrapping_add(1);
                    if turns.is_multiple_of(5) {
                        let now = marks_of(&self.desired.files);
                        if now != marks {
                            marks = now;
                            self.reload_by_watch().await;
                        }
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
                let active = self.followed.ledger.active().any(|it| it.0 == name && it.1.digest == digest);
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
        let generation = self.live.borrow().generation + 1;
        let mut compiled = self.compiled.lock().unwrap_or_else(|it| it.into_inner());
        let live =
            build::live(&self.engine, &mut compiled, &self.desired, &self.followed.ledger, generation)?;
        self.directory.apply(&self.desired.apps, clock::now_ms());
        compiled.keep(&live);
        self.live.send_replace(Arc::new(live));
        failpoint::reached("swap");
        Ok(generation)
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

    /// All of the new, or all of the old (S173).
    async fn reload(&mut self) -> Result<u64, Vec<String>> {
        let (source, known) = (Arc::clone(&self.source), self.known());
        let loaded = tokio::task::spawn_blocking(move || source(&known)).await;
        let new = loaded.map_err(|it| vec![format!("reading the files: {it}")])??;
        if new.fixed != self.desired.fixed {
            return Err(vec![difference(&self.desired.fixed, &new.fixed)]);
        }
        let old = std::mem::replace(&mut self.desired, new);
        match self.publish() {
            Ok(generation) => Ok(generation),
            Err(problems) => {
                // The new list of files is kept: a change of them is what mends it.
                let files = std::mem::replace(&mut self.desired, old).files;
                self.desired.files = files;
                Err(problems)
            }
        }
    }

    /// Uploaded plugins, for the files to name.
    fn known(&self) -> Vec<KnownPlugin> {
        self.followed.ledger.active().map(|(name, _)| KnownPlugin { name: name.into(), kind: None }).collect()
    }

    /// Answers those who wait for what is active under the name now.
    fn tell(&mut self, name: &str) {
        let Some((_, active)) = self.followed.ledger.active().find(|it| it.0 == name) else { return };
        let digest = active.digest.clone();
        let Some(waiting) = self.waiting.remove(&(name.to_owned(), digest.clone())) else { return };
        let live = Arc::clone(&self.live.borrow());
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
fn marks_of(files: &[std::path::PathBuf]) -> Vec<Option<(std::time::SystemTime, u64, u64)>> {
    use std::os::unix::fs::MetadataExt;
    let mark = |path: &std::path::PathBuf| {
        let it = std::fs::metadata(path).ok()?;
        Some((it.modified().ok()?, it.len(), it.ino()))
    };
    files.iter().map(mark).collect()
}

/// The first line that a running host cannot change.
fn difference(old: &str, new: &str) -> String {
    let changed = old.lines().zip(new.lines()).find(|(a, b)| a != b);
    let (was, is) = changed.unwrap_or(("the groups", "more or fewer of them"));
    format!("this needs a restart, nothing was changed: `{was}` would become `{is}`")
}
