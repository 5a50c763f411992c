//! What runs: routes, groups' policies and compiled plugins, as one immutable snapshot that `control`
//! publishes; and what a shard keeps beside it for itself.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::routes::Routes;
use crate::plugin::Plugin;
use crate::wire::Format;

/// Everything that decides what becomes of a message. Names only what is compiled and probed (invariant 8).
#[derive(Default)]
pub struct Live {
    /// Grows with each publication.
    pub generation: u64,
    /// By the seat that tickets carry. A group that has left keeps its place: what is in flight ends by its rules.
    pub groups: Vec<GroupPolicy>,
    pub routes: Arc<Routes>,
    /// Handlers and selectors by the name that routes use.
    pub plugins: HashMap<Arc<str>, Arc<Plugin>>,
}

/// A consumer group's rules for messages that no route decides.
#[derive(Clone, Debug)]
pub struct GroupPolicy {
    pub name: Arc<str>,
    /// That it reads.
    pub topics: Vec<String>,
    pub format: Format,
    pub unmatched: Unmatched,
    pub dead_topic: Arc<str>,
    pub park_topic: Arc<str>,
    pub ladder: Ladder,
}

/// How a group's rungs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// -1: as the cluster does by itself.
    pub replication: i32,
    /// If not, they have to be there.
    pub create: bool,
}

/// S16, S48: what becomes of a message whose command no route matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Unmatched {
    #[default]
    Dead,
    Park,
    Skip,
}
