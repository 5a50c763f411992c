//! Routes and plugins become what runs: every plugin that is named is compiled before anything is published
//! (invariant 8).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::groups::Wanted;
use super::side_topics::SideTopic;
use crate::domain::app::App;
use crate::domain::ledger::Ledger;
use crate::domain::plugin::PluginKind;
use crate::domain::routes::{Entry, Routes};
use crate::plugin::{self, Code, Engine, Plugin, Settings, standard};
use crate::shard::live::{GroupPolicy, Live};

/// What the operator's files ask for, whole and checked.
#[derive(Debug, Default)]
pub struct Desired {
    pub routes: Arc<Routes>,
    pub apps: Vec<Arc<App>>,
    pub groups: Vec<Wanted>,
    pub side_topics: Vec<SideTopic>,
    pub plugins: BTreeMap<Arc<str>, PluginSource>,
    /// For the log: what somebody should look at.
    pub warnings: Vec<String>,
    /// All that was read; when one of them changes it is time to read again.
    pub files: Vec<std::path::PathBuf>,
    /// What a running host cannot change: a key, and its value as text. A difference is refused.
    pub fixed: Vec<(&'static str, String)>,
    /// What the roof is to be; none leaves it as it is.
    pub roof: Option<Arc<dyn RoofPlan>>,
}

/// What the roof is to be: the doors, and what is logged. This floor knows of neither.
pub trait RoofPlan: std::fmt::Debug + Send + Sync {
    /// Does all that can fail, an address that is taken above all; what is returned makes it so.
    fn prepare(&self) -> Result<RoofChange, String>;
}

/// Carries a prepared change of the roof out.
pub type RoofChange = Box<dyn FnOnce() + Send>;

/// What the files say of a plugin.
#[derive(Clone, Debug)]
pub struct PluginSource {
    pub component: Component,
    pub settings: Settings,
}

#[derive(Clone, Debug)]
pub enum Component {
    /// A standard plugin or a native twin, by its name.
    Standard(String),
    /// A file that was read.
    Bytes(Bytes),
}

/// Compiled plugins by what they are made of, so that nothing is compiled twice.
#[derive(Default)]
pub struct Compiled {
    by_source: HashMap<String, Arc<Plugin>>,
}

impl Compiled {
    /// The plugin of this component and these settings, compiled if it was not.
    pub fn get(
        &mut self,
        engine: &Engine,
        name: &str,
        component: &[u8],
        settings: &Settings,
    ) -> Result<Arc<Plugin>, plugin::Refusal> {
        let source = source_of(name, &plugin::digest(component), settings);
        if let Some(known) = self.by_source.get(&source) {
            return Ok(Arc::clone(known));
        }
        let plugin = Arc::new(plugin::compile(engine, name, component, settings.clone())?);
        self.by_source.insert(source, Arc::clone(&plugin));
        Ok(plugin)
    }

    /// The native twin of this name with these settings; none where there is no such.
    fn native(
        &mut self,
        engine: &Engine,
        name: &str,
        twin: &str,
        settings: &Settings,
    ) -> Option<Result<Arc<Plugin>, plugin::Refusal>> {
        let source = source_of(name, twin, settings);
        if let Some(known) = self.by_source.get(&source) {
            return Some(Ok(Arc::clone(known)));
        }
        let made = plugin::native(engine, name, twin, settings.clone())?.map(Arc::new);
        if let Ok(plugin) = &made {
            self.by_source.insert(source, Arc::clone(plugin));
        }
        Some(made)
    }

    /// One that was compiled elsewhere.
    pub fn put(&mut self, name: &str, settings: &Settings, plugin: Arc<Plugin>) {
        self.by_source.insert(source_of(name, &plugin.digest, settings), plugin);
    }

