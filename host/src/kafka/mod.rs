//! The edge to Kafka: everything that names librdkafka. Knows nothing of lanes, shards or plugins.
//!
//! `consumer` is one member of one consumer group, driven by one poll thread. `producer` is shared by all
//! threads. `topics` makes and looks at topics; `reader` follows one that is
//! state, `scan` reads what one holds. All take their settings from [`ClientSettings`].

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

pub mod consumer;
mod context;
pub mod producer;
pub mod reader;
pub mod scan;
pub mod topics;

/// Up to here the C library takes memory from its heaps, in bytes; the most that it can be told.
const FROM_HEAPS: i32 = 32 << 20;
/// So much at the end of a heap is kept for the next answer, in bytes.
const KEPT: i32 = 32 << 20;

/// Once for a process that consumes. librdkafka takes memory for each answer, up to 12 MB, and frees it soon after.
/// Mapped anew each time, every page of it faults: measured, 0.6 µs a message of 1 KB, a sixth of all that a message
/// costs which is dropped. Left to itself, the C library finds its limits by what is freed first, and equal runs
/// peaked at 93 to 147 MB; with fixed ones at 86 to 108.
#[allow(unsafe_code, reason = "the allocator's settings are calls of C; these only store a number")]
pub fn keep_large_buffers() {
    #[cfg(target_env = "gnu")]
    // SAFETY: any thread may set an option at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, FROM_HEAPS);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

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
    /// The name of a wrong property, never its value: that may be a password.
    fn client(error: &KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, detail, name, _) => Self::Client(format!("`{name}`: {detail}")),
            _ => Self::Client(error.to_string()),
        }
    }

    fn request(doing: impl Into<String>, error: &KafkaError) -> Self {
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
    /// Whether librdkafka knows every property and takes its value. Connects to nothing.
    ///
    /// # Errors
    /// Names the property.
    pub fn check(&self) -> Result<(), Error> {
        self.config().create_native_config().map(drop).map_err(|it| Error::client(&it))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// S145: what is said of a property does not show its value.
    #[test]
    fn wrong_properties_are_named() {
        let said = |name: &str, value: &str| {
            let properties = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            ClientSettings { brokers: vec!["a:1".to_owned()], properties }
                .check()
                .map_err(|it| it.to_string())
        };
        assert_eq!(said("sasl.password", "fern-3"), Ok(()));
        let error = said("sasl.passwrd", "fern-3").unwrap_err();
        assert!(error.contains("`sasl.passwrd`") && !error.contains("fern-3"), "{error}");
        assert!(said("socket.timeout.ms", "soon").unwrap_err().contains("`socket.timeout.ms`"));
    }
}
