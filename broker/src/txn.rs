//! The transaction coordinator: who may write under a transactional id, what is open, how it ends.
//!
//! A decision is journaled before its markers are written, and again when they are, so that a crash in between is
//! made good at the next start.
use crate::batch::end_marker;
use crate::error::Answer;
use crate::offsets::Committed;
use crate::state::{Change, State, now_ms};
use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Kafka's `transaction.max.timeout.ms`.
const TIMEOUT_MAX_MS: i32 = 900_000;
/// An epoch is never used up: before that the id gets a new producer.
const EPOCH_MAX: i16 = i16::MAX - 1;

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

impl Phase {
    pub const ALL: [Phase; 6] = [
        Phase::Empty,
        Phase::Ongoing,
        Phase::PrepareCommit,
        Phase::PrepareAbort,
        Phase::CompleteCommit,
        Phase::CompleteAbort,
    ];
    /// As Kafka spells it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::Ongoing => "Ongoing",
            Phase::PrepareCommit => "PrepareCommit",
            Phase::PrepareAbort => "PrepareAbort",
            Phase::CompleteCommit => "CompleteCommit",
            Phase::CompleteAbort => "CompleteAbort",
        }
    }
}

/// What is known of a transactional id.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Transaction {
    pub producer_id: i64,
    pub epoch: i16,
    /// The one before the producer's own bump, whose answer it may not have got.
    #[serde(default = "no_epoch")]
    previous_epoch: i16,
    pub timeout_ms: i32,
    pub phase: Phase,
    pub partitions: BTreeSet<(String, i32)>,
    /// Offsets to be committed with it, by group.
    pub offsets: BTreeMap<String, Vec<Committed>>,
    /// When the open transaction began, else when the last one ended.
    pub since_ms: i64,
}

fn no_epoch() -> i16 {
    -1
}

impl Transaction {
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Ongoing | Phase::PrepareCommit | Phase::PrepareAbort)
    }
}

/// Who speaks: a transactional id, and the producer that claims it.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub id: &'a str,
    pub producer_id: i64,
    pub epoch: i16,
}

