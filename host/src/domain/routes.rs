//! Which route a message takes: its group, topic and command in, a route out.
//!
//! Exact beats regular expression beats any; among regular expressions the first one in file order wins.
//! All regular expressions of a topic are one automaton, so that a look-up is one pass whatever their number.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use regex_automata::{Anchored, Input, meta};
use rustc_hash::FxHashMap;

use crate::domain::app::Route;

/// Which commands a route takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Matcher {
    Exact(Arc<str>),
    Regex(Pattern),
    Any,
}

/// As it stands in a route's name: `paid`, `~order_.*`, `*`.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matcher::Exact(command) => f.write_str(command),
            Matcher::Regex(pattern) => write!(f, "~{}", pattern.as_str()),
            Matcher::Any => f.write_str("*"),
        }
    }
}

/// A regular expression that was found good. It is to match the whole command. S43.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Arc<str>);

/// One pattern alone may compile to this; what is over it is not meant for names of commands.
const PATTERN_BYTES_MAX: usize = 1 << 20;

impl Pattern {
    pub fn new(text: &str) -> Result<Self, String> {
        // Compiled alone first, so that `a)|(b` is refused and not read as part of what we put around it.
        match regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build() {
            Ok(_) => Ok(Self(text.into())),
            Err(regex::Error::CompiledTooBig(_)) => Err("it is too large when compiled".to_owned()),
            Err(error) => Err(reason(&error)),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn anchored(&self) -> String {
        format!(r"\A(?:{})\z", self.0)
    }
}

/// The last line of the error says what is wrong; those above draw where, which a snippet does as well.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// One line of the table: in this group, of these topics, these commands take this route.
#[derive(Clone, Debug)]
pub struct Entry {
    pub group: Arc<str>,
    /// None: all topics of the group.
    pub topics: Option<Vec<Arc<str>>>,
    pub matcher: Matcher,
    pub route: Arc<Route>,
}

impl Entry {
    /// Whether some message could be of both entries, going by group and topic alone.
    pub(super) fn meets(&self, other: &Entry) -> bool {
        let topics = match (&self.topics, &other.topics) {
            (Some(a), Some(b)) => a.iter().any(|it| b.contains(it)),
            (None, _) | (_, None) => true,
        };
        self.group == other.group && topics
    }
}

/// The table that messages are looked up in. Its hashes are quick ones: what is put in comes from the
/// configuration, messages only look up.
#[derive(Debug, Default)]
pub struct Routes {
    entries: Vec<Entry>,
    groups: FxHashMap<Arc<str>, Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// Those topics that some entry of the group names.
    topics: FxHashMap<Arc<str>, Table>,
    /// For every other topic.
    others: Table,
}

#[derive(Debug, Default)]
struct Table {
    exact: FxHashMap<Arc<str>, Arc<Route>>,
    regexes: Option<Regexes>,
    any: Option<Arc<Route>>,
}

#[derive(Debug)]
struct Regexes {
    /// One automaton for all; of those that match it names the first.
    all: meta::Regex,
    routes: Vec<Arc<Route>>,
}

/// Why a table cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// Numbers of the two entries. S15.
    #[error("entries {first} and {second} have the same matcher")]
    Twice { first: usize, second: usize },
    #[error("the regular expressions of group `{group}` are too large together: {detail}")]
    TooLarge { group: Arc<str>, detail: String },
}

impl Routes {
    /// `entries` in file order.
    pub fn new(entries: Vec<Entry>) -> Result<Self, RoutesError> {
        if let Some((first, second)) = twice(&entries).first().copied() {
            return Err(RoutesError::Twice { first, second });
        }
        let mut groups: FxHashMap<Arc<str>, Group> = FxHashMap::default();
        for entry in &entries {
            let group = groups.entry(entry.group.clone()).or_default();
            for topic in entry.topics.iter().flatten() {
                group.topics.entry(topic.clone()).or_default();
            }
        }
        for (name, group) in &mut groups {
            let of_group = || entries.iter().filter(|it| it.group == *name);
            let too_large = |detail| RoutesError::TooLarge { group: name.clone(), detail };
            let for_all = of_group().filter(|it| it.topics.is_none());
            group.others = Table::new(for_all).map_err(too_large)?;
            for (topic, table) in &mut group.topics {
                let for_topic =
                    of_group().filter(|it| it.topics.as_ref().is_none_or(|it| it.contains(topic)));
                *table = Table::new(for_topic).map_err(too_large)?;
            }
        }
        Ok(Self { entries, groups })
    }

