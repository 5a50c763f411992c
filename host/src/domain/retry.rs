//! Whether, when and where a failed message is tried again: in place, on the shard, or after a wait on its ladder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::outcome::{Failure, Outcome};

/// A route's policy: one budget of attempts, in place and on the ladder together.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts that count, the first one among them; -1 is no limit. S79.
    pub attempts: i32,
    /// Pause before the second attempt, in ms.
    pub first_ms: u64,
    /// Each further pause is this many times the last one.
    pub factor: f64,
    /// Longest pause, in ms; also caps a service's `Retry-After`.
    pub most_ms: u64,
    /// How long a message is tried in place, pauses included, in ms; then it waits on its ladder.
    pub inline_ms: u64,
    pub on_retry: OnRetry,
}

/// What becomes of a key's later messages while one of them waits longer than the inline budget, where messages wait
/// for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnRetry {
    /// They wait: the message is tried in place until it ends.
    Block,
    /// They go on: the message waits on its ladder, and is out of its order.
    DivertMessage,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_ms: 100,
            factor: 2.0,
            most_ms: 30_000,
            inline_ms: 2_000,
            on_retry: OnRetry::Block,
        }
    }
}

/// What a failed attempt is followed by.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Another attempt after so many ms; `counts` says whether the last one was an attempt.
    Again { pause_ms: u64, counts: bool },
    /// Another attempt after so many ms on its ladder.
    Later { pause_ms: u64, counts: bool, failure: Failure },
    /// No more: this is the end of it.
    End(Outcome),
}

/// What a message has behind it when an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The number of the attempt that ended, from 1.
    pub attempt: u32,
    /// How often in a row it was throttled, which backs off as well but counts no attempt (S84).
    pub throttled: u32,
    /// How long it has been tried in place, in ms; none: it may not leave its place, for others wait behind it.
    pub spent_ms: Option<u64>,
}

impl RetryPolicy {
    /// `random` from [0, 1): the jitter.
    pub fn next(&self, outcome: Outcome, behind: Behind, random: f64) -> Next {
        let Behind { attempt, throttled, spent_ms } = behind;
        let Outcome::Retry { failure, after_ms, counts, .. } = outcome else {
            return Next::End(outcome);
        };
        if counts && self.is_last(attempt) {
            return Next::End(exhausted(failure, attempt));
        }
        let tries = if counts { attempt } else { throttled.max(1) };
        let pause_ms = match after_ms {
            Some(asked) => asked.min(self.most_ms),
            None => self.pause_ms(tries, random),
        };
        match spent_ms {
            Some(spent) if spent.saturating_add(pause_ms) > self.inline_ms => {
                Next::Later { pause_ms, counts, failure }
            }
            Some(_) | None => Next::Again { pause_ms, counts },
        }
    }

    pub fn is_last(&self, attempt: u32) -> bool {
        u32::try_from(self.attempts).is_ok_and(|most| most <= attempt)
    }

    /// Exponential, with half of it random, so that what failed together does not return together.
    fn pause_ms(&self, tries: u32, random: f64) -> u64 {
        let exponent = (tries.max(1) - 1).min(63) as i32;
        let full = (self.first_ms as f64 * self.factor.powi(exponent)).min(self.most_ms as f64);
        (full * (0.5 + random / 2.0)) as u64
    }
}

fn exhausted(failure: Failure, attempt: u32) -> Outcome {
    let detail = format!("{} (attempt {attempt}, the last)", failure.detail);
    Outcome::Dead { code: "attempts".to_owned(), failure: Failure { detail, ..failure } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::Stage;

    fn retry(after_ms: Option<u64>, counts: bool) -> Outcome {
        let failure = Failure::transient(Stage::Send, "refused");
        Outcome::Retry { failure, after_ms, elsewhere: false, counts }
    }

    fn pause(
        policy: &RetryPolicy,
        outcome: Outcome,
        attempt: u32,
        throttled: u32,
        random: f64,
    ) -> Option<u64> {
        match policy.next(outcome, Behind { attempt, throttled, spent_ms: None }, random) {
            Next::Again { pause_ms, .. } | Next::Later { pause_ms, .. } => Some(pause_ms),
            Next::End(_) => None,
        }
    }

    #[test]
    fn pauses_grow_to_the_longest_with_half_of_them_random() {
        let policy = RetryPolicy { attempts: -1, most_ms: 1_000, ..RetryPolicy::default() };
        let pauses: Vec<_> = (1..=6).map(|it| pause(&policy, retry(None, true), it, 0, 1.0)).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000].map(Some));
        assert_eq!(pause(&policy, retry(None, true), 2, 0, 0.0), Some(100));
        assert_eq!(pause(&policy, retry(None, true), u32::MAX, 0, 1.0), Some(1_000));
    }

    /// S79, S81.
    #[test]
    fn attempts_end_and_minus_one_never_does() {
        let policy = RetryPolicy { attempts: 3, ..RetryPolicy::default() };
        assert!(pause(&policy, retry(None, true), 2, 0, 0.0).is_some());
        let last = Behind { attempt: 3, throttled: 0, spent_ms: Some(0) };
        let Next::End(Outcome::Dead { code, failure }) = policy.next(retry(None, true), last, 0.0) else {
            panic!("the third of three attempts is the last");
        };
        assert_eq!((code.as_str(), failure.detail.as_str()), ("attempts", "refused (attempt 3, the last)"));
        let policy = RetryPolicy { attempts: -1, ..policy };
        assert!(pause(&policy, retry(None, true), 1_000_000, 0, 0.0).is_some());
    }

    /// S84.
    #[test]
    fn throttling_never_ends_it_and_the_service_says_when() {
        let policy = RetryPolicy { attempts: 1, first_ms: 10, most_ms: 5_000, ..RetryPolicy::default() };
        assert_eq!(pause(&policy, retry(Some(2_000), false), 1, 1, 0.0), Some(2_000));
        assert_eq!(pause(&policy, retry(Some(60_000), false), 1, 1, 0.0), Some(5_000));
        assert_eq!(pause(&policy, retry(None, false), 1, 3, 1.0), Some(40));
    }

    /// A message is tried in place for as long as its budget lasts, and not at all where it has waited before.
    #[test]
    fn what_would_take_longer_than_its_budget_leaves_its_place() {
        let policy = RetryPolicy { first_ms: 1_000, factor: 1.0, inline_ms: 2_000, ..RetryPolicy::default() };
        let leaves = |spent_ms| {
            let behind = Behind { attempt: 1, throttled: 0, spent_ms };
            matches!(policy.next(retry(None, true), behind, 1.0), Next::Later { counts: true, .. })
        };
        assert!(!leaves(Some(1_000)) && leaves(Some(1_001)) && leaves(Some(u64::MAX)));
        assert!(!leaves(None), "others wait behind it");
    }
}
