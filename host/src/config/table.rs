//! The table of routes, and what is to be said of it as a whole.

use std::collections::HashSet;
use std::sync::Arc;

use super::build::{AppSource, Builder, Built};
use crate::domain::routes::{Matcher, Routes, RoutesError, twice};
use crate::yaml::{Problem, Severity};

impl Builder<'_, '_> {
    /// The table, and what is to be said of it as a whole.
    pub(super) fn routes(mut self, sources: &[AppSource]) -> Built {
        let pairs = twice(&self.entries);
        let mut told = HashSet::new();
        for (first, second) in pairs.iter().copied() {
            // A group that stands there twice makes every entry twice; it is told of as a group.
            if self.places[first] == self.places[second] {
                continue;
            }
            // An app in several groups makes an entry for each; the mistake is one.
            if told.insert((self.places[first].to_string(), self.places[second].to_string())) {
                let [one, other] = [first, second].map(|it| &self.entries[it]);
                let message =
                    format!("`{}` has a route already: `{}`", matcher_words(&other.matcher), one.route.name);
                let note = format!("the first one stands at {}", self.places[first]);
                let problem = Problem::error(self.places[second].clone(), message).note(note);
                let help = "remove one of them, or give them different `groups` or `topics`";
                self.problems.push(problem.help(help));
            }
        }
        if !pairs.is_empty() {
            return self.built;
        }
        match Routes::new(std::mem::take(&mut self.entries)) {
            Ok(routes) => {
                self.overlaps(&routes);
                self.untaken(&routes);
                self.built.routes = routes;
            }
            Err(RoutesError::TooLarge { detail, .. }) => {
                if let Some(source) = sources.first() {
                    let message = format!("the regular expressions are too large together: {detail}");
                    self.problems
                        .push(Problem::of_file(&source.path, message).help("write fewer or shorter ones"));
                }
            }
            Err(RoutesError::Twice { .. }) => unreachable!("looked for above"),
        }
        self.built
    }

    fn overlaps(&mut self, routes: &Routes) {
        let mut told = HashSet::new();
        let overlaps = routes.overlaps();
        for overlap in overlaps.found {
            let (first, second) = (&self.places[overlap.first], &self.places[overlap.second]);
            if !told.insert((first.to_string(), second.to_string())) {
                continue;
            }
            let one = &routes.entries()[overlap.first];
            let (problem, help) = if overlap.covered {
                let message = format!("never reached: `{}` takes all of it", one.route.name);
                (message, "put it before the other one, or remove it")
            } else {
                let message = format!("`{}` takes some of it, `{}` for one", one.route.name, overlap.example);
                (message, "the first in file order takes it: is that meant?")
            };
            let problem = Problem::warning(second.clone(), problem);
            self.problems.push(problem.note(format!("the first one stands at {first}")).help(help));
        }
        if !overlaps.complete {
            let message = "not all regular expressions could be compared: some overlaps may go unreported";
            let help = "there are very many, or some have `\\b`; all of them work as they are written";
            self.problems.push(Problem::warning(self.context.at.place(), message).help(help));
        }
    }

    /// Topics that are read and that no app takes a message of.
    fn untaken(&mut self, routes: &Routes) {
        // Where something was refused, what is missing here may be what was refused.
        if self.problems.iter().any(|it| it.severity == Severity::Error) {
            return;
        }
        for (index, group) in self.context.config.groups.iter().enumerate() {
            let entries = || routes.entries().iter().filter(|it| *it.group == *group.name.as_str());
            for (number, topic) in group.topics.iter().enumerate() {
                let is_topic = |it: &Arc<str>| **it == *topic.as_str();
                if !entries().any(|it| it.topics.as_ref().is_none_or(|it| it.iter().any(is_topic))) {
                    let place = self.context.at.key("groups").item(index).key("topics").item(number).place();
                    let message =
                        format!("no app takes messages of the topic `{topic}` in the group `{}`", group.name);
                    let help = "they go where `unmatched` says; add an app, or remove the topic";
                    self.problems.push(Problem::warning(place, message).help(help));
                }
            }
        }
    }
}

fn matcher_words(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Exact(command) => command.to_string(),
        Matcher::Regex(pattern) => format!("regex: {}", pattern.as_str()),
        Matcher::Any => "any: true".to_owned(),
    }
}
