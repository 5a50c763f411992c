//! A host under test: YAML on disk, as an operator writes it; in this process, or in one of its own that can be
//! killed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use clap::Parser as _;
use drover::app::App;
use drover::config::parts::Origin;
use drover::control::Control;

use super::case::Case;

/// What a host is to be started with.
#[derive(Clone)]
pub struct Setup {
    dir: PathBuf,
    prefix: String,
    main: String,
    groups: String,
    apps: Vec<(String, String)>,
    control_topic: String,
}

impl Setup {
    pub fn new(case: &Case) -> Self {
        Self {
            dir: case.dir().to_owned(),
            prefix: case.named(""),
            main: format!("kafka: {{brokers: ['{}']}}\nshards: 2\n", case.kafka.bootstrap),
            groups: String::new(),
            apps: Vec::new(),
            control_topic: case.named("control"),
        }
    }

    /// The group `g`, with further keys as lines of YAML.
    #[must_use]
    pub fn reads(self, topic: &str, keys: &str) -> Self {
        self.group("g", &[topic], keys)
    }

    #[must_use]
    pub fn group(mut self, name: &str, topics: &[&str], keys: &str) -> Self {
        let topics = topics.join(", ");
        // Writing to a String cannot fail.
        let _ = write!(self.groups, "- name: {}{name}\n  topics: [{topics}]\n", self.prefix);
        for key in ["commit-every-ms: 20", "session-timeout-ms: 6000"] {
            let name = key.split(':').next().unwrap();
            if !keys.contains(name) {
                let _ = writeln!(self.groups, "  {key}");
            }
        }
        for line in keys.lines() {
            let _ = writeln!(self.groups, "  {line}");
        }
        self
    }

    /// A file in `apps`.
    #[must_use]
    pub fn app(mut self, name: &str, yaml: &str) -> Self {
        self.apps.push((name.to_owned(), yaml.to_owned()));
        self
    }

    /// Further sections of `drover.yaml`.
    #[must_use]
    pub fn main(mut self, yaml: &str) -> Self {
        self.main += yaml.trim_end();
        self.main.push('\n');
        self
    }

    /// With files of its own, which no other host of the test writes.
    #[must_use]
    pub fn apart(mut self, name: &str) -> Self {
        self.dir.push(name);
        self
    }

    /// Writes the files; the path of the main one.
    pub fn write(&self) -> PathBuf {
        let apps = self.dir.join("apps");
        std::fs::create_dir_all(&apps).unwrap();
        for (name, yaml) in &self.apps {
            std::fs::write(apps.join(format!("{name}.yaml")), yaml).unwrap();
        }
        let path = self.dir.join("drover.yaml");
        let mut main = self.main.clone();
        // Several hosts of this process cannot share a port.
        for door in ["gateway", "admin"] {
            if !main.lines().any(|it| it.starts_with(door)) {
                let _ = writeln!(main, "{door}: {{listen: '127.0.0.1:0'}}");
            }
        }
        std::fs::write(&path, format!("{main}groups:\n{}", self.groups)).unwrap();
        path
    }

    #[track_caller]
    pub fn start(&self) -> Host {
        self.try_start().unwrap_or_else(|error| panic!("the host does not start: {error:#}"))
    }

    pub fn try_start(&self) -> anyhow::Result<Host> {
        let path = self.write();
        let mut parts = Origin::disk(&path).parts().map_err(|it| anyhow::anyhow!("{}", it.join("\n")))?;
        parts.control_topic.clone_from(&self.control_topic);
        Ok(Host { app: Some(App::start(parts)?), path })
    }

    /// As [`Self::spawn`], but it stops at a place of `failpoint` and says so on its stdout.
    pub fn spawn_to_stop_at(&self, place: &str) -> ChildHost {
        self.spawn(&[("DROVER_FAILPOINT", place)])
    }

    /// In a process of its own, with what it logs.
    pub fn spawn_heard(&self) -> (ChildHost, ChildStderr) {
        let path = self.write();
        let mut command = command(&["run", "--config", path.to_str().unwrap()], &[]);
        let mut host = command.env_remove("DROVER_LOG").stderr(Stdio::piped()).spawn().unwrap();
        let log = host.stderr.take().unwrap();
        (ChildHost(host), log)
    }

    /// In a process of its own.
    pub fn spawn(&self, variables: &[(&str, &str)]) -> ChildHost {
        let path = self.write();
        spawn_command(&["run", "--config", path.to_str().unwrap()], variables)
    }
}

/// `drover` with these words, in a process of its own: this binary, started again to run [`child`].
pub fn spawn_command(words: &[&str], variables: &[(&str, &str)]) -> ChildHost {
    let mut command = command(words, variables);
    if std::env::var_os("RUST_LOG").is_none() {
        command.stderr(Stdio::null());
    }
    ChildHost(command.spawn().unwrap())
}

fn command(words: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_host", "--nocapture", "--test-threads", "1"]);
    command.env(CHILD, words.join(BETWEEN)).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

const CHILD: &str = "DROVER_TEST_CHILD";
const BETWEEN: &str = "\u{1f}";

/// The body of the test that a child process runs: a `drover` command. In the tests' own process nothing.
pub fn child() {
    let Ok(words) = std::env::var(CHILD) else { return };
    let words = std::iter::once("drover").chain(words.split(BETWEEN));
    let mut out = std::io::stdout();
    match drover::cli::Cli::parse_from(words).run(&mut out) {
        Ok(code) if code == std::process::ExitCode::SUCCESS => {}
        Ok(_) => std::process::exit(1),
        Err(error) => {
            let _ = writeln!(out, "drover: {error:#}");
            std::process::exit(1);
        }
    }
}

/// A host in this process. A test that passes stops it; one that fails lets it go on.
pub struct Host {
    app: Option<App>,
    path: PathBuf,
}

impl Host {
    pub fn control(&self) -> &Control {
        &self.app.as_ref().unwrap().control
    }

    /// Where it serves producers.
    pub fn gateway(&self) -> SocketAddr {
        self.app.as_ref().unwrap().gateway_address().unwrap()
    }

    /// Where it serves operators.
    pub fn admin(&self) -> SocketAddr {
        self.app.as_ref().unwrap().admin_address().unwrap()
    }

    /// Its `drover.yaml`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_running(&self) -> bool {
        self.app.as_ref().unwrap().is_running()
    }

    /// Waits for an answer of the control plane.
    pub fn block_on<T>(&self, asked: impl Future<Output = T>) -> T {
        self.app.as_ref().unwrap().runtime().block_on(asked)
    }

    /// Drains, commits, leaves.
    #[track_caller]
    pub fn stop(mut self) {
        let app = self.app.take().unwrap();
        assert!(app.is_running(), "every part ran to the end");
        app.stop().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The test has failed: no time is lost with its end, and its message stands alone.
        if let Some(app) = self.app.take() {
            std::mem::forget(app);
        }
    }
}

/// A host in a process of its own; killed when it is dropped.
pub struct ChildHost(Child);

impl ChildHost {
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// What it says on stdout; once.
    pub fn take_output(&mut self) -> std::process::ChildStdout {
        self.0.stdout.take().unwrap()
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end: the exit code, none after a signal.
    pub fn wait(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for ChildHost {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
