//! Values that keys take, each with its rule: a value of one of these types is a good one.
//!
//! In an error's text the help stands behind a line break; `yaml` takes them apart.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::app::HostPattern;
use crate::domain::plugin::NATIVE;
use crate::domain::secret::Secret;
use crate::yaml::TEXT_OR_KEYS;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Within<MIN, MAX> {
    /// For defaults: a value out of range is a bug of ours.
    pub const fn new(value: u64) -> Self {
        assert!(MIN <= value && value <= MAX);
        Self(value)
    }

    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Within<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i128::deserialize(deserializer)?;
        match u64::try_from(value) {
            Ok(it) if (MIN..=MAX).contains(&it) => Ok(Self(it)),
            _ => Err(de::Error::custom(format!("{value} is out of range\nfrom {MIN} to {MAX}"))),
        }
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Within<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Within<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Within_{MIN}_{MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

/// Milliseconds, up to a day.
pub type Millis = Within<1, 86_400_000>;

/// How many things may go on at once.
pub type AtOnce = Within<1, 1_000_000>;

/// At most so many, at least one: for "no limit" the key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Limit(u32);

impl Limit {
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i128::deserialize(deserializer)? {
            0 => Err(de::Error::custom("0 would let nothing through\nleave the key out for no limit")),
            value => u32::try_from(value)
                .map(Self)
                .map_err(|_| de::Error::custom(format!("{value} is out of range\nfrom 1 to {}", u32::MAX))),
        }
    }
}

/// Attempts: from 1, or -1 for no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Attempts(pub i32);

impl<'de> Deserialize<'de> for Attempts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i128::deserialize(deserializer)?;
        match i32::try_from(value) {
            Ok(it) if it == -1 || it >= 1 => Ok(Self(it)),
            _ => Err(de::Error::custom(format!(
                "{value} is no number of attempts\n1 for a single one, -1 for no end"
            ))),
        }
    }
}

/// Declares a text type: what it is called in errors, its rule, and what it looks like in the schema.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:expr, $schema:tt) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A line break in the error stands before the help.
            pub fn new(text: impl Into<String>) -> Result<Self, String> {
                let text = text.into();
                let check: fn(&str) -> Result<(), String> = $check;
                check(&text).map(|()| Self(text))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }

        inline_schema!($name, $schema);
    };
}

macro_rules! inline_schema {
    ($name:ident, $schema:tt) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

inline_schema!(Limit, {"type": "integer", "minimum": 1, "maximum": 4_294_967_295_u64});
inline_schema!(Attempts, {"anyOf": [{"type": "integer", "minimum": 1}, {"const": -1}]});

text_type!(
    /// Name of an app, a credential.
    Name, |it| word(it, 100, "._-"), {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,100}$"}
);
text_type!(
    /// Name of a plugin, `native:…` for a twin that is compiled into the host.
    PluginName, plugin_name, {"type": "string", "pattern": "^(native:)?[A-Za-z0-9._-]{1,100}$"}
);
text_type!(
    /// Name of a consumer group; `group:topic` is usual (S52).
    GroupName, |it| word(it, 200, "._-:"), {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,200}$"}
);
text_type!(
    /// Name of a topic, by Kafka's rules.
    TopicName, topic, {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"}
);
text_type!(
    /// Which log lines are kept: a level, and others for parts, as in `info,plugin=debug`.
    LogLevels, log_levels, {"type": "string"}
);
text_type!(
    /// Path of a URL, without a host.
    UrlPath, url_path, {"type": "string", "pattern": "^/"}
);
text_type!(
    /// `host:port`.
    Address, |it| host_port(it).map(drop), {"type": "string", "pattern": "^.+:[0-9]+$"}
);
text_type!(
    /// What a message may name as its server: `host`, `*.domain`, each with or without `:port`.
    AllowedHost, |it| host_pattern(it).map(drop), {"type": "string"}
);
text_type!(
    /// A text: also a bare number, `true` or `false`, as it is written.
    Scalar, |_| Ok(()), {"type": ["string", "number", "boolean"]}
);

impl LogLevels {
    /// What is usual.
    pub fn info() -> Self {
        Self("info".to_owned())
    }
}

impl Scalar {
    pub fn into_string(self) -> String {
        self.0
    }
}

impl Address {
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(self.0.as_str(), |it| it.0);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.0.rsplit_once(':').and_then(|it| it.1.parse().ok()).unwrap_or_default()
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|it: IpAddr| it.is_loopback())
    }
}

impl AllowedHost {
    pub fn pattern(&self) -> HostPattern {
        host_pattern(&self.0).unwrap_or(HostPattern { host: self.0.clone(), port: None })
    }
}

fn word(text: &str, most: usize, signs: &str) -> Result<(), String> {
    let help = format!("letters, digits and `{signs}`, at most {most} of them");
    match text.chars().find(|it| !it.is_ascii_alphanumeric() && !signs.contains(*it)) {
        _ if text.is_empty() => Err(format!("the name is empty\n{help}")),
        Some(bad) => Err(format!("`{}` cannot stand in a name\n{help}", bad.escape_debug())),
        None if text.len() > most => Err(format!("the name is too long\n{help}")),
        None => Ok(()),
    }
}

fn plugin_name(text: &str) -> Result<(), String> {
    word(text.strip_prefix(NATIVE).unwrap_or(text), 100, "._-")
}

fn topic(text: &str) -> Result<(), String> {
    word(text, 249, "._-")?;
    if text == "." || text == ".." {
        return Err(format!("`{text}` is no name for a topic"));
    }
    Ok(())
}

