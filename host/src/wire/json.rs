//! The top level of a JSON object, found in one scan: the fields that some form looks for, and no
//! allocation for any other. What lies deeper is passed over, however deep.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer as _, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of all forms that are JSON objects.
const NAMES: [&str; 28] = [
    "Cmd",
    "LogId",
    "HashKey",
    "Data",
    "Delay",
    "Headers",
    "Url",
    "Topic",
    "Partition",
    "CreateTime",
    "TaskID",
    "Key",
    "Value",
    "Offset",
    "ConsumerGroupID",
    "ConsumerErrorStr",
    "ProducerSentTime",
    "ConsumerReceivedTime",
    "ConsumerFinishTime",
    "ProducerReceivedTime",
    "IsReplyMessage",
    "IsSendError",
    "Message",
    "ErrStr",
    "specversion",
    "id",
    "source",
    "type",
];

/// By the first letter, in either case: which names begin so, a bit each.
const BY_FIRST: [u32; 32] = {
    let mut table = [0; 32];
    let mut at = 0;
    while at < NAMES.len() {
        table[(NAMES[at].as_bytes()[0] % 32) as usize] |= 1 << at;
        at += 1;
    }
    table
};

/// What was found of a field. Of doubles the last one counts, as for the ancestors' readers.
#[derive(Clone, Copy, Default)]
struct Found<'a> {
    /// Its name was seen, spelled exactly so; perhaps the value behind it is broken.
    exact: bool,
    /// The same in any case.
    any: bool,
    exact_value: Option<&'a RawValue>,
    any_value: Option<&'a RawValue>,
}

/// An object's fields.
pub struct Fields<'a> {
    /// All of the value, for parts that share its buffer.
    source: &'a Bytes,
    found: [Found<'a>; NAMES.len()],
    /// Where the syntax breaks; nothing behind that was seen.
    fault: Option<String>,
}

/// The start of a JSON object, if this is one by its first byte. A byte order mark before it is passed over:
/// some producers write one without knowing.
pub fn object(value: &[u8]) -> Option<&[u8]> {
    let value = value.strip_prefix(b"\xef\xbb\xbf").unwrap_or(value).trim_ascii_start();
    value.starts_with(b"{").then_some(value)
}

impl<'a> Fields<'a> {
    /// None where the value does not begin like an object.
    pub fn scan(source: &'a Bytes) -> Option<Self> {
        let object = object(source)?;
        let mut fields = Self { source, found: [Found::default(); NAMES.len()], fault: None };
        let mut json = serde_json::Deserializer::from_slice(object);
        let scanned = (&mut json).deserialize_map(Scan(&mut fields.found)).and_then(|()| json.end());
        fields.fault = scanned.err().map(|it| it.to_string());
        Some(fields)
    }

    /// Whether all of these names were seen, spelled exactly so.
    pub fn have(&self, names: &[&str]) -> bool {
        names.iter().all(|it| self.found(it).exact)
    }

    pub fn have_in_any_case(&self, names: &[&str]) -> bool {
        names.iter().all(|it| self.found(it).any)
    }

    pub fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.found(name).exact_value
    }

    pub fn value_in_any_case(&self, name: &str) -> Option<&'a RawValue> {
        self.found(name).any_value
    }

    fn found(&self, name: &str) -> Found<'a> {
        let at = NAMES.iter().position(|it| *it == name);
        debug_assert!(at.is_some(), "{name} has to be in NAMES");
        at.map_or(Found::default(), |at| self.found[at])
    }
}

struct Scan<'s, 'a>(&'s mut [Found<'a>; NAMES.len()]);

impl<'a> Visitor<'a> for Scan<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let Some((at, exact)) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let found = &mut self.0[at];
            found.any = true;
            found.exact |= exact;
            let value = map.next_value()?;
            found.any_value = Some(value);
            if exact {
                found.exact_value = Some(value);
            }
        }
        Ok(())
    }
}

