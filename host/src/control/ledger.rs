//! The control topic: written here alone, read by everyone, also by the host that wrote. What a host runs is
//! what it has read back, never what it has sent.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::domain::ledger::{Entry, Ledger};
use crate::kafka::reader::{self, Read, Reader};
use crate::kafka::topics::{NewTopicSettings, Topics};
use crate::kafka::{ClientSettings, Error};
use crate::outbox::{Outbox, Outgoing};

/// The control topic's usual name.
pub const TOPIC: &str = "_drover.control";

/// The log, read to its end and followed on.
pub struct Followed {
    pub ledger: Ledger,
    pub news: mpsc::Receiver<Read>,
    _reader: Reader,
}

/// Makes the topic where it is missing and reads what it holds.
pub async fn open(client: &ClientSettings, topics: &Topics, topic: &str) -> Result<Followed, Error> {
    let settings = NewTopicSettings {
        name: topic.to_owned(),
        partitions: 1,
        replication: -1,
        config: vec![
            ("cleanup.policy".to_owned(), "compact".to_owned()),
            ("max.message.bytes".to_owned(), "1048588".to_owned()),
        ],
    };
    if topics.ensure(&settings).await? {
        tracing::info!(topic, "made the control topic");
    }
    let (reader, mut news) = reader::start(client, topic)?;
    let mut ledger = Ledger::default();
    let read = async {
        while let Some(read) = news.recv().await {
            match read {
                Read::Record { key, value, .. } => drop(ledger.apply(&key, value.as_ref())),
                Read::End => return true,
            }
        }
        false
    };
    match tokio::time::timeout(Duration::from_secs(60), read).await {
        Ok(true) => Ok(Followed { ledger, news, _reader: reader }),
        Ok(false) | Err(_) => Err(Error::Request {
            doing: format!("reading topic {topic}"),
            detail: "its end was not reached within 60 s".to_owned(),
            transient: true,
        }),
    }
}

/// Writes these in order, each acknowledged by all before the next.
pub async fn append(outbox: &Outbox, topic: &str, entries: &[Entry]) -> Result<(), Error> {
    for it in entries {
        let record = Outgoing {
            topic,
            partition: Some(0),
            key: Some(it.key.as_bytes()),
            value: Some(&it.value),
            ..Outgoing::default()
        };
        outbox.write(&record).await?;
    }
    Ok(())
}
