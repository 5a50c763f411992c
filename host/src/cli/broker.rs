//! `drover broker`: the embedded broker alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use drover_broker::{Broker, Config};

use crate::telemetry;

/// Run the embedded Kafka-compatible broker alone: for trying things out and for tests, not for production.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  drover broker --listen 127.0.0.1:9092 --data ./broker-data")]
pub struct BrokerArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: SocketAddr,
    /// Folder that keeps everything; without it all is in memory and gone at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Partitions of a topic that is made because a client asks for it.
    #[arg(long, value_name = "N", default_value_t = 4)]
    partitions: i32,
}

impl BrokerArgs {
    pub fn run(self, out: &mut dyn std::io::Write) -> anyhow::Result<ExitCode> {
        telemetry::start();
        let config = Config {
            listen: self.listen,
            data: self.data.clone(),
            default_partitions: self.partitions,
            ..Config::default()
        };
        let broker = Broker::start(config)?;
        let kept = self.data.map_or_else(|| "in memory".to_owned(), |it| format!("in {}", it.display()));
        writeln!(out, "broker    {}    data {kept}    Ctrl-C ends it", broker.bootstrap())?;
        out.flush()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(super::until_signal())?;
        broker.shutdown();
        Ok(ExitCode::SUCCESS)
    }
}
