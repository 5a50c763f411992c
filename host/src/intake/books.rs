//! The lanes of a group, found by topic and partition when a record comes, by slot when one is settled.

use std::collections::HashMap;
use std::sync::Arc;

use super::lane::{Kind, Lane};
use super::{LaneSlots, Shared};
use crate::shard::work::{Ack, LaneTable};

pub struct Books {
    lanes: Vec<Lane>,
    /// (topic, partition) → index.
    places: HashMap<(Arc<str>, i32), usize>,
    /// slot → index.
    slots: HashMap<u32, usize>,
    /// Records come in runs of one partition.
    last: usize,
    table: Arc<LaneTable>,
    free: Arc<LaneSlots>,
    /// Of lanes that are gone.
    pub gone: Gone,
    /// Acknowledgements that came after their lane was given back.
    pub late_acks: u64,
}

/// Sums over lanes that are gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gone {
    pub received: u64,
    pub settled: u64,
    pub dropped: u64,
    /// Settled and not committed: at most so many are done again by their next owner.
    pub repeated: u64,
}

impl Books {
    pub fn new(shared: &Shared) -> Self {
        Self {
            lanes: Vec::new(),
            places: HashMap::new(),
            slots: HashMap::new(),
            last: 0,
            table: Arc::clone(&shared.lanes),
            free: Arc::clone(&shared.slots),
            gone: Gone::default(),
            late_acks: 0,
        }
    }

    /// Opens a lane; that of a rung names its `source`, whose lane is open. False when this process holds as many
    /// lanes as it can.
    pub fn open(
        &mut self,
        (topic, partition): (&str, i32),
        source: Option<&str>,
        position: Option<i64>,
        window: usize,
    ) -> bool {
        let topic: Arc<str> = self.topic(topic);
        let key = (Arc::clone(&topic), partition);
        if self.places.contains_key(&key) {
            return true;
        }
        let Some(slot) = self.free.take() else { return false };
        let epoch = self.free.next_epoch();
        self.table.open(slot, epoch);
        self.places.insert(key, self.lanes.len());
        self.slots.insert(slot, self.lanes.len());
        let source = source.and_then(|it| self.get(it, partition));
        let kind =
            source.map_or(Kind::Source, |it| Kind::Rung { source: Arc::clone(&it.topic), home: it.slot });
        self.lanes.push(Lane::new((topic, partition), (slot, epoch), kind, position, window));
        true
    }

    /// The rungs of these.
    pub fn rungs_of(&self, partitions: &[(String, i32)]) -> Vec<(String, i32)> {
        let mut rungs = Vec::new();
        for lane in &self.lanes {
            if let Kind::Rung { source, .. } = &lane.kind
                && partitions.iter().any(|it| it.1 == lane.partition && *it.0 == **source)
            {
                rungs.push((lane.topic.to_string(), lane.partition));
            }
        }
        rungs
    }

    /// From now on nothing of it is begun but what lies below something that was.
    pub fn end(&self, topic: &str, partition: i32) {
        if let Some(lane) = self.get(topic, partition) {
            self.table.end(lane.slot);
        }
    }

    /// From now on nothing of it is begun.
    pub fn close(&self, topic: &str, partition: i32) {
        if let Some(lane) = self.get(topic, partition) {
            self.table.close(lane.slot);
        }
    }

    pub fn remove(&mut self, topic: &str, partition: i32) {
        let Some(at) = self.place(topic, partition) else { return };
        let lane = self.lanes.swap_remove(at);
        self.table.close(lane.slot);
        self.free.give_back(lane.slot);
        // Received and in no ledger but this one: what is in flight is dropped by this host.
        self.gone.received += lane.received;
        self.gone.settled += lane.settled;
        self.gone.dropped += lane.received - lane.settled;
        self.gone.repeated += lane.uncommitted();
        self.index();
    }

    /// Its log was cut below what was received: a new epoch, so that old acknowledgements change nothing.
    pub fn restart(&mut self, at: usize) {
        let epoch = self.free.next_epoch();
        let lane = &mut self.lanes[at];
        self.table.open(lane.slot, epoch);
        lane.restart(epoch);
    }

    pub fn acknowledge(&mut self, ack: &Ack) {
        let ticket = &ack.ticket;
        let lane = self.slots.get(&ticket.lane).map(|at| &mut self.lanes[*at]);
        match lane.filter(|it| it.epoch == ticket.epoch) {
            Some(lane) => lane.acknowledge(ticket.offset, ticket.bytes, ack.settled),
            None => self.late_acks += 1,
        }
    }

    /// Where the lane of a record is.
    pub fn place_of(&mut self, topic: &Arc<str>, partition: i32) -> Option<usize> {
        if let Some(lane) = self.lanes.get(self.last)
            && lane.partition == partition
            && (Arc::ptr_eq(&lane.topic, topic) || lane.topic == *topic)
        {
            return Some(self.last);
        }
        self.last = *self.places.get(&(Arc::clone(topic), partition))?;
        Some(self.last)
    }

    pub fn at(&mut self, place: usize) -> &mut Lane {
        &mut self.lanes[place]
    }

    pub fn get(&self, topic: &str, partition: i32) -> Option<&Lane> {
        self.place(topic, partition).map(|at| &self.lanes[at])
    }

    pub fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Lane> {
        self.place(topic, partition).map(|at| &mut self.lanes[at])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut()
    }

    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    fn place(&self, topic: &str, partition: i32) -> Option<usize> {
        self.lanes.iter().position(|it| it.partition == partition && &*it.topic == topic)
    }

    /// One allocation for a topic's name, however many partitions it has.
    fn topic(&self, name: &str) -> Arc<str> {
        let known = self.lanes.iter().find(|it| &*it.topic == name);
        known.map_or_else(|| name.into(), |it| Arc::clone(&it.topic))
    }

    fn index(&mut self) {
        self.last = 0;
        self.places.clear();
        self.slots.clear();
        for (at, lane) in self.lanes.iter().enumerate() {
            self.places.insert((Arc::clone(&lane.topic), lane.partition), at);
            self.slots.insert(lane.slot, at);
        }
    }
}
