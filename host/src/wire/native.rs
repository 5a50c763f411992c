//! The native form: the envelope lies in Kafka headers, the value is the data (S20).

use bytes::Bytes;

use super::unreadable;
use crate::domain::headers;
use crate::domain::message::Message;
use crate::domain::outcome::Failure;
use crate::domain::record::Record;

/// What the message is routed by. A record that has it is of the native form.
pub const COMMAND: &str = "drover-command";
pub const LOG_ID: &str = "drover-log-id";
pub const HASH_KEY: &str = "drover-hash-key";
/// In ms, from the time of production.
pub const DELAY_MS: &str = "drover-delay-ms";
/// In ms since 1970; stands over the delay.
pub const DUE_MS: &str = "drover-due-ms";
/// In ms since 1970.
pub const EXPIRES_MS: &str = "drover-expires-ms";

pub fn is(record: &Record) -> bool {
    headers::find(record.headers(), COMMAND).is_some()
}

pub fn decode(record: Record) -> Result<Message, (Record, Failure)> {
    let text = |name: &str| headers::find_str(record.headers(), name);
    let Some(command) = text(COMMAND).filter(|it| !it.is_empty()) else {
        return Err(unreadable(record, format!("the header {COMMAND} is missing, empty or no UTF-8")));
    };
    let command: Box<str> = command.into();
    let number =
        |name: &str| match text(name) {
            None => Ok(None),
            Some(it) => it.trim().parse::<u64>().map(Some).map_err(|_| {
                format!("the header {name} is {it:?}, it has to be a whole number of milliseconds")
            }),
        };
    let numbers = number(DELAY_MS).and_then(|a| Ok((a, number(DUE_MS)?, number(EXPIRES_MS)?)));
    let (delay_ms, due_ms, expires_ms) = match numbers {
        Ok(it) => it,
        Err(detail) => return Err(unreadable(record, detail)),
    };
    let log_id = text(LOG_ID).map(Box::from);
    let hash_key = text(HASH_KEY).filter(|it| !it.is_empty()).map(Box::from);
    let mut message = bare(record, command);
    message.delay_ms = delay_ms.unwrap_or(0);
    message.due_ms = due_ms.or_else(|| due_after(&message.record, message.delay_ms));
    message.expires_ms = expires_ms;
    message.hash_key = hash_key;
    if let Some(log_id) = log_id {
        message.log_id = log_id;
    }
    Ok(message)
}

/// The topic's name is the command.
pub fn raw(record: Record) -> Message {
    let command = Box::from(&*record.topic);
    bare(record, command)
}

/// S54: a delay counts from the time of production.
pub fn due_after(record: &Record, delay_ms: u64) -> Option<u64> {
    let produced = record.timestamp_ms.and_then(|it| u64::try_from(it).ok());
    (delay_ms > 0).then(|| produced.unwrap_or(0).saturating_add(delay_ms))
}

/// A message whose data is the record's value and whose log id is its coordinates.
pub fn bare(record: Record, command: Box<str>) -> Message {
    Message {
        command,
        log_id: record.coordinates().into(),
        hash_key: None,
        delay_ms: 0,
        due_ms: None,
        expires_ms: None,
        url: None,
        value: record.value_shared(),
        headers: Bytes::copy_from_slice(record.headers()),
        attempt: 1,
        record,
    }
}
