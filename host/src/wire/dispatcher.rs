//! dispatcher's form (S19): a task as JSON, its payload in base64; and the old forms before it.
//!
//! It has no command: that is the topic's name. What a task asks for and what an answer has to repeat is
//! kept in headers, so that it lasts through retries; see [`Task::of`] and `receipts`.

use bytes::Bytes;

use super::envelope::{Envelope, with_headers};
use super::json::{Fields, Reader};
use super::task::{Task, value_of};
use crate::domain::record::Record;

pub(super) const FORM: &str = "dispatcher's form";

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
    let task = Task::read(fields)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{record, shown, value};
    use crate::wire::{Format, decode};

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
}
