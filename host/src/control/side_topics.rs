//! Topics that drover writes to: dead letters have somewhere to go before the first message is read.

use std::time::Duration;

use crate::kafka::Error;
use crate::kafka::topics::{NewTopicSettings, Topics};

/// A topic that a group writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideTopic {
    pub name: String,
    /// None: as many as `like` has.
    pub partitions: Option<i32>,
    pub like: Option<String>,
    /// -1: as the cluster does by itself.
    pub replication: i32,
    /// If not, it has to be there.
    pub create: bool,
}

/// For the cluster to answer.
const REACH: Duration = Duration::from_secs(30);

/// Makes those that are missing. Blocks its thread for as long as the cluster does not answer.
///
/// # Errors
/// What is missing and may not be made, or cannot.
pub async fn make(topics: &Topics, wanted: &[SideTopic]) -> Result<(), String> {
    for it in wanted {
        let failed = |error: Error| format!("topic {}: {error}", it.name);
        if topics.partitions(&it.name, REACH).map_err(failed)? > 0 {
            continue;
        }
        if !it.create {
            return Err(format!(
                "topic {} is missing and `create` is false: make it, or let drover make it",
                it.name
            ));
        }
        let like = match (&it.partitions, &it.like) {
            (Some(count), _) => *count,
            (None, Some(topic)) => topics.partitions(topic, REACH).unwrap_or(0).max(1),
            (None, None) => 1,
        };
        let new = NewTopicSettings {
            name: it.name.clone(),
            partitions: like,
            replication: it.replication,
            config: Vec::new(),
        };
        topics.ensure(&new).await.map_err(failed)?;
        tracing::info!(topic = it.name, partitions = like, "made a topic");
    }
    Ok(())
}
