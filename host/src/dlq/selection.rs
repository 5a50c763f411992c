//! What an operator writes to say which letters are meant: words on the command line, a query, a JSON body.

use serde::{Deserialize, Deserializer};

use super::Error;
use crate::domain::dead::Filter;
use crate::wire::time;

/// All that is given has to agree. Times as in [`time_ms`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Selection {
    pub app: Option<String>,
    pub command: Option<String>,
    pub code: Option<String>,
    pub stage: Option<String>,
    pub reason: Option<String>,
    pub key: Option<String>,
    pub log_id: Option<String>,
    #[serde(deserialize_with = "word")]
    pub from: Option<String>,
    #[serde(deserialize_with = "word")]
    pub to: Option<String>,
    pub origin_topic: Option<String>,
    #[serde(deserialize_with = "number")]
    pub origin_partition: Option<i32>,
    #[serde(deserialize_with = "number")]
    pub partition: Option<i32>,
    #[serde(deserialize_with = "number")]
    pub from_offset: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub to_offset: Option<i64>,
    /// One, by `partition:offset`.
    pub letter: Option<String>,
}

/// Parts of a query that are not of a selection, by their names.
type Others<'a> = Vec<(&'a str, String)>;

impl Selection {
    pub fn filter(&self, now_ms: u64) -> Result<Filter, Error> {
        let time = |name: &str, text: &Option<String>| {
            let parsed = text.as_deref().map(|it| time_ms(it, now_ms));
            parsed.transpose().map_err(|it| Error::Refused(format!("`{name}`: {it}")))
        };
        let mut filter = Filter {
            group: None,
            app: self.app.clone(),
            command: self.command.clone(),
            code: self.code.clone(),
            stage: self.stage.clone(),
            reason: self.reason.clone(),
            key: self.key.clone().map(String::into_bytes),
            log_id: self.log_id.clone(),
            from_ms: time("from", &self.from)?,
            to_ms: time("to", &self.to)?,
            origin_topic: self.origin_topic.clone(),
            origin_partition: self.origin_partition,
            partition: self.partition,
            from_offset: self.from_offset,
            to_offset: self.to_offset,
        };
        if let Some(letter) = &self.letter {
            if filter.partition.is_some() || filter.from_offset.is_some() || filter.to_offset.is_some() {
                let text = "`letter` names partition and offset itself: leave `partition`, `from-offset`, `to-offset` out";
                return Err(Error::Refused(text.to_owned()));
            }
            let (partition, offset) = letter_place(letter)?;
            filter.partition = Some(partition);
            filter.from_offset = Some(offset);
            filter.to_offset = Some(offset);
        }
        Ok(filter)
    }

    /// As a query says it: `command=pay&from-offset=3`. What is not of a selection comes back as it is.
    pub fn of_query<'a>(query: &str, others: &[&'a str]) -> Result<(Self, Others<'a>), Error> {
        let (mut own, mut rest) = (serde_json::Map::new(), Vec::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match others.iter().find(|it| **it == name) {
                Some(other) => rest.push((*other, value.into_owned())),
                None => {
                    if own.insert(name.to_string(), value.into_owned().into()).is_some() {
                        return Err(Error::Refused(format!("`{name}` stands there twice: give it once")));
                    }
                }
            }
        }
        let selection = serde_json::from_value(own.into()).map_err(|it| Error::Refused(it.to_string()))?;
        Ok((selection, rest))
    }
}

/// `partition:offset`.
pub fn letter_place(text: &str) -> Result<(i32, i64), Error> {
    let parsed = text.split_once(':').and_then(|(partition, offset)| {
        let place: (i32, i64) = (partition.parse().ok()?, offset.parse().ok()?);
        (0 <= place.0 && 0 <= place.1).then_some(place)
    });
    parsed.ok_or_else(|| {
        Error::Refused(format!("{text:?} names no letter: write partition and offset, as in `0:17`"))
    })
}

