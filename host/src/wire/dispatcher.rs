//! dispatcher's form (S19): a task as JSON, its payload in base64; and the old forms before it.
//!
//! It has no command: that is the topic's name. What a task asks for and what an answer has to repeat is
//! kept in headers, so that it lasts through retries; see [`Task::of`] and `receipts`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::envelope::{Encoded, Envelope, with_headers};
use super::json::{Fields, Reader};
use super::time;
use crate::domain::headers;
use crate::domain::message::Message;
use crate::domain::record::Record;

const FORM: &str = "dispatcher's form";

/// The sender's number for its task.
pub const TASK_ID: &str = "drover-task-id";
/// `true`: the sender wants a receipt.
pub const REPLY: &str = "drover-reply";
/// `true`: the sender wants to hear if the work failed for good; `old`: it does, in the old form.
pub const SEND_ERROR: &str = "drover-send-error";
/// When the sender sent it, as it wrote that.
pub const SENT_TIME: &str = "drover-sent-time";
/// Of a record that is itself an error: what failed.
pub const ERROR: &str = "drover-task-error";

/// Go's zero time.
pub const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Whether an object is of this form, broken or not: a task's telling names, or an error of the old form.
pub(super) fn is(fields: &Fields<'_>) -> bool {
    fields.have(&["TaskID", "Topic", "Value"]) || is_old_error(fields)
}

fn is_old_error(fields: &Fields<'_>) -> bool {
    let inner = || fields.value("Message").map(|it| Bytes::copy_from_slice(it.get().as_bytes()));
    fields.have(&["Message", "ErrStr"])
        && inner().is_some_and(|it| Fields::scan(&it).is_some_and(|it| it.have(&["Value"])))
}

/// `fields`: of the value, where that is an object. Whatever is no task is payload, as it was before tasks.
pub(super) fn read(record: &Record, fields: Option<&Fields<'_>>) -> Result<Envelope, String> {
    let Some(fields) = fields else { return Ok(old_payload(record)) };
    if is_old_error(fields) {
        return old_error(record, fields);
    }
    if !fields.have(&["TaskID"]) {
        return Ok(old_payload(record));
    }
    let task = task(fields)?;
    if task.id.is_empty() {
        return Ok(old_payload(record));
    }
    let mut said = vec![(TASK_ID, &*task.id), (SENT_TIME, &*task.sent_time)];
    // S133: nothing may answer an answer, whatever it says.
    let asks = !task.is_answer() && !is_answers(&record.topic);
    if asks && task.wants_reply {
        said.push((REPLY, "true"));
    }
    if asks && task.wants_error {
        said.push((SEND_ERROR, "true"));
    }
    if !task.error.is_empty() {
        said.push((ERROR, &task.error));
    }
    Ok(Envelope {
        hash_key: (!task.key.is_empty()).then(|| task.key.as_str().into()),
        headers: with_headers(record, &said),
        ..Envelope::new(&*record.topic, task.value.clone())
    })
}

/// The whole value; its error always goes back, in the old form.
fn old_payload(record: &Record) -> Envelope {
    let said = [(SEND_ERROR, "old")];
    let said = if is_answers(&record.topic) { &[][..] } else { &said };
    Envelope { headers: with_headers(record, said), ..Envelope::new(&*record.topic, record.value_shared()) }
}

fn old_error(record: &Record, fields: &Fields<'_>) -> Result<Envelope, String> {
    let outer = Reader { form: FORM, fields, any_case: false };
    outer.whole()?;
    let inner = fields.value("Message").map_or("", |it| it.get());
    let inner = Bytes::copy_from_slice(inner.as_bytes());
    let value = match Fields::scan(&inner) {
        Some(fields) => value_of(&Reader { form: FORM, fields: &fields, any_case: false })?,
        None => None,
    };
    let error = outer.text("ErrStr")?.unwrap_or_default();
    Ok(Envelope { headers: with_headers(record, &[(ERROR, &error)]), ..Envelope::new(&*record.topic, value) })
}

/// Topics of answers.
fn is_answers(topic: &str) -> bool {
    topic.ends_with("_Reply") || topic.ends_with("_ERR")
}

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
        task(&fields)
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