/// Which field a name is, and whether it is spelled exactly so.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<(usize, bool)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<(usize, bool)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        // Most names of ordinary JSON are none of ours: their first letter and length tell it.
        let first = name.bytes().next().unwrap_or_default();
        let mut candidates = BY_FIRST[usize::from(first % 32)];
        while candidates != 0 {
            let at = candidates.trailing_zeros() as usize;
            if NAMES[at].eq_ignore_ascii_case(name) {
                return Ok(Some((at, NAMES[at] == name)));
            }
            candidates &= candidates - 1;
        }
        Ok(None)
    }
}

/// Reads the fields of one form, and words what is wrong with them.
pub struct Reader<'f, 'a> {
    /// Whose form it is, as it stands before each reason.
    pub form: &'static str,
    pub fields: &'f Fields<'a>,
    /// Whether names count in any case.
    pub any_case: bool,
}

impl<'a> Reader<'_, 'a> {
    /// Refuses an object that is not well formed to its end.
    pub fn whole(&self) -> Result<(), String> {
        match &self.fields.fault {
            None => Ok(()),
            Some(fault) => Err(format!("{}: the value is no whole JSON object: {fault}", self.form)),
        }
    }

    /// A field's value; a null is none.
    pub fn value(&self, name: &str) -> Option<&'a RawValue> {
        let value = if self.any_case { self.fields.value_in_any_case(name) } else { self.fields.value(name) };
        value.filter(|it| it.get() != "null")
    }

    pub fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match string(value) {
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(fault)) => Err(format!("{}: {name} is no valid string: {fault}", self.form)),
            None => Err(self.wrong(name, "a string", value)),
        }
    }

    /// Go's rule for integers: neither fraction nor exponent, within 64 bits.
    pub fn integer(&self, name: &str, wanted: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.get().parse().map(Some).map_err(|_| self.wrong(name, wanted, value))
    }

    pub fn flag(&self, name: &str) -> Result<bool, String> {
        match self.value(name) {
            None => Ok(false),
            Some(value) => value.get().parse().map_err(|_| self.wrong(name, "true or false", value)),
        }
    }

    pub fn wrong(&self, name: &str, wanted: &str, value: &RawValue) -> String {
        format!("{}: {name} has to be {wanted}, it is {}", self.form, excerpt(value.get()))
    }

    /// A text's bytes; without a copy where it lies in the value as it is.
    pub fn bytes(&self, text: Cow<'a, str>) -> Bytes {
        match text {
            Cow::Borrowed(text) => self.fields.source.slice_ref(text.as_bytes()),
            Cow::Owned(text) => text.into_bytes().into(),
        }
    }
}

/// What a JSON string says; none for any other value. Borrowed where nothing is escaped.
pub fn string(value: &RawValue) -> Option<Result<Cow<'_, str>, serde_json::Error>> {
    let quoted = value.get();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return Some(serde_json::from_str(quoted).map(Cow::Owned));
    }
    Some(Ok(Cow::Borrowed(inner)))
}

