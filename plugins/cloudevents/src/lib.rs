//! `cloudevents`: sends each message as a CloudEvents 1.0 request, in binary or structured mode.

mod attributes;
mod structured;

pub use attributes::{Attribute, attributes_of, rfc3339};

use drover_guest::forward::ForwardHeaders;
use drover_guest::prelude::*;

/// The content type of a whole event as JSON.
const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";

/// How the attributes travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Attributes are headers, the value is the body as it came.
    #[default]
    Binary,
    /// One JSON object holds attributes and data.
    Structured,
}

/// What the operator sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// How the attributes travel.
    pub mode: Mode,
    /// The request's path; none is the app's.
    pub path: Option<String>,
    /// The attribute `source` where the message has none; none makes it from the topic.
    pub source: Option<String>,
    /// What stands before the command in `type`, where the message has none: `com.example.`
    pub type_prefix: String,
    /// What the data is where the message does not say; none says nothing.
    pub data_content_type: Option<String>,
    /// Which of the message's other headers the service gets.
    pub forward_headers: ForwardHeaders,
}

impl Settings {
    /// From the plugin's configuration.
    ///
    /// Errors: an unknown key or mode.
    pub fn read() -> Result<Self> {
        refuse_unknown(&["mode", "path", "source", "type-prefix", "data-content-type", "forward-headers"])?;
        let mode = match config_get("mode").as_deref() {
            None | Some("binary") => Mode::Binary,
            Some("structured") => Mode::Structured,
            Some(other) => {
                return Err(Error::retry(format!("`mode` is binary or structured, not `{other}`")));
            }
        };
        let forward_headers = match config_get("forward-headers") {
            // An event is complete without: off unless asked for.
            None => ForwardHeaders::None,
            Some(_) => ForwardHeaders::from_config("forward-headers"),
        };
        Ok(Self {
            mode,
            path: config_get("path"),
            source: config_get("source").filter(|source| !source.is_empty()),
            type_prefix: config_get("type-prefix").unwrap_or_default(),
            data_content_type: config_get("data-content-type"),
            forward_headers,
        })
    }

    /// The request for a message.
    ///
    /// Errors: in structured mode, data that says it is JSON and is not: a rejection with the code `bad-json`.
    pub fn request(&self, message: &Message) -> Result<Request> {
        let mut request = Request { path: self.path.clone(), ..Request::new(Method::Post) };
        let content_type = message.header("content-type").or(self.data_content_type.as_deref());
        if let Some(whole) =
            content_type.filter(|is| is.to_ascii_lowercase().starts_with("application/cloudevents"))
        {
            // It is a whole event already.
            request = request.header("content-type", whole);
        } else {
            let attributes = attributes_of(message, self);
            request = match self.mode {
                Mode::Binary => binary(request, &attributes, content_type),
                Mode::Structured => {
                    let event = structured::event(&attributes, content_type, message.value())?;
                    request.header("content-type", STRUCTURED).bytes(event)
                }
            };
        }
        let mut others = HeaderBlock::new();
        for (name, value) in message.headers() {
            if !attributes::is_attribute(name) {
                others.push(name, value);
            }
        }
        self.forward_headers.copy(&others.into_bytes(), &mut request.headers);
        Ok(request)
    }
}

fn binary(mut request: Request, attributes: &[Attribute<'_>], content_type: Option<&str>) -> Request {
    for attribute in attributes {
        request =
            request.header(&format!("ce-{}", attribute.name), attributes::percent_encoded(&attribute.value));
    }
    match content_type {
        Some(content_type) => request.header("content-type", content_type),
        None => request,
    }
}

thread_local! {
    static SETTINGS: PerInstance<Settings> = const { PerInstance::new() };
}

#[init]
fn start() -> Result<()> {
    SETTINGS.with(|slot| slot.get(Settings::read, |_| Ok(())))
}

#[handler]
fn send(message: Message) -> Result<Action> {
    SETTINGS.with(|slot| slot.get(Settings::read, |settings| deliver(settings.request(&message)?)))
}

#[judge]
fn answered(_message: &Judged, response: &Response) -> Verdict {
    by_status(response)
}

#[cfg(test)]
mod tests;