    /// The route of a message. Allocates nothing.
    pub fn find(&self, group: &str, topic: &str, command: &str) -> Option<&Arc<Route>> {
        let group = self.groups.get(group)?;
        group.topics.get(topic).unwrap_or(&group.others).find(command)
    }

    /// What the table was made of, in file order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Table {
    fn new<'a>(entries: impl Iterator<Item = &'a Entry>) -> Result<Self, String> {
        let mut table = Self::default();
        let (mut patterns, mut routes) = (Vec::new(), Vec::new());
        for Entry { matcher, route, .. } in entries {
            match matcher {
                Matcher::Exact(command) => drop(table.exact.insert(command.clone(), route.clone())),
                Matcher::Any => table.any = Some(route.clone()),
                Matcher::Regex(pattern) => {
                    patterns.push(pattern.anchored());
                    routes.push(route.clone());
                }
            }
        }
        if !patterns.is_empty() {
            let limits = meta::Config::new().nfa_size_limit(Some(64 << 20));
            let all = meta::Builder::new().configure(limits).build_many(&patterns);
            table.regexes = Some(Regexes { all: all.map_err(|it| it.to_string())?, routes });
        }
        Ok(table)
    }

    fn find(&self, command: &str) -> Option<&Arc<Route>> {
        let by_regex = || {
            let Regexes { all, routes } = self.regexes.as_ref()?;
            let hit = all.search_half(&Input::new(command).anchored(Anchored::Yes))?;
            Some(&routes[hit.pattern().as_usize()])
        };
        self.exact.get(command).or_else(by_regex).or(self.any.as_ref())
    }
}

