//! What a running `dev` shows: one line that is rewritten on a terminal, a new line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::control::Report;

pub struct Progress {
    terminal: bool,
    /// As shown.
    last: String,
    /// As it would be shown now.
    newest: String,
    next_plain: Instant,
}

/// Between two lines where nobody watches, and only if something changed.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    pub fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { terminal, last: String::new(), newest: String::new(), next_plain: Instant::now() }
    }

    /// `lag`: records that no one has taken or settled yet.
    pub fn show(&mut self, report: &Report, lag: Option<i64>) {
        let received: u64 = report.groups.iter().map(|it| it.received).sum();
        let totals = report.totals;
        let lag = lag.map_or_else(|| "?".to_owned(), |it| it.to_string());
        let line = format!(
            "received {received}  delivered {}  retried {}  aside {}  dead {}  lag {lag}",
            totals.done, totals.retries, totals.aside, totals.dead
        );
        self.newest.clone_from(&line);
        if line == self.last {
            return;
        }
        let mut out = std::io::stdout().lock();
        // Nobody is served by an error about a closed terminal.
        if self.terminal {
            let _ = write!(out, "\r\x1b[2K{line}");
        } else if self.next_plain <= Instant::now() {
            self.next_plain = Instant::now() + PLAIN_EVERY;
            let _ = writeln!(out, "{line}");
        } else {
            return;
        }
        let _ = out.flush();
        self.last = line;
    }

    /// Leaves the newest line as it is and goes on below it.
    pub fn end(&mut self) {
        let mut out = std::io::stdout().lock();
        if self.terminal {
            let _ = writeln!(out);
        } else if self.newest != self.last {
            let _ = writeln!(out, "{}", self.newest);
        }
    }
}