fn log_levels(text: &str) -> Result<(), String> {
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |it| it.1).trim();
        if !["off", "error", "warn", "info", "debug", "trace"].contains(&level) {
            let help = "off, error, warn, info, debug or trace; for one part too, as in `info,plugin=debug`";
            return Err(format!("`{level}` is no level\n{help}"));
        }
    }
    Ok(())
}

fn url_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("a path begins with `/`\nwrite `/{text}`"));
    }
    match text.chars().find(|it| it.is_whitespace() || it.is_control() || "#\\\"<>".contains(*it)) {
        Some(bad) => Err(format!("`{}` cannot stand in a path\nwrite it as `%…`", bad.escape_debug())),
        None => Ok(()),
    }
}

fn host_port(text: &str) -> Result<(String, u16), String> {
    const HELP: &str = "write `host:port`, as in `127.0.0.1:9001`";
    if text.contains("://") {
        return Err(format!("`{text}` is a URL\n{HELP}"));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("`{text}` has no port\n{HELP}"));
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(format!("`{port}` is no port\nfrom 1 to 65535"));
    };
    host_name(host).map_err(|it| format!("{it}\n{HELP}"))?;
    Ok((host.to_owned(), port))
}

fn host_name(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().map(drop).map_err(|_| format!("`{inner}` is no IPv6 address"));
    }
    let good = |label: &str| {
        !label.is_empty() && label.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '_')
    };
    let digits_only = host.chars().all(|it| it.is_ascii_digit() || it == '.');
    let is_good = host.split('.').all(good) && (!digits_only || host.parse::<IpAddr>().is_ok());
    if is_good { Ok(()) } else { Err(format!("`{host}` is no host")) }
}

fn host_pattern(text: &str) -> Result<HostPattern, String> {
    const HELP: &str = "write `host`, `host:port`, `*.domain` or `*.domain:port`";
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, Some(port.parse().map_err(|_| format!("`{port}` is no port\n{HELP}"))?))
        }
        _ => (text, None),
    };
    if host == "*" {
        return Err(format!("`*` would let a message name any address\n{HELP}"));
    }
    let name = host.strip_prefix("*.");
    host_name(name.unwrap_or(host)).map_err(|it| format!("{it}\n{HELP}"))?;
    let lower = name.map_or_else(|| host.to_owned(), |it| format!(".{it}")).to_ascii_lowercase();
    let host = lower.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(HostPattern { host, port })
}

/// A type with a short form, a text, beside its keys.
pub trait ShortForm: DeserializeOwned {
    fn short(text: &str) -> Result<Self, String>;

    fn short_schema() -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// `T` in its short or its long form.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct OrShort<T>(pub T);

impl<'de, T: ShortForm> Deserialize<'de> for OrShort<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TEXT_OR_KEYS, OrShortVisitor(PhantomData)).map(Self)
    }
}

struct OrShortVisitor<T>(PhantomData<T>);

impl<'de, T: ShortForm> Visitor<'de> for OrShortVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, or keys with values")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::short(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(de::value::MapAccessDeserializer::new(map))
    }
}

impl<T: ShortForm + JsonSchema> JsonSchema for OrShort<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrShort", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<T>();
        json_schema!({"anyOf": [T::short_schema(), long]})
    }
}

/// A secret: as it stands, `{env: NAME}` or `{file: PATH}`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretText {
    /// Environment variable that holds it.
    pub env: Option<String>,
    /// File that holds it, relative to this one; white space at its end is cut off.
    pub file: Option<PathBuf>,
    /// The secret, once the configuration is loaded.
    #[serde(skip)]
    pub value: Secret,
}

impl ShortForm for SecretText {
    fn short(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a secret cannot be empty\nleave the key out for none".to_owned());
        }
        Ok(Self { value: Secret::new(text), ..Self::default() })
    }
}

/// In the schema and in what `drover` shows of its configuration.
impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("127.0.0.1:80", Ok(("127.0.0.1", 80, true))),
            ("localhost:0", Ok(("localhost", 0, true))),
            ("[::1]:80", Ok(("::1", 80, true))),
            ("0.0.0.0:80", Ok(("0.0.0.0", 80, false))),
            ("a-b.example_1:65535", Ok(("a-b.example_1", 65535, false))),
            ("127.0.0.1", Err("`127.0.0.1` has no port")),
            ("http://a:80", Err("`http://a:80` is a URL")),
            ("a:65536", Err("`65536` is no port")),
            (":80", Err("the host is missing")),
            ("a..b:80", Err("`a..b` is no host")),
            ("300.0.0.1:80", Err("`300.0.0.1` is no host")),
            ("::1:80", Err("`::1` is no host")),
            ("[::x]:80", Err("`::x` is no IPv6 address")),
        ];
        for (text, expected) in cases {
            let address = Address::new(text);
            let found = address.as_ref().map(|it| (it.host(), it.port(), it.is_loopback()));
            assert_eq!(found.map_err(|it| it.lines().next().unwrap_or_default()), expected, "{text}");
        }
    }

    /// S166.
    #[test]
    fn allowed_hosts() {
        let pattern = |host: &str, port| Some(HostPattern { host: host.to_owned(), port });
        let cases = [
            ("API.example", pattern("api.example", None)),
            ("*.Example:8443", pattern(".example", Some(8443))),
            ("[::1]:80", pattern("::1", Some(80))),
            ("[::1]", pattern("::1", None)),
            ("*", None),
            ("a*.example", None),
            ("*.*.example", None),
            ("a:b", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(AllowedHost::new(text).ok().map(|it| it.pattern()), expected, "{text}");
        }
    }
}