/// The start of a value, for an error's text.
pub fn excerpt(text: &str) -> String {
    const MOST: usize = 48;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, with: impl FnOnce(Reader<'_, '_>)) {
        let value = Bytes::copy_from_slice(value.as_bytes());
        let fields = Fields::scan(&value).unwrap();
        with(Reader { form: "test", fields: &fields, any_case: true });
    }

    #[test]
    fn objects_by_their_first_byte() {
        let yes: [&[u8]; 4] = [b"{", b" \r\n\t{}", b"\xef\xbb\xbf{}", b"\xef\xbb\xbf {"];
        assert!(yes.iter().all(|it| object(it).is_some()));
        let no: [&[u8]; 7] = [b"", b" ", b"[]", b"\"{\"", b"\xef\xbb{", b"\x00{", b" \xef\xbb\xbf{"];
        assert!(no.iter().all(|it| object(it).is_none()));
    }

    #[test]
    fn of_doubles_the_last_one_counts_and_nulls_are_none() {
        check(r#"{"Cmd":"a","x":[{"Cmd":"deep"}],"cmd":"b","C\u006dd":"c","CMD":"d","LogId":null}"#, |it| {
            assert!(it.whole().is_ok());
            assert_eq!(it.text("Cmd").unwrap().as_deref(), Some("d"));
            assert_eq!(it.fields.value("Cmd").unwrap().get(), r#""c""#);
            assert_eq!(it.text("LogId").unwrap(), None);
            assert!(it.fields.have(&["Cmd", "LogId"]) && !it.fields.have(&["Data"]));
        });
    }

    #[test]
    fn every_name_is_found_in_any_case_and_no_other() {
        for name in NAMES {
            for (spelled, exact) in [(name.to_owned(), true), (swap_case(name), false)] {
                check(&format!("{{\"{spelled}\":1,\"{spelled}x\":2,\"\":3}}"), |it| {
                    assert_eq!(it.fields.value_in_any_case(name).unwrap().get(), "1", "{spelled}");
                    assert_eq!(it.fields.have(&[name]), exact, "{spelled}");
                });
            }
        }
    }

    fn swap_case(name: &str) -> String {
        let swap = |it: char| {
            if it.is_ascii_uppercase() { it.to_ascii_lowercase() } else { it.to_ascii_uppercase() }
        };
        name.chars().map(swap).collect()
    }

    #[test]
    fn names_before_the_fault_are_seen_and_none_behind_it() {
        check(r#"{"Cmd":"a","Data":"{"b":1}","Delay":0}"#, |it| {
            assert!(it.fields.have(&["Cmd", "Data"]) && !it.fields.have(&["Delay"]));
            let fault = "test: the value is no whole JSON object: expected `,` or `}` at line 1 column 22";
            assert_eq!(it.whole().unwrap_err(), fault);
        });
        check(r#"{"Cmd":"#, |it| assert!(it.fields.have(&["Cmd"]) && it.whole().is_err()));
        check("{} {}", |it| assert!(it.whole().is_err()));
        check("{} \n", |it| assert!(it.whole().is_ok()));
    }

    #[test]
    fn numbers_and_flags_go_by_gos_rules() {
        let numbers = [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-5", Some(-5)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("1.0", None),
            ("1e3", None),
            ("\"5\"", None),
            ("[5]", None),
            ("true", None),
        ];
        for (text, number) in numbers {
            check(&format!("{{\"Delay\":{text},\"IsSendError\":{text}}}"), |it| {
                assert_eq!(it.integer("Delay", "whole").ok().flatten(), number, "{text}");
                assert_eq!(it.flag("IsSendError").ok(), (text == "true").then_some(true), "{text}");
            });
        }
        check(r#"{"Delay":1e400}"#, |it| {
            let wrong = it.integer("Delay", "a whole number of seconds").unwrap_err();
            assert_eq!(wrong, "test: Delay has to be a whole number of seconds, it is 1e400");
        });
    }

    #[test]
    fn text_is_shared_where_nothing_is_escaped() {
        let value =
            Bytes::from_static("{\"Data\":\"发\",\"Cmd\":\"a\\n\\ud83d\\ude00\",\"LogId\":\"\"}".as_bytes());
        let fields = Fields::scan(&value).unwrap();
        let it = Reader { form: "test", fields: &fields, any_case: false };
        let data = it.bytes(it.text("Data").unwrap().unwrap());
        assert_eq!((&data[..], data.as_ptr()), ("发".as_bytes(), value[9..].as_ptr()));
        assert_eq!(it.bytes(it.text("Cmd").unwrap().unwrap()), "a\n😀");
        assert_eq!(it.bytes(it.text("LogId").unwrap().unwrap()), "");
    }

    #[test]
    fn strings_that_are_none() {
        for broken in [r#""\ud800""#, r#""\q""#, "\"\u{1}\""] {
            check(&format!("{{\"Data\":{broken}}}"), |it| {
                assert!(it.whole().is_err() || it.text("Data").is_err(), "{broken}");
            });
        }
    }

    /// A stack that grew with the depth would end the process here.
    #[test]
    fn depth_costs_no_stack() {
        let deep = "[".repeat(1_000_000);
        check(&format!("{{\"x\":{deep}{}}}", "]".repeat(1_000_000)), |it| assert!(it.whole().is_ok()));
        check(&format!("{{\"Data\":{deep}"), |it| assert!(it.whole().is_err() && it.fields.have(&["Data"])));
        check(&format!("{{\"Data\":{deep}{}}}", "]".repeat(1_000_000)), |it| {
            assert!(it.whole().is_ok() && it.text("Data").is_err());
        });
    }
}
