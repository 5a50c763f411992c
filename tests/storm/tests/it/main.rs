//! The checker, tried: each rule by a table, all of them against a naive model and against engines that are broken.

mod engine;
mod engines;
mod naive;
mod rules;
mod scale;
mod story;
mod walk;
