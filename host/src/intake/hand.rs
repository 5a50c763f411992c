//! Which shard gets a record, and one batch for each shard and turn.

use std::sync::Arc;

use super::lane::{Kind, Lane};
use crate::domain::app::Order;
use crate::domain::hash::hash;
use crate::domain::headers;
use crate::domain::record::Record;
use crate::shard::Input;
use crate::shard::appetite::Appetite;
use crate::shard::work::{Ticket, Work};

pub struct Hand {
    group: u16,
    order: Order,
    order_header: Option<String>,
    shards: Vec<tokio::sync::mpsc::UnboundedSender<Input>>,
    batches: Vec<Vec<Work>>,
    appetite: Arc<Appetite>,
}

impl Hand {
    pub fn new(config: &super::Config, seat: u16, shared: &super::Shared) -> Self {
        Self {
            group: seat,
            order: config.order,
            order_header: config.order_header.clone(),
            batches: shared.shards.iter().map(|_| Vec::new()).collect(),
            shards: shared.shards.clone(),
            appetite: Arc::clone(&shared.appetite),
        }
    }

    pub fn put(&mut self, lane: &Lane, record: Record, now_ms: u64) {
        let named = self.order_header.as_deref().and_then(|it| headers::find(record.headers(), it));
        let key = named.or_else(|| record.key());
        // Without a key there is no order to keep: the offset spreads them evenly.
        let hash = key.map_or(record.offset as u64, hash);
        let shards = self.batches.len() as u64;
        let shard = match self.order {
            Order::Partition => match lane.kind {
                Kind::Source => u64::from(lane.slot) % shards,
                Kind::Rung { home, .. } => u64::from(home) % shards,
            },
            Order::Key => hash % shards,
            Order::None => record.offset as u64 % shards,
        };
        let ticket = Ticket {
            group: self.group,
            lane: lane.slot,
            epoch: lane.epoch,
            offset: record.offset,
            bytes: record.bytes() as u32,
        };
        self.batches[shard as usize].push(Work {
            ticket,
            hash,
            received_ms: now_ms,
            is_from_rung: lane.kind != Kind::Source,
            record,
        });
    }

    /// Sends what was put. False when a shard is gone: then this process has to end.
    #[must_use = "a lost shard ends the process"]
    pub fn send(&mut self) -> bool {
        let mut sent = true;
        for (at, (batch, shard)) in self.batches.iter_mut().zip(&self.shards).enumerate() {
            if !batch.is_empty() {
                let room = batch.len();
                self.appetite.sent(at, room);
                let batch = std::mem::replace(batch, Vec::with_capacity(room));
                sent &= shard.send(Input::Work(batch)).is_ok();
            }
        }
        sent
    }

    /// Has the shards drop what waits of closed lanes.
    pub fn sweep(&self) {
        for shard in &self.shards {
            let _ = shard.send(Input::Sweep);
        }
    }
}

/// A record out of the client's memory.
pub fn copy(it: &crate::kafka::consumer::Taken<'_>) -> Record {
    let place = (Arc::clone(it.topic), it.partition, it.offset);
    Record::new(place, it.timestamp_ms, it.key, it.value, it.headers)
}
