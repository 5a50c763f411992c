//! Where an attempt waits for its app: while a breaker is open, for its turn on the way back, while the service throttles.
//! Nothing is sent and no attempt is counted meanwhile (S84, S105); its key, its place and its offset wait with it, so that
//! windows fill and the intake pauses.

use std::time::Duration;

use super::Shard;
use super::admit::{Job, RouteHere, share_of};
use super::apps::AppHere;
use super::work::Ticket;
use crate::clock;
use crate::metrics::Wait;

/// Why an attempt does not go now.
pub struct Hold {
    wait: Wait,
    pause: Duration,
}

impl Shard {
    /// Asked for each attempt: a few loads of what rarely changes.
    pub(super) fn held_back(&self, job: &Job, route: &RouteHere) -> Option<Hold> {
        let app = route.app.as_ref()?;
        if let Some(pause_ms) = app.broken(self, job) {
            return Some(Hold { wait: Wait::Breaker, pause: self.about(Duration::from_millis(pause_ms)) });
        }
        let wait_ns = app.admission().throttle(clock::monotonic_ns)?;
        Some(Hold { wait: Wait::Throttled, pause: self.about(Duration::from_nanos(wait_ns)) })
    }

    /// Until it is worth asking again, or its lane ends.
    pub(super) async fn hold(&self, ticket: &Ticket, hold: Hold) {
        let _waiting = self.shared.counters.waits.begin(hold.wait);
        self.sleep(ticket, hold.pause).await;
    }

    /// For one that was let go and waited for something else meanwhile.
    pub(super) async fn hold_while_closed(&self, job: &Job, app: &AppHere) {
        while let Some(pause_ms) = app.closed(self, job) {
            if !self.shared.lanes.is_live(&job.ticket) {
                return;
            }
            let pause = Duration::from_millis(pause_ms);
            Box::pin(self.hold(&job.ticket, Hold { wait: Wait::Breaker, pause })).await;
        }
    }

    /// What this shard may have under way of an adaptive app; 0: no limit.
    pub(super) fn room(&self, app: &AppHere) -> u32 {
        share_of(app.admission().under_way_most(), self.index, self.count)
    }

    /// Up to half as long again: what was held back together does not return together.
    fn about(&self, pause: Duration) -> Duration {
        pause.mul_f64(1.0 + self.random() / 2.0)
    }
}