    /// Forgets what runs nowhere.
    pub fn keep(&mut self, live: &Live) {
        self.by_source
            .retain(|_, it| live.plugins.values().any(|at| at.id == it.id) || Arc::strong_count(it) > 1);
    }
}

fn source_of(name: &str, digest: &str, settings: &Settings) -> String {
    format!("{name} {digest} {settings:?}")
}

/// Puts all that decides into one value.
///
/// # Errors
/// Every problem, for a person; nothing of it takes effect.
pub fn live(
    engine: &Engine,
    compiled: &mut Compiled,
    (desired, policies): (&Desired, &[GroupPolicy]),
    ledger: &Ledger,
    generation: u64,
) -> Result<Live, Vec<String>> {
    let mut plugins: HashMap<Arc<str>, Arc<Plugin>> = HashMap::new();
    let mut problems = Vec::new();
    for entry in desired.routes.entries() {
        let wanted =
            [(&entry.route.handler, PluginKind::Handler), (&entry.route.selector, PluginKind::Selector)];
        for (name, kind) in wanted {
            if !plugins.contains_key(name) {
                match one(engine, compiled, desired, ledger, name) {
                    Ok(plugin) => drop(plugins.insert(Arc::clone(name), plugin)),
                    Err(problem) => problems.push(problem),
                }
            }
            if let Some(plugin) = plugins.get(name)
                && kind_of(plugin) != kind
            {
                problems.push(format!(
                    "{} uses plugin {name} as its {}, but it is a {}",
                    entry.route.name,
                    kind.as_str(),
                    plugin.code.kind()
                ));
            }
        }
    }
    problems.sort();
    problems.dedup();
    if !problems.is_empty() {
        return Err(problems);
    }
    let (groups, routes) = (policies.to_vec(), Arc::clone(&desired.routes));
    Ok(Live { generation, groups, routes, plugins })
}

/// Compiles and starts every plugin that the files name, but for those that are uploaded: what is wrong with them and
/// their settings.
pub fn try_out(engine: &Engine, desired: &Desired, uploaded: &[String]) -> Vec<String> {
    let (mut compiled, none) = (Compiled::default(), Ledger::default());
    let named = |it: &Entry| [Arc::clone(&it.route.handler), Arc::clone(&it.route.selector)];
    let names: BTreeSet<Arc<str>> = desired.routes.entries().iter().flat_map(named).collect();
    let here = names.iter().filter(|name| uploaded.iter().all(|it| **it != ***name));
    here.filter_map(|name| one(engine, &mut compiled, desired, &none, name).err()).collect()
}

/// An uploaded component stands over a file's, a file's over the standard one of the name.
fn one(
    engine: &Engine,
    compiled: &mut Compiled,
    desired: &Desired,
    ledger: &Ledger,
    name: &str,
) -> Result<Arc<Plugin>, String> {
    let source = desired.plugins.get(name);
    let settings = source.map(|it| it.settings.clone()).unwrap_or_default();
    let uploaded = ledger.active().find(|it| it.0 == name).map(|(_, it)| it.digest.clone());
    let refused = |it: plugin::Refusal| format!("plugin {name}: {it}");
    let component = match (uploaded, source.map(|it| &it.component)) {
        (Some(digest), _) => ledger.component(name, &digest)?,
        (None, Some(Component::Bytes(bytes))) => bytes.clone(),
        (None, other) => {
            let standard = match other {
                Some(Component::Standard(standard)) => standard,
                _ => name,
            };
            if let Some(native) = compiled.native(engine, name, standard, &settings) {
                return native.map_err(refused);
            }
            embedded(standard)?
        }
    };
    compiled.get(engine, name, &component, &settings).map_err(refused)
}

fn embedded(name: &str) -> Result<Bytes, String> {
    let found = standard::component(name);
    found
        .map(Bytes::from_static)
        .ok_or_else(|| format!("there is no plugin {name}: upload one, or name one of the standard plugins"))
}

pub fn kind_of(plugin: &Plugin) -> PluginKind {
    match plugin.code {
        Code::Handler(_) => PluginKind::Handler,
        Code::Selector(_) => PluginKind::Selector,
    }
}
