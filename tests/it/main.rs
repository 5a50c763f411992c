//! What drover promises, held over TCP: each file a promise, each test ends by asserting committed offsets.
//!
//! - [`deliver`]: what a service gets for a record, exactly
//! - [`order`]: who waits for whom, and who does not
//! - [`dead`]: what cannot be delivered, and where it goes
//! - [`gateway`]: the producers' door: what is answered "ok" is in Kafka, all else is answered with an error
//! - [`admin`]: the operators' door: what it tells and what it changes
//!
//! The broker is embedded, or Apache Kafka with `DROVER_TEST_BROKER=apache`: the same tests, the same promises.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::too_many_lines, reason = "tables and stories read best whole")]

mod admin;
mod dead;
mod deliver;
mod gateway;
mod harness;
mod order;

/// Not a test: what `harness::Setup::spawn` starts in a process of its own.
#[test]
fn child_host() {
    harness::child();
}
