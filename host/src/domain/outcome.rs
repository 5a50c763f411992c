//! What becomes of a message: the verdict of a plugin or rule, and the outcome that the host makes of it.

use crate::domain::exchange::Response;

/// What a plugin or the app's success rule makes of a message or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    Skip(String),
    Retry {
        reason: String,
        after_ms: Option<u64>,
    },
    RetryElsewhere {
        reason: String,
        after_ms: Option<u64>,
    },
    Throttled {
        reason: String,
        after_ms: Option<u64>,
    },
    /// Not before this time, in ms since 1970.
    Defer(u64),
    Park(String),
    Reject {
        code: String,
        reason: String,
    },
}

/// Where an attempt ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Decode,
    Route,
    Gate,
    Select,
    Handle,
    Send,
    Judge,
    Settle,
}

impl Stage {
    /// As it stands in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Route => "route",
            Stage::Gate => "gate",
            Stage::Select => "select",
            Stage::Handle => "handle",
            Stage::Send => "send",
            Stage::Judge => "judge",
            Stage::Settle => "settle",
        }
    }
}

/// Why an attempt failed. A value: it travels in headers, logs and `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub stage: Stage,
    pub detail: String,
    /// Whether another attempt could end better.
    pub transient: bool,
}

impl Failure {
    pub fn transient(stage: Stage, detail: impl Into<String>) -> Self {
        Self { stage, detail: detail.into(), transient: true }
    }

    pub fn lasting(stage: Stage, detail: impl Into<String>) -> Self {
        Self { stage, detail: detail.into(), transient: false }
    }
}

/// What the host does with a message after an attempt. Matched without wildcard everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered.
    Done,
    /// Nothing was to be done.
    Skipped(String),
    /// Failed; again after a while, perhaps at another server. Not counted as an attempt when throttled.
    Retry { failure: Failure, after_ms: Option<u64>, elsewhere: bool, counts: bool },
    /// Not before this time, in ms since 1970.
    Deferred(u64),
    /// Put aside until the target is back.
    Parked(String),
    /// To the dead letters.
    Dead { code: String, failure: Failure },
}

impl Outcome {
    /// The outcome of a verdict given at `stage`.
    pub fn of(verdict: Verdict, stage: Stage) -> Self {
        match verdict {
            Verdict::Done => Self::Done,
            Verdict::Skip(reason) => Self::Skipped(reason),
            Verdict::Retry { reason, after_ms } => Self::retry(stage, reason, after_ms, false, true),
            Verdict::RetryElsewhere { reason, after_ms } => Self::retry(stage, reason, after_ms, true, true),
            Verdict::Throttled { reason, after_ms } => Self::retry(stage, reason, after_ms, false, false),
            Verdict::Defer(until_ms) => Self::Deferred(until_ms),
            Verdict::Park(reason) => Self::Parked(reason),
            Verdict::Reject { code, reason } => Self::Dead { code, failure: Failure::lasting(stage, reason) },
        }
    }

    fn retry(stage: Stage, reason: String, after_ms: Option<u64>, elsewhere: bool, counts: bool) -> Self {
        Self::Retry { failure: Failure::transient(stage, reason), after_ms, elsewhere, counts }
    }

    /// As it is counted in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped(_) => "skipped",
            Self::Retry { .. } => "retry",
            Self::Deferred(_) => "deferred",
            Self::Parked(_) => "parked",
            Self::Dead { .. } => "dead",
        }
    }
}

impl From<Failure> for Outcome {
    /// A failure that another attempt could mend is retried, any other is dead.
    fn from(failure: Failure) -> Self {
        if failure.transient {
            Self::Retry { failure, after_ms: None, elsewhere: false, counts: true }
        } else {
            Self::Dead { code: failure.stage.as_str().to_owned(), failure }
        }
    }
}

