//! Who may publish what: credentials, topics, commands (S159, S161).

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{HeaderMap, StatusCode};

use super::Config;
use crate::clock;
use crate::domain::limiter::Rate;
use crate::web::access::{Digest, Shown, shown};
use crate::web::answer::Refusal;

pub struct Access {
    credentials: Vec<Known>,
    open: Rights,
    rate: Option<Bucket>,
}

struct Known {
    name: String,
    secret: Digest,
    rights: Rights,
}

/// What somebody may publish.
#[derive(Clone, Debug)]
pub struct Rights {
    topics: Vec<String>,
    default_topic: Option<String>,
    /// None: all.
    commands: Option<HashSet<String>>,
}

impl Access {
    pub fn new(config: &Config) -> Self {
        let open = Rights {
            topics: config.topics.clone(),
            default_topic: config.default_topic.clone(),
            commands: set(&config.commands),
        };
        let credentials = config.credentials.iter().map(|it| Known {
            name: it.name.clone(),
            secret: Digest::of(&it.secret),
            rights: open.narrowed(&it.topics, &it.commands),
        });
        Self { credentials: credentials.collect(), open, rate: config.rate.map(Bucket::new) }
    }

    /// Whether everybody who reaches the door may publish.
    pub fn is_open(&self) -> bool {
        self.credentials.is_empty()
    }

    /// Of the door itself.
    pub fn rights(&self) -> &Rights {
        &self.open
    }

    /// # Errors
    /// 401.
    pub fn of(&self, headers: &HeaderMap) -> Result<&Rights, Refusal> {
        if self.is_open() {
            return Ok(&self.open);
        }
        // Every secret is looked at, whichever fits: how long it takes says nothing.
        let found = match shown(headers) {
            Shown::Token(token) => self.find(|it| it.secret.is(&token)),
            Shown::Login { name, secret } => self.find(|it| it.secret.is(&secret) & (it.name == name)),
            Shown::Nothing | Shown::Other => None,
        };
        found.map(|it| &it.rights).ok_or_else(|| {
            let text = "show who you are: `Authorization: Basic` with a credential's name and secret, or \
                        `Authorization: Bearer` with its secret";
            Refusal::new(StatusCode::UNAUTHORIZED, text)
        })
    }

    fn find(&self, is: impl Fn(&Known) -> bool) -> Option<&Known> {
        self.credentials.iter().fold(None, |found, it| if is(it) { found.or(Some(it)) } else { found })
    }

    /// S33: takes one from the door's bucket.
    ///
    /// # Errors
    /// 429.
    pub fn rate(&self) -> Result<(), Refusal> {
        match &self.rate {
            Some(bucket) if !bucket.take() => {
                let text = "too many requests: the door's `rate` is used up for this second";
                Err(Refusal::later(StatusCode::TOO_MANY_REQUESTS, text, 1))
            }
            _ => Ok(()),
        }
    }
}

impl Rights {
    fn narrowed(&self, topics: &[String], commands: &[String]) -> Self {
        let topics: Vec<String> = match topics {
            [] => self.topics.clone(),
            own => own.iter().filter(|it| self.topics.contains(it)).cloned().collect(),
        };
        let default_topic = match topics.as_slice() {
            [only] => Some(only.clone()),
            _ => self.default_topic.clone().filter(|it| topics.contains(it)),
        };
        let commands = match (set(commands), &self.commands) {
            (None, all) => all.clone(),
            (Some(own), None) => Some(own),
            (Some(own), Some(all)) => Some(own.intersection(all).cloned().collect()),
        };
        Self { topics, default_topic, commands }
    }

    /// The topic that is meant.
    ///
    /// # Errors
    /// 400 where one has to be named, 403 where it is not open.
    pub fn topic(&self, named: Option<&str>) -> Result<&str, Refusal> {
        let open = || self.topics.join(", ");
        match named {
            None => self.default_topic.as_deref().ok_or_else(|| match self.topics.is_empty() {
                true => Refusal::forbidden("no topic is open here: `gateway.topics` names them"),
                false => Refusal::bad(format!("`topic` is missing: name one of {}", open())),
            }),
            Some(name) => self.topics.iter().find(|it| *it == name).map(String::as_str).ok_or_else(|| {
                let text = format!("topic `{name}` is not open to you; these are: {}", open());
                Refusal::forbidden(text)
            }),
        }
    }

    /// S34.
    pub fn takes(&self, command: &str) -> bool {
        self.commands.as_ref().is_none_or(|it| it.contains(command))
    }
}

fn set(list: &[String]) -> Option<HashSet<String>> {
    (!list.is_empty()).then(|| list.iter().cloned().collect())
}

/// So many a second, as many at once after a pause.
pub struct Bucket {
    rate: Rate,
    due_ns: AtomicU64,
}

impl Bucket {
    pub fn new(rate: u32) -> Self {
        Self { rate: Rate::per_second(rate, rate), due_ns: AtomicU64::new(0) }
    }

    /// False when it is empty.
    pub fn take(&self) -> bool {
        let now_ns = clock::monotonic_ns();
        let taken = self.due_ns.fetch_update(Relaxed, Relaxed, |due_ns| {
            let (next, wait_ns) = self.rate.reserve(due_ns, now_ns);
            (wait_ns == 0).then_some(next)
        });
        taken.is_ok()
    }
}
