//! The broker from outside, over TCP. One binary; the files in the order to read them:
//!
//! - `client`    a connection that speaks any version of any API
//! - `kit`       names, batches, and the requests that nearly every test makes
//! - `smoke`     a record goes in and comes out, in memory and over a restart
//! - `versions`  every API in every version that is advertised
//! - `records`   stamps, codecs, sequences, transactions, retention, compaction
//! - `groups`    members come and go; faults on demand; a fetch waits
//! - `hostile`   bytes that no client sends
//! - `outside`   what real and hostile clients were found to do
//! - `crash`     kill -9 while producing, torn tails

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::disallowed_methods, reason = "a test stamps its own records")]
#![allow(clippy::too_many_lines, reason = "tables and stories read best whole")]

mod client;
mod crash;
mod groups;
mod hostile;
mod kit;
mod outside;
mod records;
mod smoke;
mod versions;
