//! What is known of a plugin by its name alone: enough to tell a misspelt one from a real one.

use std::sync::Arc;

/// What a plugin can be bound as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginKind {
    Handler,
    Selector,
}

impl PluginKind {
    pub fn as_str(self) -> &'static str {
        match self {
            PluginKind::Handler => "handler",
            PluginKind::Selector => "selector",
        }
    }
}

/// A name that routes may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPlugin {
    pub name: Arc<str>,
    /// None where only its component could tell, and that was not looked into.
    pub kind: Option<PluginKind>,
}

/// Those that the binary brings along.
pub const STANDARD: &[(&str, PluginKind)] = &[
    ("forward", PluginKind::Handler),
    ("json-rpc-errno", PluginKind::Handler),
    ("cloudevents", PluginKind::Handler),
    ("webhook", PluginKind::Handler),
    ("reshape", PluginKind::Handler),
    ("round-robin", PluginKind::Selector),
    ("weighted", PluginKind::Selector),
    ("random", PluginKind::Selector),
    ("least-loaded", PluginKind::Selector),
    ("consistent-hash", PluginKind::Selector),
];

/// The standard ones as [`KnownPlugin`]s.
pub fn standard() -> Vec<KnownPlugin> {
    STANDARD.iter().map(|(name, kind)| KnownPlugin { name: (*name).into(), kind: Some(*kind) }).collect()
}
