//! Sections `gateway` and `admin`: who may come in, and where.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{Address, Limit, Millis, Name, OrShort, SecretText, TopicName, Within};
use crate::yaml::{Cursor, Problem, did_you_mean};

/// The producers' door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Gateway {
    /// Address to listen on, `host:port`; `~` for no gateway. Beyond this machine only with credentials.
    pub listen: Option<Address>,
    /// Who may publish. Empty: everybody who reaches it.
    pub credentials: Vec<Credential>,
    /// Topics that may be published to. Empty: those that the groups read.
    pub topics: Vec<TopicName>,
    /// Topic of what is sent without one. Unless written: the only one there is.
    pub default_topic: Option<TopicName>,
    /// Commands that may be published. Empty: all.
    pub commands: Vec<String>,
    /// Longest body of a request, in MiB.
    pub body_mb: Within<1, 1_024>,
    /// Requests that may wait for Kafka at once; what is beyond is refused.
    pub accept_queue: Within<1, 1_000_000>,
    /// Requests a second; what is beyond is refused. Leave it out for no limit.
    pub rate: Option<Limit>,
    /// Time for a request, reading and Kafka's answer included, in ms.
    pub timeout_ms: Millis,
    /// Opens `/sendmsg`, as alpaca-mq's clients call it.
    pub alpaca: Option<AlpacaDoor>,
    /// Opens `/rpc/call`, as bigpipe's clients call it.
    pub bigpipe: Option<BigpipeDoor>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: Address::new("127.0.0.1:8080").ok(),
            credentials: Vec::new(),
            topics: Vec::new(),
            default_topic: None,
            commands: Vec::new(),
            body_mb: Within::new(20),
            accept_queue: Within::new(10_000),
            rate: None,
            timeout_ms: Within::new(30_000),
            alpaca: None,
            bigpipe: None,
        }
    }
}

/// `/sendmsg`, as alpaca-mq's clients call it. They keep the order of a key only if all of the topic's
/// producers place keys as they do: this topic's keys are placed so, whichever door they come by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AlpacaDoor {
    /// Where its messages go. Unless written: the gateway's default topic.
    pub topic: Option<TopicName>,
    /// Requests a second. Unless written: the gateway's.
    pub rate: Option<Limit>,
    /// Commands, each `true` or `false`; one that is not named is refused. Empty: those of the gateway.
    pub commands: BTreeMap<String, bool>,
    /// Lets callers in without one of the gateway's credentials, which alpaca-mq's clients cannot show.
    pub without_credentials: bool,
}

/// `/rpc/call`, as bigpipe's clients call it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BigpipeDoor {
    /// Who may call.
    pub acl: Vec<AclEntry>,
}

/// A caller of `/rpc/call`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AclEntry {
    /// The caller's name. Required.
    pub name: String,
    /// Its secret, `{env: NAME}` or `{file: PATH}`. Required.
    pub secret: Option<OrShort<SecretText>>,
    /// Where its calls go. Required.
    pub topic: TopicName,
}

/// A producer: a name and a secret, and what they open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Credential {
    /// The producer's name. Required.
    pub name: Name,
    /// Its secret, `{env: NAME}` or `{file: PATH}`. Required.
    pub secret: Option<OrShort<SecretText>>,
    /// Topics it may publish to. Empty: all of the gateway.
    pub topics: Vec<TopicName>,
    /// Commands it may publish. Empty: all of the gateway.
    pub commands: Vec<String>,
}

/// The operators' door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Admin {
    /// Address to listen on, `host:port`; `~` for none. Beyond this machine only with a token.
    pub listen: Option<Address>,
    /// What operators show as `Authorization: Bearer …`: the token, `{env: NAME}` or `{file: PATH}`.
    pub token: Option<OrShort<SecretText>>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: Address::new("127.0.0.1:8081").ok(), token: None }
    }
}

