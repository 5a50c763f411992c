//! A service that messages are pushed to, and a route: which commands go there, by which plugins,
//! under which policy. Values only; they are read from YAML and never change, a reload makes new ones.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::breaker;
use crate::domain::outcome::SuccessRule;
use crate::domain::retry::RetryPolicy;

/// A service: its servers, and how to speak to it.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    pub name: Arc<str>,
    pub protocol: Protocol,
    /// Begins with `/`; where the handler names none.
    pub path: String,
    /// As in alpaca-mq, for discovery; shown to selectors.
    pub server_type: String,
    pub servers: ServerSource,
    /// Plugin name of the selector.
    pub selector: Arc<str>,
    /// What to do when the selector traps, overruns or names no server in the list. S7.
    pub on_selector_failure: OnSelectorFailure,
    pub success: SuccessRule,
    /// Most requests under way to one server, from this host.
    pub server_concurrency: u32,
    /// An answer's body over this is a failure.
    pub response_bytes_max: usize,
    /// Failures in a row that put a server out of service for a while.
    pub eject_after: u32,
    /// How long a server is first put out of service, in ms; doubles with each time in a row.
    pub eject_ms: u64,
    /// None: nothing is broken; servers are ejected.
    pub breaker: Option<Breakers>,
    /// A server that is new or comes back gets its whole share after so long, in ms; 0: at once. S99.
    pub slow_start_ms: u64,
    /// None: how servers do is learned from messages alone.
    pub check: Option<Check>,
    /// Whether the requests under way are bounded by how long answers take.
    pub adaptive: bool,
}

/// An app's circuit breakers: one rule, for each server, for all of them together, or for both. S102.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breakers {
    pub rule: breaker::Rule,
    /// In place of ejection.
    pub per_server: bool,
    pub per_app: bool,
}

/// How an app's servers are asked whether they are well, beside the messages. S111.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Of a GET; any 2xx says "well".
    pub path: String,
    pub every_ms: u64,
    pub timeout_ms: u64,
    /// So many answers in a row take a server back.
    pub healthy_after: u32,
    /// So many failures in a row put it out of service.
    pub unhealthy_after: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 or HTTP/1.1 over TLS, as the server offers.
    Https,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http | Protocol::H2c => "http",
            Protocol::Https => "https",
        }
    }
}

/// Where an app's servers come from.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerSource {
    /// As written.
    Listed(Vec<Server>),
    /// A file with a server a line, with its weight behind it if that is not 1; watched.
    File(std::path::PathBuf),
    /// All addresses of a name, asked again every so many ms.
    Dns { host: String, port: u16, every_ms: u64 },
    /// The message names its own address (bigpipe); only these hosts are allowed. S10, S166.
    Message { allow: Vec<HostPattern> },
}

/// One server of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `host:port`, also its id.
    pub address: Arc<str>,
    /// What it is called in `Host` and in TLS; none: by its address.
    pub name: Option<Arc<str>>,
    pub weight: u32,
    pub zone: String,
    pub labels: Vec<(String, String)>,
}

/// A host that a message may name: `host`, `*.domain`, each with or without `:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// Lower case, without the `*`; starts with a dot where any sub-domain is meant.
    pub host: String,
    pub port: Option<u16>,
}

impl HostPattern {
    pub fn allows(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let named = if self.host.starts_with('.') {
            host.len() > self.host.len() && host.ends_with(&self.host)
        } else {
            host == self.host
        };
        named && self.port.is_none_or(|it| it == port)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnSelectorFailure {
    /// The built-in choice: of two random servers the less busy.
    Builtin,
    /// The attempt fails.
    Fail,
}

/// Which messages wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// None does.
    None,
    /// Those of one key: one at a time, in order, also through retries.
    Key,
    /// Those of one partition.
    Partition,
}

/// A command's way: which app, by which handler, under which policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// `app/matcher`, as it is named in metrics and `explain`.
    pub name: Arc<str>,
    pub app: Arc<App>,
    /// Plugin name of the handler.
    pub handler: Arc<str>,
    /// Plugin name of the selector: the app's, unless the command names its own. S2.
    pub selector: Arc<str>,
    /// The app's, unless the command has its own.
    pub success: SuccessRule,
    /// In place of the app's path.
    pub path: Option<String>,
    pub order: Order,
    /// After this time from its production a message is not delivered, where it says nothing itself. S86.
    pub ttl_ms: Option<u64>,
    /// Whether delays that messages ask for are kept. S57.
    pub delays: bool,
    /// For one attempt, from its turn to the end of the answer.
    pub timeout_ms: u64,
    pub retry: RetryPolicy,
    /// Most attempts of this route under way on this host; 0 is no limit.
    pub concurrency: u32,
    /// Attempts a second on this host; none is no limit. Never 0: a load refuses it.
    pub rate: Option<u32>,
    /// What to do when the handler's plugin fails a message for good.
    pub on_plugin_failure: OnPluginFailure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnPluginFailure {
    /// A failed attempt like any other.
    Retry,
    /// To the dead letters at once.
    Dead,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S166.
    #[test]
    fn host_patterns() {
        let pattern = |host: &str, port| HostPattern { host: host.into(), port };
        let cases = [
            (pattern("a.example", None), "A.example", 80, true),
            (pattern("a.example", Some(81)), "a.example", 80, false),
            (pattern(".example", None), "b.a.example", 80, true),
            (pattern(".example", None), "example", 80, false),
            (pattern(".example", None), ".example", 80, false),
            (pattern("example", None), "notexample", 80, false),
        ];
        for (pattern, host, port, allowed) in cases {
            assert_eq!(pattern.allows(host, port), allowed, "{pattern:?} {host}:{port}");
        }
    }
}
