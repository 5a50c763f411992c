//! drover: pulls messages from Kafka and pushes them to services.

pub mod admin;
pub mod app;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod dlq;
pub mod domain;
mod failpoint;
pub mod gateway;
pub mod intake;
pub mod kafka;
pub mod metrics;
pub mod outbox;
pub mod plugin;
pub mod shard;
pub mod telemetry;
pub mod upstream;
pub mod web;
pub mod wire;
pub mod yaml;
