//! What time brings: sessions end, transactions time out, segments roll, records and offsets grow old.
use crate::server::Shared;
use crate::state::{State, now_ms};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How closely sessions and transactions are watched.
const WATCH: Duration = Duration::from_millis(50);
/// Chores take so long at a time, or one partition's.
const TURN: Duration = Duration::from_millis(20);
/// As Kafka's `producer.id.expiration.ms`.
const PRODUCER_KEPT_MS: i64 = 24 * 3600 * 1000;

pub(crate) async fn run(shared: Rc<Shared>) {
    let mut tick = tokio::time::interval(WATCH);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut chores_at = Instant::now() + shared.config.housekeeping;
    loop {
        tick.tick().await;
        let now = Instant::now();
        watch(&shared, now);
        if now >= chores_at {
            shared.state().tidy(&shared, now_ms());
            tidy_partitions(&shared).await;
            chores_at = Instant::now() + shared.config.housekeeping;
        }
    }
}

fn watch(shared: &Shared, now: Instant) {
    let mut state = shared.state();
    for group in state.groups.values_mut() {
        group.tick(now);
    }
    state.abort_late_transactions(now_ms());
}

/// One partition after the other; where it takes long (compaction does), clients have their turn in between.
async fn tidy_partitions(shared: &Shared) {
    let topics: Vec<String> = shared.state().topics.keys().cloned().collect();
    let mut turn_ends = Instant::now() + TURN;
    for topic in topics {
        for partition in 0.. {
            // a topic may be deleted, and others may come, between two turns
            if !shared.state().tidy_partition(&topic, partition, now_ms()) {
                break;
            }
            if Instant::now() >= turn_ends {
                tokio::task::yield_now().await;
                watch(shared, Instant::now());
                turn_ends = Instant::now() + TURN;
            }
        }
    }
}

impl State {
    fn tidy(&mut self, shared: &Shared, now_ms: i64) {
        let offsets_kept = shared.config.offsets_kept.as_millis() as i64;
        let outcome = self
            .expire_offsets(offsets_kept, now_ms)
            .and_then(|()| self.expire_transactional_ids(offsets_kept, now_ms));
        if let Err(refusal) = outcome {
            tracing::error!(?refusal, "old offsets stay");
        }
        self.finish_decided_transactions(); // after a disk that failed for a while
        let offsets = &self.offsets;
        self.groups.retain(|name, group| !group.is_forgettable() || offsets.of(name).is_some());
    }

    /// False: there is no such partition.
    fn tidy_partition(&mut self, topic: &str, partition: i32, now_ms: i64) -> bool {
        let Some(known) = self.topics.get_mut(topic) else { return false };
        let Some(log) = known.partitions.get_mut(partition as usize) else { return false };
        log.producers.forget_idle(now_ms - PRODUCER_KEPT_MS);
        if let Err(failure) = log.tidy(&known.settings, now_ms) {
            tracing::error!(topic, partition, %failure, "a partition cannot be tidied up");
        }
        true
    }
}
