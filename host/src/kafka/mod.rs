//! The edge to Kafka: everything that names librdkafka. Knows nothing of lanes, shards or plugins.
//!
//! `consumer` is one member of one consumer group, driven by one poll thread. `producer` is shared by all
//! threads. `topics` makes and looks at topics. All three take their settings from [`ClientSettings`].

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

pub mod consumer;
mod context;
pub mod producer;
pub mod reader;
pub mod topics;

/// How to reach the cluster.
#[derive(Clone, Debug, Default)]
pub struct ClientSettings {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    /// Further librdkafka properties, as the operator wrote them.
    pub properties: BTreeMap<String, String>,
}

/// What an operation on the cluster failed with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the Kafka client could not be made: {0}")]
    Client(String),
    #[error("{doing}: {detail}")]
    Request {
        doing: String,
        detail: String,
        /// Whether it may go well when tried again.
        transient: bool,
    },
}

impl Error {
    fn request(doing: impl Into<String>, error: &rdkafka::error::KafkaError) -> Self {
        use rdkafka::types::RDKafkaErrorCode as Code;
        let lasting = matches!(
            error.rdkafka_error_code(),
            Some(
                Code::MessageSizeTooLarge
                    | Code::InvalidTopic
                    | Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::ClusterAuthorizationFailed
                    | Code::PolicyViolation
                    | Code::InvalidConfig
                    | Code::InvalidPartitions
                    | Code::InvalidReplicationFactor
                    | Code::UnknownPartition
            )
        );
        Self::Request { doing: doing.into(), detail: error.to_string(), transient: !lasting }
    }
}

impl ClientSettings {
    /// The client's configuration with what every one of our clients needs.
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // After a broker's outage the default waits up to 10 s before it looks again.
        config.set("reconnect.backoff.max.ms", "1000");
        config.set("client.id", "drover");
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config.set("bootstrap.servers", self.brokers.join(","));
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }
}