/// In ms since 1970: so many, a time as RFC 3339 has it, or how long ago (`90s`, `30m`, `2h`, `7d`).
pub fn time_ms(text: &str, now_ms: u64) -> Result<u64, String> {
    let ago = |text: &str| {
        let unit = text.chars().last()?;
        let ms = match unit {
            's' => 1_000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => return None,
        };
        let count: u64 = text[..text.len() - unit.len_utf8()].parse().ok()?;
        Some(now_ms.saturating_sub(count.checked_mul(ms)?))
    };
    let absolute = || time::parse(text).and_then(|it| u64::try_from(it).ok());
    text.parse().ok().or_else(|| ago(text)).or_else(absolute).ok_or_else(|| {
        format!(
            "{text:?} is no time: write one as `2026-01-31T12:00:00Z`, how long ago as `2h`, or ms since 1970"
        )
    })
}

/// A number, or its digits: a query knows only text.
fn number<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr,
{
    let Some(text) = word(from)? else { return Ok(None) };
    let wrong = || serde::de::Error::custom(format!("{text:?} is no number that can stand here"));
    text.parse().map(Some).map_err(|_| wrong())
}

fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a number")]
    enum Either {
        Number(i64),
        Text(String),
    }
    Ok(Option::<Either>::deserialize(from)?.map(|it| match it {
        Either::Number(number) => number.to_string(),
        Either::Text(text) => text,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now = 1_700_000_000_000;
        let cases = [
            ("1700000000123", Some(1_700_000_000_123)),
            ("2023-11-14T22:13:20Z", Some(now)),
            ("90s", Some(now - 90_000)),
            ("30m", Some(now - 1_800_000)),
            ("2h", Some(now - 7_200_000)),
            ("7d", Some(now - 604_800_000)),
            ("0s", Some(now)),
            ("99999999d", Some(0)),
            ("", None),
            ("h", None),
            ("2 h", None),
            ("-2h", None),
            ("2w", None),
            ("2ä", None),
            ("yesterday", None),
            ("2023-11-14", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time_ms(text, now).ok(), expected, "{text}");
        }
    }

    #[test]
    fn letters() {
        assert_eq!(letter_place("3:17").unwrap(), (3, 17));
        for wrong in ["", "3", "3:", ":17", "-1:3", "1:-3", "a:b", "1:2:3"] {
            assert!(letter_place(wrong).unwrap_err().to_string().contains("`0:17`"), "{wrong}");
        }
    }

    /// S88: a query and a body mean the same.
    #[test]
    fn queries_and_bodies() {
        let query = "group=g&command=pay&key=a%20b&from-offset=3&partition=0&from=2h&limit=5";
        let (of_query, rest) = Selection::of_query(query, &["group", "limit"]).unwrap();
        let body = r#"{"command":"pay","key":"a b","from-offset":3,"partition":"0","from":"2h"}"#;
        let of_body: Selection = serde_json::from_str(body).unwrap();
        assert_eq!(of_query, of_body);
        assert_eq!(rest, [("group", "g".to_owned()), ("limit", "5".to_owned())]);
        let filter = of_query.filter(7_200_001).unwrap();
        assert_eq!((filter.partition, filter.from_offset, filter.from_ms), (Some(0), Some(3), Some(1)));
        assert_eq!(filter.key.as_deref(), Some(&b"a b"[..]));
    }

    #[test]
    fn one_letter_is_a_filter_too() {
        let of = |text: &str| serde_json::from_str::<Selection>(text).unwrap().filter(0);
        let one = of(r#"{"letter":"2:5"}"#).unwrap();
        assert_eq!((one.partition, one.from_offset, one.to_offset), (Some(2), Some(5), Some(5)));
        assert!(of(r#"{"letter":"2:5","partition":2}"#).unwrap_err().to_string().contains("`letter`"));
        assert!(of(r#"{"from":"soon"}"#).unwrap_err().to_string().contains("`from`"));
    }

    #[test]
    fn what_is_misspelt_is_named() {
        let of = |query: &str| Selection::of_query(query, &[]).unwrap_err().to_string();
        assert!(of("comand=pay").contains("comand"));
        assert!(of("partition=x").contains("\"x\""));
        assert!(of("code=a&code=b").contains("twice"));
    }
}
