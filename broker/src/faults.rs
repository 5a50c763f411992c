//! Faults on demand, for tests of clients: errors, delays, dropped connections, a closed door.
//!
//! A `Faults` is a cheap handle; every clone speaks of the same broker, from any thread, while it runs.
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Clone, Default)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct Plan {
    errors: Vec<Rule>,
    drops: HashMap<i16, u32>,
    delays: HashMap<i16, Duration>,
    closed: bool,
}

struct Rule {
    api: i16,
    topic: Option<String>,
    error: ResponseError,
    times: u32,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    /// The next `times` requests of this API are answered with the error, and have no effect.
    pub fn fail(&self, api: ApiKey, error: ResponseError, times: u32) {
        self.rule(api, None, error, times);
    }
    /// As `fail`, for the requests that name this topic, and only for their part about it.
    pub fn fail_topic(&self, api: ApiKey, topic: &str, error: ResponseError, times: u32) {
        self.rule(api, Some(topic.to_string()), error, times);
    }
    fn rule(&self, api: ApiKey, topic: Option<String>, error: ResponseError, times: u32) {
        self.plan().errors.push(Rule { api: api as i16, topic, error, times });
    }
    /// Every request of this API waits so long before it is looked at; zero ends that.
    pub fn delay(&self, api: ApiKey, by: Duration) {
        self.plan().delays.insert(api as i16, by);
    }
    /// The next `times` requests of this API are carried out, but the connection is closed instead of answered.
    pub fn drop_connection(&self, api: ApiKey, times: u32) {
        self.plan().drops.insert(api as i16, times);
    }
    /// While set, new connections are closed at once; those that are open stay.
    pub fn refuse_connections(&self, refuse: bool) {
        self.plan().closed = refuse;
    }
    /// Forgets all faults.
    pub fn clear(&self) {
        *self.plan() = Plan::default();
    }

    pub(crate) fn refuses(&self) -> bool {
        self.plan().closed
    }
    pub(crate) fn delay_of(&self, api: ApiKey) -> Duration {
        self.plan().delays.get(&(api as i16)).copied().unwrap_or_default()
    }
    pub(crate) fn drops(&self, api: ApiKey) -> bool {
        let mut plan = self.plan();
        let Some(left) = plan.drops.get_mut(&(api as i16)).filter(|left| **left > 0) else { return false };
        *left -= 1;
        true
    }
    /// The errors that one request meets; asked once for each request, so that `times` counts requests.
    pub(crate) fn meet(&self, api: ApiKey, topics: impl Fn(&str) -> bool) -> Met {
        let mut met = Met::default();
        let mut plan = self.plan();
        for rule in plan.errors.iter_mut().filter(|rule| rule.api == api as i16 && rule.times > 0) {
            match &rule.topic {
                None if met.whole.is_none() => met.whole = Some(rule.error),
                Some(topic) if topics(topic) => met.topics.push((topic.clone(), rule.error)),
                _ => continue,
            }
            rule.times -= 1;
        }
        plan.errors.retain(|rule| rule.times > 0);
        met
    }
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// What one request has to answer.
#[derive(Default)]
pub(crate) struct Met {
    whole: Option<ResponseError>,
    topics: Vec<(String, ResponseError)>,
}

impl Met {
    /// For an API whose answer has one code.
    pub fn whole(&self) -> Result<(), ResponseError> {
        self.whole.map_or(Ok(()), Err)
    }
    /// For a topic's part of a request.
    pub fn topic(&self, name: &str) -> Result<(), ResponseError> {
        self.whole()?;
        match self.topics.iter().find(|(topic, _)| topic == name) {
            Some((_, error)) => Err(*error),
            None => Ok(()),
        }
    }
}
