//! The configuration: `drover.yaml` and a file in `apps/` for each service, checked as a whole.
//!
//! ```text
//! files ── yaml ──> Config, AppFile   each value good by itself (types), every mistake with its place
//!                       │
//!                     checks          sections against each other (groups, doors, plugins, kafka)
//!                       │
//!                     build           apps and routes: names resolved, policies merged
//!                       v
//!                    Loaded           or every problem there is: never half of it (S173)
//! ```

mod app_file;
mod build;
mod doors;
mod doors_parts;
mod files;
mod groups;
mod health;
mod kafka;
mod load;
mod lookup;
pub mod parts;
mod plugins;
mod schema;
mod secrets;
mod table;
mod types;

#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod health_tests;
#[cfg(test)]
mod linked_tests;
#[cfg(test)]
mod main_tests;
#[cfg(test)]
mod sample_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod values_tests;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use app_file::{AppFile, Command};
pub use doors::{AclEntry, Admin, AlpacaDoor, BigpipeDoor, Credential, Gateway};
pub use files::{Disk, Files, Memory};
pub use groups::{Format, Group, SideTopic, Start, Unmatched};
pub use kafka::Kafka;
pub use load::{Loaded, load, load_from, load_main};
pub use plugins::{Plugin, PluginLimits};
pub use schema::{app_schema, keys_page, main_schema};
pub use types::{Address, GroupName, Limit, LogLevels, Millis, Name, SecretText, TopicName, Within};

/// `drover.yaml`. Every key has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// The Kafka cluster.
    pub kafka: Kafka,
    /// Consumer groups that this host joins.
    pub groups: Vec<Group>,
    /// Folder with a file for each app, relative to this file.
    pub apps: PathBuf,
    /// Plugins of one's own, and settings of standard ones.
    pub plugins: Vec<Plugin>,
    /// Threads that carry messages; 0: one for each core.
    pub shards: Within<0, 1_024>,
    /// What the process may hold at once.
    pub limits: Limits,
    /// Whether delays that messages ask for are kept, where an app says nothing; if not, they are delivered at once.
    pub delays: bool,
    /// How services are reached.
    pub services: Services,
    /// The producers' door.
    pub gateway: Gateway,
    /// The operators' door.
    pub admin: Admin,
    /// What is kept on disk: a cache, Kafka holds the truth.
    pub store: Store,
    /// Log lines that are kept: off, error, warn, info, debug, trace; for a part too, as in `info,plugin=debug`. The
    /// variable `DROVER_LOG` is stronger.
    pub log: LogLevels,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            groups: Vec::new(),
            apps: "apps".into(),
            plugins: Vec::new(),
            shards: Within::new(0),
            limits: Limits::default(),
            delays: true,
            services: Services::default(),
            gateway: Gateway::default(),
            admin: Admin::default(),
            store: Store::default(),
            log: LogLevels::info(),
        }
    }
}

/// How services are reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Services {
    /// File of certificates (PEM), relative to this one: authorities of one's own that services' certificates may
    /// come from, beside the public ones.
    pub roots: Option<PathBuf>,
}

/// What the process may hold at once; beyond it Kafka is not read on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Messages by their bytes, in MiB.
    pub bytes_mb: Within<1, 1_048_576>,
    /// Messages by their number.
    pub in_flight: Within<1, 10_000_000>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_mb: Within::new(256), in_flight: Within::new(50_000) }
    }
}

/// What is kept on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Store {
    /// Folder, relative to this file; made where it is missing.
    pub dir: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self { dir: "data".into() }
    }
}
