//! Settings into a struct: each value is text, and the field's type says how to read it.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::config::split_list;
use crate::{Error, Result};

/// All entries as one struct or map.
pub fn read<T: DeserializeOwned>(entries: Vec<(String, String)>) -> Result<T> {
    let entries = entries.into_iter().map(|(key, text)| (key.clone(), Setting { key, text }));
    T::deserialize(MapDeserializer::new(entries))
        .map_err(|error: de::value::Error| Error::retry(error.to_string()))
}

/// One value, with its key for the error.
struct Setting {
    key: String,
    text: String,
}

impl Setting {
    /// Names the key, not the value, which may be a secret.
    fn wrong(&self, why: impl std::fmt::Display) -> de::value::Error {
        de::Error::custom(format_args!("setting `{}`: {why}", self.key))
    }
}

impl<'de> IntoDeserializer<'de> for Setting {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            match self.text.trim().parse::<$type>() {
                Ok(value) => visitor.$visit(value).map_err(|error: Self::Error| self.wrong(error)),
                Err(_) => Err(self.wrong($what)),
            }
        }
    )*};
}

macro_rules! from_json {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let mut json = serde_json::Deserializer::from_reader(self.text.as_bytes());
            (&mut json).$method($($argument,)* visitor).map_err(|error| self.wrong(error))
        }
    )*};
}

impl<'de> Deserializer<'de> for Setting {
    type Error = de::value::Error;

    /// Without a wish it stays text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_string(self.text)
    }

    /// An empty value and YAML's null are none.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.text.as_str() {
            "" | "null" | "~" => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    /// A JSON array, or words with commas.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.text.trim_start().starts_with('[') {
            let mut json = serde_json::Deserializer::from_reader(self.text.as_bytes());
            return (&mut json).deserialize_seq(visitor).map_err(|error| self.wrong(error));
        }
        let words = split_list(&self.text).into_iter().map(|text| Setting { key: self.key.clone(), text });
        SeqDeserializer::new(words).deserialize_any(visitor)
    }

    /// A word names a unit variant; any other variant is JSON.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if self.text.trim_start().starts_with('{') {
            let mut json = serde_json::Deserializer::from_reader(self.text.as_bytes());
            return (&mut json).deserialize_enum(name, variants, visitor).map_err(|error| self.wrong(error));
        }
        let word: de::value::StrDeserializer<'_, de::value::Error> = self.text.as_str().into_deserializer();
        visitor.visit_enum(word).map_err(|error| self.wrong(error))
    }

    parsed! {
        deserialize_bool visit_bool bool, "true or false was expected";
        deserialize_i8 visit_i64 i64, "a whole number was expected";
        deserialize_i16 visit_i64 i64, "a whole number was expected";
        deserialize_i32 visit_i64 i64, "a whole number was expected";
        deserialize_i64 visit_i64 i64, "a whole number was expected";
        deserialize_u8 visit_u64 u64, "a whole number, not negative, was expected";
        deserialize_u16 visit_u64 u64, "a whole number, not negative, was expected";
        deserialize_u32 visit_u64 u64, "a whole number, not negative, was expected";
        deserialize_u64 visit_u64 u64, "a whole number, not negative, was expected";
        deserialize_f32 visit_f64 f64, "a number was expected";
        deserialize_f64 visit_f64 f64, "a number was expected";
    }

    from_json! {
        deserialize_map();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Shop {
        id: u32,
        name: String,
        #[serde(default)]
        rate: f64,
        open: Option<bool>,
        mode: Mode,
        #[serde(default)]
        tags: Vec<String>,
        #[serde(default)]
        names: BTreeMap<String, u8>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Slow,
    }

    fn entries(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn each_field_reads_its_text() {
        let read: Shop = read(entries(&[
            ("id", "7"),
            ("name", "8"),
            ("rate", "0.5"),
            ("open", "true"),
            ("mode", "slow"),
            ("tags", "[\"a\",\"b\"]"),
            ("names", "{\"x\":1}"),
        ]))
        .unwrap();
        let expected = Shop {
            id: 7,
            name: "8".into(),
            rate: 0.5,
            open: Some(true),
            mode: Mode::Slow,
            tags: vec!["a".into(), "b".into()],
            names: [("x".to_string(), 1)].into(),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_list_is_words_or_json() {
        for text in ["1, 2", "[1,2]", " [1, 2] "] {
            let read: BTreeMap<String, Vec<u8>> = read(entries(&[("a", text)])).unwrap();
            assert_eq!(read["a"], [1, 2], "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |pairs: &[(&str, &str)], expected: &str| {
            let error = read::<Shop>(entries(pairs)).unwrap_err();
            assert!(error.reason().contains(expected), "{error:?}");
        };
        check(&[("id", "x")], "setting `id`: a whole number");
        check(&[("id", "5000000000")], "setting `id`: invalid value: integer `5000000000`");
        check(&[("id", "1"), ("mode", "quick")], "setting `mode`: unknown variant `quick`");
        check(&[("tags", "[")], "setting `tags`:");
        check(&[("nme", "x")], "unknown field `nme`");
        check(&[("id", "1")], "missing field `name`");
    }
}
