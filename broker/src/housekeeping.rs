//! What time brings: sessions end, transactions time out, segments roll, records and offsets grow old.
use crate::server::Shared;
use crate::state::{State, now_ms};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How closely sessions and transactions are watched.
const WATCH: Duration = Duration::from_millis(50);
/// As Kafka's `producer.id.expiration.ms`.
const PRODUCER_KEPT_MS: i64 = 24 * 3600 * 1000;

pub(crate) async fn run(shared: Rc<Shared>) {
    let mut tick = tokio::time::interval(WATCH);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut chores_at = Instant::now() + shared.config.housekeeping;
    loop {
        tick.tick().await;
        let now = Instant::now();
        let mut state = shared.state();
        for group in state.groups.values_mut() {
            group.tick(now);
        }
        state.abort_late_transactions(now_ms());
        if now >= chores_at {
            state.tidy(&shared, now_ms());
            chores_at = Instant::now() + shared.config.housekeeping;
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
        for (name, topic) in &mut self.topics {
            for (partition, log) in topic.partitions.iter_mut().enumerate() {
                log.producers.forget_idle(now_ms - PRODUCER_KEPT_MS);
                if let Err(failure) = log.tidy(&topic.settings, now_ms) {
                    tracing::error!(topic = name, partition, %failure, "a partition cannot be tidied up");
                }
            }
        }
    }
}
