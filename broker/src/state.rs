//! All that the broker knows, and the journal that brings it back after a restart.
//!
//! It is owned by the broker's one thread. A change is written to the journal before it is answered for.
use crate::error::Answer;
use crate::group::Group;
use crate::journal::Journal;
use crate::log::{Log, Place};
use crate::offsets::{Committed, Offsets};
use crate::segment::OpenFiles;
use crate::settings::{Overrides, Settings};
use crate::topics::Topic;
use crate::txn::Transaction;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

pub(crate) struct State {
    pub topics: BTreeMap<String, Topic>,
    /// Of all topics together.
    pub(crate) partitions: usize,
    pub groups: HashMap<String, Group>,
    pub offsets: Offsets,
    /// By transactional id.
    pub transactions: HashMap<String, Transaction>,
    next_producer_id: i64,
    journal: Journal,
    pub(crate) data: Option<PathBuf>,
    pub(crate) fsync: bool,
    open_files: OpenFiles,
}

/// What a journal entry says. Names are the format on disk.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) enum Change {
    Topic { name: String, id: Uuid, partitions: i32, settings: Overrides },
    TopicDeleted { name: String },
    LogStart { topic: String, partition: i32, offset: i64 },
    Offsets { group: String, offsets: Vec<Committed> },
    OffsetsDeleted { group: String, partitions: Vec<(String, i32)> },
    GroupDeleted { group: String },
    ProducerIds { next: i64 },
    Transaction { id: String, transaction: Transaction },
    TransactionDeleted { id: String },
}

/// Topics as the journal tells of them, before their logs are opened.
#[derive(Default)]
struct Told {
    topics: BTreeMap<String, (Uuid, i32, Overrides)>,
    log_starts: BTreeMap<(String, i32), i64>,
}

/// The wall clock, in ms since 1970.
#[allow(clippy::disallowed_methods, reason = "the one place of the broker that reads the clock")]
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis() as i64).unwrap_or_default()
}

impl State {
    pub fn in_memory() -> State {
        State::with(Journal::in_memory(), None, false)
    }

    fn with(journal: Journal, data: Option<PathBuf>, fsync: bool) -> State {
        State {
            topics: BTreeMap::new(),
            partitions: 0,
            groups: HashMap::new(),
            offsets: Offsets::default(),
            transactions: HashMap::new(),
            next_producer_id: 0,
            journal,
            data,
            fsync,
            open_files: OpenFiles::default(),
        }
    }

    /// Reads back what a broker left in this directory.
    pub fn open(data: &Path, fsync: bool) -> io::Result<State> {
        let (journal, entries) = Journal::open(&data.join("meta.log"), fsync)?;
        let mut state = State::with(journal, Some(data.to_path_buf()), fsync);
        let mut told = Told::default();
        for entry in entries {
            match serde_json::from_slice(&entry) {
                Ok(change) => state.replay(change, &mut told),
                Err(failure) => tracing::error!(%failure, entry = %String::from_utf8_lossy(&entry),
                    "a journal entry makes no sense; what it said is lost, the rest is used"),
            }
        }
        state.open_topics(told)?;
        state.finish_decided_transactions();
        state.rewrite_journal()?;
        Ok(state)
    }

    fn replay(&mut self, change: Change, told: &mut Told) {
        match change {
            Change::Topic { name, id, partitions, settings } => {
                told.topics.insert(name, (id, partitions, settings));
            }
            Change::TopicDeleted { name } => {
                told.topics.remove(&name);
                told.log_starts.retain(|(topic, _), _| *topic != name);
                self.offsets.forget_topic(&name);
            }
            Change::LogStart { topic, partition, offset } => {
                told.log_starts.insert((topic, partition), offset);
            }
            Change::Offsets { group, offsets } => self.offsets.put(&group, offsets),
            Change::OffsetsDeleted { group, partitions } => self.offsets.remove(&group, &partitions),
            Change::GroupDeleted { group } => self.offsets.forget_group(&group),
            Change::ProducerIds { next } => self.next_producer_id = next,
            Change::Transaction { id, transaction } => {
                self.transactions.insert(id, transaction);
            }
            Change::TransactionDeleted { id } => {
                self.transactions.remove(&id);
            }
        }
    }

