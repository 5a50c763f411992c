//! A contestant that is not ours: a command line, run by `sh -c` in a process group of its own.
//!
//! ```text
//! drover bench --> bench-peer --> sh -c COMMAND --> whatever that starts
//!                  └ ends ──────> the group: a polite word, then none
//! ```
//! `bench-peer` is this binary: nothing of the peer outlives the measurement, however that ends.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::bare::Bare;
use super::child;

/// What `bench-peer` is started with.
#[derive(Args, Clone, Debug)]
pub struct Peer {
    #[command(flatten)]
    pub bare: Bare,
    /// For `sh -c`.
    #[arg(long)]
    pub command: String,
}

/// How long it may take to end by itself. Whoever started this process waits longer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Peer {
    /// As its child's command line has it.
    pub fn arguments(&self) -> Vec<String> {
        let mut all = vec!["bench-peer".to_owned()];
        all.extend(self.bare.arguments());
        // In one word: a command may begin with anything.
        all.push(format!("--command={}", self.command));
        all
    }

    /// What the command finds in its environment.
    fn environment(&self) -> [(&'static str, String); 5] {
        let Bare { brokers, topic, group, sink, in_flight, .. } = &self.bare;
        [
            ("BROKERS", brokers.clone()),
            ("TOPIC", topic.clone()),
            ("GROUP", group.clone()),
            ("URL", format!("http://{sink}/")),
            ("IN_FLIGHT", in_flight.to_string()),
        ]
    }

    /// In a group of its own, whose id is the shell's. What it prints is logged.
    fn start(&self) -> anyhow::Result<Child> {
        Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .process_group(0)
            .spawn()
            .context("starting sh")
    }
}

/// Runs it until stdin ends or a signal comes, then ends it. It is an error if it ends before.
pub fn run(peer: &Peer) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (mut hangup, mut interrupt) = (signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?);
        let (mut terminate, mut ended) = (signal(SignalKind::terminate())?, signal(SignalKind::child())?);
        let (sender, parent_gone) = oneshot::channel::<()>();
        thread::spawn(move || {
            child::wait_for_parent();
            drop(sender);
        });
        let mut shell = peer.start()?;
        let ended = async {
            loop {
                if let Some(status) = shell.try_wait()? {
                    return anyhow::Ok(status);
                }
                ended.recv().await;
            }
        };
        let by_itself = tokio::select! {
            status = ended => Some(status?),
            _ = parent_gone => None,
            _ = hangup.recv() => None,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        end(&mut shell, PATIENCE)?;
        match by_itself {
            Some(status) => anyhow::bail!("the peer ended by itself: {status}"),
            None => Ok(()),
        }
    })
}

/// Ends the shell and all of its group.
fn end(shell: &mut Child, patience: Duration) -> anyhow::Result<()> {
    let group = Pid::from_child(shell);
    // An error means that nobody is left.
    let _ = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        // While nobody has asked how the shell ended, it is there.
        shell.try_wait()?;
        if test_kill_process_group(group).is_err() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = kill_process_group(group, Signal::KILL);
    shell.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        peer: Peer,
    }

    fn peer(command: &str) -> Peer {
        let bare = Bare {
            brokers: "a:1,b:2".to_owned(),
            topic: "t".to_owned(),
            group: "g".to_owned(),
            partitions: 12,
            messages: 1_000,
            sink: "127.0.0.1:80".to_owned(),
            in_flight: 128,
        };
        Peer { bare, command: command.to_owned() }
    }

    #[test]
    fn a_command_arrives_as_it_was_written() {
        for command in ["java -jar 'a b.jar' \"$TOPIC\"", "--version", "a=b; c"] {
            let line = Line::try_parse_from(peer(command).arguments()).unwrap();
            assert_eq!(line.peer.command, command);
            assert_eq!(line.peer.environment(), peer(command).environment());
        }
    }

    #[test]
    fn a_command_finds_in_its_environment_what_it_needs() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $BROKERS $TOPIC $GROUP $URL $IN_FLIGHT"]).envs(peer("").environment());
        let out = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert_eq!(out.trim(), "a:1,b:2 t g http://127.0.0.1:80/ 128");
    }

    /// Its children too, and those that will not listen.
    #[test]
    fn nothing_of_a_command_is_left() {
        for command in ["sleep 1000 & echo up; sleep 1000", "trap '' TERM; sleep 1000 & echo up; sleep 1000"]
        {
            let mut shell = Command::new("sh");
            shell.args(["-c", command]).stdout(Stdio::piped()).process_group(0);
            let mut shell = shell.spawn().unwrap();
            let mut out = shell.stdout.take().unwrap();
            out.read_exact(&mut [0; 3]).unwrap();
            end(&mut shell, Duration::from_millis(20)).unwrap();
            // It ends when the last process that could write to it is gone.
            out.read_to_end(&mut Vec::new()).unwrap();
        }
    }
}
