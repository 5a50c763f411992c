//! A tree into a value of the caller's type; a mistake knows the way to the node that makes it.

use std::fmt;
use std::sync::Arc;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};

use super::problem::{Problem, Source};
use super::suggest::{did_you_mean, nearest};
use super::tree::{Cursor, Key, Kind, Map, Node};

/// A type that asks for a newtype of this name gets a scalar as it is written, `007` as `007`, and keys as
/// keys: for values with a short and a long form.
pub const TEXT_OR_KEYS: &str = "text or keys";

pub(super) fn read<T: DeserializeOwned>(root: &Node) -> Result<T, Fault> {
    T::deserialize(root)
}

/// Why the tree does not fit, and where.
///
/// Types with rules of their own report by `serde::de::Error::custom`; what stands behind a line break
/// in their message is the help.
#[derive(Debug)]
pub(super) struct Fault {
    message: String,
    help: Option<String>,
    /// Indices from the node upwards, as they are met when the error travels up.
    path: Vec<usize>,
    /// The key is wrong, not its value.
    of_key: bool,
    /// The key that is missing.
    missing: Option<&'static str>,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, path: Vec::new(), of_key: false, missing: None }
    }

    fn expected(what: &str, node: &Node) -> Self {
        Self::new(format!("expected {what}, found {}", node.found()))
    }

    fn below(mut self, index: usize) -> Self {
        self.path.push(index);
        self
    }

    pub(super) fn problem(&self, source: &Arc<Source>, root: &Node) -> Problem {
        let mut cursor = Cursor::new(source, root);
        for index in self.path.iter().rev() {
            cursor = cursor.child_at(*index).unwrap_or(cursor);
        }
        let place = if self.of_key || self.missing.is_some() { cursor.key_place() } else { cursor.place() };
        Problem { help: self.help.clone(), ..Problem::error(place, &self.message) }
    }

    pub(super) fn follows_from_a_removal(&self, root: &Node) -> bool {
        let Some(missing) = self.missing else { return false };
        let mut node = root;
        for index in self.path.iter().rev() {
            let Some(child) = node.nth(*index) else { return false };
            node = child;
        }
        // Also when it stood there misspelt.
        matches!(&node.kind, Kind::Map(map) if map.removed.iter().any(|it| nearest(it, [missing]).is_some()))
    }

    /// Takes the wrong node out; false where it is the whole file.
    pub(super) fn remove_from(&self, root: &mut Node) -> bool {
        let Some((last, way)) = self.path.split_first() else { return false };
        let mut node = root;
        for index in way.iter().rev() {
            let Some(child) = node.nth_mut(*index) else { return false };
            node = child;
        }
        node.remove(*last)
    }
}

/// As an operator calls it.
fn words(unexpected: Unexpected<'_>) -> String {
    if unexpected == Unexpected::Seq {
        "a list".to_owned()
    } else if unexpected == Unexpected::Map {
        "keys with values".to_owned()
    } else if unexpected == Unexpected::Unit {
        "nothing".to_owned()
    } else {
        unexpected.to_string()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        match text.split_once('\n') {
            Some((message, help)) => Self { help: Some(help.to_owned()), ..Self::new(message) },
            None => Self::new(text),
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", words(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}, found {unexpected}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let help = did_you_mean(field, expected.iter().copied());
        Self { help: Some(help), of_key: true, ..Self::new(format!("unknown key `{field}`")) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let help = did_you_mean(variant, expected.iter().copied());
        Self { help: Some(help), ..Self::new(format!("`{variant}` is not known here")) }
    }

    fn missing_field(field: &'static str) -> Self {
        let help = Some(format!("add `{field}: …`"));
        Self { help, missing: Some(field), ..Self::new(format!("the key `{field}` is missing")) }
    }
}

/// An integer goes up as it is written, also a negative one, so that a type with a range can say so.
macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            let Kind::Int(it, text) = &self.kind else {
                return Err(Fault::expected("a whole number", self));
            };
            match (i64::try_from(*it), u64::try_from(*it)) {
                (_, Ok(it)) => visitor.visit_u64(it),
                (Ok(it), _) => visitor.visit_i64(it),
                _ => Err(Fault::new(format!("`{text}` is too large"))),
            }
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.text() {
                Some(text) => visitor.visit_string(text),
                None => Err(Fault::expected("text", self)),
            }
        }
    )*};
}

impl<'a> de::Deserializer<'a> for &'a Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(it) => visitor.visit_bool(*it),
            Kind::Int(..) => self.deserialize_i64(visitor),
            Kind::Float(it, _) => visitor.visit_f64(*it),
            Kind::Text(it) => visitor.visit_str(it),
            Kind::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Kind::Map(map) => visitor.visit_map(Entries { map, next: 0 }),
        }
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Kind::Bool(it) = &self.kind else {
            return Err(Fault::expected("`true` or `false`", self));
        };
        visitor.visit_bool(*it)
    }

    integers! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
    deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Kind::Int(it, _) = &self.kind {
            return visitor.visit_f64(*it as f64);
        }
        let Kind::Float(it, _) = &self.kind else { return Err(Fault::expected("a number", self)) };
        visitor.visit_f64(*it)
    }

    texts! { deserialize_char deserialize_str deserialize_string deserialize_identifier }

    fn deserialize_bytes<V: Visitor<'a>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::expected("bytes", self))
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::expected("bytes", self))
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_null() { visitor.visit_unit() } else { Err(Fault::expected("nothing", self)) }
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.text() {
            Some(text) if name == TEXT_OR_KEYS => visitor.visit_string(text),
            None if name == TEXT_OR_KEYS => self.deserialize_any(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    /// A key with nothing behind it, because all of it is commented out, is an empty list.
    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_null() {
            return visitor.visit_seq(Items { items: &[], next: 0 });
        }
        let Kind::List(items) = &self.kind else {
            let text = self.text().filter(|it| it.chars().count() <= 40).unwrap_or_else(|| "…".to_owned());
            let help = Some(format!("in brackets: `[{text}]`"));
            return Err(Fault { help, ..Fault::expected("a list", self) });
        };
        visitor.visit_seq(Items { items, next: 0 })
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    /// As with lists: a section whose keys are all commented out has no keys.
    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        const NONE: &Map = &Map { entries: Vec::new(), removed: Vec::new() };
        if self.is_null() {
            return visitor.visit_map(Entries { map: NONE, next: 0 });
        }
        let Kind::Map(map) = &self.kind else { return Err(Fault::expected("keys with values", self)) };
        visitor.visit_map(Entries { map, next: 0 })
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    /// A word of several; only plain words are needed.
    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Some(text) = self.text() else {
            let help = Some(did_you_mean("", words.iter().copied()));
            return Err(Fault { help, ..Fault::expected("a word", self) });
        };
        let word: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
        visitor.visit_enum(word)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
}

impl<'a> de::SeqAccess<'a> for Items<'a> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(item).map(Some).map_err(|it| it.below(self.next - 1))
    }
}

struct Entries<'a> {
    map: &'a Map,
    next: usize,
}

impl<'a> de::MapAccess<'a> for Entries<'a> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((Key { text, .. }, _)) = self.map.entries.get(self.next) else { return Ok(None) };
        self.next += 1;
        let word: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
        let key = seed.deserialize(word);
        key.map(Some).map_err(|it| Fault { of_key: true, ..it.below(self.next - 1) })
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let index = self.next - 1;
        seed.deserialize(&self.map.entries[index].1).map_err(|it| it.below(index))
    }
}
