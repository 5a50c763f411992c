//! drover: pulls messages from Kafka and pushes them to services.

pub mod domain;
pub mod yaml;
