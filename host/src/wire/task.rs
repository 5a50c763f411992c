//! dispatcher's task: what its programs put into a record, and what drover sends back in the same shape.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::dispatcher::{FORM, REPLY, SEND_ERROR, SENT_TIME, TASK_ID};
use super::envelope::Encoded;
use super::json::{Fields, Reader};
use super::time;
use crate::domain::headers;
use crate::domain::message::Message;

/// Go's zero time.
pub const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// A task, a receipt or an error: they look alike, and tell by their times which they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    #[serde(rename = "TaskID")]
    pub id: String,
    /// The topic that it is written to.
    #[serde(rename = "Topic")]
    pub topic: String,
    #[serde(rename = "Key")]
    pub key: String,
    #[serde(rename = "Value", serialize_with = "base64_or_null")]
    pub value: Option<Bytes>,
    /// Of an answer: where the task lies.
    #[serde(rename = "Partition")]
    pub partition: i64,
    #[serde(rename = "Offset")]
    pub offset: i64,
    /// Of an answer: `<group>:<topic>`.
    #[serde(rename = "ConsumerGroupID")]
    pub group: String,
    #[serde(rename = "ConsumerErrorStr")]
    pub error: String,
    /// Times are RFC 3339, as they were written: an answer repeats them to the letter.
    #[serde(rename = "ProducerSentTime")]
    pub sent_time: String,
    #[serde(rename = "ConsumerReceivedTime")]
    pub received_time: String,
    #[serde(rename = "ConsumerFinishTime")]
    pub finished_time: String,
    #[serde(rename = "ProducerReceivedTime")]
    pub answered_time: String,
    #[serde(rename = "IsReplyMessage")]
    pub wants_reply: bool,
    #[serde(rename = "IsSendError")]
    pub wants_error: bool,
    /// It came as bare payload: its error goes back in the old form.
    #[serde(skip)]
    pub old: bool,
}

impl Task {
    /// Reads a task or an answer, for those who wait for answers.
    ///
    /// # Errors
    /// What is wrong with it, in words for its writer.
    pub fn parse(value: &Bytes) -> Result<Self, String> {
        let fields = super::fields(FORM, Some(value))?;
        Self::read(&fields)
    }

    /// The task that a message came as; none where it was none.
    pub fn of(message: &Message) -> Option<Self> {
        let said = |name| headers::find_str(&message.headers, name);
        let wants_error = said(SEND_ERROR);
        let old = wants_error == Some("old");
        let id = said(TASK_ID).or(old.then_some(""))?;
        let key = message.hash_key.as_deref().map(Cow::Borrowed);
        let key = key.unwrap_or_else(|| String::from_utf8_lossy(message.record.key().unwrap_or_default()));
        Some(Self {
            id: id.to_owned(),
            // Not the record's: it may have come by a rung.
            topic: message.command.to_string(),
            key: key.into_owned(),
            value: message.value.clone(),
            sent_time: said(SENT_TIME).unwrap_or(NO_TIME).to_owned(),
            wants_reply: said(REPLY) == Some("true"),
            wants_error: wants_error.is_some(),
            old,
            ..Self::none()
        })
    }

    /// Whether it is a receipt or an error: a consumer had it, and its producer has not got it back.
    pub fn is_answer(&self) -> bool {
        let is_set = |text: &str| time::parse(text) != time::parse(NO_TIME);
        is_set(&self.received_time) && !is_set(&self.answered_time)
    }

    pub(super) fn none() -> Self {
        let no_time = || NO_TIME.to_owned();
        Self {
            id: String::new(),
            topic: String::new(),
            key: String::new(),
            value: None,
            partition: 0,
            offset: 0,
            group: String::new(),
            error: String::new(),
            sent_time: no_time(),
            received_time: no_time(),
            finished_time: no_time(),
            answered_time: no_time(),
            wants_reply: false,
            wants_error: false,
            old: false,
        }
    }

    /// As a record: under its key, none when empty; without headers, which the library does not read.
    ///
    /// # Errors
    /// None that could be met; they are serde's.
    pub fn encode(&self) -> Result<Encoded, String> {
        let value = serde_json::to_vec(self).map_err(|it| format!("{FORM}: {it}"))?;
        let key = Some(self.key.clone()).filter(|it| !it.is_empty()).map(Bytes::from);
        Ok(Encoded { key, value: Some(value.into()), headers: Vec::new() })
    }
}

