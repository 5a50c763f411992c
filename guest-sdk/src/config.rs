//! The plugin's own settings, from the operator's YAML.
//!
//! Every value is text: `7`, `true`, `round`. A list is words with commas, or a JSON array; anything deeper is JSON.

use serde::de::DeserializeOwned;

use crate::typed_config;
use crate::{Error, Result};

/// All settings at hand: what a plugin reads them from that also runs without a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    entries: Vec<(String, String)>,
}

impl Config {
    /// Those that the host has for this plugin.
    pub fn of_host() -> Self {
        Self { entries: config_all() }
    }

    /// One setting as text; none where it is not set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
    }

    /// A list of plain words, with commas or as a JSON array.
    pub fn list(&self, key: &str) -> Option<Vec<String>> {
        Some(split_list(self.get(key)?))
    }

    /// As [`refuse_unknown`].
    ///
    /// Errors: name the unknown key and the known ones.
    pub fn refuse_unknown(&self, known: &[&str]) -> Result<()> {
        match self.entries.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => {
                Err(Error::retry(format!("unknown setting `{key}`: known are {}", known.join(", "))))
            }
        }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Config {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }
}

/// One setting as text; none where it is not set.
pub fn config_get(key: &str) -> Option<String> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::imports::drover::plugin::config::get(key);
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| {
        host.config.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone())
    });
}

/// All settings, in the order of the file.
pub fn config_all() -> Vec<(String, String)> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::imports::drover::plugin::config::get_all();
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| host.config.clone());
}

/// All settings as one struct. Absent ones need `#[serde(default)]` or an `Option`.
///
/// Errors: say which key is wrong and why.
pub fn config<T: DeserializeOwned>() -> Result<T> {
    typed_config::read(config_all())
}

/// A list of plain words, with commas or as a JSON array. Without JSON's machinery, for small plugins.
pub fn config_list(key: &str) -> Option<Vec<String>> {
    Some(split_list(&config_get(key)?))
}

/// Refuses settings that the plugin does not have, so that a typing mistake shows at upload. For `#[init]`.
///
/// Errors: name the unknown key and the known ones.
pub fn refuse_unknown(known: &[&str]) -> Result<()> {
    Config::of_host().refuse_unknown(known)
}

pub(crate) fn split_list(text: &str) -> Vec<String> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let words = inner.split(',').map(|word| word.trim().trim_matches('"'));
    words.filter(|word| !word.is_empty()).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::MockHost;

    #[test]
    fn a_list_is_json_or_words_with_commas() {
        for text in ["a, b-c", "[\"a\",\"b-c\"]", "[ a , b-c, ]"] {
            let _host = MockHost::new().config("list", text);
            assert_eq!(config_list("list").unwrap(), ["a", "b-c"], "{text}");
        }
        assert_eq!(split_list("[]"), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_key_is_named() {
        let _host = MockHost::new().config("pth", "/a");
        let error = refuse_unknown(&["path", "method"]).unwrap_err();
        assert_eq!(error.reason(), "unknown setting `pth`: known are path, method");
        assert!(refuse_unknown(&["pth"]).is_ok());
    }
}
