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

/// Those that the binary brings along: components, and native twins of some of them (S5).
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
    ("native:forward", PluginKind::Handler),
    ("native:json-rpc-errno", PluginKind::Handler),
    ("native:round-robin", PluginKind::Selector),
    ("native:random", PluginKind::Selector),
    ("native:weighted", PluginKind::Selector),
    ("native:least-loaded", PluginKind::Selector),
];

/// What the names of native twins begin with: compiled into the host, no component.
pub const NATIVE: &str = "native:";

/// A name that an upload may have: routes, topics' keys and addresses can carry it.
///
/// # Errors
/// Say what to do.
pub fn check_upload_name(name: &str) -> Result<(), String> {
    if name.starts_with(NATIVE) {
        return Err(format!(
            "{name:?}: names that begin with `{NATIVE}` are compiled into the host and cannot be uploaded; \
             choose another name, and name it in the route"
        ));
    }
    let good = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    // Clients fold dots alone out of an address: it could never be asked for again.
    let dots = name == "." || name == "..";
    if (1..=64).contains(&name.len()) && name.bytes().all(good) && !dots {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no name for a plugin: 1 to 64 letters, digits, dashes, dots, underscores, not dots alone"
    ))
}

/// The standard ones as [`KnownPlugin`]s.
pub fn standard() -> Vec<KnownPlugin> {
    STANDARD.iter().map(|(name, kind)| KnownPlugin { name: (*name).into(), kind: Some(*kind) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_uploads() {
        for good in ["a", "my-forward_2.1", "..a", &"a".repeat(64)] {
            assert_eq!(check_upload_name(good), Ok(()));
        }
        for bad in ["", ".", "..", "a/b", "../a", "a b", "\u{e4}", "a\0", "native:forward", &"a".repeat(65)] {
            assert!(check_upload_name(bad).is_err(), "{bad:?}");
        }
    }
}
