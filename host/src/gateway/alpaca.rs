//! `/sendmsg`, as alpaca-mq's clients call it (S28, S33, S34): a form or a query in, status 200 and an errno
//! out. The record is one that alpaca-mq's own consumers read.

use std::collections::BTreeMap;
use std::num::IntErrorKind;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;

use super::access::Bucket;
use super::produce::Ready;
use super::rest::new_log_id;
use super::{Alpaca, Config, Gateway, Shared, Whole};
use crate::metrics::Door as Form;
use crate::web::answer::{self, Refusal, media_type};
use crate::wire::{Envelope, alpaca};

pub struct Door {
    topic: String,
    rate: Option<Bucket>,
    commands: BTreeMap<String, bool>,
    open: bool,
}

impl Door {
    pub fn new(config: &Alpaca, door: &Config) -> Self {
        Self {
            topic: config.topic.clone(),
            rate: config.rate.or(door.rate).map(Bucket::new),
            commands: config.commands.clone(),
            open: config.open,
        }
    }

    fn takes(&self, command: &str) -> Option<bool> {
        if self.commands.is_empty() { None } else { Some(self.commands.get(command) == Some(&true)) }
    }
}

/// Its keys in this order.
#[derive(Serialize)]
struct Answer<'a> {
    errno: i32,
    errmsg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_id: Option<&'a str>,
}

/// What the form says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sent {
    command: String,
    data: String,
    log_id: String,
    hash_key: String,
    /// In s; 0 and less is none.
    delay_s: i64,
}

/// errmsg, and the log id where it is known.
struct Refused {
    text: String,
    log_id: Option<Box<str>>,
}

pub async fn sendmsg(State(gateway): Shared, request: Request) -> Response {
    let Some(door) = &gateway.alpaca else {
        return answer::error(StatusCode::NOT_FOUND, "this door is closed");
    };
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return answer::wrong_method("GET, POST");
    }
    gateway.counters.gateway.received();
    let (result, response) = match read(&gateway, door, request).await {
        Err(refusal) => ("refused", refused(&refusal)),
        Ok(whole) => match carry_out(&gateway, door, &whole).await {
            Ok(log_id) => ("ok", answered(0, "success", Some(&log_id))),
            Err(it) => ("refused", answered(-1, &it.text, it.log_id.as_deref())),
        },
    };
    gateway.counters.gateway.answered(Form::Alpaca, result);
    response
}

/// What alpaca-mq has no words for keeps its status: no credentials, a body over the limit.
fn refused(refusal: &Refusal) -> Response {
    let (head, _) = refusal.response().into_parts();
    Response::from_parts(head, answered(-1, &refusal.text, None).into_body())
}

fn answered(errno: i32, errmsg: &str, log_id: Option<&str>) -> Response {
    answer::json(StatusCode::OK, &Answer { errno, errmsg, log_id })
}

async fn read(gateway: &Arc<Gateway>, door: &Door, request: Request) -> Result<Whole, Refusal> {
    gateway.refuse_pages(&request)?;
    if !door.open {
        gateway.access.of(request.headers())?;
    }
    gateway.whole(request).await
}