fn task(fields: &Fields<'_>) -> Result<Task, String> {
    let it = Reader { form: FORM, fields, any_case: false };
    it.whole()?;
    let text = |name| it.text(name).map(|it| it.unwrap_or_default().into_owned());
    let whole = |name| it.integer(name, "a whole number").map(Option::unwrap_or_default);
    let time = |name| {
        let Some(text) = it.text(name)? else { return Ok(NO_TIME.to_owned()) };
        match time::parse(&text) {
            Some(_) => Ok(text.into_owned()),
            None => {
                Err(format!("{FORM}: {name} has to be a time like 2018-04-05T17:31:00.123Z, it is {text:?}"))
            }
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

fn value_of(it: &Reader<'_, '_>) -> Result<Option<Bytes>, String> {
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
    use crate::wire::samples::{record, shown, value};
    use crate::wire::{Format, decode, native};

    const GOLDEN: &str = concat!(
        r#"{"TaskID":"i","Topic":"orders","Key":"k","Value":"AP97","Partition":0,"Offset":0,"#,
        r#""ConsumerGroupID":"","ConsumerErrorStr":"","#,
        r#""ProducerSentTime":"2023-11-15T06:13:20.123456789+08:00","#,
        r#""ConsumerReceivedTime":"0001-01-01T00:00:00Z","ConsumerFinishTime":"0001-01-01T00:00:00Z","#,
        r#""ProducerReceivedTime":"0001-01-01T00:00:00Z","IsReplyMessage":true,"IsSendError":true}"#
    );
    const SENT: &str = "drover-sent-time: 2023-11-15T06:13:20.123456789+08:00";

    #[test]
    fn golden() {
        for format in [Format::Auto, Format::Dispatcher] {
            let it = decode(format, record(Some(b"k"), Some(GOLDEN.as_bytes()), &[("h", "v")])).unwrap();
            assert_eq!((&*it.command, &*it.log_id, it.hash_key.as_deref()), ("orders", "orders[3]@42", None));
            assert_eq!(it.value.as_deref(), Some(&b"\x00\xff{"[..]));
            let headers =
                ["drover-task-id: i", SENT, "drover-reply: true", "drover-send-error: true", "h: v"];
            assert_eq!(shown(&it.headers), headers);
        }
        let task = Task::parse(&Bytes::from_static(GOLDEN.as_bytes())).unwrap();
        let Encoded { key, value, headers } = task.encode().unwrap();
        assert_eq!((key.unwrap(), value.unwrap(), headers), ("k".into(), GOLDEN.into(), vec![]));
    }

    /// What Go's reader takes: missing and null fields are zero, others are passed over.
    #[test]
    fn zero_values() {
        let text = r#"{"TaskID":"i","Topic":"t","Value":null,"Key":null,"ProducerSentTime":null,"More":{}}"#;
        let it = decode(Format::Auto, value(text)).unwrap();
        assert_eq!((it.value.as_deref(), it.hash_key.as_deref()), (None, None));
        assert_eq!(shown(&it.headers), ["drover-task-id: i", "drover-sent-time: 0001-01-01T00:00:00Z"]);
        let empty = decode(Format::Auto, value(r#"{"TaskID":"i","Topic":"t","Value":""}"#)).unwrap();
        assert_eq!(empty.value.as_deref(), Some(&b""[..]));
        let doubled =
            decode(Format::Auto, value(r#"{"TaskID":"i","Topic":"t","Value":"AA==","Value":"AQ=="}"#));
        assert_eq!(doubled.unwrap().value.as_deref(), Some(&b"\x01"[..]));
    }

    /// S19: bytes, and objects that are no task, are payload; their errors go back.
    #[test]
    fn old_payload() {
        let payloads: [&[u8]; 6] = [b"plain", b"", b"\xff\x00", b"{\"a\":1}", b"[1]", b"{"];
        for payload in payloads {
            let it = decode(Format::Dispatcher, record(None, Some(payload), &[])).unwrap();
            assert_eq!((&*it.command, it.value.as_deref()), ("orders", Some(payload)));
            assert_eq!(shown(&it.headers), ["drover-send-error: old"]);
            let task = Task::of(&it).unwrap();
            assert!(task.old && task.wants_error && !task.wants_reply);
        }
        // An empty TaskID is none.
        let text = r#"{"TaskID":"","Topic":"t","Value":"AA=="}"#;
        assert_eq!(decode(Format::Auto, value(text)).unwrap().value.as_deref(), Some(text.as_bytes()));
    }

    /// S19, S133.
    #[test]
    fn old_errors_ask_for_nothing() {
        let text = r#"{"Message":{"Topic":"orders","Value":"AP8=","Key":null},"ErrStr":"it broke"}"#;
        for format in [Format::Auto, Format::Dispatcher] {
            let it = decode(format, value(text)).unwrap();
            assert_eq!(it.value.as_deref(), Some(&b"\x00\xff"[..]));
            assert_eq!(shown(&it.headers), ["drover-task-error: it broke"]);
            assert_eq!(Task::of(&it), None);
        }
        for topic in ["orders_ERR", "orders_Reply"] {
            let record = Record::new((topic.into(), 0, 0), None, None, Some(b"plain"), b"");
            assert_eq!(Task::of(&decode(Format::Dispatcher, record).unwrap()), None);
        }
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

    /// S24.
    #[test]
    fn broken_ones_say_what_is_wrong() {
        let cases = [
            (r#""AP97""#, r#""AP9""#, "Value has to be base64 or null: Invalid padding"),
            (r#""AP97""#, r#"{"a":1}"#, r#"Value has to be a string, it is {"a":1}"#),
            (r#":"i""#, ":5", "TaskID has to be a string, it is 5"),
            (r#""IsSendError":true"#, r#""IsSendError":1"#, "IsSendError has to be true or false, it is 1"),
            (r#""Offset":0"#, r#""Offset":"0""#, r#"Offset has to be a whole number, it is "0""#),
            (
                "2023-11-15T06:13:20.123456789+08:00",
                "yesterday",
                r#"ProducerSentTime has to be a time like 2018-04-05T17:31:00.123Z, it is "yesterday""#,
            ),
        ];
        for (good, bad, detail) in cases {
            let text = GOLDEN.replace(good, bad);
            for format in [Format::Auto, Format::Dispatcher] {
                let (record, failure) = decode(format, value(&text)).unwrap_err();
                assert_eq!(failure.detail, format!("dispatcher's form: {detail}"));
                assert_eq!(record.value(), Some(text.as_bytes()));
            }
        }
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
