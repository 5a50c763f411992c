//! Three brokers of Apache Kafka in processes of their own, by `tests/apache-kafka/kafka.sh`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

pub const BROKERS: u16 = 3;

/// Ends with all its brokers.
pub struct Cluster {
    home: PathBuf,
    base: u16,
    /// Ends brokers and hosts when its standard input ends, which it does however this process ends.
    watchdog: Child,
}

/// Which ports a storm takes, from a first one on.
#[derive(Clone, Copy, Debug)]
pub struct Ports(pub u16);

impl Ports {
    /// Where a broker listens for a host's proxy.
    fn behind(self, host: u16) -> u16 {
        self.0 + 10 * (host + 1)
    }

    /// Where a host finds a broker: the proxy.
    pub fn before(self, host: u16, broker: u16) -> u16 {
        self.behind(host) + BROKERS + broker
    }

    pub fn to_broker(self, host: u16, broker: u16) -> u16 {
        self.behind(host) + broker
    }

    pub fn admin(self, host: u16) -> u16 {
        self.behind(host) + 9
    }
}

impl Cluster {
    /// `dir` has the jars in `libs`; the brokers live in `home`, which is made anew.
    pub fn start(dir: &Path, home: &Path, ports: Ports, hosts: u16) -> anyhow::Result<Self> {
        let libs = dir.join("libs");
        anyhow::ensure!(
            libs.read_dir().is_ok_and(|mut it| it.next().is_some()),
            "{} has no jars of Apache Kafka: `{} fetch {}` fetches them",
            libs.display(),
            script().display(),
            dir.display()
        );
        let _ = std::fs::remove_dir_all(home);
        std::fs::create_dir_all(home).with_context(|| format!("making {}", home.display()))?;
        std::os::unix::fs::symlink(std::path::absolute(&libs)?, home.join("libs"))?;
        let watch = "while read -r _; do :; done; for it in \"$0\"/*/pid; do kill -9 $(cat \"$it\"); done";
        let mut command = Command::new("bash");
        command.args(["-c", watch]).arg(home).stdin(Stdio::piped()).stdout(Stdio::null());
        // Ctrl-C in a terminal is for the storm alone, which then ends the others.
        let watchdog = std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let watchdog = watchdog.stderr(Stdio::null()).spawn().context("starting bash")?;
        let cluster = Self { home: home.to_owned(), base: ports.0, watchdog };
        let via: Vec<_> = (0..hosts)
            .map(|host| format!("{}:{}", ports.to_broker(host, 0), ports.before(host, 0)))
            .collect();
        let (base, brokers) = (ports.0.to_string(), BROKERS.to_string());
        cluster.script(&["start"], &[&base, &brokers], Some(via.join(" ")))?;
        Ok(cluster)
    }

    /// Where no proxy stands.
    pub fn bootstrap(&self) -> String {
        let all: Vec<_> = (0..BROKERS).map(|it| format!("127.0.0.1:{}", self.base + 2 * it)).collect();
        all.join(",")
    }

    pub fn signal(&self, broker: u16, signal: Signal) -> anyhow::Result<()> {
        signal_file(&self.home.join(format!("broker{broker}/pid")), signal)
    }

    /// Waits until its port answers. Blocks.
    pub fn restart(&self, broker: u16) -> anyhow::Result<()> {
        self.script(&["restart"], &[&broker.to_string()], None)
    }

    fn script(&self, before: &[&str], after: &[&str], via: Option<String>) -> anyhow::Result<()> {
        let mut command = Command::new(script());
        command.args(before).arg(&self.home).args(after).stdin(Stdio::null());
        if let Some(via) = via {
            command.env("KAFKA_VIA", via);
        }
        // They start sooner, and a storm is short.
        command.env("KAFKA_HEAP", "384m").env("KAFKA_TIER", "1");
        let command = std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let output = command.output().context("running kafka.sh")?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{command:?} failed: {}\n{said}", output.status);
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for broker in 0..BROKERS {
            // One that is down has no process.
            let _ = self.signal(broker, Signal::KILL);
        }
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../apache-kafka/kafka.sh")
}

/// To the process whose id stands in the file.
pub fn signal_file(file: &Path, signal: Signal) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let id = text.trim().parse().ok().and_then(Pid::from_raw).context("no process id")?;
    kill_process(id, signal).with_context(|| format!("signalling {text}"))
}
