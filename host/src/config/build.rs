//! Apps and routes from their files: names looked up, policies of app and command merged.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::app_file::{AppFile, Command, Discover, Policy, ServerEntry, Success};
use super::types::{Limit, Millis, Name, OrShort};
use super::{Config, Files, Group};
use crate::domain::app::{App, OnPluginFailure, OnSelectorFailure, Protocol, Route, Server, ServerSource};
use crate::domain::outcome::SuccessRule;
use crate::domain::plugin::{KnownPlugin, PluginKind};
use crate::domain::retry::RetryPolicy;
use crate::domain::routes::{Entry, Matcher, Pattern, Routes, RoutesError, twice};
use crate::yaml::{Cursor, Doc, Place, Problem, did_you_mean};

/// A file of `apps/` whose values are good, each by itself.
pub(super) struct AppSource {
    pub(super) path: PathBuf,
    pub(super) doc: Doc,
    pub(super) file: AppFile,
}

impl AppSource {
    pub(super) fn name(&self) -> &str {
        let stem = || self.path.file_stem().and_then(|it| it.to_str()).unwrap_or("app");
        self.file.name.as_ref().map_or_else(stem, Name::as_str)
    }
}

pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) known: &'a [KnownPlugin],
    /// Whether `config` is all that its file says.
    pub(super) sound: bool,
    pub(super) files: &'a dyn Files,
}

#[derive(Default)]
pub(super) struct Built {
    pub(super) apps: Vec<Arc<App>>,
    pub(super) routes: Routes,
    /// Further files to watch.
    pub(super) files: Vec<PathBuf>,
}

pub(super) fn build(context: &Context<'_>, sources: &[AppSource], problems: &mut Vec<Problem>) -> Built {
    let mut builder =
        Builder { context, problems, entries: Vec::new(), places: Vec::new(), built: Built::default() };
    for source in sources {
        builder.app(source);
    }
    builder.routes(sources)
}

struct Builder<'a, 'p> {
    context: &'a Context<'a>,
    problems: &'p mut Vec<Problem>,
    entries: Vec<Entry>,
    /// Where the matcher of each entry stands.
    places: Vec<Place>,
    built: Built,
}

