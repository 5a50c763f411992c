//! `drover dev`: everything on one machine in one process, set up by itself: broker, services, routes, doors.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use drover_broker::{Broker, Config};
use tokio::task::JoinHandle;

use super::demo::{self, Manner};
use super::progress::Progress;
use crate::app::{App, Signals};
use crate::config::parts::Origin;
use crate::kafka::ClientSettings;
use crate::kafka::topics::{NewTopicSettings, Topics};
use crate::plugin::standard;
use crate::telemetry;

/// Try drover: a broker, two demo services, routes, plugins and both doors in this process.
///
/// All of its files lie in one folder; a second start goes on with them. Edit the YAML there while it runs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  drover dev\n  drover dev --data ./try --ports 20000")]
pub struct Dev {
    /// Folder for the broker's data, the configuration and the plugins; made where it is missing.
    #[arg(long, value_name = "DIR", default_value = "drover-dev")]
    data: PathBuf,
    /// The first of six ports in a row: broker, producers' door, operators' door, three demo servers.
    #[arg(long, value_name = "PORT", default_value_t = 19_092)]
    ports: u16,
}

/// Addresses of everything, one behind the other.
struct Places {
    broker: SocketAddr,
    gateway: SocketAddr,
    admin: SocketAddr,
    slow: [SocketAddr; 2],
    flaky: SocketAddr,
}

const TOPIC: &str = "demo";

