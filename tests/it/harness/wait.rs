//! Waiting for conditions. Nothing here sleeps for a fixed time or looks at how long a thing took.

use std::time::{Duration, Instant};

/// Far beyond what a loaded machine needs; only a test that fails waits so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until there is an answer. `what` stands in the failure.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Asks until the answer is `expected`; the failure shows the last one.
#[track_caller]
pub fn eventually_is<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, mut ask: impl FnMut() -> T) {
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = ask();
        if answer == *expected {
            return;
        }
        assert!(Instant::now() < until, "waited in vain: {what}\nlast: {answer:?}\nwant: {expected:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
