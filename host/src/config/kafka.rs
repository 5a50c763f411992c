//! Section `kafka`: the cluster, and how to reach it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{Address, OrShort, SecretText, ShortForm};
use crate::yaml::{Cursor, Problem};

/// The Kafka cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Kafka {
    /// Addresses to start from, each `host:port`; the rest of the cluster is found through them.
    pub brokers: Vec<Address>,
    /// Further properties of librdkafka, by its names: TLS, SASL, time-outs. A value may be
    /// `{env: NAME}` or `{file: PATH}`. Those that drover sets itself are refused.
    pub properties: BTreeMap<String, OrShort<Property>>,
}

impl Default for Kafka {
    fn default() -> Self {
        let brokers = Address::new("127.0.0.1:9092").into_iter().collect();
        Self { brokers, properties: BTreeMap::new() }
    }
}

impl Kafka {
    /// The properties as librdkafka takes them, secrets in plain.
    pub fn revealed(&self) -> BTreeMap<String, String> {
        let plain = |it: &OrShort<Property>| it.0.0.value.expose().to_owned();
        self.properties.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
    }
}

/// A property's value. Never shown: it may be a password.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Property(pub SecretText);

impl ShortForm for Property {
    fn short(text: &str) -> Result<Self, String> {
        let value = crate::domain::secret::Secret::new(text);
        Ok(Self(SecretText { value, ..SecretText::default() }))
    }
}

/// Properties that drover sets: a value here would be lost or harm delivery. The name, and what to write instead.
const OURS: &[(&str, &str)] = &[
    ("acks", "it is always `all`: nothing counts as written before"),
    ("allow.auto.create.topics", "a topic is never made by reading it"),
    ("auto.offset.reset", "write `start` in the group"),
    ("bootstrap.servers", "write `brokers`"),
    ("enable.auto.commit", "drover commits what is settled, and nothing else"),
    ("enable.auto.offset.store", "drover commits what is settled, and nothing else"),
    ("enable.idempotence", "it is always on"),
    ("enable.partition.eof", "drover needs none"),
    ("fetch.error.backoff.ms", "the time is chosen for short gaps"),
    ("fetch.queue.backoff.ms", "the time is chosen for short gaps"),
    ("fetch.wait.max.ms", "the time is chosen for short gaps"),
    ("group.id", "write `groups`, each with its `name`"),
    ("group.instance.id", "two hosts with one configuration would be the same member"),
    ("group.protocol", "drover follows the classic protocol"),
    ("heartbeat.interval.ms", "the time is chosen for short hand-overs"),
    ("isolation.level", "it is always `read_committed`"),
    ("linger.ms", "the time is chosen for full batches"),
    ("message.max.bytes", "write `body-mb` in `gateway`"),
    ("message.timeout.ms", "a write is repeated until it is done"),
    ("metadata.broker.list", "write `brokers`"),
    ("partition.assignment.strategy", "it is always `cooperative-sticky`"),
    ("partitioner", "it is `murmur2_random`, so that a key has one partition whoever writes"),
    ("queue.buffering.max.kbytes", "write `bytes-mb` in `limits`"),
    ("queue.buffering.max.messages", "write `in-flight` in `limits`"),
    ("queued.max.messages.kbytes", "write `bytes-mb` in `limits`"),
    ("queued.min.messages", "write `bytes-mb` in `limits`"),
    ("session.timeout.ms", "write `session-timeout-ms` in the group"),
    ("topic.metadata.refresh.interval.ms", "the time is chosen for new partitions"),
    ("transactional.id", "drover makes its own"),
];

pub(super) fn check(kafka: &Kafka, at: Cursor<'_>, problems: &mut Vec<Problem>) {
    if kafka.brokers.is_empty() {
        let problem = Problem::error(at.key("brokers").place(), "there is no broker");
        problems.push(problem.help("add one: `brokers: [127.0.0.1:9092]`"));
    }
    for name in kafka.properties.keys() {
        let place = || at.key("properties").key(name).key_place();
        if let Some((_, instead)) = OURS.iter().find(|it| it.0 == name) {
            problems.push(Problem::error(place(), format!("drover sets `{name}` itself")).help(*instead));
        } else if name.contains('_') || name.contains(char::is_whitespace) {
            let help = format!("names have dots: `{}`", name.replace(['_', ' '], "."));
            problems
                .push(Problem::error(place(), format!("`{name}` is no property of librdkafka")).help(help));
        }
    }
}
