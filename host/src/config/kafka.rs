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

/// Properties whose values delivery depends on: the name, and what to write instead.
const OURS: &[(&str, &str)] = &[
    ("acks", "it is always `all`: nothing counts as written before"),
    ("auto.offset.reset", "write `start` in the group"),
    ("bootstrap.servers", "write `brokers`"),
    ("enable.auto.commit", "drover commits what is settled, and nothing else"),
    ("enable.auto.offset.store", "drover commits what is settled, and nothing else"),
    ("enable.idempotence", "it is always on"),
    ("enable.partition.eof", "drover needs none"),
    ("group.id", "write `groups`, each with its `name`"),
    ("group.protocol", "drover follows the classic protocol"),
    ("isolation.level", "it is always `read_committed`"),
    ("metadata.broker.list", "write `brokers`"),
    ("partition.assignment.strategy", "it is always `cooperative-sticky`"),
    ("queued.max.messages.kbytes", "write `bytes-mb` in `limits`"),
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
