//! The storm: a producer, hosts, services and a cluster of Apache Kafka under a plan of faults, and the checker that
//! says from outside what came of it: what was lost, done twice, or done in the wrong order, and whether a fault
//! explains it.
//!
//! `history` holds what happened, `books` puts it in order, `checker` finds what must not be, `explain` says what a
//! fault excuses, `report` is the verdict; `plan` says what is broken when. All of these are pure.

pub mod books;
pub mod checker;
pub mod explain;
pub mod history;
pub mod plan;
pub mod random;
pub mod report;
