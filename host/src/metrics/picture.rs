//! What the page shows beside what is counted: reports as plain numbers, so that this floor knows no plane.

/// What the page shows beside what is counted.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    pub generation: u64,
    pub ready: bool,
    pub outbox_queued: u64,
    pub groups: Vec<GroupNumbers>,
    pub servers: Vec<ServerNumbers>,
    pub breakers: Vec<BreakerNumbers>,
}

#[derive(Clone, Debug, Default)]
pub struct BreakerNumbers {
    pub app: String,
    /// Empty: of the app as a whole.
    pub server: String,
    /// 0: normal, 1: broken, 2: recovering.
    pub state: u64,
}

#[derive(Clone, Debug, Default)]
pub struct GroupNumbers {
    pub group: String,
    pub received: u64,
    pub settled: u64,
    pub open: u64,
    pub dropped: u64,
    pub repeated: u64,
    pub commits_acknowledged: u64,
    pub commits_refused: u64,
    pub late_acks: u64,
    pub rebalances: u64,
    pub joined: bool,
    pub commit_blocked: bool,
    pub lanes: Vec<LaneNumbers>,
}

#[derive(Clone, Debug, Default)]
pub struct LaneNumbers {
    pub topic: String,
    pub partition: i32,
    pub low: Option<i64>,
    pub next: Option<i64>,
    pub committed: Option<i64>,
    pub open: u64,
    pub bytes: u64,
    pub gate: Option<&'static str>,
}

#[derive(Clone, Debug, Default)]
pub struct ServerNumbers {
    pub app: String,
    pub server: String,
    pub in_flight: u64,
    pub latency_ewma_us: u64,
    pub requests: u64,
    pub failures: u64,
    pub connections_opened: u64,
    pub ejected: bool,
    /// State of its breaker.
    pub breaker: &'static str,
}
