//! What both doors share: a listening HTTP server that slow, large, many and broken requests cannot hurt,
//! and who may come in. Knows nothing of messages or operators.
//!
//! ```text
//! listen ── server (connections, time for a head and to take an answer, panics, stop) ──> a door's router
//!                                                                    body    limit while it is read, time
//!                                                                    access  secrets, compared in constant time
//!                                                                    answer  JSON
//! ```
//! Runs on the control runtime.

pub mod access;
pub mod answer;
pub mod body;
mod server;
mod stream;

pub use server::{Config, Server, bind};
