//! A whole event as one JSON object (CloudEvents JSON format 1.0).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drover_guest::{Error, Result};
use serde::de::IgnoredAny;

use crate::Attribute;

/// The event's bytes. JSON data is put in as it is, text as a string, all else as base64.
///
/// Errors: data that says it is JSON and is not.
pub fn event(
    attributes: &[Attribute<'_>],
    content_type: Option<&str>,
    value: Option<&[u8]>,
) -> Result<Vec<u8>> {
    let mut event = Vec::with_capacity(256 + value.map_or(0, <[u8]>::len) * 4 / 3);
    for attribute in attributes {
        member(&mut event, &attribute.name, &attribute.value)?;
    }
    if let Some(content_type) = content_type {
        member(&mut event, "datacontenttype", content_type)?;
    }
    match (value, content_type) {
        (None, _) => {}
        // Without a content type data is JSON if it can be.
        (Some(value), None) => match json_of(value) {
            Ok(json) => raw(&mut event, "data", json),
            Err(_) => member(&mut event, "data_base64", &STANDARD.encode(value))?,
        },
        (Some(value), Some(content_type)) if is_json(content_type) => {
            let json =
                json_of(value).map_err(|why| Error::reject("bad-json", format!("{content_type}: {why}")))?;
            raw(&mut event, "data", json);
        }
        (Some(value), Some(content_type)) => match std::str::from_utf8(value) {
            Ok(text) if is_text(content_type) => member(&mut event, "data", text)?,
            _ => member(&mut event, "data_base64", &STANDARD.encode(value))?,
        },
    }
    event.push(b'}');
    Ok(event)
}

/// Adds a member whose value is a string.
fn member(event: &mut Vec<u8>, name: &str, text: &str) -> Result<()> {
    let text = serde_json::to_string(text)?;
    raw(event, name, &text);
    Ok(())
}

/// Adds a member whose value is JSON. Names need no escapes: letters, digits, `_`.
fn raw(event: &mut Vec<u8>, name: &str, json: &str) {
    event.push(if event.is_empty() { b'{' } else { b',' });
    event.extend_from_slice(format!("\"{name}\":").as_bytes());
    event.extend_from_slice(json.as_bytes());
}

/// The value, if it is JSON.
fn json_of(value: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(value).map_err(|error| error.to_string())?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    Ok(text.trim())
}

/// `application/json`, `text/json`, or any type with `+json`.
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

fn is_text(content_type: &str) -> bool {
    content_type.trim_start().to_ascii_lowercase().starts_with("text/")
}
