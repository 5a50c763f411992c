//! A file in `apps/`: one service, and the commands that go there. As in alpaca-mq, and more.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::types::{
    Address, AllowedHost, AtOnce, Attempts, GroupName, Limit, Millis, Name, OrShort, PluginName, Scalar,
    ShortForm, TopicName, UrlPath, Within,
};
use crate::domain::app::{OnPluginFailure, OnSelectorFailure, Order, Protocol};
use crate::domain::outcome::SuccessRule;
use crate::domain::retry::OnRetry;

/// Declares a struct with the keys given and those of a policy: an app has them for all of its commands,
/// a command for itself. (serde's `flatten` would do, but knows no unknown keys.)
macro_rules! with_policy {
    ($(#[$meta:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct $name {
            $($own)*
            /// Path of the requests, where the handler names none. Default: `/`.
            pub path: Option<UrlPath>,
            /// Plugin that makes the request of a message. Default: `forward`.
            pub handler: Option<PluginName>,
            /// Plugin that chooses the server. Default: `round-robin`.
            pub selector: Option<PluginName>,
            /// Which answers are a success: `2xx`, `200`, `errno` (200 and a JSON `errno` of 0), or
            /// `{json: /pointer, equals: value}`. Default: `2xx`.
            pub success: Option<OrShort<Success>>,
            /// How failed attempts are repeated.
            pub retry: Retry,
            /// Time for one attempt, in ms. Default: 10000.
            pub timeout_ms: Option<Millis>,
            /// Most attempts of a command under way at once on this host. Default: 128.
            pub concurrency: Option<AtOnce>,
            /// Most attempts of a command a second on this host. Default: no limit.
            pub rate: Option<Limit>,
            /// Which messages wait for each other. Default: as the group says.
            pub order: Option<Order>,
            /// What a key's later messages do while one of them is to be tried for longer than `inline-ms`.
            /// Default: `block`. Without an order it waits on its ladder, and nobody for it.
            pub on_retry: Option<OnRetry>,
            /// A message is not delivered any more so long after it was produced, in ms, where it does not say itself
            /// when it expires. Default: no end.
            pub ttl_ms: Option<Within<1, 315_360_000_000>>,
            /// Whether delays that messages ask for are kept; if not, they are delivered at once. Default: as
            /// `delays` in `drover.yaml` says.
            pub delays: Option<bool>,
            /// What to do when the handler's plugin itself fails. Default: `retry`.
            pub on_plugin_failure: Option<OnPluginFailure>,
        }

        impl $name {
            pub(super) fn policy(&self) -> Policy<'_> {
                Policy {
                    path: self.path.as_ref(),
                    handler: self.handler.as_ref(),
                    selector: self.selector.as_ref(),
                    success: self.success.as_ref().map(|it| &it.0),
                    retry: &self.retry,
                    timeout_ms: self.timeout_ms,
                    concurrency: self.concurrency,
                    rate: self.rate,
                    order: self.order,
                    on_retry: self.on_retry,
                    ttl_ms: self.ttl_ms,
                    delays: self.delays,
                    on_plugin_failure: self.on_plugin_failure,
                }
            }
        }
    };
}

/// The keys that an app and a command have in common.
#[derive(Clone, Copy)]
pub(super) struct Policy<'a> {
    pub(super) path: Option<&'a UrlPath>,
    pub(super) handler: Option<&'a PluginName>,
    pub(super) selector: Option<&'a PluginName>,
    pub(super) success: Option<&'a Success>,
    pub(super) retry: &'a Retry,
    pub(super) timeout_ms: Option<Millis>,
    pub(super) concurrency: Option<AtOnce>,
    pub(super) rate: Option<Limit>,
    pub(super) order: Option<Order>,
    pub(super) on_retry: Option<OnRetry>,
    pub(super) ttl_ms: Option<Within<1, 315_360_000_000>>,
    pub(super) delays: Option<bool>,
    pub(super) on_plugin_failure: Option<OnPluginFailure>,
}

