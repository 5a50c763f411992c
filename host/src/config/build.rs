//! Apps and routes from their files: names looked up, policies of app and command merged.

use std::path::PathBuf;
use std::sync::Arc;

use super::app_file::{AppFile, Command, Policy, Success};
use super::types::{AtOnce, Limit, Millis, Name, PluginName};
use super::{Config, Files, Group};
use crate::domain::app::{App, OnPluginFailure, OnSelectorFailure, Order, Protocol, Route};
use crate::domain::outcome::SuccessRule;
use crate::domain::plugin::{KnownPlugin, PluginKind};
use crate::domain::retry::{OnRetry, RetryPolicy};
use crate::domain::routes::{Entry, Matcher, Pattern, Routes};
use crate::yaml::{Cursor, Doc, Place, Problem};

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
    pub(super) at: Cursor<'a>,
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

pub(super) struct Builder<'a, 'p> {
    pub(super) context: &'a Context<'a>,
    pub(super) problems: &'p mut Vec<Problem>,
    pub(super) entries: Vec<Entry>,
    /// Where the matcher of each entry stands.
    pub(super) places: Vec<Place>,
    pub(super) built: Built,
}

impl<'a> Builder<'a, '_> {
    pub(super) fn error(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::error(place, message).help(help));
    }

    fn app(&mut self, source: &AppSource) {
        let (file, at) = (&source.file, source.doc.cursor());
        let policy = file.policy();
        let servers = self.servers(source);
        self.plugin(policy.handler, PluginKind::Handler, at.key("handler"));
        self.plugin(policy.selector, PluginKind::Selector, at.key("selector"));
        let groups = self.groups(file, at);
        self.retry(policy, policy, at);
        let health = self.health(file, at);
        let app = Arc::new(App {
            name: source.name().into(),
            protocol: file.protocol.unwrap_or(Protocol::Http),
            path: policy.path.map_or("/", |it| it.as_str()).to_owned(),
            server_type: file.server_type.clone(),
            servers,
            selector: policy.selector.map_or("round-robin", PluginName::as_str).into(),
            on_selector_failure: file.on_selector_failure.unwrap_or(OnSelectorFailure::Builtin),
            success: success(policy.success),
            server_concurrency: file.server_concurrency.map_or(1_024, AtOnce::get) as u32,
            response_bytes_max: file.response_kb.map_or(1_024, |it| it.get()) as usize * 1_024,
            eject_after: file.eject.after.map_or(5, |it| it.get()) as u32,
            eject_ms: file.eject.first_ms.map_or(5_000, |it| it.get()),
            breaker: health.breaker,
            slow_start_ms: file.slow_start_ms.map_or(0, Millis::get),
            check: health.check,
            adaptive: file.adaptive,
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
        if at.has("retry") {
            self.retry(policy, of_app, at);
        }
        for group in groups {
            let topics: Option<Vec<Arc<str>>> = (!source.file.topics.is_empty()).then(|| {
                let read = source.file.topics.iter().filter(|it| group.topics.contains(it));
                read.map(|it| it.as_str().into()).collect()
            });
            if topics.as_ref().is_some_and(|it| it.is_empty()) {
                continue;
            }
            let route = Arc::new(route(app, &matcher, policy, of_app, (group, self.context.config.delays)));
            if route.order == Order::Partition && route.retry.on_retry != OnRetry::Block {
                let message =
                    "in the order of its partition nothing may go on while a message is tried again";
                let place = if at.has("on-retry") { at } else { source.doc.cursor() };
                let help = "remove `on-retry`, or write `order: key`";
                self.error(place.key("on-retry").place(), message, help);
            }
            let group = group.name.as_str().into();
            self.entries.push(Entry { group, topics, matcher: matcher.clone(), route });
            self.places.push(place.clone());
        }
    }

    fn retry(&mut self, own: Policy<'_>, of_app: Policy<'_>, at: Cursor<'_>) {
        let RetryPolicy { first_ms, most_ms, .. } = retry(own, of_app);
        if first_ms > most_ms {
            let message = format!("the first pause, {first_ms} ms, is longer than the longest, {most_ms} ms");
            self.error(at.key("retry").place(), message, "make `first-ms` shorter, or `most-ms` longer");
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
}

fn route(
    app: &Arc<App>,
    matcher: &Matcher,
    own: Policy<'_>,
    of_app: Policy<'_>,
    (group, delays): (&Group, bool),
) -> Route {
    let either = |own, of_app| -> Option<&PluginName> { Option::or(own, of_app) };
    Route {
        name: format!("{}/{matcher}", app.name).into(),
        app: app.clone(),
        handler: either(own.handler, of_app.handler).map_or("forward", PluginName::as_str).into(),
        selector: either(own.selector, None).map_or_else(|| app.selector.clone(), |it| it.as_str().into()),
        success: own.success.map_or_else(|| app.success.clone(), |it| it.0.clone()),
        path: own.path.map(|it| it.as_str().to_owned()),
        order: own.order.or(of_app.order).unwrap_or(group.order),
        ttl_ms: own.ttl_ms.or(of_app.ttl_ms).map(|it| it.get()),
        delays: own.delays.or(of_app.delays).unwrap_or(delays),
        timeout_ms: own.timeout_ms.or(of_app.timeout_ms).map_or(10_000, Millis::get),
        retry: retry(own, of_app),
        concurrency: own.concurrency.or(of_app.concurrency).map_or(128, AtOnce::get) as u32,
        rate: own.rate.or(of_app.rate).map(Limit::get),
        on_plugin_failure: own
            .on_plugin_failure
            .or(of_app.on_plugin_failure)
            .unwrap_or(OnPluginFailure::Retry),
    }
}

/// Each key by itself: a command that says `attempts` keeps its app's pauses.
fn retry(own: Policy<'_>, of_app: Policy<'_>) -> RetryPolicy {
    let on_retry = own.on_retry.or(of_app.on_retry).unwrap_or(OnRetry::Block);
    let (own, of_app, default) = (own.retry, of_app.retry, RetryPolicy::default());
    RetryPolicy {
        attempts: own.attempts.or(of_app.attempts).map_or(default.attempts, |it| it.0),
        first_ms: own.first_ms.or(of_app.first_ms).map_or(default.first_ms, Millis::get),
        factor: own.factor.or(of_app.factor).map_or(default.factor, |it| it.0),
        most_ms: own.most_ms.or(of_app.most_ms).map_or(default.most_ms, Millis::get),
        inline_ms: own.inline_ms.or(of_app.inline_ms).map_or(default.inline_ms, |it| it.get()),
        on_retry,
    }
}

fn success(rule: Option<&Success>) -> SuccessRule {
    rule.map_or(SuccessRule::Any2xx, |it| it.0.clone())
}