async fn carry_out(gateway: &Arc<Gateway>, door: &Door, whole: &Whole) -> Result<Box<str>, Refused> {
    let form =
        matches!(media_type(&whole.headers).as_deref(), None | Some("application/x-www-form-urlencoded"));
    let body: &[u8] = if form && whole.method == Method::POST { &whole.body } else { b"" };
    let sent = parse(body, &whole.query);
    if sent.command.is_empty() {
        return Err(Refused { text: "Command cannot be empty".to_owned(), log_id: None });
    }
    let log_id = if sent.log_id.is_empty() { new_log_id() } else { sent.log_id.as_str().into() };
    let no = |text: &str| Refused { text: text.to_owned(), log_id: Some(log_id.clone()) };
    // Unknown commands use up the rate as well.
    if door.rate.as_ref().is_some_and(|it| !it.take()) {
        return Err(no("Request rate is too fast"));
    }
    let rights = if door.open {
        gateway.access.rights()
    } else {
        gateway.access.of(&whole.headers).map_err(|it| no(&it.text))?
    };
    if !door.takes(&sent.command).unwrap_or_else(|| rights.takes(&sent.command)) {
        return Err(no("Unidentified Cmd"));
    }
    if !door.open {
        rights.topic(Some(&door.topic)).map_err(|it| no(&it.text))?;
    }
    let envelope = Envelope {
        log_id: Some(log_id.clone()),
        hash_key: Some(sent.hash_key.as_str().into()),
        delay_ms: u64::try_from(sent.delay_s).unwrap_or(0).saturating_mul(1_000),
        ..Envelope::new(sent.command.as_str(), Some(Bytes::from(sent.data)))
    };
    let record = alpaca::encode(&envelope).map_err(|it| no(&it))?;
    let Some(_place) = gateway.producer.place(1) else {
        return Err(no("Too many messages wait for Kafka: try again"));
    };
    let partition = gateway.producer.partition(&door.topic, record.key.as_deref(), whole.end).await;
    let partition = partition.map_err(|it| no(&it.to_string()))?;
    let ready = Ready { topic: door.topic.clone(), record, partition };
    match gateway.producer.write(&[ready], whole.end).await.pop() {
        Some(Err(failure)) => Err(no(&failure.to_string())),
        Some(Ok(_)) | None => Ok(log_id),
    }
}

/// Fields of the body win over the query; of a name that comes twice the first counts.
fn parse(body: &[u8], query: &str) -> Sent {
    let all: Vec<_> = form_urlencoded::parse(body).chain(form_urlencoded::parse(query.as_bytes())).collect();
    let first =
        |name: &str| all.iter().find(|it| it.0 == name).map(|it| it.1.to_string()).unwrap_or_default();
    Sent {
        command: first("cmd"),
        data: first("data"),
        log_id: first("logid"),
        hash_key: first("hash_key"),
        delay_s: delay_of(&first("delay")),
    }
}

/// What is no number is none; a number that is too large is still a delay.
fn delay_of(text: &str) -> i64 {
    match text.parse::<i64>() {
        Ok(delay_s) => delay_s,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => i64::MAX,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S28.
    #[test]
    fn forms() {
        let sent = |command: &str, data: &str, delay_s| Sent {
            command: command.to_owned(),
            data: data.to_owned(),
            delay_s,
            ..Sent::default()
        };
        let cases = [
            ("", "cmd=pay&data=a%2Bb+c", sent("pay", "a+b c", 0)),
            ("cmd=body&data=1", "cmd=query&data=2&delay=7", sent("body", "1", 7)),
            ("cmd=&data=1", "cmd=query", sent("", "1", 0)),
            ("data=1&data=2&cmd=c", "", sent("c", "1", 0)),
            ("cmd=c&delay=1.5", "", sent("c", "", 0)),
            ("cmd=c&delay=-3", "", sent("c", "", -3)),
            ("cmd=c&delay=99999999999999999999", "", sent("c", "", i64::MAX)),
            ("cmd=c&CMD=d&x=y", "", sent("c", "", 0)),
        ];
        for (body, query, expected) in cases {
            assert_eq!(parse(body.as_bytes(), query), expected, "{body} {query}");
        }
    }

    /// Byte by byte.
    #[test]
    fn answers() {
        let text = |errno, errmsg, log_id| serde_json::to_string(&Answer { errno, errmsg, log_id }).unwrap();
        assert_eq!(text(0, "success", Some("l-1")), r#"{"errno":0,"errmsg":"success","log_id":"l-1"}"#);
        assert_eq!(
            text(-1, "Command cannot be empty", None),
            r#"{"errno":-1,"errmsg":"Command cannot be empty"}"#
        );
    }
}
