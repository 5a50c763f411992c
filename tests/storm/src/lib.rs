//! The storm: a producer, hosts, services and a cluster of Apache Kafka under a plan of faults, and the checker that
//! says from outside what came of it: what was lost, done twice, or done in the wrong order, and whether a fault
//! explains it.
//!
//! `history` holds what happened, `books` puts it in order, `checker` finds what must not be, `explain` says what a
//! fault excuses, `report` is the verdict; `plan` says what is broken when. All of these are pure.
//!
//! ```text
//! cargo build -p drover && tests/apache-kafka/kafka.sh fetch DIR
//! cargo run -p drover-storm -- --messages 20000 --faults 8 --seed 7 --hosts 2 --kafka-dir DIR
//! ```
//! What it leaves is in `DIR/run`: the history, the report as Markdown and JSON, the hosts' and brokers' logs.
//!
//! `storm` runs it: `cluster` and `hosts` are processes, `proxy` stands between them, `service` is who gets the
//! messages, `clients` are the storm's own of Kafka, `faults` carries the plan out, `journal` writes it all down.

pub mod books;
pub mod checker;
pub mod clients;
pub mod cluster;
pub mod explain;
pub mod faults;
pub mod history;
pub mod hosts;
pub mod journal;
pub mod plan;
pub mod proxy;
pub mod random;
pub mod report;
pub mod service;
pub mod storm;
