//! What is going on, for whoever waits: lines on stderr, so that stdout is the table's alone.

use std::io::Write as _;

use super::machine::now_ns;

#[derive(Clone, Copy)]
pub struct Progress {
    begun_ns: u64,
}

impl Progress {
    pub fn begin() -> Self {
        Self { begun_ns: now_ns() }
    }

    pub fn say(&self, text: &str) {
        let seconds = (now_ns() - self.begun_ns) as f64 / 1e9;
        // Nobody reads it: so be it.
        let _ = writeln!(std::io::stderr(), "[{seconds:6.1} s] {text}");
    }
}
