//! A process of the measurement: this binary again, in another role. Words to it go by its stdin, one on a
//! line, words from it by its stdout; what it logs lies in a file.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

pub struct Child {
    name: String,
    process: std::process::Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Child {
    /// Starts this binary with these arguments.
    pub fn start(name: &str, arguments: &[String], folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let binary = std::env::current_exe().context("finding this binary")?;
        let mut process = Command::new(binary)
            .args(arguments)
            .env("DROVER_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).with_context(|| format!("writing {}", log.display()))?)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (sender, lines) = mpsc::channel();
        if let Some(output) = output {
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { name: name.to_owned(), process, input, lines, log })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("its stdin is closed")?;
        writeln!(input, "{line}").with_context(|| format!("talking to {}", self.name))
    }

    /// The next line that it writes; none when there is none in time.
    pub fn line(&mut self, wait: Duration) -> anyhow::Result<Option<String>> {
        match self.lines.recv_timeout(wait) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// The next line, which has to come in time.
    pub fn line_within(&mut self, wait: Duration) -> anyhow::Result<String> {
        self.line(wait)?
            .with_context(|| format!("{} said nothing for {wait:?}; {}", self.name, self.last_words()))
    }

    /// An error if it has ended.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(_) => Err(self.ended()),
        }
    }

    fn ended(&self) -> anyhow::Error {
        anyhow::anyhow!("{} has ended; {}", self.name, self.last_words())
    }

    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        if lines.is_empty() {
            return "its log is empty".to_owned();
        }
        format!("the end of its log:\n  {}", lines.into_iter().rev().collect::<Vec<_>>().join("\n  "))
    }
}

/// What a child does that lives until its parent goes or says nothing more.
pub fn wait_for_parent() {
    for line in std::io::stdin().lines() {
        if line.is_err() {
            return;
        }
    }
}

impl Drop for Child {
    /// Ends it: most end with their stdin, `drover run` needs to be told.
    fn drop(&mut self) {
        drop(self.input.take());
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
