//! `/rpc/call`, as bigpipe's clients call it (S29, S159): JSON in whatever the content type says, status 200
//! and an errno as text out. The record is one that bigpipe's own consumers read.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::produce::Ready;
use super::{Bigpipe, Gateway, Shared, Whole};
use crate::clock;
use crate::domain::{headers, partitioner::Partitioner};
use crate::metrics::Door as Form;
use crate::web::access::Digest;
use crate::web::answer::{self, Refusal};
use crate::wire::{Envelope, bigpipe};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub struct Door {
    acl: Vec<Known>,
}

struct Known {
    name: String,
    secret: Digest,
    topic: String,
}

impl Door {
    pub fn new(config: &Bigpipe) -> Self {
        let known = config.acl.iter().map(|it| Known {
            name: it.name.clone(),
            secret: Digest::of(&it.secret),
            topic: it.topic.clone(),
        });
        Self { acl: known.collect() }
    }

    /// The topic of a caller. Every entry is looked at, so that the time says nothing.
    fn topic(&self, name: &str, secret: &str) -> Option<&str> {
        let is = |it: &Known| it.secret.is(secret) & (it.name == name);
        self.acl.iter().fold(None, |found, it| if is(it) { found.or(Some(&*it.topic)) } else { found })
    }
}

/// Its keys in this order.
#[derive(Serialize)]
struct Answer<'a> {
    data: &'a str,
    errno: i32,
    msg: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
struct Sent {
    url: String,
    data: String,
    partition_key: String,
    name: String,
    secret: String,
}

pub async fn call(State(gateway): Shared, request: Request) -> Response {
    gateway.counters.gateway.received();
    let (result, response) = match read(&gateway, request).await {
        Err(refusal) => {
            let mut response = answered(1, "内部错误");
            *response.status_mut() = refusal.status;
            ("refused", response)
        }
        Ok(whole) => match carry_out(&gateway, &whole).await {
            Ok(()) => ("ok", answered(0, "发送成功")),
            Err((errno, text)) => (if errno < 0 { "refused" } else { "failed" }, answered(errno, text)),
        },
    };
    gateway.counters.gateway.answered(Form::Bigpipe, result);
    response
}

fn answered(errno: i32, msg: &str) -> Response {
    match serde_json::to_vec(&Answer { data: "", errno, msg }) {
        Ok(body) => answer::of(StatusCode::OK, TEXT, body),
        Err(fault) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, &fault.to_string()),
    }
}

async fn read(gateway: &Arc<Gateway>, request: Request) -> Result<Whole, Refusal> {
    gateway.refuse_pages(&request)?;
    gateway.whole(request).await
}

