//! The broker from outside, over TCP. One binary; the files in the order to read them:
//!
//! - `client`  a connection that speaks any version of any API
//! - `smoke`   a record goes in and comes out, in memory and over a restart

mod client;
mod smoke;