/// Pairs of entries with the same matcher where some message could be of both: the earlier one first. S15.
pub fn twice(entries: &[Entry]) -> Vec<(usize, usize)> {
    let mut seen: HashMap<(&str, &Matcher), Vec<usize>> = HashMap::new();
    let mut pairs = Vec::new();
    for (second, entry) in entries.iter().enumerate() {
        let same = seen.entry((&entry.group, &entry.matcher)).or_default();
        if let Some(first) = same.iter().find(|it| entries[**it].meets(entry)) {
            pairs.push((*first, second));
        }
        same.push(second);
    }
    pairs
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::app::{App, OnPluginFailure, OnSelectorFailure, Order, Protocol, ServerSource};
    use crate::domain::outcome::SuccessRule;
    use crate::domain::retry::RetryPolicy;

    pub(in crate::domain) fn route(name: &str) -> Arc<Route> {
        let app = App {
            name: "app".into(),
            protocol: Protocol::Http,
            path: "/".into(),
            server_type: String::new(),
            servers: ServerSource::Listed(Vec::new()),
            selector: "round-robin".into(),
            on_selector_failure: OnSelectorFailure::Builtin,
            success: SuccessRule::Any2xx,
            server_concurrency: 1,
            response_bytes_max: 1,
            eject_after: 1,
            eject_ms: 1,
            breaker: None,
            slow_start_ms: 0,
            check: None,
            adaptive: false,
        };
        Arc::new(Route {
            name: name.into(),
            app: Arc::new(app),
            handler: "forward".into(),
            selector: "round-robin".into(),
            success: SuccessRule::Any2xx,
            path: None,
            order: Order::Key,
            ttl_ms: None,
            delays: true,
            timeout_ms: 1,
            retry: RetryPolicy::default(),
            concurrency: 0,
            rate: None,
            on_plugin_failure: OnPluginFailure::Retry,
        })
    }

    /// `group topics matcher`, named by the line as it stands: `g * =paid`, `g orders,mail /paid.*/`, `g * any`.
    pub(in crate::domain) fn entry(line: &str) -> Entry {
        let words: Vec<_> = line.split(' ').collect();
        let [group, topics, matcher] = words[..] else { panic!("{line}") };
        let matcher = match matcher.strip_prefix('=') {
            Some(command) => Matcher::Exact(command.into()),
            None if matcher == "any" => Matcher::Any,
            None => Matcher::Regex(Pattern::new(matcher.trim_matches('/')).unwrap()),
        };
        let topics = (topics != "*").then(|| topics.split(',').map(Into::into).collect());
        Entry { group: group.into(), topics, matcher, route: route(line) }
    }

    fn found<'a>(routes: &'a Routes, message: &str) -> Option<&'a str> {
        let words: Vec<_> = message.split(' ').collect();
        routes.find(words[0], words[1], words[2]).map(|it| &*it.name)
    }

    /// S42, S43, S48.
    #[test]
    fn exact_beats_regex_beats_any() {
        let table = [
            "g * any",
            "g * /order_.*/",
            "g * /.*_paid/",
            "g * =order_paid",
            "g mail =sent",
            "g mail any",
            "h * /a|b/",
            "h * =größe",
        ];
        // `any` for the topic and for all topics overlap, so they are in two groups here.
        let table: Vec<_> = table.iter().filter(|it| **it != "g mail any").map(|it| entry(it)).collect();
        let routes = Routes::new(table).unwrap();
        let cases = [
            ("g orders order_paid", Some("g * =order_paid")),
            ("g orders order_made", Some("g * /order_.*/")),
            ("g orders order_made_paid", Some("g * /order_.*/")),
            ("g orders bill_paid", Some("g * /.*_paid/")),
            ("g orders xorder_made", Some("g * any")),
            ("g orders sent", Some("g * any")),
            ("g mail sent", Some("g mail =sent")),
            ("g mail order_made", Some("g * /order_.*/")),
            ("h orders a", Some("h * /a|b/")),
            ("h orders ab", None),
            ("h orders größe", Some("h * =größe")),
            ("i orders a", None),
        ];
        for (message, route) in cases {
            assert_eq!(found(&routes, message), route, "{message}");
        }
    }

    /// S15.
    #[test]
    fn the_same_matcher_twice() {
        let cases = [
            ("g * =a;g * =b;g * =a", Some((0, 2))),
            ("g * =a;h * =a", None),
            ("g x =a;g y =a", None),
            ("g x,y =a;g z =a;g y =a", Some((0, 2))),
            ("g * any;g x any", Some((0, 1))),
            ("g * /a/;g * =a", None),
            ("g * /a+/;g * /a+/", Some((0, 1))),
        ];
        for (lines, pair) in cases {
            let entries: Vec<_> = lines.split(';').map(entry).collect();
            assert_eq!(twice(&entries), Vec::from_iter(pair), "{lines}");
            assert_eq!(Routes::new(entries).is_err(), pair.is_some());
        }
    }

    /// S43.
    #[test]
    fn bad_patterns() {
        for bad in ["a)|(b", "(", "[z-a]", "a{2,1}", "(?<n>", r"\p{None}", "(a{1000}){1000}"] {
            let reason = Pattern::new(bad).unwrap_err();
            assert!(!reason.is_empty() && !reason.contains('\n'), "{bad}: {reason}");
        }
    }

    #[test]
    fn a_seeded_walk_agrees_with_looking_at_every_entry() {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut pick = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 33) as usize % below
        };
        let matchers = ["=a", "=ab", "=b", "any", "/a.*/", "/.*b/", "/a|b/", "/[ab]+/", "/a/", "/(?i)AB?/"];
        for _ in 0..500 {
            let mut entries: Vec<Entry> = Vec::new();
            for _ in 0..pick(12) {
                let topics = ["*", "x", "y", "x,y"][pick(4)];
                let line = format!("{} {topics} {}", ["g", "h"][pick(2)], matchers[pick(matchers.len())]);
                let entry = entry(&line);
                if !entries.iter().any(|it| it.matcher == entry.matcher && it.meets(&entry)) {
                    entries.push(entry);
                }
            }
            let routes = Routes::new(entries.clone()).unwrap();
            for group in ["g", "h", "i"] {
                for topic in ["x", "y", "z"] {
                    for command in ["a", "ab", "b", "ba", "", "abb", "A", "a\n"] {
                        let naive = naive(&entries, group, topic, command).map(|it| &it.name);
                        let found = routes.find(group, topic, command).map(|it| &it.name);
                        assert_eq!(found, naive, "{group} {topic} {command:?} in {entries:?}");
                    }
                }
            }
        }
    }

    fn naive<'a>(entries: &'a [Entry], group: &str, topic: &str, command: &str) -> Option<&'a Route> {
        let ranks: [fn(&Matcher, &str) -> bool; 3] = [
            |it, command| matches!(it, Matcher::Exact(it) if **it == *command),
            |it, command| match it {
                Matcher::Regex(it) => regex::Regex::new(&it.anchored()).unwrap().is_match(command),
                Matcher::Exact(_) | Matcher::Any => false,
            },
            |it, _| *it == Matcher::Any,
        ];
        let of_topic = |it: &&Entry| it.topics.as_ref().is_none_or(|it| it.iter().any(|it| **it == *topic));
        ranks.iter().find_map(|matches| {
            let mut here = entries.iter().filter(|it| *it.group == *group).filter(of_topic);
            here.find(|it| matches(&it.matcher, command)).map(|it| &*it.route)
        })
    }
}
