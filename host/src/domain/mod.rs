//! Pure nouns and decisions: what drover speaks of, and what it decides. No I/O, no clock, no tasks;
//! `now` is an argument. Everything above may import this, it imports nothing.

pub mod app;
pub mod breaker;
pub mod dead;
pub mod exchange;
pub mod gradient;
pub mod hash;
pub mod headers;
pub mod ladder;
pub mod ledger;
pub mod limiter;
pub mod message;
pub mod offsets;
pub mod outcome;
pub mod overlap;
pub mod partitioner;
pub mod plugin;
pub mod record;
pub mod retry;
pub mod routes;
pub mod secret;
pub mod throttle;
