//! An event's attributes: from the message's `ce_` headers where present, else made from the message.

use std::borrow::Cow;

use drover_guest::Message;

use crate::Settings;

/// One attribute, as text.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute<'a> {
    /// In lower case.
    pub name: Cow<'a, str>,
    /// As it is, not encoded.
    pub value: Cow<'a, str>,
}

/// All attributes but `datacontenttype`, which is the message's content type. The needed ones come first.
pub fn attributes_of<'a>(message: &'a Message, settings: &'a Settings) -> Vec<Attribute<'a>> {
    let mut attributes = vec![
        attribute("specversion", "1.0"),
        attribute("id", message.coordinates()),
        attribute("source", settings.source.clone().unwrap_or_else(|| format!("/topics/{}", message.topic))),
        attribute("type", format!("{}{}", settings.type_prefix, message.command)),
    ];
    if let Some(timestamp_ms) = message.timestamp_ms {
        attributes.push(attribute("time", rfc3339(timestamp_ms)));
    }
    for (name, value) in message.headers().filter(|(name, _)| is_attribute(name)) {
        let text = |bytes: &'a [u8]| String::from_utf8_lossy(bytes);
        let (Some(value), name) = (value.map(text), text(&name[3..]).to_ascii_lowercase()) else { continue };
        match attributes.iter_mut().find(|known| known.name == name) {
            Some(known) => known.value = value,
            None => attributes.push(Attribute { name: name.into(), value }),
        }
    }
    attributes
}

fn attribute<'a>(name: &'static str, value: impl Into<Cow<'a, str>>) -> Attribute<'a> {
    Attribute { name: name.into(), value: value.into() }
}

/// Whether a header is an attribute: `ce_` as in Kafka, `ce-` as in HTTP, and then letters and digits.
pub fn is_attribute(name: &[u8]) -> bool {
    let Some((prefix, rest)) = name.split_at_checked(3) else { return false };
    let is_prefix = prefix.eq_ignore_ascii_case(b"ce_") || prefix.eq_ignore_ascii_case(b"ce-");
    is_prefix && !rest.is_empty() && rest.iter().all(u8::is_ascii_alphanumeric)
}

/// As the HTTP binding has a header's value: what is not printable ASCII, the space, `"` and `%` are encoded.
pub fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => encoded.push_str(&format!("%{byte:02X}")),
            b'!'..=b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A time in ms since 1970 as `2026-11-21T09:34:39.123Z`.
pub fn rfc3339(timestamp_ms: u64) -> String {
    let (days, ms) = (timestamp_ms / 86_400_000, timestamp_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

/// Days since 1970 as year, month, day. Years begin in March, so that the leap day is the last; they repeat
/// every 400 years, which are 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
