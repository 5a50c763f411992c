//! Everything from one path: either the whole configuration, or everything that is wrong with it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::{self, AppSource};
use super::files::{Disk, Files};
use super::types::Name;
use super::{AppFile, Config, doors, groups, kafka, plugins, secrets};
use crate::domain::app::App;
use crate::domain::plugin::KnownPlugin;
use crate::domain::routes::Routes;
use crate::yaml::{Doc, FILE_BYTES_MAX, Problem, Severity};

/// A good configuration.
#[derive(Debug)]
pub struct Loaded {
    /// Paths in it lead from the working directory.
    pub config: Config,
    pub routes: Routes,
    /// In file order.
    pub apps: Vec<Arc<App>>,
    /// What somebody should look at.
    pub warnings: Vec<Problem>,
    /// All that was read, folders too: when one of them changes, it is time to load again.
    pub files: Vec<PathBuf>,
}

/// Loads from disk and the environment.
///
/// `known_plugins`: those that routes may name besides the ones in `plugins`: the standard ones
/// ([`crate::domain::plugin::standard`]) and uploaded ones.
pub fn load(main_file: &Path, known_plugins: &[KnownPlugin]) -> Result<Loaded, Vec<Problem>> {
    load_from(&Disk, main_file, known_plugins)
}

/// As [`load`], from anywhere.
pub fn load_from(
    files: &dyn Files,
    main_file: &Path,
    known_plugins: &[KnownPlugin],
) -> Result<Loaded, Vec<Problem>> {
    let mut loader = Loader { files, problems: Vec::new(), read: Vec::new() };
    let loaded = loader.load(main_file, known_plugins);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        loader.problems.into_iter().partition(|it| it.severity == Severity::Error);
    match loaded {
        Some((config, apps, routes)) if errors.is_empty() => {
            Ok(Loaded { config, routes, apps, warnings, files: loader.read })
        }
        _ => Err(errors.into_iter().chain(warnings).collect()),
    }
}

/// The main file alone, without the apps: what is needed to reach the cluster, where uploaded plugins are
/// known from.
pub fn load_main(files: &dyn Files, main_file: &Path) -> Result<Config, Vec<Problem>> {
    let mut loader = Loader { files, problems: Vec::new(), read: Vec::new() };
    let base = main_file.parent().unwrap_or(Path::new(""));
    let config = loader.doc(main_file).and_then(|doc| {
        let mut config: Config = loader.value(&doc)?;
        loader.check_main(&mut config, base, &doc);
        config.store.dir = base.join(&config.store.dir);
        Some(config)
    });
    let errors = loader.problems.iter().any(|it| it.severity == Severity::Error);
    config.filter(|_| !errors).ok_or(loader.problems)
}

struct Loader<'a> {
    files: &'a dyn Files,
    problems: Vec<Problem>,
    read: Vec<PathBuf>,
}

