//! A topic's settings: which there are, what they may be, and what they say.
use crate::codec::Codec;
use crate::error::{Answer, Refusal};
use kafka_protocol::ResponseError;
use std::collections::BTreeMap;

/// What may stand as a value.
pub(crate) enum Kind {
    Int(i64, i64),
    Long(i64, i64),
    Ratio,
    Flag,
    OneOf(&'static [&'static str]),
    /// Some of these, with commas between them.
    SomeOf(&'static [&'static str]),
    /// `*`, or `partition:broker` with commas between them.
    Replicas,
    GzipLevel,
    /// A flag for what is not offered.
    NeverTrue,
}

pub(crate) struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    /// Kafka validates and shows them all; those that say "Not used" have no meaning for one small broker.
    pub documentation: &'static str,
}

const fn define(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    documentation: &'static str,
) -> Definition {
    Definition { name, kind, default, documentation }
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const UNUSED: &str = "Not used by this broker.";

/// By name.
pub(crate) const DEFINITIONS: &[Definition] = &[
    define("cleanup.policy", Kind::SomeOf(&["compact", "delete"]), "delete", "delete, compact, or both."),
    define("compression.gzip.level", Kind::GzipLevel, "-1", UNUSED),
    define("compression.lz4.level", Kind::Int(1, 17), "9", UNUSED),
    define(
        "compression.type",
        Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer",
        "The codec records are stored with; producer keeps theirs.",
    ),
    define("compression.zstd.level", Kind::Int(-131_072, 22), "3", UNUSED),
    define(
        "delete.retention.ms",
        Kind::Long(0, LONG),
        "86400000",
        "How long a tombstone outlives its compaction.",
    ),
    define("file.delete.delay.ms", Kind::Long(0, LONG), "60000", UNUSED),
    define("flush.messages", Kind::Long(1, LONG), "9223372036854775807", UNUSED),
    define("flush.ms", Kind::Long(0, LONG), "9223372036854775807", UNUSED),
    define("follower.replication.throttled.replicas", Kind::Replicas, "", UNUSED),
    define("index.interval.bytes", Kind::Int(0, INT), "4096", UNUSED),
    define("leader.replication.throttled.replicas", Kind::Replicas, "", UNUSED),
    define("local.retention.bytes", Kind::Long(-2, LONG), "-2", UNUSED),
    define("local.retention.ms", Kind::Long(-2, LONG), "-2", UNUSED),
    define(
        "max.compaction.lag.ms",
        Kind::Long(1, LONG),
        "9223372036854775807",
        "After this age records are compacted in any case.",
    ),
    define("max.message.bytes", Kind::Int(0, INT), "1048588", "The largest batch, in bytes as it is stored."),
    define(
        "message.timestamp.after.max.ms",
        Kind::Long(0, LONG),
        "3600000",
        "How far ahead of our clock a timestamp may be.",
    ),
    define(
        "message.timestamp.before.max.ms",
        Kind::Long(0, LONG),
        "9223372036854775807",
        "How far behind our clock a timestamp may be.",
    ),
    define(
        "message.timestamp.type",
        Kind::OneOf(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "Whose clock stamps records.",
    ),
    define(
        "min.cleanable.dirty.ratio",
        Kind::Ratio,
        "0.5",
        "The uncompacted share of a log that starts compaction.",
    ),
    define("min.compaction.lag.ms", Kind::Long(0, LONG), "0", "Younger records are not compacted."),
    define(
        "min.insync.replicas",
        Kind::Int(1, INT),
        "1",
        "More than 1 refuses acks=all: there is one replica.",
    ),
    define("preallocate", Kind::Flag, "false", UNUSED),
    define("remote.log.copy.disable", Kind::Flag, "false", UNUSED),
    define("remote.log.delete.on.disable", Kind::Flag, "false", UNUSED),
    define("remote.storage.enable", Kind::NeverTrue, "false", UNUSED),
    define(
        "retention.bytes",
        Kind::Long(-1, LONG),
        "-1",
        "A partition's older segments go beyond this size.",
    ),
    define("retention.ms", Kind::Long(-1, LONG), "604800000", "Segments older than this are deleted."),
    define("segment.bytes", Kind::Int(14, INT), "67108864", "A segment's size at most."),
    define("segment.index.bytes", Kind::Int(4, INT), "10485760", UNUSED),
    define("segment.jitter.ms", Kind::Long(0, LONG), "0", UNUSED),
    define("segment.ms", Kind::Long(1, LONG), "604800000", "A segment's age at most."),
    define("unclean.leader.election.enable", Kind::Flag, "false", UNUSED),
];

pub(crate) fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.name == name)
}

