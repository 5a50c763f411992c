//! What is to become of a message, as words: `return finish(skip("a test order"))`.

use crate::{Advice, Error, Rejection, Verdict};

/// Dealt with.
pub fn done() -> Verdict {
    Verdict::Done
}

/// Nothing to do; counted apart from done.
pub fn skip(reason: impl Into<String>) -> Verdict {
    Verdict::Skip(reason.into())
}

/// Failed, try again as the route says.
pub fn retry(reason: impl Into<String>) -> Verdict {
    Verdict::Retry(Advice { reason: reason.into(), after_ms: None })
}

/// Failed, try again, but not before so many ms.
pub fn retry_after(reason: impl Into<String>, after_ms: u32) -> Verdict {
    Verdict::Retry(Advice { reason: reason.into(), after_ms: Some(after_ms) })
}

/// Try again now, at another server.
pub fn retry_elsewhere(reason: impl Into<String>) -> Verdict {
    Verdict::RetryElsewhere(Advice { reason: reason.into(), after_ms: None })
}

/// The service is busy: try again, after so many ms where it said so, and count no attempt.
pub fn throttled(reason: impl Into<String>, after_ms: Option<u32>) -> Verdict {
    Verdict::Throttled(Advice { reason: reason.into(), after_ms })
}

/// Not before this time, in ms since 1970.
pub fn defer(until_ms: u64) -> Verdict {
    Verdict::Defer(until_ms)
}

/// The target is down: put aside.
pub fn park(reason: impl Into<String>) -> Verdict {
    Verdict::Park(reason.into())
}

/// Never try again: to the dead letters. `code` is a label of few values, for metrics and filters.
pub fn reject(code: impl Into<String>, reason: impl Into<String>) -> Verdict {
    Verdict::Reject(Rejection { code: code.into(), reason: reason.into() })
}

/// What a judge may return.
pub trait IntoVerdict {
    /// As the contract has it.
    fn into_verdict(self) -> Verdict;
}

impl IntoVerdict for Verdict {
    fn into_verdict(self) -> Verdict {
        self
    }
}

impl<E: Into<Error>> IntoVerdict for Result<Verdict, E> {
    fn into_verdict(self) -> Verdict {
        self.unwrap_or_else(|error| error.into().into())
    }
}