/// An app's rule for what counts as success, where no plugin judges. S68, S69.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SuccessRule {
    /// Any status from 200 to 299.
    Any2xx,
    /// Exactly 200; the body is not looked at (bigpipe).
    Status200,
    /// Exactly 200, and a JSON object whose `errno` is present and the number 0 (alpaca-mq).
    Errno,
    /// Any 2xx, and the value at this JSON pointer equals this.
    Json { pointer: String, equals: serde_json::Value },
}

impl SuccessRule {
    /// What the answer means. 429 and 503 are throttling whatever the rule; other failures are retried:
    /// which statuses could never turn good is for a judge plugin to know.
    pub fn judge(&self, response: &Response) -> Verdict {
        let Response { status, body, retry_after_ms, .. } = response;
        let good = match self {
            Self::Any2xx => (200..300).contains(status),
            Self::Status200 => *status == 200,
            Self::Errno => *status == 200 && errno_is_zero(body),
            Self::Json { pointer, equals } => {
                (200..300).contains(status)
                    && serde_json::from_slice::<serde_json::Value>(body)
                        .is_ok_and(|it| it.pointer(pointer) == Some(equals))
            }
        };
        if good {
            return Verdict::Done;
        }
        let reason = format!("status {status}{}", Excerpt(body));
        match status {
            429 | 503 => Verdict::Throttled { reason, after_ms: *retry_after_ms },
            _ => Verdict::Retry { reason, after_ms: *retry_after_ms },
        }
    }
}

fn errno_is_zero(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Answer {
        errno: serde_json::Number,
    }
    // serde would take an array for the struct as well.
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    is_object && serde_json::from_slice::<Answer>(body).is_ok_and(|it| it.errno.as_f64() == Some(0.0))
}

/// The beginning of an answer's body, for a reason that a person reads.
struct Excerpt<'a>(&'a [u8]);

impl std::fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MOST: usize = 160;
        if self.0.is_empty() {
            return Ok(());
        }
        let part = &self.0[..self.0.len().min(MOST)];
        let text = String::from_utf8_lossy(part);
        let more = if self.0.len() > MOST { "…" } else { "" };
        write!(f, ": {}{more}", text.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rule: &SuccessRule, status: u16, body: &str) -> Verdict {
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        rule.judge(&Response { status, headers: Vec::new(), body, took_ms: 1, retry_after_ms: None })
    }

    /// S68, S69, S197.
    #[test]
    fn success_rules() {
        let json = SuccessRule::Json { pointer: "/ok".into(), equals: true.into() };
        let cases = [
            (&SuccessRule::Any2xx, 204, "", true),
            (&SuccessRule::Any2xx, 302, "", false),
            (&SuccessRule::Status200, 200, "anything", true),
            (&SuccessRule::Status200, 201, "", false),
            (&SuccessRule::Errno, 200, r#"{"errno":0}"#, true),
            (&SuccessRule::Errno, 200, r#"{"errno":0.0,"more":[1]}"#, true),
            (&SuccessRule::Errno, 201, r#"{"errno":0}"#, false),
            (&SuccessRule::Errno, 200, r#"{"errno":1}"#, false),
            (&SuccessRule::Errno, 200, r#"{"errno":"0"}"#, false),
            (&SuccessRule::Errno, 200, r#"{"error":0}"#, false),
            (&SuccessRule::Errno, 200, r#"[0]"#, false),
            (&SuccessRule::Errno, 200, "ok", false),
            (&SuccessRule::Errno, 200, "", false),
            (&json, 200, r#"{"ok":true}"#, true),
            (&json, 200, r#"{"ok":"true"}"#, false),
            (&json, 500, r#"{"ok":true}"#, false),
        ];
        for (rule, status, body, good) in cases {
            assert_eq!(judged(rule, status, body) == Verdict::Done, good, "{rule:?} {status} {body}");
        }
    }

    /// S84.
    #[test]
    fn throttling_counts_no_attempt() {
        let verdict = judged(&SuccessRule::Any2xx, 429, "slow down");
        let Outcome::Retry { counts, failure, .. } = Outcome::of(verdict, Stage::Judge) else {
            panic!("429 is to be tried again");
        };
        assert!(!counts);
        assert_eq!(failure.detail, "status 429: slow down");
    }
}