    fn open_topics(&mut self, told: Told) -> io::Result<()> {
        self.remove_orphans(&told);
        for (name, (id, partitions, overrides)) in told.topics {
            let settings = Settings::new(&overrides).or_else(|refusal| {
                tracing::error!(topic = name, why = ?refusal.message, "stored settings are not valid; the defaults are used");
                Settings::new(&Overrides::new())
            });
            let Ok(settings) = settings else { continue };
            let topic = Topic::open(id, partitions, overrides, settings, &self.place(id))?;
            self.partitions += topic.partitions.len();
            self.topics.insert(name, topic);
        }
        for ((topic, partition), offset) in told.log_starts {
            if let Some((log, _)) = self.log_mut(&topic, partition) {
                log.truncate_before(offset);
            }
        }
        Ok(())
    }

    /// Directories of topics that the journal does not know: deleted just before a crash.
    fn remove_orphans(&self, told: &Told) {
        let Some(data) = &self.data else { return };
        let Ok(found) = std::fs::read_dir(data.join("topics")) else { return };
        for entry in found.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| Uuid::parse_str(name).ok());
            if let Some(id) = id
                && !told.topics.values().any(|(known, _, _)| *known == id)
            {
                // set aside, not removed: if the journal was damaged this is somebody's data
                let aside = entry.path().with_extension("orphan");
                let moved = std::fs::rename(entry.path(), &aside).is_ok();
                tracing::warn!(directory = %entry.path().display(), moved, "a directory of no known topic");
            }
        }
    }

    pub fn place(&self, id: Uuid) -> Place {
        Place {
            directory: self.data.as_ref().map(|data| data.join("topics").join(id.to_string())),
            fsync: self.fsync,
            open_files: self.open_files.clone(),
        }
    }

    /// Writes a change down; it holds from here on.
    pub fn record(&mut self, change: &Change) -> Answer<()> {
        if self.data.is_none() {
            return Ok(());
        }
        let entry = serde_json::to_vec(change).map_err(io::Error::other)?;
        self.journal.add(&entry)?;
        if self.journal.wants_rewrite() {
            self.rewrite_journal()?;
        }
        Ok(())
    }

    /// Replaces the journal by what is true now.
    fn rewrite_journal(&mut self) -> io::Result<()> {
        let mut changes = vec![Change::ProducerIds { next: self.next_producer_id }];
        for (name, topic) in &self.topics {
            changes.push(topic.as_change(name));
            for (partition, log) in topic.partitions.iter().enumerate().filter(|(_, log)| log.start > 0) {
                changes.push(Change::LogStart {
                    topic: name.clone(),
                    partition: partition as i32,
                    offset: log.start,
                });
            }
        }
        for (group, offsets) in self.offsets.groups() {
            changes
                .push(Change::Offsets { group: group.clone(), offsets: offsets.values().cloned().collect() });
        }
        for (id, transaction) in &self.transactions {
            changes.push(Change::Transaction { id: id.clone(), transaction: transaction.clone() });
        }
        let entries = changes
            .iter()
            .map(serde_json::to_vec)
            .collect::<Result<Vec<_>, _>>()
            .map_err(io::Error::other)?;
        self.journal.rewrite(&entries)
    }

    pub fn log(&self, topic: &str, partition: i32) -> Option<&Log> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }
    /// A partition's log, and its topic's settings.
    pub fn log_mut(&mut self, topic: &str, partition: i32) -> Option<(&mut Log, &Settings)> {
        let topic = self.topics.get_mut(topic)?;
        let log = topic.partitions.get_mut(usize::try_from(partition).ok()?)?;
        Some((log, &topic.settings))
    }
    pub fn topic_name(&self, id: Uuid) -> Option<&String> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name)
    }
    /// A number that no producer had before.
    pub fn new_producer_id(&mut self) -> Answer<i64> {
        let id = self.next_producer_id;
        self.record(&Change::ProducerIds { next: id + 1 })?;
        self.next_producer_id = id + 1;
        Ok(id)
    }
}