/// `read`: the topics that the groups read.
pub(super) fn check_gateway(
    gateway: &Gateway,
    read: &BTreeSet<&TopicName>,
    at: Cursor<'_>,
    problems: &mut Vec<Problem>,
) {
    if let Some(listen) = &gateway.listen
        && !listen.is_loopback()
        && gateway.credentials.is_empty()
    {
        let message = format!("whoever reaches {listen} could publish");
        let help = format!("add `credentials`, or listen on `127.0.0.1:{}`", listen.port());
        problems.push(Problem::error(at.key("listen").place(), message).help(help));
    }
    let open: BTreeSet<&TopicName> =
        if gateway.topics.is_empty() { read.clone() } else { gateway.topics.iter().collect() };
    let known = |topic: &TopicName, at: Cursor<'_>, problems: &mut Vec<Problem>| {
        if !open.contains(topic) {
            let message = format!("`{topic}` is not among the gateway's topics");
            let help = did_you_mean(topic.as_str(), open.iter().map(|it| it.as_str()));
            problems.push(Problem::error(at.place(), message).help(help));
        }
    };
    check_ancestors(gateway, &open, at, problems);
    if let Some(topic) = gateway.alpaca.as_ref().and_then(|it| it.topic.as_ref()) {
        known(topic, at.key("alpaca").key("topic"), problems);
    }
    for (index, entry) in gateway.bigpipe.iter().flat_map(|it| &it.acl).enumerate() {
        if !entry.topic.as_str().is_empty() {
            known(&entry.topic, at.key("bigpipe").key("acl").item(index).key("topic"), problems);
        }
    }
    if let Some(topic) = &gateway.default_topic {
        known(topic, at.key("default-topic"), problems);
    }
    let mut names = HashMap::new();
    for (index, credential) in gateway.credentials.iter().enumerate() {
        let here = at.key("credentials").item(index);
        let place = here.key("name").place();
        for (key, missing) in
            [("name", credential.name.as_str().is_empty()), ("secret", credential.secret.is_none())]
        {
            if missing {
                let problem = Problem::error(here.key(key).place(), format!("a credential without `{key}`"));
                problems.push(problem.help(format!("add `{key}: …`")));
            }
        }
        if let Some(first) = names.insert(&credential.name, place.clone()) {
            let problem = Problem::error(place, format!("a second credential `{}`", credential.name));
            problems
                .push(problem.note(format!("the first one stands at {first}")).help("rename one of them"));
        }
        for (index, topic) in credential.topics.iter().enumerate() {
            known(topic, here.key("topics").item(index), problems);
        }
    }
}

/// `open`: the gateway's topics.
fn check_ancestors(
    gateway: &Gateway,
    open: &BTreeSet<&TopicName>,
    at: Cursor<'_>,
    problems: &mut Vec<Problem>,
) {
    if let Some(alpaca) = &gateway.alpaca
        && alpaca.topic.is_none()
        && gateway.default_topic.is_none()
        && open.len() != 1
    {
        let message = "nothing says where messages to `/sendmsg` go";
        let place = at.key("alpaca").place();
        problems
            .push(Problem::error(place, message).help("add `topic: …`, or `default-topic` to the gateway"));
    }
    let acl = gateway.bigpipe.iter().flat_map(|it| &it.acl).enumerate();
    let mut names = HashMap::new();
    for (index, entry) in acl {
        let here = at.key("bigpipe").key("acl").item(index);
        let missing = [
            ("name", entry.name.is_empty()),
            ("secret", entry.secret.is_none()),
            ("topic", entry.topic.as_str().is_empty()),
        ];
        for (key, _) in missing.into_iter().filter(|it| it.1) {
            let problem = Problem::error(here.key(key).place(), format!("a caller without `{key}`"));
            problems.push(problem.help(format!("add `{key}: …`")));
        }
        let place = here.key("name").place();
        if let Some(first) = names.insert(&entry.name, place.clone()) {
            let problem = Problem::error(place, format!("a second caller `{}`", entry.name));
            problems
                .push(problem.note(format!("the first one stands at {first}")).help("rename one of them"));
        }
    }
}

pub(super) fn check_admin(admin: &Admin, gateway: &Gateway, at: Cursor<'_>, problems: &mut Vec<Problem>) {
    let Some(listen) = &admin.listen else { return };
    let place = || at.key("listen").place();
    if !listen.is_loopback() && admin.token.is_none() {
        let message = format!("whoever reaches {listen} could change everything");
        let help = format!("add `token`, or listen on `127.0.0.1:{}`", listen.port());
        problems.push(Problem::error(place(), message).help(help));
    }
    if listen.port() != 0 && gateway.listen.as_ref().is_some_and(|it| it.port() == listen.port()) {
        let message = format!("gateway and admin both listen on port {}", listen.port());
        problems.push(Problem::error(place(), message).help("choose another port for one of them"));
    }
}
