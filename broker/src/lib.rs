//! A small honest Kafka-compatible broker.
