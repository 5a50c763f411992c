//! Section `plugins`: what routes can name beside the standard plugins.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{PluginName, Scalar, Within};
use crate::domain::plugin::{KnownPlugin, NATIVE, STANDARD};
use crate::yaml::{Cursor, Problem, did_you_mean};

/// A plugin by its name: a component of one's own, or a standard plugin with settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Plugin {
    /// What routes call it. A standard plugin's own name gives that one its settings. Required.
    pub name: PluginName,
    /// The standard plugin it is, or its native twin (`native:forward`); in place of `file`.
    #[serde(rename = "use")]
    pub standard: Option<PluginName>,
    /// The component it is, relative to this file; in place of `use`.
    pub file: Option<PathBuf>,
    /// The plugin's own settings.
    pub config: BTreeMap<String, Scalar>,
    /// What a call of it may cost.
    pub limits: PluginLimits,
}

/// What a call of a plugin may cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PluginLimits {
    /// Memory of an instance, in MiB. Default: 64 for a handler, 16 for a selector.
    pub memory_mb: Option<Within<1, 4_096>>,
    /// Processor time for one call, in ms. Default: 10 for a handler, 1 for a selector.
    pub cpu_ms: Option<Within<1, 60_000>>,
    /// Time to start an instance, in ms. Default: 1000.
    pub start_ms: Option<Within<1, 60_000>>,
    /// Log lines of one call; further ones are dropped and counted. Default: 64.
    pub log_lines: Option<Within<0, 10_000>>,
    /// Records that one call may emit. Default: 256.
    pub emitted_records: Option<Within<0, 100_000>>,
    /// Calls after which an instance is made anew. Default: 100000.
    pub calls: Option<Within<1, 1_000_000_000>>,
}

impl Plugin {
    /// The standard plugin that this entry is or configures.
    pub fn standard_name(&self) -> Option<&str> {
        match (&self.standard, &self.file) {
            (Some(name), _) => Some(name.as_str()),
            (None, None) => Some(self.name.as_str()),
            (None, Some(_)) => None,
        }
    }
}

/// What this section adds to the plugins that are known already.
pub(super) fn known(plugins: &[Plugin], before: &[KnownPlugin]) -> Vec<KnownPlugin> {
    let mut known: Vec<KnownPlugin> = before.to_vec();
    for plugin in plugins {
        let kind = plugin.standard_name().and_then(|name| STANDARD.iter().find(|it| it.0 == name));
        known.retain(|it| *it.name != *plugin.name.as_str());
        known.push(KnownPlugin { name: plugin.name.as_str().into(), kind: kind.map(|it| it.1) });
    }
    known
}

pub(super) fn check(plugins: &[Plugin], at: Cursor<'_>, problems: &mut Vec<Problem>) {
    let mut names = HashMap::new();
    for (index, plugin) in plugins.iter().enumerate() {
        let here = at.item(index);
        let name = plugin.name.as_str();
        let place = here.key("name").place();
        if name.is_empty() {
            problems.push(Problem::error(place.clone(), "a plugin without `name`").help("add `name: …`"));
            continue;
        }
        if let Some(first) = names.insert(name, place.clone()) {
            let problem = Problem::error(place.clone(), format!("a second plugin `{name}`"));
            problems
                .push(problem.note(format!("the first one stands at {first}")).help("rename one of them"));
        }
        let standard = |name: &str| STANDARD.iter().any(|it| it.0 == name);
        match (&plugin.standard, &plugin.file) {
            (Some(_), Some(_)) => {
                let problem = Problem::error(here.key("file").key_place(), "both `use` and `file`");
                problems
                    .push(problem.help("`use` for a standard plugin, `file` for a component: one of them"));
            }
            (None, None) if !standard(name) => {
                let problem = Problem::error(place, format!("nothing says what the plugin `{name}` is"));
                problems.push(problem.help("add `file: …`, or `use: …` with a standard plugin"));
            }
            (Some(used), None) if !standard(used.as_str()) => {
                let message = format!("`{used}` is no standard plugin");
                let help = did_you_mean(used.as_str(), STANDARD.iter().map(|it| it.0));
                problems.push(Problem::error(here.key("use").place(), message).help(help));
            }
            (Some(used), _) if standard(name) && used.as_str() != name => {
                let message = format!("`{name}` is another standard plugin's name");
                problems.push(Problem::error(place, message).help("choose a name of your own"));
            }
            (None, Some(_)) if standard(name) => {
                let message = format!("`{name}` is a standard plugin's name");
                problems.push(Problem::error(place, message).help("choose a name of your own"));
            }
            _ => {}
        }
        check_native(plugin, here, problems);
    }
}

/// Names that begin with `native:` are the host's own, and what is compiled into it has no limits.
fn check_native(plugin: &Plugin, at: Cursor<'_>, problems: &mut Vec<Problem>) {
    let name = plugin.name.as_str();
    let is_standard = STANDARD.iter().any(|it| it.0 == name);
    if name.starts_with(NATIVE) && !is_standard && (plugin.standard.is_some() || plugin.file.is_some()) {
        let message = format!("`{name}` is no native plugin");
        problems
            .push(Problem::error(at.key("name").place(), message).help("choose a name without `native:`"));
    }
    if let Some(standard) = plugin.standard_name().filter(|it| it.starts_with(NATIVE))
        && plugin.limits != PluginLimits::default()
    {
        let message = format!("`limits` of `{standard}`, which is compiled into the host");
        let help = "remove `limits`, or take the component, without `native:`";
        problems.push(Problem::error(at.key("limits").key_place(), message).help(help));
    }
}
