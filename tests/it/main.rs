//! What drover promises, held over TCP: each file a promise, each test ends by asserting committed offsets.
//!
//! - [`quickstart`]: the first five minutes, as they are printed
//! - [`deliver`]: what a service gets for a record, exactly
//! - [`order`]: who waits for whom, and who does not
//! - [`dead`]: what cannot be delivered, and where it goes
//! - [`dead_letters`]: listed, looked at, sent again, deleted
//! - [`retry`]: which answers are failures, and what follows
//! - [`limits`]: rates, concurrency, windows, budgets
//! - [`breaker`]: who fails, throttles, or is new gets less
//! - [`upstream`]: which server gets a message, by which connection
//! - [`tls`]: services that speak TLS, HTTP/2, or both
//! - [`plugins`]: faulty ones, and their exchange
//! - [`gaps`]: holes in the log, and where a group begins
//! - [`rebalance`]: hosts that come and go
//! - [`shutdown`] signals, and what they leave
//! - [`gateway`]: the producers' door: what is answered "ok" is in Kafka, all else is answered with an error
//! - [`admin`]: the operators' door: what it tells and what it changes
//! - [`kill`]: kill -9 at named places
//! - [`config`]: good and bad files
//! - [`tidy`]: the house rules
//! - [`promises`]: that `docs/promises.md` is complete, and its tests are real
//!
//! The broker is embedded, or Apache Kafka with `DROVER_TEST_BROKER=apache`: the same tests, the same promises.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::too_many_lines, reason = "tables and stories read best whole")]

mod admin;
mod breaker;
mod config;
mod dead;
mod dead_letters;
mod deliver;
mod gaps;
mod gateway;
mod harness;
mod kill;
mod ladder;
mod limits;
mod order;
mod plugins;
mod promises;
mod quickstart;
mod rebalance;
mod retry;
mod shutdown;
mod tidy;
mod tls;
mod upstream;

/// Not a test: what `harness::Setup::spawn` starts in a process of its own.
#[test]
fn child_host() {
    harness::child();
}
