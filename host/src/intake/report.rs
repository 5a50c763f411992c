//! What a poll thread tells of itself: a picture, some times a second, for stats, lag and explain.

/// A group as its poll thread last saw it.
#[derive(Clone, Debug, Default)]
pub struct GroupReport {
    pub group: String,
    pub lanes: Vec<LaneReport>,
    /// received = settled + open + dropped, in every picture.
    pub received: u64,
    pub settled: u64,
    pub open: u64,
    /// Not settled when their lane was given back; their next owner begins with them.
    pub dropped: u64,
    /// Settled and not committed when their lane was given back: at most so many are done again.
    pub repeated: u64,
    pub commits_acknowledged: u64,
    pub commits_refused: u64,
    /// Why no commit passes at the moment.
    pub commit_gate: Option<String>,
    pub late_acks: u64,
    pub rebalances: u64,
    /// Has had an answer from the group: assigned, be it nothing.
    pub joined: bool,
}

#[derive(Clone, Debug)]
pub struct LaneReport {
    pub topic: String,
    pub partition: i32,
    /// The position to commit.
    pub low: Option<i64>,
    pub next: Option<i64>,
    pub committed: Option<i64>,
    pub open: u32,
    pub bytes: usize,
    /// Why nothing is taken for it.
    pub gate: Option<&'static str>,
    /// Of a rung: when its first record is due, in ms since 1970.
    pub waits_until_ms: Option<u64>,
    /// Held in memory, not handed over.
    pub stashed: usize,
}

impl GroupReport {
    pub fn new(group: &str) -> Self {
        Self { group: group.to_owned(), ..Self::default() }
    }

    /// Both together: the same group, left and joined anew.
    pub fn add(&mut self, other: Self) {
        self.lanes.extend(other.lanes);
        self.received += other.received;
        self.settled += other.settled;
        self.open += other.open;
        self.dropped += other.dropped;
        self.repeated += other.repeated;
        self.commits_acknowledged += other.commits_acknowledged;
        self.commits_refused += other.commits_refused;
        self.commit_gate = self.commit_gate.take().or(other.commit_gate);
        self.late_acks += other.late_acks;
        self.rebalances += other.rebalances;
        self.joined |= other.joined;
    }
}
