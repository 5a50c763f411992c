//! The commands of the `drover` binary.

pub mod run;
