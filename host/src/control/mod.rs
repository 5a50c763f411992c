//! What runs, and how it is changed. The doors' one way to the planes below: a handle, cheap to clone.

mod build;
mod groups;
mod keeper;
pub mod ledger;
pub mod side_topics;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use self::build::{Compiled, Component, Desired, PluginSource, RoofChange, RoofPlan, live, try_out};
pub use self::groups::{Groups, Roster, Wanted};
pub use self::keeper::{Ask, Keeper, KeeperParts, Marks, Source, marks_of};
use crate::clock;
use crate::domain::ledger::{Version, chunks_of, entries};
use crate::domain::plugin::{PluginKind, check_upload_name};
use crate::plugin::{self, Engine};

use crate::intake::GroupReport;
use crate::metrics::{Counters, Totals};
use crate::outbox::Outbox;
use crate::shard::live::Live;
use crate::upstream::Directory;

/// The handle.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    ask: mpsc::Sender<Ask>,
    live: watch::Receiver<Arc<Live>>,
    engine: Engine,
    compiled: Arc<Mutex<Compiled>>,
    topic: String,
    counters: Arc<Counters>,
    directory: Directory,
    outbox: Outbox,
    groups: Arc<Groups>,
}

/// A moment's picture of the whole host.
#[derive(Clone, Debug)]
pub struct Report {
    pub generation: u64,
    pub totals: Totals,
    pub groups: Vec<GroupReport>,
    /// Records queued to be written and not reported.
    pub outbox_queued: usize,
}

/// A plugin that runs.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    pub name: String,
    /// `handler` or `selector`.
    pub kind: &'static str,
    /// sha256 of the component, in hex; of a native twin its name.
    pub digest: String,
    /// Routes that use it.
    pub used_by: Vec<String>,
}

/// A component to be taken in.
#[derive(Clone, Debug)]
pub struct Upload {
    pub name: String,
    pub bytes: bytes::Bytes,
    /// Who, for the history.
    pub by: String,
}

/// It is live on this host.
#[derive(Clone, Debug)]
pub struct Uploaded {
    pub name: String,
    pub kind: &'static str,
    pub digest: String,
    /// The same component ran already: nothing was changed.
    pub unchanged: bool,
    pub generation: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The component is not taken; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// Good, but could not be carried out now; try again.
    #[error("{0}")]
    Unavailable(String),
}

/// What the handle is made of.
pub struct Parts {
    pub ask: mpsc::Sender<Ask>,
    pub live: watch::Receiver<Arc<Live>>,
    pub engine: Engine,
    pub compiled: Arc<Mutex<Compiled>>,
    /// The control topic.
    pub topic: String,
    pub counters: Arc<Counters>,
    pub directory: Directory,
    pub outbox: Outbox,
    pub groups: Arc<Groups>,
}

/// How long an upload may take to come back from the control topic.
const READ_BACK: Duration = Duration::from_secs(20);

impl Control {
    pub fn new(parts: Parts) -> Self {
        let Parts { ask, live, engine, compiled, topic, counters, directory, outbox, groups } = parts;
        Self {
            inner: Arc::new(Inner {
                ask,
                live,
                engine,
                compiled,
                topic,
                counters,
                directory,
                outbox,
                groups,
            }),
        }
    }

    pub fn report(&self) -> Report {
        Report {
            generation: self.inner.live.borrow().generation,
            totals: self.inner.counters.totals(),
            groups: self.inner.groups.reports(),
            outbox_queued: self.inner.outbox.queued(),
        }
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.inner.counters
    }

    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// Where the dead letters of a group go; none where this host has no such group.
    pub fn dead_topic(&self, group: &str) -> Option<Arc<str>> {
        let live = self.inner.live.borrow();
        live.groups.iter().rfind(|it| &*it.name == group).map(|it| Arc::clone(&it.dead_topic))
    }

    /// What still keeps this host from being ready; empty when it is.
    pub fn missing(&self) -> Vec<String> {
        let report = self.report();
        let waiting = report.groups.iter().filter(|it| !it.joined);
        waiting.map(|it| format!("group {} has not joined yet", it.group)).collect()
    }

