//! A parsed file as a tree whose nodes know where they stand.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde_yaml::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{Location, MessageFormatter, Spanned, UserMessageFormatter};

use super::problem::{Place, Raw, Source};

/// A node and its place: line and column from 1, and how many characters to underline.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) width: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    /// Number and as it is written: a bare `1.10` may be meant as text.
    Int(i128, String),
    Float(f64, String),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Map {
    pub(super) entries: Vec<(Key, Node)>,
    /// Keys whose bad values were taken out.
    pub(super) removed: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) at: At,
    pub(super) text: String,
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// As an error names it.
    pub(super) fn found(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(it) => format!("`{it}`"),
            Kind::Int(_, text) | Kind::Float(_, text) => format!("`{text}`"),
            Kind::Text(text) if text.chars().count() > 40 => "text".to_owned(),
            Kind::Text(text) => format!("text `{}`", text.escape_debug()),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "keys with values".to_owned(),
        }
    }

    /// A scalar as text: bare numbers and booleans fit where text is wanted, as they are written.
    pub(super) fn text(&self) -> Option<String> {
        match &self.kind {
            Kind::Bool(it) => Some(it.to_string()),
            Kind::Int(_, text) | Kind::Float(_, text) | Kind::Text(text) => Some(text.clone()),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    pub(super) fn nth(&self, index: usize) -> Option<&Node> {
        if let Kind::Map(map) = &self.kind {
            return map.entries.get(index).map(|it| &it.1);
        }
        let Kind::List(items) = &self.kind else { return None };
        items.get(index)
    }

    pub(super) fn nth_mut(&mut self, index: usize) -> Option<&mut Node> {
        match &mut self.kind {
            Kind::Map(map) => map.entries.get_mut(index).map(|it| &mut it.1),
            Kind::List(items) => items.get_mut(index),
            Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) => None,
        }
    }

    /// Takes a child out; false where there is none of this number.
    pub(super) fn remove(&mut self, index: usize) -> bool {
        if let Kind::Map(map) = &mut self.kind
            && index < map.entries.len()
        {
            let (key, _) = map.entries.remove(index);
            map.removed.push(key.text);
            return true;
        }
        if let Kind::List(items) = &mut self.kind
            && index < items.len()
        {
            items.remove(index);
            return true;
        }
        false
    }

    fn child(&self, name: &str) -> Option<(&Key, &Node)> {
        let Kind::Map(map) = &self.kind else { return None };
        map.entries.iter().find(|it| it.0.text == name).map(|it| (&it.0, &it.1))
    }
}

/// A way down the tree to where a value stands; what is missing stands where its parent does.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    source: &'a Source,
    node: &'a Node,
    key: Option<&'a Key>,
    is_root: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a Source, node: &'a Node) -> Self {
        Self { source, node, key: None, is_root: true }
    }

    pub fn has(&self, name: &str) -> bool {
        self.node.child(name).is_some_and(|it| !it.1.is_null())
    }

    /// Whether there are keys here, in place of a short form.
    pub fn is_keys(&self) -> bool {
        matches!(self.node.kind, Kind::Map(_))
    }

    pub fn key(self, name: &str) -> Self {
        match self.node.child(name) {
            Some((key, node)) => Self { key: Some(key), node, is_root: false, ..self },
            None => self,
        }
    }

    pub fn item(self, index: usize) -> Self {
        let Kind::List(items) = &self.node.kind else { return self };
        items.get(index).map_or(self, |node| Self { node, key: None, is_root: false, ..self })
    }

    /// The child of this number, of a list or of keys.
    pub(super) fn child_at(self, index: usize) -> Option<Self> {
        if let Kind::Map(map) = &self.node.kind {
            return map.entries.get(index).map(|(key, node)| Self {
                key: Some(key),
                node,
                is_root: false,
                ..self
            });
        }
        let Kind::List(items) = &self.node.kind else { return None };
        items.get(index).map(|node| Self { node, key: None, is_root: false, ..self })
    }

    /// Where the value stands; that of a list or of keys: where its own key does.
    pub fn place(&self) -> Place {
        match (&self.node.kind, self.key) {
            (Kind::List(_) | Kind::Map(_) | Kind::Null, Some(key)) => self.place_at(key.at),
            _ => self.place_at(self.node.at),
        }
    }

    /// Where the key stands.
    pub fn key_place(&self) -> Place {
        self.place_at(self.key.map_or(self.node.at, |it| it.at))
    }

    fn place_at(&self, at: At) -> Place {
        // What is missing in the file as a whole stands nowhere in it; a file of no keys is another thing.
        if self.is_root && self.is_keys() {
            return self.source.whole();
        }
        self.source.place(at.line, at.column, at.width)
    }
}

