//! Section `groups`: which topics are read, under which name, and how the books are kept.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{GroupName, TopicName, Within};
use crate::domain::app::Order;
use crate::domain::ladder::Names;
use crate::yaml::{Cursor, Problem};

/// A consumer group that this host joins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Group {
    /// Name of the consumer group. Required.
    pub name: GroupName,
    /// Topics it reads. Required.
    pub topics: Vec<TopicName>,
    /// Where it starts while it has no commits.
    pub start: Start,
    /// How records are read; `auto` looks at each of them.
    pub format: Format,
    /// Which messages wait for each other, where a route says nothing.
    pub order: Order,
    /// Header that carries the order key, in place of the record's key.
    pub order_header: Option<String>,
    /// What becomes of a message that no route takes.
    pub unmatched: Unmatched,
    /// Offsets that may be open at once in a partition.
    pub window: Within<1, 16_384>,
    /// How long this host may be silent before the group gives its partitions to others, in ms.
    pub session_timeout_ms: Within<6_000, 1_800_000>,
    /// Time between commits, in ms.
    pub commit_every_ms: Within<10, 600_000>,
    /// Topic for messages that are given up. Its name is `<group>.dead` unless written.
    pub dead_letters: SideTopic,
    /// Topic for messages that wait for their target. Its name is `<group>.park` unless written.
    pub park: SideTopic,
    /// Topics for messages that are not to be tried yet, `<group>.<topic>.retry.<time>` and `….delay.<time>`, each
    /// made when it is first needed.
    pub ladder: Ladder,
    /// How long a partition that is taken away may finish what it has begun, in ms.
    pub drain_ms: Within<0, 60_000>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            name: GroupName::default(),
            topics: Vec::new(),
            start: Start::Oldest,
            format: Format::Auto,
            order: Order::Key,
            order_header: None,
            unmatched: Unmatched::Dead,
            window: Within::new(8_192),
            session_timeout_ms: Within::new(45_000),
            commit_every_ms: Within::new(1_000),
            dead_letters: SideTopic::default(),
            park: SideTopic::default(),
            ladder: Ladder::default(),
            drain_ms: Within::new(2_000),
        }
    }
}

impl Group {
    pub fn dead_topic(&self) -> String {
        self.side_topic(&self.dead_letters, "dead")
    }

    pub fn park_topic(&self) -> String {
        self.side_topic(&self.park, "park")
    }

    fn side_topic(&self, topic: &SideTopic, suffix: &str) -> String {
        // `group:topic` is a good group, but no good topic.
        let name = || format!("{}.{suffix}", self.name.as_str().replace(':', "-"));
        topic.topic.as_ref().map_or_else(name, |it| it.as_str().to_owned())
    }
}

/// A topic that drover writes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SideTopic {
    /// Its name.
    pub topic: Option<TopicName>,
    /// Partitions it is made with; unless written: as many as the group's first topic has.
    pub partitions: Option<Within<1, 100_000>>,
    /// Copies of each partition it is made with; unless written: as the cluster does by itself.
    pub replication: Option<Within<1, 100>>,
    /// Whether it is made where it is missing; if not, the host refuses to start without it.
    pub create: bool,
}

impl Default for SideTopic {
    fn default() -> Self {
        Self { topic: None, partitions: None, replication: None, create: true }
    }
}

/// The topics where messages wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Ladder {
    /// Copies of each partition they are made with; unless written: as the cluster does by itself.
    pub replication: Option<Within<1, 100>>,
    /// Whether they are made where they are missing; if not, what needs one waits until it is there.
    pub create: bool,
}

impl Default for Ladder {
    fn default() -> Self {
        Self { replication: None, create: true }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the first record there is.
    Oldest,
    /// Behind the last one.
    Newest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Found out for each record.
    Auto,
    /// Headers `drover-*`, the value as it is.
    Native,
    /// JSON of alpaca-mq.
    Alpaca,
    /// JSON of bigpipe.
    Bigpipe,
    /// JSON of dispatcher.
    Dispatcher,
    /// CloudEvents, binary or structured.
    Cloudevents,
    /// No envelope: the topic is the command, the value the data.
    Raw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unmatched {
    /// To the dead letters.
    Dead,
    /// Put aside.
    Park,
    /// Counted, and done with.
    Skip,
}

pub(super) fn check(groups: &[Group], at: Cursor<'_>, problems: &mut Vec<Problem>) {
    let mut names = HashMap::new();
    for (index, group) in groups.iter().enumerate() {
        let here = at.item(index);
        for (key, missing) in [("name", group.name.as_str().is_empty()), ("topics", group.topics.is_empty())]
        {
            if missing {
                let problem = Problem::error(here.key(key).place(), format!("a group without `{key}`"));
                problems.push(problem.help(format!("add `{key}: …`")));
            }
        }
        let place = here.key("name").place();
        if let Some(first) = names.insert(&group.name, place.clone()) {
            let problem = Problem::error(place, format!("a second group `{}`", group.name));
            let problem = problem.note(format!("the first one stands at {first}"));
            problems.push(problem.help("put the topics of both into one group, or rename one"));
        }
        check_topics(group, here, problems);
    }
}

fn check_topics(group: &Group, at: Cursor<'_>, problems: &mut Vec<Problem>) {
    let (dead, park) = (group.dead_topic(), group.park_topic());
    if dead == park {
        let place = at.key("park").key("topic").place();
        let problem = Problem::error(place, format!("dead letters and parked messages both go to `{dead}`"));
        problems.push(problem.help("name two topics"));
    }
    for (name, key) in [(&dead, "dead-letters"), (&park, "park")] {
        if name.len() > 249 {
            let problem = Problem::error(at.key("name").place(), format!("`{name}` is too long for a topic"));
            problems
                .push(problem.help(format!("name the topic by `{key}: {{topic: …}}`, or shorten the group")));
        }
    }
    let ladders: Vec<Names> =
        group.topics.iter().map(|it| Names::new(group.name.as_str(), it.as_str())).collect();
    for (index, topic) in group.topics.iter().enumerate() {
        let place = || at.key("topics").item(index).place();
        if group.topics[..index].contains(topic) {
            let problem = Problem::error(place(), format!("the topic `{topic}` stands here twice"));
            problems.push(problem.help("remove one of them"));
        }
        let own = [&dead, &park].iter().any(|it| *it == topic.as_str())
            || ladders.iter().any(|it| it.find(topic.as_str()).is_some());
        if own {
            let message =
                format!("the group writes to `{topic}` itself: its messages would go round for ever");
            let help = "read it by a group of its own, whose dead letters go elsewhere";
            problems.push(Problem::error(place(), message).help(help));
        }
    }
}
