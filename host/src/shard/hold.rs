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

    /// P19: this process has slept, and its group may have gone on without it. It begins nothing until it knows.
    fn unleased(&self, job: &Job) -> Option<Hold> {
        let pause = Duration::from_millis(20);
        (!self.shared.lanes.is_leased(job.ticket.group)).then_some(Hold { wait: Wait::Lease, pause })
    }

    /// Right before it begins: its lease, and whether a break has begun while it waited for something else.
    pub(super) fn held_back_late(&self, job: &Job, app: Option<&AppHere>) -> Option<Hold> {
        if let Some(hold) = self.unleased(job) {
            return Some(hold);
        }
        let pause = Duration::from_millis(app?.closed(self, job)?);
        Some(Hold { wait: Wait::Breaker, pause })
    }

    /// Until it is worth asking again, or its lane ends.
    pub(super) async fn hold(&self, ticket: &Ticket, hold: Hold) {
        let _waiting = self.shared.counters.waits.begin(hold.wait);
        self.sleep(ticket, hold.pause).await;
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
