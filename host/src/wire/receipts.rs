//! What goes back to a dispatcher's sender: a receipt to `<topic>_Reply`, an error to `<topic>_ERR` (S128,
//! S131). Both are sent after the work, one each; neither asks for an answer (S133).

use bytes::Bytes;
use serde::Serialize;

use super::envelope::Encoded;
use super::task::{Task, base64_or_null};
use super::time;

/// How the work on a task went.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    pub group: &'a str,
    /// Where the task lies: the first record, not its copy on a rung.
    pub partition: i32,
    pub offset: i64,
    /// In ms since 1970.
    pub received_ms: u64,
    pub finished_ms: u64,
}

/// A record for the sender, and the topic that it listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub topic: String,
    pub record: Encoded,
}

/// The receipt; none where the sender asked for none.
///
/// # Errors
/// See [`Task::encode`].
pub fn receipt(task: &Task, work: Work<'_>) -> Option<Result<Answer, String>> {
    let wanted = task.wants_reply && !task.is_answer();
    wanted.then(|| answer(task, work, format!("{}_Reply", task.topic), ""))
}

/// The error of work that failed for good; none where the sender did not ask for it.
///
/// # Errors
/// See [`Task::encode`].
pub fn error(task: &Task, work: Work<'_>, reason: &str) -> Option<Result<Answer, String>> {
    if !task.wants_error || task.is_answer() {
        return None;
    }
    let topic = format!("{}_ERR", task.topic);
    Some(if task.old { old_error(task, topic, reason) } else { answer(task, work, topic, reason) })
}

fn answer(task: &Task, work: Work<'_>, topic: String, error: &str) -> Result<Answer, String> {
    let answer = Task {
        topic: topic.clone(),
        partition: work.partition.into(),
        offset: work.offset,
        group: format!("{}:{}", work.group, task.topic),
        error: error.to_owned(),
        received_time: time::text(work.received_ms),
        finished_time: time::text(work.finished_ms),
        wants_reply: false,
        wants_error: false,
        ..task.clone()
    };
    Ok(Answer { topic, record: answer.encode()? })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OldError<'a> {
    message: OldMessage<'a>,
    err_str: &'a str,
}

#[derive(Serialize)]
struct OldMessage<'a> {
    #[serde(rename = "Value", serialize_with = "base64_or_null")]
    value: &'a Option<Bytes>,
}

fn old_error(task: &Task, topic: String, reason: &str) -> Result<Answer, String> {
    let value = OldError { message: OldMessage { value: &task.value }, err_str: reason };
    let value = serde_json::to_vec(&value).map_err(|it| it.to_string())?;
    let key = Some(task.key.clone()).filter(|it| !it.is_empty()).map(Bytes::from);
    Ok(Answer { topic, record: Encoded { key, value: Some(value.into()), headers: Vec::new() } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{record, value};
    use crate::wire::{Format, decode};

    const TASK: &str = concat!(
        r#"{"TaskID":"i","Topic":"orders","Key":"k","Value":"AP8=","Partition":0,"Offset":0,"ConsumerGroupID":"","#,
        r#""ConsumerErrorStr":"","ProducerSentTime":"2023-11-15T06:13:20.123456789+08:00","#,
        r#""ConsumerReceivedTime":"0001-01-01T00:00:00Z","ConsumerFinishTime":"0001-01-01T00:00:00Z","#,
        r#""ProducerReceivedTime":"0001-01-01T00:00:00Z","IsReplyMessage":true,"IsSendError":true}"#
    );
    const WORK: Work<'_> = Work {
        group: "g",
        partition: 3,
        offset: 42,
        received_ms: 1_700_000_000_500,
        finished_ms: 1_700_000_001_000,
    };

    fn text(answer: Option<Result<Answer, String>>) -> (String, Option<Bytes>, String) {
        let it = answer.unwrap().unwrap();
        assert!(it.record.headers.is_empty());
        (it.topic, it.record.key, String::from_utf8(it.record.value.unwrap().to_vec()).unwrap())
    }

    fn task() -> Task {
        Task::of(&decode(Format::Auto, record(Some(b"k"), Some(TASK.as_bytes()), &[])).unwrap()).unwrap()
    }

    /// S128, S133: to the byte.
    #[test]
    fn a_receipt() {
        let golden = concat!(
            r#"{"TaskID":"i","Topic":"orders_Reply","Key":"k","Value":"AP8=","Partition":3,"Offset":42,"#,
            r#""ConsumerGroupID":"g:orders","ConsumerErrorStr":"","#,
            r#""ProducerSentTime":"2023-11-15T06:13:20.123456789+08:00","#,
            r#""ConsumerReceivedTime":"2023-11-14T22:13:20.500Z","ConsumerFinishTime":"2023-11-14T22:13:21.000Z","#,
            r#""ProducerReceivedTime":"0001-01-01T00:00:00Z","IsReplyMessage":false,"IsSendError":false}"#
        );
        assert_eq!(text(receipt(&task(), WORK)), ("orders_Reply".into(), Some("k".into()), golden.into()));
    }

    /// S131.
    #[test]
    fn an_error() {
        let (topic, key, value) = text(error(&task(), WORK, "no \"such\" order"));
        assert_eq!((topic.as_str(), key), ("orders_ERR", Some("k".into())));
        let error = Task::parse(&value.into()).unwrap();
        assert_eq!((error.error.as_str(), error.group.as_str()), ("no \"such\" order", "g:orders"));
        assert!(error.is_answer() && !error.wants_reply && !error.wants_error);
    }

    /// S19, S187: who sends bare payload understands the old error only.
    #[test]
    fn an_error_of_the_old_form() {
        let task = Task::of(&decode(Format::Dispatcher, value("plain")).unwrap()).unwrap();
        assert!(receipt(&task, WORK).is_none());
        let golden = r#"{"Message":{"Value":"cGxhaW4="},"ErrStr":"broken"}"#;
        assert_eq!(text(error(&task, WORK, "broken")), ("orders_ERR".into(), None, golden.into()));
    }

    /// S133.
    #[test]
    fn nothing_answers_an_answer() {
        for answer in [receipt(&task(), WORK), error(&task(), WORK, "e")] {
            let (_, _, text) = text(answer);
            let asking = text.replace(
                "\"IsReplyMessage\":false,\"IsSendError\":false",
                "\"IsReplyMessage\":true,\"IsSendError\":true",
            );
            for text in [text, asking] {
                let again = Task::of(&decode(Format::Auto, value(&text)).unwrap()).unwrap();
                assert!(receipt(&again, WORK).is_none() && error(&again, WORK, "e").is_none());
                let parsed = Task::parse(&text.into()).unwrap();
                assert!(receipt(&parsed, WORK).is_none() && error(&parsed, WORK, "e").is_none());
            }
        }
    }

    #[test]
    fn who_asks_for_nothing_gets_nothing() {
        let silent = TASK.replace("true", "false");
        let task = Task::of(&decode(Format::Auto, value(&silent)).unwrap()).unwrap();
        assert!(receipt(&task, WORK).is_none() && error(&task, WORK, "e").is_none());
        assert_eq!(Task::of(&decode(Format::Auto, value("plain")).unwrap()), None);
    }
}
