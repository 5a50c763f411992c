//! What a handler wants to happen.

use crate::verdict::IntoVerdict;
use crate::{Action, Error, Request, Result, Verdict};

/// Send this; the host picks the server, sends, and asks the judge.
///
/// Errors: none; a `Result` since that is what a handler returns.
pub fn deliver(request: Request) -> Result<Action> {
    Ok(Action::Deliver(request))
}

/// Send nothing; this is the outcome.
///
/// Errors: none; a `Result` since that is what a handler returns.
pub fn finish(verdict: Verdict) -> Result<Action> {
    Ok(Action::Finish(verdict))
}

impl Action {
    /// The request to send; none where nothing is sent.
    pub fn request(&self) -> Option<&Request> {
        match self {
            Action::Deliver(request) => Some(request),
            Action::Finish(_) => None,
        }
    }

    /// The outcome without a request; none where one is sent.
    pub fn verdict(&self) -> Option<&Verdict> {
        match self {
            Action::Finish(verdict) => Some(verdict),
            Action::Deliver(_) => None,
        }
    }
}

/// What a handler may return.
pub trait IntoAction {
    /// As the contract has it.
    fn into_action(self) -> Action;
}

impl IntoAction for Action {
    fn into_action(self) -> Action {
        self
    }
}

impl IntoAction for Verdict {
    fn into_action(self) -> Action {
        Action::Finish(self)
    }
}

impl<T: IntoAction, E: Into<Error>> IntoAction for Result<T, E> {
    fn into_action(self) -> Action {
        match self {
            Ok(value) => value.into_action(),
            Err(error) => Action::Finish(Err::<Verdict, E>(error).into_verdict()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{done, retry};

    // S6: an error is never a success.
    #[test]
    fn every_error_becomes_a_failed_outcome() {
        let failed: Result<Action, String> = Err("no".to_string());
        assert_eq!(failed.into_action(), Action::Finish(retry("no")));
        let failed: Result<Verdict> = Err(Error::reject("bad", "no"));
        assert!(matches!(failed.into_action(), Action::Finish(Verdict::Reject(_))));
        assert_eq!(done().into_action(), Action::Finish(Verdict::Done));
    }
}