/// Parses one document under limits that no configuration comes near, and that an alias bomb passes soon.
pub(super) fn parse(text: &str) -> Result<Node, Raw> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! { max_depth: 32, max_nodes: 200_000 },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: 20_000, max_replay_stack_depth: 8 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let tree: Spanned<Tree> = serde_yaml::from_str_with_options(text, options).map_err(|it| raw(&it))?;
    Ok(node(tree, text))
}

/// What serde-saphyr hands over: kinds and places, without the spelling of numbers.
enum Tree {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<Tree>, Spanned<Tree>)>),
}

fn node(tree: Spanned<Tree>, text: &str) -> Node {
    let written = || {
        let span = tree.defined.span();
        let from = span.byte_offset()? as usize;
        text.get(from..from + span.byte_len()? as usize).map(str::to_owned)
    };
    let kind = match tree.value {
        Tree::Null => Kind::Null,
        Tree::Bool(it) => Kind::Bool(it),
        Tree::Int(it) => Kind::Int(it, written().unwrap_or_else(|| it.to_string())),
        Tree::Float(it) => Kind::Float(it, written().unwrap_or_else(|| it.to_string())),
        Tree::Text(it) => Kind::Text(it),
        Tree::List(items) => Kind::List(items.into_iter().map(|it| node(it, text)).collect()),
        Tree::Map(entries) => {
            let entries = entries.into_iter().map(|(name, value)| {
                let name = node(name, text);
                let key = Key { at: name.at, text: name.text().unwrap_or_else(|| "(no word)".to_owned()) };
                (key, node(value, text))
            });
            Kind::Map(Map { entries: entries.collect(), removed: Vec::new() })
        }
    };
    Node { at: at(tree.referenced), kind }
}

fn at(location: Location) -> At {
    At {
        line: location.line() as usize,
        column: location.column() as usize,
        width: (location.span().len() as usize).max(1),
    }
}

fn raw(error: &serde_yaml::Error) -> Raw {
    use serde_yaml::Error as E;
    let at = error.location().filter(|it| *it != Location::UNKNOWN).map(at);
    let mut message = UserMessageFormatter.format_message(error).into_owned();
    let mut help = None;
    if let E::DuplicateMappingKey { key, .. } = error {
        message = format!("the key `{}` stands here twice", key.as_deref().unwrap_or("?"));
        help = Some("remove one of them");
    } else if matches!(error, E::MergeKeyNotAllowed { .. }) {
        message = "merge keys (`<<`) are not supported".to_owned();
        help = Some("write the keys out");
    } else if matches!(error, E::Budget { .. }) || message.contains("replayed") {
        message = "the file unfolds to too much, or is nested too deep".to_owned();
        help = Some("write values out in place of aliases (`*name`), and nest less");
    } else if message.contains("tab") {
        help = Some("indent with spaces");
    } else if matches!(error, E::MultipleDocuments { .. }) {
        message = "a second document (`---`) begins here".to_owned();
        help = Some("one file, one document");
    }
    Raw {
        message: message.trim_end_matches('.').to_owned(),
        help: help.map(str::to_owned),
        at: at.map(|it| (it.line, it.column, it.width.min(40))),
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E: de::Error>(self, it: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(it))
    }

    fn visit_i64<E: de::Error>(self, it: i64) -> Result<Tree, E> {
        Ok(Tree::Int(it.into()))
    }

    fn visit_u64<E: de::Error>(self, it: u64) -> Result<Tree, E> {
        Ok(Tree::Int(it.into()))
    }

    fn visit_i128<E: de::Error>(self, it: i128) -> Result<Tree, E> {
        Ok(Tree::Int(it))
    }

    fn visit_u128<E: de::Error>(self, it: u128) -> Result<Tree, E> {
        Ok(Tree::Int(i128::try_from(it).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: de::Error>(self, it: f64) -> Result<Tree, E> {
        Ok(Tree::Float(it))
    }

    fn visit_str<E: de::Error>(self, it: &str) -> Result<Tree, E> {
        Ok(Tree::Text(it.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}