async fn carry_out(gateway: &Arc<Gateway>, whole: &Whole) -> Result<(), (i32, &'static str)> {
    const BUG: (i32, &str) = (1, "内部错误");
    let sent = parse(&whole.body).map_err(|it| (-1, it))?;
    let door = gateway.bigpipe.as_ref().ok_or(BUG)?;
    let topic = door.topic(&sent.name, &sent.secret).ok_or((-1, "权限错误"))?;
    gateway.access.rate().map_err(|_| (-1, "超过负载"))?;
    let _place = gateway.producer.place(1).ok_or((-1, "超过负载"))?;
    let count = gateway.producer.count(topic, whole.end).await.map_err(|failure| {
        tracing::warn!(topic, %failure, "a call could not be written");
        BUG
    })?;
    let partition =
        Partitioner::Bigpipe.partition(Some(sent.partition_key.as_bytes()), count).or_else(|| any_of(count));
    let envelope = Envelope {
        url: Some(sent.url.into()),
        headers: block(&whole.headers).into(),
        ..Envelope::new(topic, Some(Bytes::from(sent.data)))
    };
    let place = bigpipe::Place { topic, partition: partition.unwrap_or(0), created_ms: clock::now_ms() };
    let record = bigpipe::encode(&envelope, place).map_err(|fault| {
        tracing::warn!(fault, "a call that bigpipe's form cannot hold");
        BUG
    })?;
    let ready = Ready { topic: topic.to_owned(), record, partition };
    match gateway.producer.write(&[ready], whole.end).await.pop() {
        Some(Err(failure)) => {
            tracing::warn!(topic, %failure, "a call could not be written");
            Err(BUG)
        }
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Any partition; none where there is none to choose from.
fn any_of(count: i32) -> Option<i32> {
    let random = Uuid::new_v4().as_u128() % u128::try_from(count).ok().filter(|it| *it > 0)?;
    i32::try_from(random).ok()
}

/// The names and their order are the ancestor's.
fn parse(body: &[u8]) -> Result<Sent, &'static str> {
    let text = String::from_utf8_lossy(body);
    let fields = match serde_json::from_str(&text) {
        Ok(Value::Object(fields)) => fields,
        Ok(Value::Null) => serde_json::Map::new(),
        Ok(_) | Err(_) => return Err("JSON无效"),
    };
    let string = |of: &serde_json::Map<String, Value>, name: &str, wrong| match of.get(name) {
        Some(Value::String(it)) => Ok(it.clone()),
        Some(_) | None => Err(wrong),
    };
    let url = string(&fields, "url", "url无效")?;
    let data = string(&fields, "data", "data无效")?;
    let partition_key = string(&fields, "partition_key", "partition_key无效")?;
    let Some(Value::Object(acl)) = fields.get("acl") else { return Err("acl无效") };
    let name = string(acl, "name", "acl.name")?;
    let secret = string(acl, "secret", "acl.secret")?;
    Ok(Sent { url, data, partition_key, name, secret })
}

/// The caller's headers, for the service: as bigpipe spells their names. Of values that are no text, what is.
fn block(map: &HeaderMap) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in map {
        if [HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        headers::push(&mut block, canonical(name.as_str()).as_bytes(), Some(value.as_bytes()));
    }
    block
}

/// `content-type` as `Content-Type`.
fn canonical(name: &str) -> String {
    let part = |it: &str| {
        let (first, rest) = it.split_at(it.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S29: what is checked, in this order.
    #[test]
    fn checks_in_order() {
        let cases = [
            ("", "JSON无效"),
            ("[]", "JSON无效"),
            ("null", "url无效"),
            ("{}", "url无效"),
            (r#"{"url":1,"data":1}"#, "url无效"),
            (r#"{"Url":"","data":1}"#, "url无效"),
            (r#"{"url":"","data":1}"#, "data无效"),
            (r#"{"url":"","data":""}"#, "partition_key无效"),
            (r#"{"url":"","data":"","partition_key":""}"#, "acl无效"),
            (r#"{"url":"","data":"","partition_key":"","acl":"x"}"#, "acl无效"),
            (r#"{"url":"","data":"","partition_key":"","acl":{}}"#, "acl.name"),
            (r#"{"url":"","data":"","partition_key":"","acl":{"name":"","secret":1}}"#, "acl.secret"),
        ];
        for (body, text) in cases {
            assert_eq!(parse(body.as_bytes()), Err(text), "{body}");
        }
        let body = r#"{"url":"u","data":"d","partition_key":"k","acl":{"name":"n","secret":"s"},"more":1}"#;
        let sent = parse(body.as_bytes()).unwrap();
        assert_eq!([&*sent.url, &*sent.data, &*sent.partition_key], ["u", "d", "k"]);
    }

    /// S159: the whole secret of this name.
    #[test]
    fn secrets_are_compared() {
        let acl = |name: &str, secret: &str, topic: &str| crate::gateway::Acl {
            name: name.to_owned(),
            secret: crate::domain::secret::Secret::new(secret),
            topic: topic.to_owned(),
        };
        let door = Door::new(&Bigpipe { acl: vec![acl("a", "1", "ta"), acl("b", "2", "tb")] });
        let cases = [("a", "1", Some("ta")), ("b", "2", Some("tb")), ("a", "2", None), ("", "", None)];
        for (name, secret, topic) in cases {
            assert_eq!(door.topic(name, secret), topic, "{name} {secret}");
        }
    }

    /// Byte by byte.
    #[test]
    fn answers() {
        let text = serde_json::to_string(&Answer { data: "", errno: 0, msg: "发送成功" }).unwrap();
        assert_eq!(text, r#"{"data":"","errno":0,"msg":"发送成功"}"#);
        assert_eq!(canonical("x-request-id"), "X-Request-Id");
    }
}