    pub fn plugins(&self) -> Vec<PluginInfo> {
        let live = Arc::clone(&self.inner.live.borrow());
        let mut all: Vec<PluginInfo> = live
            .plugins
            .iter()
            .map(|(name, plugin)| PluginInfo {
                name: name.to_string(),
                kind: plugin.code.kind(),
                digest: plugin.digest.clone(),
                used_by: used_by(&live, name),
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Takes a component in and swaps it in under load.
    ///
    /// # Errors
    /// A refusal says what to do; the version that runs goes on.
    pub async fn upload(&self, upload: Upload) -> Result<Uploaded, UploadError> {
        let Upload { name, bytes, by } = upload;
        check_upload_name(&name).map_err(UploadError::Refused)?;
        let digest = plugin::digest(&bytes);
        let running = self.running(&name).filter(|it| it.1 == digest);
        if let Some((kind, digest)) = running {
            let generation = self.inner.live.borrow().generation;
            return Ok(Uploaded { name, kind, digest, unchanged: true, generation });
        }
        self.try_out(&name, &bytes).await?;
        let version = Version {
            name: name.clone(),
            digest: digest.clone(),
            bytes: bytes.len(),
            chunks: chunks_of(bytes.len()),
            by,
            at_ms: clock::now_ms(),
        };
        let unavailable = |it: String| UploadError::Unavailable(it);
        let entries = entries(&version, &bytes).map_err(|it| unavailable(it.to_string()))?;
        ledger::append(&self.inner.outbox, &self.inner.topic, &entries)
            .await
            .map_err(|it| unavailable(format!("the control topic does not take it: {it}")))?;
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Await { name, digest, answer };
        self.inner.ask.send(ask).await.map_err(|_| unavailable("this host is stopping".to_owned()))?;
        match tokio::time::timeout(READ_BACK, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("this host is stopping".to_owned())),
            Err(_) => Err(unavailable(format!(
                "it is written, but was not read back within {} s; it will run as soon as it is",
                READ_BACK.as_secs()
            ))),
        }
    }

    /// Compiled and started under its real settings before anything is written: a bad one costs nobody.
    async fn try_out(&self, name: &str, bytes: &bytes::Bytes) -> Result<(), UploadError> {
        let live = Arc::clone(&self.inner.live.borrow());
        let settings = live.plugins.get(name).map(|it| it.settings()).unwrap_or_default();
        let wanted = live.routes.entries().iter().find_map(|it| {
            let handler = (&*it.route.handler == name).then_some(PluginKind::Handler);
            let selector = (&*it.route.selector == name).then_some(PluginKind::Selector);
            handler.or(selector).map(|kind| (kind, it.route.name.to_string()))
        });
        let (engine, compiled) = (self.inner.engine.clone(), Arc::clone(&self.inner.compiled));
        let (name, bytes) = (name.to_owned(), bytes.clone());
        let tried = tokio::task::spawn_blocking(move || {
            // Compiled outside the lock, so that what runs can be changed meanwhile.
            let plugin = plugin::compile(&engine, &name, &bytes, settings.clone())?;
            let plugin = Arc::new(plugin);
            let mut compiled = compiled.lock().unwrap_or_else(|it| it.into_inner());
            compiled.put(&name, &settings, Arc::clone(&plugin));
            Ok::<_, plugin::Refusal>(plugin)
        });
        let plugin = tried
            .await
            .map_err(|it| UploadError::Unavailable(format!("the compiler ended: {it}")))?
            .map_err(|it| UploadError::Refused(it.to_string()))?;
        match wanted {
            Some((kind, route)) if kind != build::kind_of(&plugin) => Err(UploadError::Refused(format!(
                "it is a {}, but {route} uses this name as a {}: upload it under another name",
                plugin.code.kind(),
                kind.as_str()
            ))),
            Some(_) | None => Ok(()),
        }
    }

    fn running(&self, name: &str) -> Option<(&'static str, String)> {
        let live = self.inner.live.borrow();
        live.plugins.get(name).map(|it| (it.code.kind(), it.digest.clone()))
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// All problems, rendered; what runs goes on.
    pub async fn reload(&self) -> Result<u64, Vec<String>> {
        let (answer, answered) = oneshot::channel();
        let stopping = || vec!["this host is stopping".to_owned()];
        self.inner.ask.send(Ask::Reload(answer)).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }
}

fn used_by(live: &Live, plugin: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in live.routes.entries() {
        if &*entry.route.handler == plugin {
            all.push(format!("route {}", entry.route.name));
        }
        if &*entry.route.selector == plugin {
            all.push(format!("route {}", entry.route.name));
        }
    }
    all.sort();
    all.dedup();
    all
}
