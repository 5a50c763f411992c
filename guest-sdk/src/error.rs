//! Why a call did not work out, and what follows from it: a retry, or the dead letters.

use std::fmt::{self, Display};

use crate::{Advice, Rejection, Verdict};

/// `Result` with the SDK's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that knows what is to become of the message. Never a success.
///
/// Anything that can be shown turns into one that asks for a retry, so `?` works on any library's error.
/// It does not implement `Display` itself (that is what makes this possible): see [`Error::reason`].
pub struct Error {
    reason: String,
    code: Option<String>,
}

impl Error {
    /// Try again, as the route says.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), code: None }
    }

    /// Never try again: to the dead letters. `code` is a label of few values, for metrics and filters.
    pub fn reject(code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), code: Some(code.into()) }
    }

    /// What went wrong.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The label of a rejection; none for a retry.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

impl<E: Display> From<E> for Error {
    fn from(error: E) -> Self {
        Self::retry(error.to_string())
    }
}

impl From<Error> for Verdict {
    fn from(error: Error) -> Self {
        match error.code {
            Some(code) => Verdict::Reject(Rejection { code, reason: error.reason }),
            None => Verdict::Retry(Advice { reason: error.reason, after_ms: None }),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "reject({code}): {}", self.reason),
            None => write!(f, "retry: {}", self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S6, S12: whatever fails is a retry unless it says otherwise, and never a success.
    #[test]
    fn any_error_is_a_retry_and_a_rejection_keeps_its_code() {
        fn parse(text: &str) -> Result<u32> {
            if text.is_empty() {
                return Err(Error::reject("empty", "nothing there"));
            }
            Ok(text.parse::<u32>()?)
        }
        let failed: Verdict = parse("x").unwrap_err().into();
        assert!(matches!(failed, Verdict::Retry(Advice { after_ms: None, .. })), "{failed:?}");
        let rejected: Verdict = parse("").unwrap_err().into();
        assert_eq!(
            rejected,
            Verdict::Reject(Rejection { code: "empty".into(), reason: "nothing there".into() })
        );
        assert_eq!(parse("7").unwrap(), 7);
    }
}