with_policy! {
    /// A service and the commands that it takes.
    pub struct AppFile {
        /// Name of the app. Default: the file's name without its ending.
        pub name: Option<Name>,
        /// How to speak to the servers. Default: `http`.
        pub protocol: Option<Protocol>,
        /// The servers, each `host:port` or with keys of its own. One that stands here twice counts twice.
        /// In place of `discover` and `url-from-message`.
        pub servers: Option<Vec<OrShort<ServerEntry>>>,
        /// Where the servers are found. In place of `servers` and `url-from-message`.
        pub discover: Option<Discover>,
        /// Each message names its own server (bigpipe's `Url`). In place of `servers` and `discover`.
        pub url_from_message: Option<UrlFromMessage>,
        /// Kind of the servers, shown to selectors.
        pub server_type: String,
        /// What to do when the selector fails: the choice of the host, or fail the attempt. Default: `builtin`.
        pub on_selector_failure: Option<OnSelectorFailure>,
        /// Most requests under way to one server, from this host. Default: 1024.
        pub server_concurrency: Option<AtOnce>,
        /// Longest answer, in KiB; a longer one is a failure. Default: 1024.
        pub response_kb: Option<Within<1, 1_048_576>>,
        /// When a server that fails is left out for a while.
        pub eject: Eject,
        /// Circuit breakers: who fails too much gets nothing for a while, then more and more. Default: none.
        pub breaker: Option<Breaker>,
        /// A server that is new or comes back gets its whole share after so long, growing evenly, in ms; while others
        /// can take the rest. Default: at once.
        pub slow_start_ms: Option<Millis>,
        /// Servers are asked whether they are well, by a GET beside the messages. Default: not.
        pub check: Option<Check>,
        /// Bounds the requests under way on this host by how long answers take.
        pub adaptive: bool,
        /// Commands that go here. Required.
        pub commands: Vec<OrShort<Command>>,
        /// Groups whose messages go here. Default: all.
        pub groups: Vec<GroupName>,
        /// Topics whose messages go here. Default: all of the groups.
        pub topics: Vec<TopicName>,
    }
}

with_policy! {
    /// Commands of one kind: exactly one of `match`, `regex` and `any`, and what is different for them.
    pub struct Command {
        /// The command as it stands.
        #[serde(rename = "match")]
        pub exact: Option<Scalar>,
        /// A regular expression for the whole command. Of several that match, the first in file order counts.
        pub regex: Option<Scalar>,
        /// `true`: every command that nothing else matches.
        pub any: Option<bool>,
    }
}

impl ShortForm for Command {
    fn short(text: &str) -> Result<Self, String> {
        Ok(Self { exact: Some(Scalar::new(text)?), ..Self::default() })
    }
}

/// A server with more than its address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerEntry {
    /// `host:port`.
    pub address: Address,
    /// Its share, against the other servers. Default: 1.
    #[serde(default = "one")]
    pub weight: Within<1, 10_000>,
    /// Where it stands, for selectors.
    #[serde(default)]
    pub zone: String,
    /// More for selectors.
    #[serde(default)]
    pub labels: BTreeMap<String, Scalar>,
}

fn one() -> Within<1, 10_000> {
    Within::new(1)
}

impl ShortForm for ServerEntry {
    fn short(text: &str) -> Result<Self, String> {
        let address = Address::new(text)?;
        Ok(Self { address, weight: one(), zone: String::new(), labels: Default::default() })
    }
}

/// Servers that are found: `dns` or `file`, one of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Discover {
    /// `host:port`: a server for each address that the name has.
    pub dns: Option<Address>,
    /// How often the name is looked up, in ms. Default: 10000.
    pub every_ms: Option<Within<100, 86_400_000>>,
    /// File with a server a line, `host:port` and its weight if that is not 1, relative to this one; watched.
    pub file: Option<PathBuf>,
}

/// Messages that name their own server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct UrlFromMessage {
    /// Hosts that may be named: `host`, `*.domain`, each with or without `:port`. Required.
    pub allow: Vec<AllowedHost>,
}

/// When a server is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Eject {
    /// After so many failures in a row. Default: 5.
    pub after: Option<Within<1, 1_000_000>>,
    /// For how long at first, in ms; it doubles each time in a row. Default: 5000.
    pub first_ms: Option<Millis>,
}

/// When a server, or an app as a whole, is broken off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Breaker {
    /// Nothing is sent for so long, in ms. Default: 5000.
    pub break_ms: Option<Millis>,
    /// Then a share that grows evenly to the whole within so long, in ms. Default: 20000.
    pub recover_ms: Option<Millis>,
    /// What is looked at: the last so many seconds. Default: 30.
    pub window_s: Option<Within<1, 3_600>>,
    /// Fewer attempts than this are taken to be well. Default: 50.
    pub min_stats: Option<Within<1, 1_000_000>>,
    /// Which part of the attempts has to be good, over 0 and up to 1. Default: 0.9.
    pub health_rate: Option<HealthRate>,
    /// `server`: each by itself, in place of `eject`. `app`: all of its servers together. Default: both.
    pub per: Option<Vec<Per>>,
}

