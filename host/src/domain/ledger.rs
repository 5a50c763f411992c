//! What the control topic says: components by their digest, and which of them is active under which name.
//!
//! ```text
//! chunk/<digest>/<n>   bytes of a component, in parts
//! version/<name>/<digest>   JSON: how many parts, how large, who, when
//! active/<name>        JSON: which digest runs, who, when
//! ```
//! Written in this order, so that any prefix of the log is a legal state: an activation names only what
//! stands before it. Compacted by key. Pure: records in, state out.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Bytes of a component in one record.
pub const CHUNK_BYTES: usize = 512 << 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub name: String,
    /// sha256 of the component, in hex.
    pub digest: String,
    pub bytes: usize,
    pub chunks: usize,
    pub by: String,
    pub at_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    pub digest: String,
    pub by: String,
    pub at_ms: u64,
}

/// The state that the log makes.
#[derive(Debug, Default)]
pub struct Ledger {
    chunks: BTreeMap<(String, usize), Bytes>,
    versions: BTreeMap<(String, String), Version>,
    active: BTreeMap<String, Active>,
    /// Records that were not understood: of a later version, or another's.
    pub unknown: u64,
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
}

impl Ledger {
    /// Takes one record in. True when it changes which component is active under some name.
    pub fn apply(&mut self, key: &[u8], value: Option<&Bytes>) -> bool {
        let Some(parts) = std::str::from_utf8(key).ok().map(|it| it.split('/').collect::<Vec<_>>()) else {
            self.unknown += 1;
            return false;
        };
        match (parts.as_slice(), value) {
            (["chunk", digest, number], _) => {
                let Ok(number) = number.parse::<usize>() else {
                    self.unknown += 1;
                    return false;
                };
                let key = ((*digest).to_owned(), number);
                match value {
                    Some(bytes) => drop(self.chunks.insert(key, bytes.clone())),
                    None => drop(self.chunks.remove(&key)),
                }
                false
            }
            (["version", name, digest], None) => {
                self.versions.remove(&((*name).to_owned(), (*digest).to_owned()));
                false
            }
            (["version", name, digest], Some(value)) => {
                match serde_json::from_slice::<Version>(value) {
                    Ok(it) => drop(self.versions.insert(((*name).to_owned(), (*digest).to_owned()), it)),
                    Err(_) => self.unknown += 1,
                }
                false
            }
            (["active", name], None) => self.active.remove(*name).is_some(),
            (["active", name], Some(value)) => match serde_json::from_slice::<Active>(value) {
                Ok(it) => self.active.insert((*name).to_owned(), it.clone()) != Some(it),
                Err(_) => {
                    self.unknown += 1;
                    false
                }
            },
            _ => {
                self.unknown += 1;
                false
            }
        }
    }

    /// The names that have an active component, each with its digest.
    pub fn active(&self) -> impl Iterator<Item = (&str, &Active)> {
        self.active.iter().map(|(name, it)| (name.as_str(), it))
    }

    /// The component's bytes; an error names what the log lacks.
    pub fn component(&self, name: &str, digest: &str) -> Result<Bytes, String> {
        let version = self
            .versions
            .get(&(name.to_owned(), digest.to_owned()))
            .ok_or_else(|| format!("the control topic has no version {digest} of {name}"))?;
        let mut all = BytesMut::with_capacity(version.bytes);
        for number in 0..version.chunks {
            let chunk = self.chunks.get(&(digest.to_owned(), number)).ok_or_else(|| {
                format!("the control topic lacks part {number} of {} of {name} {digest}", version.chunks)
            })?;
            all.extend_from_slice(chunk);
        }
        if all.len() != version.bytes {
            return Err(format!("{name} {digest} has {} bytes in place of {}", all.len(), version.bytes));
        }
        Ok(all.freeze())
    }
}

/// What an upload writes, in order.
pub fn entries(version: &Version, component: &Bytes) -> Result<Vec<Entry>, serde_json::Error> {
    let mut all: Vec<Entry> = component
        .chunks(CHUNK_BYTES)
        .enumerate()
        .map(|(number, chunk)| Entry {
            key: format!("chunk/{}/{number}", version.digest),
            value: component.slice_ref(chunk),
        })
        .collect();
    let json = |it: Vec<u8>| Bytes::from(it);
    all.push(Entry {
        key: format!("version/{}/{}", version.name, version.digest),
        value: json(serde_json::to_vec(version)?),
    });
    let active = Active { digest: version.digest.clone(), by: version.by.clone(), at_ms: version.at_ms };
    all.push(Entry { key: format!("active/{}", version.name), value: json(serde_json::to_vec(&active)?) });
    Ok(all)
}

/// Into how many parts a component of so many bytes is cut.
pub fn chunks_of(bytes: usize) -> usize {
    bytes.div_ceil(CHUNK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(name: &str, digest: &str, bytes: usize) -> (Bytes, Vec<Entry>) {
        let component: Bytes = (0..bytes).map(|it| it as u8).collect();
        let version = Version {
            name: name.into(),
            digest: digest.into(),
            bytes,
            chunks: chunks_of(bytes),
            by: "me".into(),
            at_ms: 1,
        };
        (component.clone(), entries(&version, &component).unwrap())
    }

    #[test]
    fn every_prefix_is_a_legal_state() {
        let (first, mut log) = upload("a", "d1", CHUNK_BYTES + 1);
        let (second, more) = upload("a", "d2", 10);
        let first_len = log.len();
        log.extend(more);
        for cut in 0..=log.len() {
            let mut ledger = Ledger::default();
            for it in &log[..cut] {
                ledger.apply(it.key.as_bytes(), Some(&it.value));
            }
            let active: Vec<_> =
                ledger.active().map(|(name, it)| (name.to_owned(), it.digest.clone())).collect();
            for (name, digest) in &active {
                let expected = if digest == "d1" { &first } else { &second };
                assert_eq!(ledger.component(name, digest).as_ref(), Ok(expected), "after {cut}");
            }
            let expected = if cut < first_len { 0 } else { 1 };
            assert_eq!(active.len(), expected, "after {cut}");
        }
    }

    #[test]
    fn the_same_activation_changes_nothing_and_what_is_not_understood_is_counted() {
        let (_, log) = upload("a", "d1", 1);
        let mut ledger = Ledger::default();
        let last = log.last().unwrap();
        assert!(ledger.apply(last.key.as_bytes(), Some(&last.value)));
        assert!(!ledger.apply(last.key.as_bytes(), Some(&last.value)));
        assert!(ledger.component("a", "d1").unwrap_err().contains("no version"));
        for (key, value) in [("later/x", "1"), ("active/a", "no json"), ("chunk/d/x", "1"), ("\u{0}", "")] {
            assert!(!ledger.apply(key.as_bytes(), Some(&Bytes::from(value))), "{key}");
        }
        assert_eq!(ledger.unknown, 4);
        assert!(ledger.apply(last.key.as_bytes(), None));
        assert_eq!(ledger.active().count(), 0);
    }
}
