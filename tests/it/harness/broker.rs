//! The broker of this run: the embedded one, or Apache Kafka with `DROVER_TEST_BROKER=apache`. One for all tests,
//! started by the first that asks. What a test finds is the same with both.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use drover_broker::{Broker, Config};

/// Keeps the broker for as long as this process lives.
enum Running {
    Embedded(Broker),
    /// The watchdog stops Apache Kafka when its standard input ends, which it does however this process ends.
    Apache {
        bootstrap: String,
        _watchdog: Child,
    },
}

/// Where the broker of this run listens.
pub fn bootstrap() -> String {
    static BROKER: OnceLock<Running> = OnceLock::new();
    match BROKER.get_or_init(start) {
        Running::Embedded(broker) => broker.bootstrap(),
        Running::Apache { bootstrap, .. } => bootstrap.clone(),
    }
}

/// An embedded broker of the test's own, for faults.
pub fn own() -> Broker {
    Broker::start(Config { auto_create: false, ..Config::default() }).unwrap()
}

fn start() -> Running {
    match std::env::var("DROVER_TEST_BROKER").as_deref() {
        Err(_) | Ok("embedded") => Running::Embedded(own()),
        Ok("apache") => apache(),
        Ok(other) => panic!("DROVER_TEST_BROKER is {other:?}; it can be `embedded` or `apache`"),
    }
}

fn apache() -> Running {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("apache-kafka/kafka.sh");
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("apache-kafka");
    needs("java", "Apache Kafka runs on it: install a JRE of 17 or later");
    if !dir.join("libs").read_dir().is_ok_and(|mut it| it.next().is_some()) {
        needs("mvn", "the jars of Apache Kafka are fetched by it, once: install Maven");
        run(Command::new(&script).arg("fetch").arg(&dir));
    }
    let home = dir.join(format!("run-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir_all(&home).unwrap();
    std::os::unix::fs::symlink(dir.join("libs"), home.join("libs")).unwrap();
    let watch = "while read -r _; do :; done; \"$0\" stop \"$1\"; sleep 1; rm -rf \"$1\"";
    let watchdog = Command::new("bash")
        .args(["-c", watch])
        .arg(&script)
        .arg(&home)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let port = two_free_ports();
    run(Command::new(&script).arg("start").arg(&home).arg(port.to_string()).arg("1"));
    Running::Apache { bootstrap: format!("127.0.0.1:{port}"), _watchdog: watchdog }
}

fn needs(program: &str, why: &str) {
    let found = Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "DROVER_TEST_BROKER=apache needs `{program}`, which is not here: {why}");
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {}\n{said}", output.status);
}

/// The first of two neighbours: a broker's and its controller's.
fn two_free_ports() -> u16 {
    let free = |port| std::net::TcpListener::bind(("127.0.0.1", port));
    (0..100)
        .find_map(|_| {
            let first = free(0).ok()?;
            let port = first.local_addr().ok()?.port();
            free(port.checked_add(1)?).ok().map(|_| port)
        })
        .expect("no two free ports side by side")
}
