//! drover: pulls messages from Kafka and pushes them to services.

pub mod cli;
pub mod config;
pub mod domain;
pub mod yaml;
