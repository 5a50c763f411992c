//! `drover run` in processes of their own, each behind proxies of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::cluster::{BROKERS, Ports, signal_file};
use crate::proxy::{Net, Proxy};
use crate::service::Services;

pub const GROUP: &str = "storm";
pub const TOPIC: &str = "orders";
pub const DEAD_TOPIC: &str = "storm.dead";
/// The handler that is exchanged.
const HANDLER_NAME: &str = "mine";
const HANDLER: &[u8] = include_bytes!(env!("HANDLER"));

/// Longer than a drain, a stop and a start of a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Host {
    number: u16,
    drover: PathBuf,
    dir: PathBuf,
    admin: u16,
    service: Proxy,
    kafka: Vec<Proxy>,
    child: Option<Child>,
}

impl Host {
    pub async fn new(
        drover: &Path,
        home: &Path,
        ports: Ports,
        number: u16,
        services: &Arc<Services>,
    ) -> anyhow::Result<Self> {
        let service = Proxy::start(0, services.open(number).await?).await?;
        let mut kafka = Vec::new();
        for broker in 0..BROKERS {
            let to = SocketAddr::from(([127, 0, 0, 1], ports.to_broker(number, broker)));
            kafka.push(Proxy::start(ports.before(number, broker), to).await?);
        }
        let dir = home.join(format!("host{number}"));
        std::fs::create_dir_all(dir.join("apps"))?;
        let admin = ports.admin(number);
        let host = Self { number, drover: drover.to_owned(), dir, admin, service, kafka, child: None };
        let brokers: Vec<_> = host.kafka.iter().map(|it| format!("'{}'", it.address)).collect();
        let main = format!(
            "kafka: {{brokers: [{}]}}\nshards: 2\nlog: info\ngateway: {{listen: ~}}\n\
             admin: {{listen: '127.0.0.1:{admin}'}}\nplugins: [{{name: {HANDLER_NAME}, use: forward}}]\n\
             groups:\n- name: {GROUP}\n  topics: [{TOPIC}]\n  session-timeout-ms: 6000\n  commit-every-ms: 200\n  \
             drain-ms: 10000\n  dead-letters: {{partitions: 3, create: true}}\n",
            brokers.join(", ")
        );
        std::fs::write(host.config(), main)?;
        host.write_app(0)?;
        Ok(host)
    }

    fn config(&self) -> PathBuf {
        self.dir.join("drover.yaml")
    }

    /// `version` makes it another one, which means the same.
    fn write_app(&self, version: u64) -> anyhow::Result<()> {
        let app = format!(
            "servers: ['{}']\nhandler: {HANDLER_NAME}\ntimeout-ms: {}\n\
             retry: {{attempts: 6, first-ms: 50, most-ms: 2000}}\neject: {{after: 1000000}}\ncommands: [pay]\n",
            self.service.address,
            2_000 + version % 2
        );
        std::fs::write(self.dir.join("apps/shop.yaml"), app).context("writing the app's file")
    }

    /// On the main thread: the host ends with the thread that starts it.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.dir.join("log"))?;
        let child = Command::new(&self.drover)
            .args(["run", "--ends-with-parent", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.drover.display()))?;
        let id = child.id().context("the host has ended at once")?;
        std::fs::write(self.pid_file(), id.to_string())?;
        self.child = Some(child);
        Ok(())
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        signal_file(&self.pid_file(), signal)
    }

    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.context("killing a host")?;
            std::fs::remove_file(self.pid_file())?;
        }
        Ok(())
    }

    /// Drains and leaves. An error where it does not, and then it is killed.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let child = self.child.as_mut().context("it does not run")?;
        signal_file(&self.dir.join("pid"), Signal::TERM)?;
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        if let Ok(status) = ended {
            self.child = None;
            std::fs::remove_file(self.pid_file())?;
            return Ok(status?);
        }
        self.kill().await?;
        anyhow::bail!("host {} did not stop within {} s of SIGTERM", self.number, PATIENCE.as_secs())
    }

    /// Its exit, where it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    pub async fn until_ready(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.ended() {
                anyhow::bail!("host {} ended: {status}; see {}", self.number, self.dir.join("log").display());
            }
            if self.call("GET", "/readyz", b"").await.is_ok_and(|it| it.0 == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::bail!("host {} was not ready within {} s", self.number, PATIENCE.as_secs())
    }

    pub async fn reload(&self, version: u64) -> anyhow::Result<()> {
        self.write_app(version)?;
        let (status, said) = self.call("POST", "/v1/reload", b"").await?;
        anyhow::ensure!(status == 200, "host {}: reload: {status} {said}", self.number);
        Ok(())
    }

    /// Uploads the handler as another version: the same code with a section more.
    pub async fn swap(&self, version: u64) -> anyhow::Result<()> {
        let mut component = HANDLER.to_vec();
        let text = version.to_string();
        // A custom section: 0, its length, its name with its length, anything.
        component.extend([0, (text.len() + 6) as u8, 5]);
        component.extend_from_slice(b"storm");
        component.extend_from_slice(text.as_bytes());
        let (status, said) = self.call("PUT", &format!("/v1/plugins/{HANDLER_NAME}"), &component).await?;
        anyhow::ensure!(status == 200, "host {}: upload: {status} {said}", self.number);
        Ok(())
    }

    pub fn to_kafka(&self, net: Net) {
        self.kafka.iter().for_each(|it| it.set(net));
    }

    pub fn to_services(&self, net: Net) {
        self.service.set(net);
    }

    /// One request to the operators' door: status, and all that came.
    async fn call(&self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<(u16, String)> {
        let call = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).await?;
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body).await?;
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await?;
            let said = String::from_utf8_lossy(&said).into_owned();
            let status = said.split(' ').nth(1).and_then(|it| it.parse().ok()).context("no answer")?;
            anyhow::Ok((status, said))
        };
        tokio::time::timeout(PATIENCE, call).await.context("the operators' door does not answer")?
    }
}
