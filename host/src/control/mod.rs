//! What runs, and how it is changed. The doors' one way to the planes below: a handle, cheap to clone.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

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
    live: watch::Sender<Arc<Live>>,
    counters: Arc<Counters>,
    directory: Directory,
    outbox: Outbox,
    groups: Vec<Arc<Mutex<GroupReport>>>,
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
    /// sha256 of the component, in hex.
    pub digest: String,
    /// Routes and apps that use it.
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

impl Control {
    pub fn new(
        live: watch::Sender<Arc<Live>>,
        counters: Arc<Counters>,
        directory: Directory,
        outbox: Outbox,
        groups: Vec<Arc<Mutex<GroupReport>>>,
    ) -> Self {
        Self { inner: Arc::new(Inner { live, counters, directory, outbox, groups }) }
    }

    pub fn report(&self) -> Report {
        let groups =
            self.inner.groups.iter().map(|it| it.lock().unwrap_or_else(|it| it.into_inner()).clone());
        Report {
            generation: self.inner.live.borrow().generation,
            totals: self.inner.counters.totals(),
            groups: groups.collect(),
            outbox_queued: self.inner.outbox.queued(),
        }
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.inner.counters
    }

    pub fn directory(&self) -> &Directory {
        &self.inner.directory
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
        let _ = upload;
        Err(UploadError::Unavailable("uploads come with the next step".to_owned()))
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// All problems, rendered; what runs goes on.
    pub async fn reload(&self) -> Result<u64, Vec<String>> {
        Err(vec!["reloading comes with the next step".to_owned()])
    }
}

fn used_by(live: &Live, plugin: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in live.routes.entries() {
        if &*entry.route.handler == plugin {
            all.push(format!("route {}", entry.route.name));
        }
        if &*entry.route.app.selector == plugin {
            all.push(format!("app {}", entry.route.app.name));
        }
    }
    all.sort();
    all.dedup();
    all
}