/// What has a breaker of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Per {
    Server,
    App,
}

/// Over 0, up to 1. bigpipe took 90 for a rate, and was never well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, inline)]
pub struct HealthRate(#[schemars(range(min = 0.0, max = 1.0))] pub f64);

impl<'de> Deserialize<'de> for HealthRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if 0.0 < value && value <= 1.0 {
            return Ok(Self(value));
        }
        Err(serde::de::Error::custom(format!(
            "{value} is out of range\nover 0 and up to 1: 0.9 for nine of ten"
        )))
    }
}

/// How servers are asked whether they are well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Check {
    /// Path of the GET; any 2xx is good. Default: `/`.
    pub path: Option<UrlPath>,
    /// How often, in ms. Default: 5000.
    pub every_ms: Option<Within<100, 86_400_000>>,
    /// Time for an answer, in ms. Default: 2000, or `every-ms` if that is less.
    pub timeout_ms: Option<Millis>,
    /// So many good answers in a row take a server back. Default: 2.
    pub healthy_after: Option<Within<1, 1_000>>,
    /// So many failures in a row put it out of service. Default: 3.
    pub unhealthy_after: Option<Within<1, 1_000>>,
}

/// How failed attempts are repeated. A command takes what it does not say from its app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Retry {
    /// Attempts in all, the first one included; -1 for no end. Default: 5.
    pub attempts: Option<Attempts>,
    /// Pause before the second attempt, in ms. Default: 100.
    pub first_ms: Option<Millis>,
    /// Each pause is so many times the one before. Default: 2.
    pub factor: Option<Factor>,
    /// Longest pause, in ms; also the most that an answer's `Retry-After` gets. Default: 30000.
    pub most_ms: Option<Millis>,
    /// How long a message is tried in place, pauses included, in ms; what takes longer waits on its ladder of topics.
    /// Default: 2000.
    pub inline_ms: Option<Within<0, 3_600_000>>,
}

/// From 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, inline)]
pub struct Factor(#[schemars(range(min = 1.0, max = 100.0))] pub f64);

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if (1.0..=100.0).contains(&value) {
            return Ok(Self(value));
        }
        Err(serde::de::Error::custom(format!("{value} is out of range\nfrom 1 (equal pauses) to 100")))
    }
}

/// What counts as success.
#[derive(Clone, Debug, PartialEq)]
pub struct Success(pub SuccessRule);

/// A success rule in its long form: any 2xx, and a value in the answer's JSON.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JsonRule {
    /// JSON pointer into the answer, as in `/result/ok`.
    json: String,
    /// What stands there when all is well.
    equals: serde_json::Value,
}

impl<'de> Deserialize<'de> for Success {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let JsonRule { json, equals } = JsonRule::deserialize(deserializer)?;
        if !json.is_empty() && !json.starts_with('/') {
            let message = format!("`{json}` is no JSON pointer\nwrite `/{}`", json.replace('.', "/"));
            return Err(serde::de::Error::custom(message));
        }
        Ok(Self(SuccessRule::Json { pointer: json, equals }))
    }
}

impl Serialize for Success {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            SuccessRule::Any2xx => serializer.serialize_str("2xx"),
            SuccessRule::Status200 => serializer.serialize_str("200"),
            SuccessRule::Errno => serializer.serialize_str("errno"),
            SuccessRule::Json { pointer, equals } => {
                JsonRule { json: pointer.clone(), equals: equals.clone() }.serialize(serializer)
            }
        }
    }
}

impl JsonSchema for Success {
    fn schema_name() -> Cow<'static, str> {
        "Success".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        JsonRule::json_schema(generator)
    }
}

impl ShortForm for Success {
    fn short(text: &str) -> Result<Self, String> {
        match text {
            "2xx" => Ok(Self(SuccessRule::Any2xx)),
            "200" => Ok(Self(SuccessRule::Status200)),
            "errno" => Ok(Self(SuccessRule::Errno)),
            _ => {
                let help = "one of `2xx`, `200`, `errno`, `{json: /pointer, equals: value}`";
                Err(format!("`{text}` is no rule for success\n{help}"))
            }
        }
    }

    fn short_schema() -> Schema {
        json_schema!({"enum": ["2xx", "200", 200, "errno"]})
    }
}