impl State {
    /// Begins a producer's session: earlier ones under the same id are fenced, what they left open is aborted.
    pub fn init_transactional_producer(
        &mut self,
        id: &str,
        timeout_ms: i32,
        claimed: Option<(i64, i16)>,
    ) -> Answer<(i64, i16)> {
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest.into());
        }
        if !(1..=TIMEOUT_MAX_MS).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout.into());
        }
        let Some(known) = self.transactions.get(id).cloned() else {
            let fresh = Transaction {
                producer_id: self.new_producer_id()?,
                epoch: 0,
                previous_epoch: no_epoch(),
                timeout_ms,
                phase: Phase::Empty,
                partitions: BTreeSet::new(),
                offsets: BTreeMap::new(),
                since_ms: now_ms(),
            };
            let granted = (fresh.producer_id, fresh.epoch);
            self.put_transaction(id, fresh)?;
            return Ok(granted);
        };
        if let Some((producer_id, epoch)) = claimed {
            if producer_id == known.producer_id && epoch == known.previous_epoch {
                return Ok((known.producer_id, known.epoch)); // it asked before and the answer was lost
            }
            if producer_id != known.producer_id || epoch != known.epoch {
                return Err(ResponseError::ProducerFenced.into());
            }
        }
        let epoch = known.epoch + 1;
        if known.is_open() {
            self.end_transaction(id, false, epoch)?;
        }
        let mut renewed = self.transactions.get(id).cloned().unwrap_or(known);
        renewed.timeout_ms = timeout_ms;
        renewed.phase = Phase::Empty;
        renewed.previous_epoch = claimed.map_or(no_epoch(), |(_, epoch)| epoch);
        renewed.epoch = epoch;
        if epoch >= EPOCH_MAX {
            renewed.producer_id = self.new_producer_id()?;
            renewed.epoch = 0;
            renewed.previous_epoch = no_epoch();
        }
        let granted = (renewed.producer_id, renewed.epoch);
        self.put_transaction(id, renewed)?;
        Ok(granted)
    }

    fn put_transaction(&mut self, id: &str, transaction: Transaction) -> Answer<()> {
        self.record(&Change::Transaction { id: id.to_string(), transaction: transaction.clone() })?;
        self.transactions.insert(id.to_string(), transaction);
        Ok(())
    }

    /// Whether the claim holds: the id is this producer's, and no later one has it.
    pub fn check_claim(&self, claim: Claim<'_>) -> Answer<&Transaction> {
        let known = self.transactions.get(claim.id).filter(|known| known.producer_id == claim.producer_id);
        let Some(known) = known else { return Err(ResponseError::InvalidProducerIdMapping.into()) };
        if claim.epoch != known.epoch {
            return Err(ResponseError::ProducerFenced.into());
        }
        Ok(known)
    }

    /// Opens the transaction if need be, and notes what it touches.
    pub fn touch_transaction(
        &mut self,
        claim: Claim<'_>,
        touch: impl FnOnce(&mut Transaction),
    ) -> Answer<()> {
        let mut transaction = self.check_claim(claim)?.clone();
        if matches!(transaction.phase, Phase::PrepareCommit | Phase::PrepareAbort) {
            return Err(ResponseError::ConcurrentTransactions.into()); // its end is still being written
        }
        if !transaction.is_open() {
            transaction.phase = Phase::Ongoing;
            transaction.since_ms = now_ms();
            transaction.partitions.clear();
            transaction.offsets.clear();
        }
        touch(&mut transaction);
        self.put_transaction(claim.id, transaction)
    }

    /// What a producer asks for with EndTxn. Asking twice for the same end is allowed, as answers get lost.
    pub fn end_claimed(&mut self, claim: Claim<'_>, commit: bool) -> Answer<()> {
        let known = self.check_claim(claim)?;
        match (known.phase, commit) {
            (Phase::Ongoing, _) => self.end_transaction(claim.id, commit, claim.epoch),
            (Phase::CompleteCommit, true) | (Phase::CompleteAbort, false) => Ok(()),
            (Phase::PrepareCommit, true) | (Phase::PrepareAbort, false) => {
                self.end_transaction(claim.id, commit, claim.epoch)
            }
            _ => Err(ResponseError::InvalidTxnState.into()),
        }
    }

    /// Decides a transaction, and carries the decision out.
    fn end_transaction(&mut self, id: &str, commit: bool, epoch: i16) -> Answer<()> {
        let Some(mut transaction) = self.transactions.get(id).cloned() else { return Ok(()) };
        // what is decided stays decided, even if the disk failed half-way
        let commit = match transaction.phase {
            Phase::PrepareCommit => true,
            Phase::PrepareAbort => false,
            _ => commit,
        };
        transaction.phase = if commit { Phase::PrepareCommit } else { Phase::PrepareAbort };
        transaction.epoch = epoch;
        self.put_transaction(id, transaction.clone())?;
        let now = now_ms();
        for (topic, partition) in &transaction.partitions {
            let Some((log, settings)) = self.log_mut(topic, *partition) else { continue };
            if log.producers.open_since(transaction.producer_id).is_some() {
                let marker = end_marker(transaction.producer_id, epoch, commit, now);
                let settings = settings.clone();
                log.append_marker(&marker, commit, &settings, now)?;
            }
        }
        let offsets = std::mem::take(&mut transaction.offsets);
        if commit {
            for (group, offsets) in offsets {
                self.commit_offsets(&group, offsets)?;
            }
        }
        transaction.phase = if commit { Phase::CompleteCommit } else { Phase::CompleteAbort };
        transaction.partitions.clear();
        transaction.since_ms = now;
        self.put_transaction(id, transaction)
    }

    /// After a restart: transactions whose end was decided get it.
    pub fn finish_decided_transactions(&mut self) {
        let decided = |transaction: &Transaction| {
            matches!(transaction.phase, Phase::PrepareCommit | Phase::PrepareAbort)
        };
        let decided: Vec<(String, i16)> = self
            .transactions
            .iter()
            .filter(|(_, t)| decided(t))
            .map(|(id, t)| (id.clone(), t.epoch))
            .collect();
        for (id, epoch) in decided {
            if let Err(refusal) = self.end_transaction(&id, false, epoch) {
                tracing::error!(id, ?refusal, "a decided transaction cannot be finished");
            }
        }
    }

    /// Aborts what is open for too long, and fences who left it open.
    pub fn abort_late_transactions(&mut self, now_ms: i64) {
        let late =
            |t: &Transaction| t.phase == Phase::Ongoing && now_ms - t.since_ms > i64::from(t.timeout_ms);
        let late: Vec<(String, i16)> =
            self.transactions.iter().filter(|(_, t)| late(t)).map(|(id, t)| (id.clone(), t.epoch)).collect();
        for (id, epoch) in late {
            tracing::info!(id, "a transaction timed out and is aborted");
            if let Err(refusal) = self.end_transaction(&id, false, epoch.saturating_add(1)) {
                tracing::error!(id, ?refusal, "a late transaction cannot be aborted");
            }
        }
    }

    /// Forgets ids that were not used for long.
    pub fn expire_transactional_ids(&mut self, keep_ms: i64, now_ms: i64) -> Answer<()> {
        let old =
            |transaction: &Transaction| !transaction.is_open() && now_ms - transaction.since_ms > keep_ms;
        let old: Vec<String> =
            self.transactions.iter().filter(|(_, t)| old(t)).map(|(id, _)| id.clone()).collect();
        for id in old {
            self.record(&Change::TransactionDeleted { id: id.clone() })?;
            self.transactions.remove(&id);
        }
        Ok(())
    }
}
