//! `echo`: posts every field of the message as JSON, so that a test sees what a handler sees (S3).

use drover_guest::prelude::*;
use serde_json::json;

#[handler]
fn echo(message: Message) -> Result<Action> {
    let headers: Vec<_> = message
        .headers()
        .map(|(name, value)| {
            json!([String::from_utf8_lossy(name), value.map(|it| String::from_utf8_lossy(it).into_owned())])
        })
        .collect();
    let body = json!({
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "group": message.group,
        "timestamp_ms": message.timestamp_ms,
        "received_ms": message.received_ms,
        "key": message.key,
        "hash_key": message.hash_key,
        "delay_ms": message.delay_ms,
        "value": message.value(),
        "headers": headers,
        "command": message.command,
        "log_id": message.log_id,
        "url": message.url,
        "attempt": message.attempt,
        "server": context::server(),
        "remaining_ms": context::remaining_ms(),
        "traceparent": context::traceparent(),
    });
    deliver(post("/echo").json(&body)?)
}