impl Loader<'_> {
    fn load(
        &mut self,
        main_file: &Path,
        known_plugins: &[KnownPlugin],
    ) -> Option<(Config, Vec<Arc<App>>, Routes)> {
        let main = self.doc(main_file)?;
        let before = self.problems.len();
        let mut config: Config = self.value(&main)?;
        let sound = self.problems.len() == before;
        let base = main_file.parent().unwrap_or(Path::new(""));
        if sound {
            self.check_main(&mut config, base, &main);
        }
        config.apps = base.join(&config.apps);
        config.store.dir = base.join(&config.store.dir);
        let sources = self.apps(&config, &main);
        let known = plugins::known(&config.plugins, known_plugins);
        // What a broken main file does not say cannot be held against the apps.
        let at = main.cursor();
        let context = build::Context { config: &config, at, known: &known, sound, files: self.files };
        let built = build::build(&context, &sources, &mut self.problems);
        self.read.extend(built.files);
        Some((config, built.apps, built.routes))
    }

    fn check_main(&mut self, config: &mut Config, base: &Path, main: &Doc) {
        let at = main.cursor();
        let problems = &mut self.problems;
        kafka::check(&config.kafka, at.key("kafka"), problems);
        groups::check(&config.groups, at.key("groups"), problems);
        plugins::check(&config.plugins, at.key("plugins"), problems);
        let read: BTreeSet<_> = config.groups.iter().flat_map(|it| &it.topics).collect();
        doors::check_gateway(&config.gateway, &read, at.key("gateway"), problems);
        doors::check_admin(&config.admin, &config.gateway, at.key("admin"), problems);
        for (index, plugin) in config.plugins.iter_mut().enumerate() {
            let Some(file) = &mut plugin.file else { continue };
            *file = base.join(&*file);
            self.read.push(file.clone());
            if !self.files.is_file(file) {
                let place = at.key("plugins").item(index).key("file").place();
                let problem = Problem::error(place, format!("there is no file {}", file.display()));
                problems.push(problem.help("the path leads from the folder of this file"));
            }
        }
        self.read.extend(secrets::resolve(config, self.files, base, at, problems));
    }

    /// The app files that can be read at all, in order of their names.
    fn apps(&mut self, config: &Config, main: &Doc) -> Vec<AppSource> {
        let paths = match self.files.list(&config.apps) {
            Ok(paths) => paths,
            Err(error) => {
                let message = format!("cannot read the apps' folder {}: {error}", config.apps.display());
                let place = main.cursor().key("apps").place();
                self.problems.push(Problem::error(place, message).help("make it, with a file for each app"));
                return Vec::new();
            }
        };
        self.read.push(config.apps.clone());
        // Hidden ones are an editor's or a volume's.
        let is_hidden =
            |it: &PathBuf| it.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"."));
        let is_yaml =
            |it: &PathBuf| !is_hidden(it) && it.extension().is_some_and(|it| it == "yaml" || it == "yml");
        let mut sources = Vec::new();
        for path in paths.into_iter().filter(is_yaml) {
            let Some(doc) = self.doc(&path) else { continue };
            let before = self.problems.len();
            if let Some(file) = self.value::<AppFile>(&doc)
                && self.problems.len() == before
            {
                sources.push(AppSource { path, doc, file });
            }
        }
        self.names(&sources);
        sources
    }

    fn names(&mut self, sources: &[AppSource]) {
        let mut names = HashMap::new();
        for source in sources {
            let place = source.doc.cursor().key("name").place();
            if Name::new(source.name()).is_err() {
                let problem = Problem::error(place.clone(), "the file's name is no name for an app");
                self.problems.push(problem.help("add `name: …`, of letters, digits and `._-`"));
            }
            if let Some(first) = names.insert(source.name(), place.clone()) {
                let problem = Problem::error(place, format!("a second app `{}`", source.name()));
                self.problems.push(
                    problem.note(format!("the first one stands at {first}")).help("rename one of them"),
                );
            }
        }
    }

    fn doc(&mut self, path: &Path) -> Option<Doc> {
        self.read.push(path.to_owned());
        let doc = match self.files.read(path, FILE_BYTES_MAX) {
            Ok(bytes) => Doc::parse(path, &bytes),
            Err(error) => Err(Problem::of_file(path, format!("cannot read the file: {error}"))),
        };
        doc.map_err(|it| self.problems.push(it)).ok()
    }

    fn value<T: serde::de::DeserializeOwned>(&mut self, doc: &Doc) -> Option<T> {
        let read = doc.value();
        self.problems.extend(read.problems.into_iter().map(renamed));
        read.value
    }
}

/// Keys of the systems that drover descends from, and what they are called here.
const RENAMED: &[(&str, &str)] = &[
    ("breaker", "eject: {after: …, first-ms: …}"),
    ("circuitBreaker", "eject: {after: …, first-ms: …}"),
    ("cmd", "commands: [ … ]"),
    ("group_name", "groups: [{name: …}]"),
    ("groupId", "groups: [{name: …}]"),
    ("load_balance_mode", "selector: … in the app"),
    ("msg_consum_mode", "start: … in the group"),
    ("offset_ct_time", "commit-every-ms: … in the group"),
    ("rateLimit", "rate: …"),
    ("rate_limit", "rate: …"),
    ("retries", "retry: {attempts: …}"),
    ("services", "apps: … with the folder"),
    ("timeout", "timeout-ms: …"),
    ("topic", "topics: [ … ]"),
    ("wnd", "window: … in the group"),
    ("zookeeper", "nothing in its place: Kafka is enough"),
];

fn renamed(problem: Problem) -> Problem {
    let key = problem.message.strip_prefix("unknown key `").and_then(|it| it.strip_suffix('`'));
    match key.and_then(|key| RENAMED.iter().find(|it| it.0 == key)) {
        Some((_, new)) => problem.help(format!("here it is `{new}`")),
        None => problem,
    }
}
