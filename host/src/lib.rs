//! drover: pulls messages from Kafka and pushes them to services.

pub mod domain;
pub mod kafka;
pub mod metrics;
pub mod plugin;
pub mod upstream;
pub mod wire;
