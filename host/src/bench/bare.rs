//! What the bare loops have in common: what they are told, and the consumer's settings, which are tuned as
//! ours are, so that what is compared is the loop.

use clap::Args;
use rdkafka::ClientConfig;

/// What a bare loop is started with.
#[derive(Args, Clone, Debug)]
pub struct Bare {
    #[arg(long)]
    pub brokers: String,
    #[arg(long)]
    pub topic: String,
    #[arg(long)]
    pub group: String,
    #[arg(long)]
    pub partitions: i32,
    /// Messages in the topic.
    #[arg(long)]
    pub messages: u64,
    /// Address of the sink.
    #[arg(long)]
    pub sink: String,
    #[arg(long)]
    pub in_flight: usize,
}

impl Bare {
    /// As its child's command line has it.
    pub fn arguments(&self) -> Vec<String> {
        [
            ("--brokers", self.brokers.clone()),
            ("--topic", self.topic.clone()),
            ("--group", self.group.clone()),
            ("--partitions", self.partitions.to_string()),
            ("--messages", self.messages.to_string()),
            ("--sink", self.sink.clone()),
            ("--in-flight", self.in_flight.to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }
}

pub fn client_config(bare: &Bare) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &bare.brokers);
    config.set("group.id", &bare.group);
    config.set("auto.offset.reset", "earliest");
    config.set("enable.auto.commit", "true");
    config.set("queued.max.messages.kbytes", "16384");
    config.set("queued.min.messages", "10000");
    // The default fetches for a quarter of the time only; see docs/decisions/0003-one-queue.md.
    config.set("fetch.queue.backoff.ms", "10");
    config
}
