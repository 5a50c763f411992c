//! Seeded random walks against the most naive models.

mod group;
mod log;