impl Dev {
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        telemetry::start_quiet();
        anyhow::ensure!(self.ports <= u16::MAX - 5, "--ports leaves no room for six ports");
        let places = Places::from(self.ports);
        writeln!(out, "drover dev: everything on this machine, kept in {}", self.data.display())?;
        let main = write_files(&self.data, &places)?;
        let broker = Broker::start(Config {
            listen: places.broker,
            data: Some(self.data.join("broker")),
            default_partitions: 4,
            ..Config::default()
        })
        .map_err(|it| anyhow::anyhow!("{it}: choose other ports by --ports, or another folder by --data"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let services = runtime.block_on(async {
            make_topic(&broker.bootstrap()).await?;
            let slow = [
                demo::start("greetings (slow)", Manner::Slow, places.slow[0]).await?,
                demo::start("greetings (slow)", Manner::Slow, places.slow[1]).await?,
            ];
            let flaky = demo::start("payments (flaky)", Manner::Flaky, places.flaky).await?;
            anyhow::Ok(slow.into_iter().chain([flaky]).collect::<Vec<_>>())
        })?;
        let origin = Origin::disk(&main);
        let mut parts = origin.parts().map_err(|it| anyhow::anyhow!("{}", it.join("\n")))?;
        parts.hears_signals = true;
        let client = parts.client.clone();
        let mut app = App::start(parts)?;
        let signals = app.signals.take();
        tour(out, &self.data, &places)?;
        app.runtime().block_on(watch(&app, signals, &client))?;
        writeln!(out, "stopping: what is in flight ends, a second Ctrl-C does not wait for it")?;
        app.stop()?;
        services.iter().for_each(JoinHandle::abort);
        broker.shutdown();
        writeln!(out, "stopped; `drover dev` goes on where it was")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Places {
    fn from(first: u16) -> Self {
        let at = |step: u16| SocketAddr::from(([127, 0, 0, 1], first + step));
        Self { broker: at(0), gateway: at(1), admin: at(2), slow: [at(3), at(4)], flaky: at(5) }
    }
}

/// The configuration and the components to swap in. What is there already is the user's and stays, but for
/// the addresses' sake `drover.yaml` says which ports it was made with.
fn write_files(data: &Path, places: &Places) -> anyhow::Result<PathBuf> {
    let folder = |name: &str| -> anyhow::Result<PathBuf> {
        let path = data.join(name);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    };
    let config = folder("config")?;
    folder("config/apps")?;
    let plugins = folder("plugins")?;
    for (name, component) in standard::STANDARD {
        let path = plugins.join(format!("{name}.wasm"));
        fs::write(&path, component).with_context(|| format!("writing {}", path.display()))?;
    }
    let fill = |text: &str| {
        text.replace("{broker}", &places.broker.to_string())
            .replace("{gateway}", &places.gateway.to_string())
            .replace("{admin}", &places.admin.to_string())
            .replace("{slow-1}", &places.slow[0].to_string())
            .replace("{slow-2}", &places.slow[1].to_string())
            .replace("{flaky}", &places.flaky.to_string())
    };
    let main = config.join("drover.yaml");
    let files = [
        (main.clone(), include_str!("dev/drover.yaml")),
        (config.join("apps/greetings.yaml"), include_str!("dev/greetings.yaml")),
        (config.join("apps/payments.yaml"), include_str!("dev/payments.yaml")),
    ];
    let made_here = fs::read_to_string(&main).is_ok_and(|it| it.contains(&places.broker.to_string()));
    for (path, text) in files {
        if !made_here || !path.exists() {
            fs::write(&path, fill(text)).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(main)
}

async fn make_topic(bootstrap: &str) -> anyhow::Result<()> {
    let client = ClientSettings { brokers: vec![bootstrap.to_owned()], ..ClientSettings::default() };
    let topic =
        NewTopicSettings { name: TOPIC.to_owned(), partitions: 4, replication: 1, config: Vec::new() };
    Topics::new(&client)?.ensure(&topic).await?;
    Ok(())
}

/// What runs where, and what to try.
fn tour(out: &mut dyn Write, data: &Path, places: &Places) -> std::io::Result<()> {
    let Places { broker, gateway, admin, slow, flaky } = places;
    let data = data.display();
    writeln!(
        out,
        "
  broker           {broker}    topic {TOPIC}, 4 partitions
  producers' door  http://{gateway}
  operators' door  http://{admin}
  greetings        http://{} and http://{}    slow; command greet, handler greet, selector round-robin
  payments         http://{flaky}    flaky; command pay, handler json-rpc-errno, selector least-loaded
  configuration    {data}/config    edit it while this runs

Send:
  curl -s http://{gateway}/v1/messages -H 'content-type: application/json' -d '{{\"command\":\"greet\",\"key\":\"ann\",\"data\":{{\"name\":\"Ann\"}}}}'
  curl -s http://{gateway}/v1/messages -H 'content-type: application/json' -d '{{\"command\":\"pay\",\"key\":\"ann\",\"data\":{{\"amount\":5}}}}'
Watch:
  curl -s http://{}/seen
  curl -s http://{flaky}/seen
  curl -s http://{admin}/stats
Swap a plugin under way (greetings come as CloudEvents from then on), and back:
  curl -s -T {data}/plugins/cloudevents.wasm http://{admin}/v1/plugins/greet
  curl -s -T {data}/plugins/forward.wasm http://{admin}/v1/plugins/greet

Ctrl-C drains and ends.
",
        slow[0], slow[1], slow[0]
    )?;
    out.flush()
}

/// Until a signal; shows the line meanwhile.
async fn watch(app: &App, signals: Option<Signals>, client: &ClientSettings) -> anyhow::Result<()> {
    let topics = Topics::new(client)?;
    let mut progress = Progress::new();
    let told = super::run::until_told(app, signals);
    tokio::pin!(told);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let ended = loop {
        tokio::select! {
            it = &mut told => break it,
            _ = tick.tick() => {
                let report = app.control.report();
                let topics = topics.clone();
                let ends = tokio::task::spawn_blocking(move || topics.ends(TOPIC, Duration::from_secs(1)));
                let lag = ends.await.ok().and_then(Result::ok).map(|ends| lag(&report, &ends));
                progress.show(&report, lag);
            }
        }
    };
    progress.end();
    ended
}

/// Records between what is settled and the ends of the log.
fn lag(report: &crate::control::Report, ends: &[(i64, i64)]) -> i64 {
    let lanes = || report.groups.iter().flat_map(|it| &it.lanes);
    let of = |(partition, (first, end)): (usize, &(i64, i64))| {
        let lane = lanes().find(|it| it.topic == TOPIC && it.partition == partition as i32);
        end - lane.and_then(|it| it.low.or(it.committed)).unwrap_or(*first)
    };
    ends.iter().enumerate().map(of).sum()
}
