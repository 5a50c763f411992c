//! What is to become of a message, as words: `return finish(skip("a test order"))`.

use crate::{Advice, Error, Rejection, Response, Verdict};

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

/// The usual judgement of an HTTP answer: 2xx is done; 429, and 503 with `Retry-After`, is throttled; all else
/// is a retry.
pub fn by_status(response: &Response) -> Verdict {
    let after_ms = response.retry_after_ms();
    let reason = || format!("status {}", response.status);
    match response.status {
        200..=299 => done(),
        429 => throttled(reason(), after_ms),
        503 if after_ms.is_some() => throttled(reason(), after_ms),
        _ => retry(reason()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::HeaderBlock;

    // S69: any 2xx is a success, nothing else is.
    #[test]
    fn only_2xx_is_done() {
        for status in 0..700_u16 {
            let verdict = by_status(&Response { status, ..Response::default() });
            assert_eq!(verdict == Verdict::Done, (200..300).contains(&status), "{status}");
            assert_eq!(matches!(verdict, Verdict::Throttled(_)), status == 429, "{status}");
        }
    }

    #[test]
    fn a_busy_service_says_when() {
        for (status, text, expected) in
            [(503, "2", Some(2_000)), (429, "x", None), (429, "99999999", Some(u32::MAX))]
        {
            let headers = HeaderBlock::new().with("Retry-After", text).into_bytes();
            let verdict = by_status(&Response { status, headers, ..Response::default() });
            assert_eq!(verdict, throttled(format!("status {status}"), expected));
        }
    }
}
