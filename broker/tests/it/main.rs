//! The broker from outside, over TCP. One binary; the files in the order to read them:
//!
//! - `client`    a connection that speaks any version of any API
//! - `kit`       names, batches, and the requests that nearly every test makes
//! - `smoke`     a record goes in and comes out, in memory and over a restart
//! - `versions`  every API in every version that is advertised

mod client;
mod kit;
mod smoke;
mod versions;
