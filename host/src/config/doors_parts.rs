//! What the doors are started with, from their sections.

use super::types::{OrShort, SecretText};
use super::{Config, Gateway, TopicName};
use crate::domain::secret::Secret;
use crate::{admin, gateway};

/// Bodies under way hold at most so many of the longest.
const BODIES: usize = 16;

impl Config {
    /// Where the producers' door listens and how it is set up; none without one.
    pub fn gateway_door(&self) -> Option<(String, gateway::Config)> {
        let it = &self.gateway;
        let listen = it.listen.as_ref()?.to_string();
        let topics = self.gateway_topics();
        let default_topic = match (&it.default_topic, topics.as_slice()) {
            (Some(topic), _) => Some(topic.to_string()),
            (None, [only]) => Some(only.clone()),
            (None, _) => None,
        };
        let body_bytes = (it.body_mb.get() as usize) << 20;
        let config = gateway::Config {
            credentials: it.credentials.iter().map(credential).collect(),
            commands: it.commands.clone(),
            body_bytes,
            bodies_bytes: body_bytes * BODIES,
            accept_queue: u32::try_from(it.accept_queue.get()).unwrap_or(u32::MAX),
            rate: it.rate.map(|it| it.get()),
            timeout_ms: it.timeout_ms.get(),
            alpaca: alpaca(it, default_topic.as_deref()),
            bigpipe: it.bigpipe.as_ref().map(|it| gateway::Bigpipe { acl: it.acl.iter().map(acl).collect() }),
            topics,
            default_topic,
        };
        Some((listen, config))
    }

    /// Where the operators' door listens and how it is set up; none without one.
    pub fn admin_door(&self) -> Option<(String, admin::Config)> {
        let listen = self.admin.listen.as_ref()?.to_string();
        Some((listen, admin::Config { token: self.admin.token.as_ref().map(|it| it.0.value.clone()) }))
    }

    /// Those that are written, else those that the groups read.
    fn gateway_topics(&self) -> Vec<String> {
        let written: Vec<&TopicName> = self.gateway.topics.iter().collect();
        let read = self.groups.iter().flat_map(|it| &it.topics);
        let all: Vec<&TopicName> = if written.is_empty() { read.collect() } else { written };
        let mut topics: Vec<String> = Vec::new();
        for topic in all {
            if !topics.iter().any(|it| it == topic.as_str()) {
                topics.push(topic.to_string());
            }
        }
        topics
    }
}

fn credential(it: &super::Credential) -> gateway::Credential {
    gateway::Credential {
        name: it.name.to_string(),
        secret: secret(it.secret.as_ref()),
        topics: it.topics.iter().map(ToString::to_string).collect(),
        commands: it.commands.clone(),
    }
}

fn alpaca(it: &Gateway, default_topic: Option<&str>) -> Option<gateway::Alpaca> {
    let door = it.alpaca.as_ref()?;
    let own = door.topic.as_ref().map(|it| it.as_str());
    Some(gateway::Alpaca {
        // The check has seen to it that there is one.
        topic: own.or(default_topic).unwrap_or_default().to_owned(),
        rate: door.rate.map(|it| it.get()),
        commands: door.commands.clone(),
        open: door.without_credentials,
    })
}

fn acl(it: &super::AclEntry) -> gateway::Acl {
    gateway::Acl { name: it.name.clone(), secret: secret(it.secret.as_ref()), topic: it.topic.to_string() }
}

/// The check has seen to it that there is one.
fn secret(it: Option<&OrShort<SecretText>>) -> Secret {
    it.map(|it| it.0.value.clone()).unwrap_or_default()
}