impl<'a> Builder<'a, '_> {
    fn error(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::error(place, message).help(help));
    }

    fn app(&mut self, source: &AppSource) {
        let (file, at) = (&source.file, source.doc.cursor());
        let policy = file.policy();
        let servers = self.servers(source);
        self.plugin(policy.handler, PluginKind::Handler, at.key("handler"));
        self.plugin(policy.selector, PluginKind::Selector, at.key("selector"));
        let groups = self.groups(file, at);
        let app = Arc::new(App {
            name: source.name().into(),
            protocol: file.protocol.unwrap_or(Protocol::Http),
            path: policy.path.map_or("/", |it| it.as_str()).to_owned(),
            server_type: file.server_type.clone(),
            servers,
            selector: policy.selector.map_or("round-robin", Name::as_str).into(),
            on_selector_failure: file.on_selector_failure.unwrap_or(OnSelectorFailure::Builtin),
            success: success(policy.success),
            server_concurrency: file.server_concurrency.map_or(1_024, |it| it.get()),
            response_bytes_max: file.response_kb.map_or(1_024, |it| it.get()) as usize * 1_024,
            eject_after: file.eject.after.map_or(5, |it| it.get()),
            eject_ms: file.eject.first_ms.map_or(5_000, |it| it.get()),
        });
        if file.commands.is_empty() {
            let place = at.key("commands").place();
            self.error(
                place,
                "an app without commands takes no message",
                "add `commands: [{any: true}]`, or name them",
            );
        }
        for (index, command) in file.commands.iter().enumerate() {
            self.command(&app, source, &groups, &command.0, at.key("commands").item(index));
        }
        self.built.apps.push(app);
    }

    fn command(
        &mut self,
        app: &Arc<App>,
        source: &AppSource,
        groups: &[&Group],
        command: &Command,
        at: Cursor<'_>,
    ) {
        let policy = command.policy();
        self.plugin(policy.handler, PluginKind::Handler, at.key("handler"));
        self.plugin(policy.selector, PluginKind::Selector, at.key("selector"));
        let Some((matcher, place)) = self.matcher(command, at) else { return };
        let of_app = source.file.policy();
        for group in groups {
            let topics: Option<Vec<Arc<str>>> = (!source.file.topics.is_empty()).then(|| {
                let read = source.file.topics.iter().filter(|it| group.topics.contains(it));
                read.map(|it| it.as_str().into()).collect()
            });
            if topics.as_ref().is_some_and(|it| it.is_empty()) {
                continue;
            }
            let route = Arc::new(route(app, &matcher, policy, of_app, group));
            let group = group.name.as_str().into();
            self.entries.push(Entry { group, topics, matcher: matcher.clone(), route });
            self.places.push(place.clone());
        }
    }

    fn matcher(&mut self, command: &Command, at: Cursor<'_>) -> Option<(Matcher, Place)> {
        const HELP: &str = "one of `match: …`, `regex: …`, `any: true`";
        let place = |key| if at.is_keys() { at.key(key).place() } else { at.place() };
        match (&command.exact, &command.regex, command.any) {
            (Some(exact), None, None) => {
                let text = exact.as_str();
                if text.is_empty() {
                    self.error(place("match"), "the command is empty", HELP);
                    return None;
                }
                if text.contains('*') {
                    let message = format!("`{text}` is taken as it stands, with its `*`");
                    let regex = regex::escape(text).replace(r"\*", ".*");
                    let help =
                        format!("for a pattern write `regex: \"{regex}\"`, for everything `any: true`");
                    self.problems.push(Problem::warning(place("match"), message).help(help));
                }
                Some((Matcher::Exact(text.into()), place("match")))
            }
            (None, Some(regex), None) => match Pattern::new(regex.as_str()) {
                Ok(pattern) => Some((Matcher::Regex(pattern), place("regex"))),
                Err(reason) => {
                    let message = format!("`{regex}` is no regular expression: {reason}");
                    self.error(place("regex"), message, "a command as it stands is written `match: …`");
                    None
                }
            },
            (None, None, Some(true)) => Some((Matcher::Any, place("any"))),
            (None, None, Some(false)) => {
                self.error(place("any"), "`any: false` matches nothing", HELP);
                None
            }
            (None, None, None) => {
                self.error(at.place(), "nothing says which commands are meant", HELP);
                None
            }
            _ => {
                self.error(at.place(), "several of `match`, `regex` and `any`", "make an entry of each");
                None
            }
        }
    }

    /// The groups that the app takes messages of.
    fn groups(&mut self, file: &AppFile, at: Cursor<'_>) -> Vec<&'a Group> {
        let all = &self.context.config.groups;
        if !self.context.sound {
            return Vec::new();
        }
        for (index, name) in file.groups.iter().enumerate() {
            if !all.iter().any(|it| it.name == *name) {
                let help = did_you_mean(name.as_str(), all.iter().map(|it| it.name.as_str()));
                let place = at.key("groups").item(index).place();
                self.error(place, format!("there is no group `{name}`"), help);
            }
        }
        let named = |it: &&Group| file.groups.is_empty() || file.groups.contains(&it.name);
        let groups: Vec<&Group> = all.iter().filter(named).collect();
        let read = || groups.iter().flat_map(|it| &it.topics);
        for (index, topic) in file.topics.iter().enumerate() {
            if !groups.is_empty() && !read().any(|it| it == topic) {
                let help = did_you_mean(topic.as_str(), read().map(|it| it.as_str()));
                let place = at.key("topics").item(index).place();
                self.error(place, format!("none of the app's groups reads the topic `{topic}`"), help);
            }
        }
        groups
    }

    fn plugin(&mut self, name: Option<&Name>, kind: PluginKind, at: Cursor<'_>) {
        let Some(name) = name.filter(|_| self.context.sound) else { return };
        let of_kind = |it: &&KnownPlugin| it.kind.is_none_or(|it| it == kind);
        let candidates = self.context.known.iter().filter(of_kind).map(|it| &*it.name);
        match self.context.known.iter().find(|it| *it.name == *name.as_str()) {
            Some(KnownPlugin { kind: Some(other), .. }) if *other != kind => {
                let message =
                    format!("`{name}` is a {}, and here a {} is wanted", other.as_str(), kind.as_str());
                let help = did_you_mean("", candidates);
                self.error(at.place(), message, help);
            }
            Some(_) => {}
            None => {
                let help = did_you_mean(name.as_str(), candidates);
                self.error(at.place(), format!("there is no plugin `{name}`"), help);
            }
        }
    }

    fn servers(&mut self, source: &AppSource) -> ServerSource {
        let (file, at) = (&source.file, source.doc.cursor());
        let base = source.path.parent().unwrap_or(Path::new(""));
        const HELP: &str = "one of `servers`, `discover`, `url-from-message`";
        match (&file.servers, &file.discover, &file.url_from_message) {
            (Some(servers), None, None) => {
                if servers.is_empty() {
                    self.error(
                        at.key("servers").place(),
                        "the list of servers is empty",
                        "add one: `servers: [127.0.0.1:9001]`",
                    );
                }
                ServerSource::Listed(self.listed(servers, at.key("servers")))
            }
            (None, Some(discover), None) => self.discovered(discover, base, at.key("discover")),
            (None, None, Some(from)) => {
                if from.allow.is_empty() {
                    let place = at.key("url-from-message").place();
                    let message =
                        "a message could name any address: the list of hosts that are allowed is missing";
                    self.error(place, message, "add `allow: [host, \"*.domain\"]`");
                }
                if at.has("selector") {
                    let place = at.key("selector").key_place();
                    let message = "each message names its server: there is nothing for a selector to choose";
                    self.error(place, message, "remove `selector`, or `url-from-message`");
                }
                ServerSource::Message { allow: from.allow.iter().map(|it| it.pattern()).collect() }
            }
            (None, None, None) => {
                let message = "nothing says where the servers are";
                self.error(at.place(), message, format!("add {HELP}"));
                ServerSource::Listed(Vec::new())
            }
            _ => {
                let keys = ["servers", "discover", "url-from-message"];
                let second = keys.into_iter().filter(|it| at.has(it)).nth(1).unwrap_or("servers");
                let message = "the servers are given in two ways";
                self.error(at.key(second).key_place(), message, HELP);
                ServerSource::Listed(Vec::new())
            }
        }
    }

    /// A server that stands in the list several times counts as often, as in alpaca-mq.
    fn listed(&mut self, servers: &[OrShort<ServerEntry>], at: Cursor<'_>) -> Vec<Server> {
        let mut listed: Vec<Server> = Vec::new();
        for (index, OrShort(entry)) in servers.iter().enumerate() {
            if entry.address.port() == 0 {
                let place = at.item(index).place();
                self.error(place, format!("`{}` has no port", entry.address), "from 1 to 65535");
            }
            let weight = entry.weight.get() as u32;
            match listed.iter_mut().find(|it| *it.address == *entry.address.as_str()) {
                Some(server) => server.weight += weight,
                None => {
                    let labels =
                        entry.labels.iter().map(|it| (it.0.clone(), it.1.as_str().to_owned())).collect();
                    let address = entry.address.as_str().into();
                    listed.push(Server { address, weight, zone: entry.zone.clone(), labels });
                }
            }
        }
        listed
    }

    fn discovered(&mut self, discover: &Discover, base: &Path, at: Cursor<'_>) -> ServerSource {
        match (&discover.dns, &discover.file) {
            (Some(address), None) => {
                let every_ms = discover.every_ms.map_or(10_000, |it| it.get());
                ServerSource::Dns { host: address.host().to_owned(), port: address.port(), every_ms }
            }
            (None, Some(file)) => {
                let file = base.join(file);
                self.built.files.push(file.clone());
                if !self.context.files.is_file(&file) {
                    let message = format!("there is no file {}", file.display());
                    self.error(
                        at.key("file").place(),
                        message,
                        "the path leads from the folder of this file",
                    );
                }
                if discover.every_ms.is_some() {
                    let message = "a file is watched: it is not looked up every so often";
                    self.error(at.key("every-ms").key_place(), message, "remove `every-ms`");
                }
                ServerSource::File(file)
            }
            _ => {
                self.error(
                    at.place(),
                    "one of `dns` and `file` is wanted",
                    "as in `dns: service.local:8080`",
                );
                ServerSource::Listed(Vec::new())
            }
        }
    }

    /// The table, and what is to be said of it as a whole.
    fn routes(mut self, sources: &[AppSource]) -> Built {
        let mut told = HashSet::new();
        for (first, second) in twice(&self.entries) {
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
        if !told.is_empty() {
            return self.built;
        }
        match Routes::new(std::mem::take(&mut self.entries)) {
            Ok(routes) => {
                self.overlaps(&routes);
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
        for overlap in routes.overlaps() {
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
    }
}

fn matcher_words(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Exact(command) => command.to_string(),
        Matcher::Regex(pattern) => format!("regex: {}", pattern.as_str()),
        Matcher::Any => "any: true".to_owned(),
    }
}

fn route(app: &Arc<App>, matcher: &Matcher, own: Policy<'_>, of_app: Policy<'_>, group: &Group) -> Route {
    let retry = RetryPolicy::default();
    let either = |own, of_app| -> Option<&Name> { Option::or(own, of_app) };
    let of = |own: Option<Limit>, of_app: Option<Limit>| own.or(of_app).map(Limit::get);
    let ms =
        |own: Option<Millis>, of_app: Option<Millis>, default| own.or(of_app).map_or(default, |it| it.get());
    Route {
        name: format!("{}/{matcher}", app.name).into(),
        app: app.clone(),
        handler: either(own.handler, of_app.handler).map_or("forward", Name::as_str).into(),
        selector: either(own.selector, None).map_or_else(|| app.selector.clone(), |it| it.as_str().into()),
        success: own.success.map_or_else(|| app.success.clone(), |it| it.0.clone()),
        path: own.path.map(|it| it.as_str().to_owned()),
        order: own.order.or(of_app.order).unwrap_or(group.order),
        timeout_ms: ms(own.timeout_ms, of_app.timeout_ms, 10_000),
        retry: RetryPolicy {
            attempts: own.retry.attempts.or(of_app.retry.attempts).map_or(retry.attempts, |it| it.0),
            first_ms: ms(own.retry.first_ms, of_app.retry.first_ms, retry.first_ms),
            factor: own.retry.factor.or(of_app.retry.factor).map_or(retry.factor, |it| it.0),
            most_ms: ms(own.retry.most_ms, of_app.retry.most_ms, retry.most_ms),
        },
        concurrency: of(own.concurrency, of_app.concurrency).unwrap_or(0),
        rate: of(own.rate, of_app.rate),
        on_plugin_failure: own
            .on_plugin_failure
            .or(of_app.on_plugin_failure)
            .unwrap_or(OnPluginFailure::Retry),
    }
}

fn success(rule: Option<&Success>) -> SuccessRule {
    rule.map_or(SuccessRule::Any2xx, |it| it.0.clone())
}
