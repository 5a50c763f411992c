//! `POST /v1/messages`: one or many, answered with where each of them stands.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use super::parse::{self, Batch, Sent};
use super::produce::{Failure, Ready};
use super::{Gateway, Shared, Whole};
use crate::metrics::Door;
use crate::outbox::{Error, Position};
use crate::web::answer::{self, Refusal, media_type};
use crate::wire::{Encoded, native};

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Written { topic: &'a str, partition: i32, offset: i64, log_id: &'a str },
    Failed { error: String, status: u16, log_id: &'a str },
}

#[derive(Serialize)]
struct Lines<'a> {
    results: Vec<Line<'a>>,
}

pub async fn messages(State(gateway): Shared, request: Request) -> Response {
    gateway.counters.gateway.received();
    let (response, result) = match carry_out(&gateway, request).await {
        Ok(response) => {
            let result = if response.status() == StatusCode::OK { "ok" } else { "failed" };
            (response, result)
        }
        Err(refusal) => (refusal.response(), "refused"),
    };
    gateway.counters.gateway.answered(Door::Messages, result);
    response
}

async fn carry_out(gateway: &Arc<Gateway>, request: Request) -> Result<Response, Refusal> {
    gateway.refuse_pages(&request)?;
    // Who may not publish is not read from either.
    gateway.access.of(request.headers())?;
    gateway.access.rate()?;
    let whole = gateway.whole(request).await?;
    let rights = gateway.access.of(&whole.headers)?;
    let batch = batch(&whole)?;
    let mut all = Vec::with_capacity(batch.messages.len());
    let mut log_ids = Vec::with_capacity(batch.messages.len());
    let is_list = batch.is_list;
    for (index, mut sent) in batch.messages.into_iter().enumerate() {
        let at = |it: Refusal| Refusal {
            text: if is_list { format!("messages[{index}]: {}", it.text) } else { it.text },
            ..it
        };
        let topic = rights.topic(sent.topic.as_deref()).map_err(at)?.to_owned();
        if !rights.takes(&sent.envelope.command) {
            let text = format!("command `{}` is not open to you", sent.envelope.command);
            return Err(at(Refusal::forbidden(text)));
        }
        let log_id = sent.envelope.log_id.take().unwrap_or_else(new_log_id);
        log_ids.push(log_id.clone());
        sent.envelope.log_id = Some(log_id);
        let record = record(sent);
        let partition = gateway.producer.partition(&topic, record.key.as_deref(), whole.end).await;
        let partition = partition.map_err(|it| at(refusal_of(&it)))?;
        all.push(Ready { topic, record, partition });
    }
    let Some(_place) = gateway.producer.place(all.len()) else {
        let text = "too many messages wait for Kafka: try again";
        return Err(Refusal::later(StatusCode::SERVICE_UNAVAILABLE, text, 1));
    };
    let results = gateway.producer.write(&all, whole.end).await;
    answer_of(is_list, &all, &log_ids, results)
}

fn batch(whole: &Whole) -> Result<Batch, Refusal> {
    // The service would not be told of it, and could not read what it gets.
    if let Some(encoding) = whole.headers.get(http::header::CONTENT_ENCODING).filter(|it| *it != "identity") {
        let text = format!(
            "`Content-Encoding: {}` is not undone here: send the body as it is",
            String::from_utf8_lossy(encoding.as_bytes())
        );
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let kind = media_type(&whole.headers);
    let names_command = || form_urlencoded::parse(whole.query.as_bytes()).any(|it| it.0 == "command");
    match kind.as_deref() {
        None | Some("application/json") if !names_command() => {
            if !whole.query.is_empty() {
                let text = "a query beside JSON: write its fields into the message";
                return Err(Refusal::bad(text));
            }
            parse::json(&whole.body).map_err(Refusal::bad)
        }
        Some(kind) if !names_command() => {
            let text = format!(
                "{kind} is taken as the data itself, and then the query names the command: \
                 `/v1/messages?command=…`; for messages as JSON send `Content-Type: application/json`"
            );
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
        _ => {
            let content_type = answer::header(&whole.headers, http::header::CONTENT_TYPE);
            parse::raw(&whole.query, content_type, whole.body.clone()).map_err(Refusal::bad)
        }
    }
}

pub fn new_log_id() -> Box<str> {
    Uuid::new_v4().simple().to_string().into()
}

/// In the native form; a key of its own stands over the hash key, which is a header then.
fn record(sent: Sent) -> Encoded {
    let Sent { key: Some(key), envelope, .. } = sent else { return native::encode(&sent.envelope) };
    let headers = native::headers_of(&envelope, Some(key.as_bytes()));
    Encoded { key: Some(Bytes::from(key)), value: envelope.data, headers }
}

fn answer_of(
    is_list: bool,
    all: &[Ready],
    log_ids: &[Box<str>],
    results: Vec<Result<Position, Failure>>,
) -> Result<Response, Refusal> {
    if let ([Err(failure)], false) = (results.as_slice(), is_list) {
        return Err(refusal_of(failure));
    }
    let failed = results.iter().any(Result::is_err);
    let lines = results.iter().zip(all).zip(log_ids).map(|((result, it), log_id)| match result {
        Ok(Position { partition, offset }) => {
            Line::Written { topic: &it.topic, partition: *partition, offset: *offset, log_id }
        }
        Err(failure) => {
            let refusal = refusal_of(failure);
            Line::Failed { error: refusal.text, status: refusal.status.as_u16(), log_id }
        }
    });
    let status = if failed { StatusCode::MULTI_STATUS } else { StatusCode::OK };
    Ok(answer::json(status, &Lines { results: lines.collect() }))
}

fn refusal_of(failure: &Failure) -> Refusal {
    let text = failure.to_string();
    match failure {
        Failure::Late(_) | Failure::Unplaced(_) => Refusal::later(StatusCode::SERVICE_UNAVAILABLE, text, 1),
        Failure::Kafka(Error::Request { transient: true, .. }) => {
            Refusal::later(StatusCode::SERVICE_UNAVAILABLE, text, 1)
        }
        Failure::Kafka(Error::Request { detail, .. }) if detail.contains("MessageSizeTooLarge") => {
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        Failure::Kafka(_) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text),
    }
}