/// What was set on a topic, by name.
pub(crate) type Overrides = BTreeMap<String, String>;

/// The settings that the broker acts on.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub compact: bool,
    pub delete: bool,
    pub compression: Option<Codec>,
    pub delete_retention_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: usize,
    pub timestamp_after_max_ms: i64,
    pub timestamp_before_max_ms: i64,
    pub log_append_time: bool,
    pub min_cleanable_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i64,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: u64,
    pub segment_ms: i64,
}

impl Settings {
    /// Refuses what Kafka would refuse, with a text that says why.
    pub fn new(overrides: &Overrides) -> Answer<Settings> {
        for (name, value) in overrides {
            let definition = definition(name).ok_or_else(|| {
                Refusal::new(ResponseError::InvalidConfig, format!("Unknown topic config name: {name}"))
            })?;
            check(definition, value)?;
        }
        let settings = Settings::of(overrides);
        let (least, most) = (settings.min_compaction_lag_ms, settings.max_compaction_lag_ms);
        if least > most {
            let why = format!(
                "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
            );
            return Err(Refusal::new(ResponseError::InvalidConfig, why));
        }
        Ok(settings)
    }

    /// From values that were checked.
    fn of(overrides: &Overrides) -> Settings {
        let text = |name: &str| {
            overrides
                .get(name)
                .map(String::as_str)
                .or(definition(name).map(|d| d.default))
                .unwrap_or_default()
        };
        let number = |name: &str| text(name).trim().parse::<i64>().unwrap_or_default();
        Settings {
            compact: text("cleanup.policy").contains("compact"),
            delete: text("cleanup.policy").contains("delete"),
            compression: Codec::of_setting(text("compression.type")),
            delete_retention_ms: number("delete.retention.ms"),
            max_compaction_lag_ms: number("max.compaction.lag.ms"),
            max_message_bytes: number("max.message.bytes") as usize,
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            min_cleanable_ratio: text("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5),
            min_compaction_lag_ms: number("min.compaction.lag.ms"),
            min_insync_replicas: number("min.insync.replicas"),
            retention_bytes: number("retention.bytes"),
            retention_ms: number("retention.ms"),
            segment_bytes: number("segment.bytes") as u64,
            segment_ms: number("segment.ms"),
        }
    }
}

fn is_replica(word: &str) -> bool {
    let number = |part: &str| part.trim().parse::<u32>().is_ok();
    word.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
}

fn check(definition: &Definition, value: &str) -> Answer<()> {
    let value = value.trim();
    let within = |least: i64, most: i64| match value.parse::<i64>() {
        Err(_) => Err("not a number".to_string()),
        Ok(number) if number < least || number > most => Err(format!("must be from {least} to {most}")),
        Ok(_) => Ok(()),
    };
    let outcome = match &definition.kind {
        Kind::Int(least, most) | Kind::Long(least, most) => within(*least, *most),
        Kind::Ratio => match value.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
            _ => Err("must be from 0 to 1".to_string()),
        },
        Kind::NeverTrue if value.eq_ignore_ascii_case("true") => Err("this is not offered".to_string()),
        Kind::GzipLevel if value.trim() == "0" => Err("must be from 1 to 9, or -1".to_string()),
        Kind::GzipLevel => within(-1, 9),
        Kind::Replicas if value.is_empty() || value == "*" || value.split(',').all(is_replica) => Ok(()),
        Kind::Replicas => Err("must be '*' or a list of [partitionId]:[brokerId]".to_string()),
        Kind::Flag | Kind::NeverTrue if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") => Ok(()),
        Kind::Flag | Kind::NeverTrue => Err("must be true or false".to_string()),
        Kind::OneOf(words) if words.contains(&value) => Ok(()),
        Kind::OneOf(words) => Err(format!("must be one of {}", words.join(", "))),
        Kind::SomeOf(words)
            // none of them is an answer, too: nothing is ever deleted or compacted
            if value.is_empty() || value.split(',').all(|word| words.contains(&word.trim())) =>
        {
            Ok(())
        }
        Kind::SomeOf(words) => Err(format!("must be some of {}", words.join(", "))),
    };
    outcome.map_err(|why| {
        Refusal::new(
            ResponseError::InvalidConfig,
            format!("Invalid value {value} for configuration {}: {why}", definition.name),
        )
    })
}