impl Task {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, String> {
        let it = Reader { form: FORM, fields, any_case: false };
        it.whole()?;
        let text = |name| it.text(name).map(|it| it.unwrap_or_default().into_owned());
        let whole = |name| it.integer(name, "a whole number").map(Option::unwrap_or_default);
        let time = |name| {
            let Some(text) = it.text(name)? else { return Ok(NO_TIME.to_owned()) };
            match time::parse(&text) {
                Some(_) => Ok(text.into_owned()),
                None => Err(format!(
                    "{FORM}: {name} has to be a time like 2018-04-05T17:31:00.123Z, it is {text:?}"
                )),
            }
        };
        Ok(Task {
            id: text("TaskID")?,
            topic: text("Topic")?,
            key: text("Key")?,
            value: value_of(&it)?,
            partition: whole("Partition")?,
            offset: whole("Offset")?,
            group: text("ConsumerGroupID")?,
            error: text("ConsumerErrorStr")?,
            sent_time: time("ProducerSentTime")?,
            received_time: time("ConsumerReceivedTime")?,
            finished_time: time("ConsumerFinishTime")?,
            answered_time: time("ProducerReceivedTime")?,
            wants_reply: it.flag("IsReplyMessage")?,
            wants_error: it.flag("IsSendError")?,
            old: false,
        })
    }
}

/// The payload: base64, or null for none.
pub(super) fn value_of(it: &Reader<'_, '_>) -> Result<Option<Bytes>, String> {
    let Some(text) = it.text("Value")? else { return Ok(None) };
    let decoded = STANDARD.decode(text.as_bytes());
    decoded
        .map(|it| Some(it.into()))
        .map_err(|fault| format!("{FORM}: Value has to be base64 or null: {fault}"))
}

pub(super) fn base64_or_null<S: Serializer>(value: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        None => serializer.serialize_none(),
        Some(value) => serializer.serialize_str(&STANDARD.encode(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Record;
    use crate::wire::samples::record;
    use crate::wire::{Envelope, Format, decode, native};

    const GOLDEN: &str = concat!(
        r#"{"TaskID":"i","Topic":"orders","Key":"k","Value":"AP97","Partition":0,"Offset":0,"#,
        r#""ConsumerGroupID":"","ConsumerErrorStr":"","#,
        r#""ProducerSentTime":"2023-11-15T06:13:20.123456789+08:00","#,
        r#""ConsumerReceivedTime":"0001-01-01T00:00:00Z","ConsumerFinishTime":"0001-01-01T00:00:00Z","#,
        r#""ProducerReceivedTime":"0001-01-01T00:00:00Z","IsReplyMessage":true,"IsSendError":true}"#
    );
    #[test]
    fn golden() {
        let task = Task::parse(&Bytes::from_static(GOLDEN.as_bytes())).unwrap();
        let Encoded { key, value, headers } = task.encode().unwrap();
        assert_eq!((key.unwrap(), value.unwrap(), headers), ("k".into(), GOLDEN.into(), vec![]));
    }

    /// The library tells by two times which side a record is on.
    #[test]
    fn answers_are_known_by_their_times() {
        let at = |received: &str, answered: &str| {
            let it = Task { received_time: received.into(), answered_time: answered.into(), ..Task::none() };
            it.is_answer()
        };
        let some = "2023-11-14T22:13:20Z";
        assert!(at(some, NO_TIME) && at(some, "0001-01-01T00:00:00+00:00"));
        assert!(!at(NO_TIME, NO_TIME) && !at(some, some) && !at(NO_TIME, some));
    }

    /// S128: what an answer needs lasts through a rung, whose record is another.
    #[test]
    fn a_task_lasts_through_a_rung() {
        let first = decode(Format::Auto, record(Some(b"k"), Some(GOLDEN.as_bytes()), &[])).unwrap();
        let block = native::headers_of(&Envelope::of(&first), first.record.key());
        let rung = ("g.retry.60s".into(), 0, 9);
        let again = Record::new(rung, None, first.record.key(), first.value.as_deref(), &block);
        let again = decode(Format::Auto, again).unwrap();
        assert_eq!(Task::of(&again), Task::of(&first));
        assert_eq!(Task::of(&again).unwrap().topic, "orders");
    }
}
