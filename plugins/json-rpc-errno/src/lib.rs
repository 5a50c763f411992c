//! `json-rpc-errno`: sends the data, and takes only status 200 with `errno` 0 for a success.

use std::fmt;

use drover_guest::config::Config;
use drover_guest::forward::PassOn;
use drover_guest::prelude::*;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

/// What the operator sets, and the request that follows from it. Usable without a component.
pub type Settings = PassOn;

/// The settings, from wherever they are kept.
///
/// Errors: an unknown key.
pub fn read(config: &Config) -> Result<Settings> {
    config.refuse_unknown(&["path", "content-type", "forward-headers"])?;
    PassOn::of(config)
}

fn read_of_host() -> Result<Settings> {
    read(&Config::of_host())
}

thread_local! {
    static SETTINGS: PerInstance<Settings> = const { PerInstance::new() };
}

#[init]
fn start() -> Result<()> {
    SETTINGS.with(|slot| slot.get(read_of_host, |_| Ok(())))
}

#[handler]
fn send(message: Message) -> Result<Action> {
    SETTINGS.with(|slot| slot.get(read_of_host, |settings| deliver(settings.request(&message.headers))))
}

#[judge]
fn errno_is_zero(_message: &Judged, response: &Response) -> Verdict {
    verdict(response.status, &response.body)
}

/// What an answer means: done, or a retry that says why.
pub fn verdict(status: u16, body: &[u8]) -> Verdict {
    match failure(status, body) {
        None => done(),
        Some(why) => retry(why),
    }
}

/// Why an answer is no success; none where it is one: status exactly 200, and a JSON object whose member
/// `errno` is the number 0.
pub fn failure(status: u16, body: &[u8]) -> Option<String> {
    if status != 200 {
        return Some(format!("status {status}"));
    }
    match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { errno: Some(0.0) }) => None,
        Ok(Answer { errno: Some(errno) }) => Some(format!("errno {errno}")),
        Ok(Answer { errno: None }) => Some("the answer has no errno".to_string()),
        Err(error) => Some(format!("the answer is not {{\"errno\": number, …}}: {error}")),
    }
}

/// The one member that counts.
struct Answer {
    errno: Option<f64>,
}

// By hand, since the derived form would also take an array.
impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnswerVisitor)
    }
}

struct AnswerVisitor;

impl<'de> Visitor<'de> for AnswerVisitor {
    type Value = Answer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Answer, A::Error> {
        let mut errno = None;
        while let Some(is_errno) = members.next_key::<Key>()? {
            match is_errno {
                Key::Errno if errno.is_some() => return Err(de::Error::duplicate_field("errno")),
                Key::Errno => errno = Some(members.next_value::<f64>()?),
                Key::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Answer { errno })
    }
}

/// A member's name, without keeping it.
enum Key {
    Errno,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Key, E> {
        Ok(if name == "errno" { Key::Errno } else { Key::Other })
    }
}

#[cfg(test)]
mod tests {
    use drover_guest::mock::MockHost;

    use super::*;

    fn judged(status: u16, body: &str) -> Verdict {
        let message = Judged { command: "c".into(), log_id: "l".into(), attempt: 1 };
        let response = Response { status, body: body.into(), ..Response::default() };
        errno_is_zero(&message, &response)
    }

    // S68: HTTP 200 and JSON `errno` present and == 0 (number).
    #[test]
    fn only_200_with_errno_0_is_done() {
        for body in [
            "{\"errno\":0}",
            " {\"errmsg\":\"success\",\"errno\":0,\"data\":{\"errno\":1}} ",
            "{\"errno\":0.0}",
        ] {
            assert_eq!(judged(200, body), Verdict::Done, "{body}");
        }
    }

    // S68, S197: errno 1, a missing errno, what is no JSON object, and any other status are failures.
    #[test]
    fn all_else_is_a_retry() {
        let bodies = [
            "{\"errno\":1}",
            "{\"errno\":-1}",
            "{\"errno\":\"0\"}",
            "{\"errno\":null}",
            "{\"errno\":false}",
            "{}",
            "{\"Errno\":0}",
            "[0]",
            "[{\"errno\":0}]",
            "0",
            "null",
            "",
            "ok",
            "{\"errno\":0",
            "{\"errno\":0}x",
            "{\"errno\":1,\"errno\":0}",
            "{\"errno\":0,\"errno\":0}",
            "{\"data\":{\"errno\":0}}",
            "{\"errno\":[]}",
        ];
        for body in bodies {
            assert!(matches!(judged(200, body), Verdict::Retry(_)), "{body}");
        }
        for status in [0, 100, 199, 201, 204, 299, 302, 404, 500, 503] {
            assert!(matches!(judged(status, "{\"errno\":0}"), Verdict::Retry(_)), "{status}");
        }
    }

    #[test]
    fn the_request_is_a_post_of_the_data() {
        let _host = MockHost::new().config("content-type", "application/json");
        let action = send(Message::default()).unwrap();
        let expected = Request::new(Method::Post).header("content-type", "application/json");
        assert_eq!(action.request(), Some(&expected));
    }
}
