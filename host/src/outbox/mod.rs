//! Stage 3, the only writer of messages: what is written here is replicated before anyone is told so.
//! Shared by all threads; a shard awaits its own records' reports.

mod context;
pub mod rungs;

use std::sync::Arc;
use std::time::Duration;

pub use context::{Ended, dead_headers};

use crate::kafka::ClientSettings;
pub use crate::kafka::Error;
pub use crate::kafka::producer::{Outgoing, Position};
use crate::kafka::producer::{Producer, ProducerSettings};

/// Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    producer: Arc<Producer>,
}

impl Outbox {
    pub fn start(client: &ClientSettings, settings: &ProducerSettings) -> Result<Self, Error> {
        Ok(Self { producer: Arc::new(Producer::new(client, settings)?) })
    }

    /// Writes one record; resolves when the brokers have it (acks=all), or have refused it.
    pub async fn write(&self, record: &Outgoing<'_>) -> Result<Position, Error> {
        let report = self.producer.send(record)?;
        report.await.unwrap_or_else(|_| {
            Err(Error::Request {
                doing: format!("writing to topic {}", record.topic),
                detail: "the producer was closed".to_owned(),
                transient: true,
            })
        })
    }

    /// How many partitions a topic has; 0 for none such. Blocks.
    pub fn partitions(&self, topic: &str, wait: Duration) -> Result<i32, Error> {
        self.producer.partitions(topic, wait)
    }

    pub fn queued(&self) -> usize {
        self.producer.queued()
    }

    /// Waits until all that was queued is written or given up. Blocks.
    pub fn flush(&self, wait: Duration) -> Result<(), Error> {
        self.producer.flush(wait)
    }
}
