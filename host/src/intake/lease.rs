//! Until when a group may send. A process that was suspended does not know that its group has gone on without it, and
//! Kafka fences its commits, not its requests: so it begins nothing before it has heard from the group again (P19).
//!
//! The lease lasts half a session from each turn of the poll thread: the broker counts the session from the last heartbeat,
//! which came before that turn. A turn that comes later renews nothing until a commit is accepted; if the group has given
//! this member up, the commit says so.

use std::sync::Arc;

use super::poll::Poll;
use crate::clock;
use crate::kafka::consumer::CommitReport;
use crate::shard::work::LaneTable;

pub struct Lease {
    seat: u16,
    lasts_ns: u64,
    lanes: Arc<LaneTable>,
    last_turn_ns: u64,
    /// When it was last renewed: not at every turn, for shards read the line that it stands in.
    renewed_ns: u64,
    doubt: Option<Doubt>,
}

/// The process has slept.
struct Doubt {
    /// Number of the commit that will tell.
    asked: Option<u64>,
    ask_again_ns: u64,
}

/// Between two questions, in ns.
const ASK_EVERY: u64 = 1_000_000_000;

impl Lease {
    pub fn new(seat: u16, session_timeout_ms: u32, lanes: Arc<LaneTable>) -> Self {
        let lasts_ns = u64::from(session_timeout_ms) * 500_000;
        Self { seat, lasts_ns, lanes, last_turn_ns: clock::monotonic_ns(), renewed_ns: 0, doubt: None }
    }

    /// An answer to the question ends the doubt: accepted, this process is a member; refused, its lanes are closed.
    pub fn hear(&mut self, report: &CommitReport) {
        let is_answer = self.doubt.as_ref().is_some_and(|it| it.asked == Some(report.number));
        let refused = report.error.is_some() || report.partitions.iter().any(|it| it.3.is_some());
        if is_answer && !refused {
            self.doubt = None;
        }
    }
}

impl Poll {
    pub(super) fn lease_turn(&mut self) {
        let (lease, now_ns) = (&mut self.lease, clock::monotonic_ns());
        let slept_ns = now_ns.saturating_sub(lease.last_turn_ns);
        lease.last_turn_ns = now_ns;
        if slept_ns > lease.lasts_ns {
            let slept_ms = slept_ns / 1_000_000;
            tracing::warn!(
                group = self.config.name,
                slept_ms,
                "slept for half a session or more: nothing is sent until the group is heard"
            );
            lease.doubt = Some(Doubt { asked: None, ask_again_ns: now_ns });
        }
        match &mut lease.doubt {
            None if lease.renewed_ns == 0 || now_ns >= lease.renewed_ns + lease.lasts_ns / 16 => {
                lease.renewed_ns = now_ns;
                lease.lanes.lease(lease.seat, now_ns.saturating_add(lease.lasts_ns));
            }
            None => {}
            // Nothing was taken that could be sent.
            Some(_) if !self.books.iter().any(|it| !it.lost && it.low().is_some()) => lease.doubt = None,
            Some(doubt) if doubt.ask_again_ns <= now_ns => {
                doubt.ask_again_ns = now_ns + ASK_EVERY;
                doubt.asked = self.commits.prove(&self.consumer, &self.books);
            }
            Some(_) => {}
        }
    }
}
