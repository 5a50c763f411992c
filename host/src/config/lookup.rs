//! What an app's file refers to: groups, topics, plugins, servers.

use std::path::Path;

use super::Group;
use super::app_file::{AppFile, Discover, ServerEntry};
use super::build::{AppSource, Builder};
use super::types::{OrShort, PluginName};
use crate::domain::app::{Server, ServerSource};
use crate::domain::plugin::{KnownPlugin, PluginKind};
use crate::yaml::{Cursor, did_you_mean};

impl<'a> Builder<'a, '_> {
    /// The groups that the app takes messages of.
    pub(super) fn groups(&mut self, file: &AppFile, at: Cursor<'_>) -> Vec<&'a Group> {
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

    pub(super) fn plugin(&mut self, name: Option<&PluginName>, kind: PluginKind, at: Cursor<'_>) {
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

    pub(super) fn servers(&mut self, source: &AppSource) -> ServerSource {
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
                    listed.push(Server { address, name: None, weight, zone: entry.zone.clone(), labels });
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
}
