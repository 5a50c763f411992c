//! The producers' APIs besides Produce: InitProducerId and those of transactions.
use crate::dispatch::Call;
use crate::error::{Answer, code};
use crate::offsets::Committed;
use crate::server::Shared;
use crate::state::now_ms;
use crate::txn::{Claim, Phase, Transaction};
use crate::wire::{text, topic};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState as Described};
use kafka_protocol::messages::list_transactions_response::TransactionState as Listed;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::*;
use std::collections::BTreeMap;
use std::time::Instant;

impl Shared {
    pub fn init_producer_id(&self, call: &Call, request: InitProducerIdRequest) -> InitProducerIdResponse {
        let mut state = self.state();
        let granted = call.fault.whole().map_err(Into::into).and_then(|()| match &request.transactional_id {
            None => Ok((state.new_producer_id()?, 0)),
            Some(id) => {
                let claimed =
                    (request.producer_id.0 >= 0).then_some((request.producer_id.0, request.producer_epoch));
                state.init_transactional_producer(id, request.transaction_timeout_ms, claimed)
            }
        });
        let out = InitProducerIdResponse::default().with_error_code(code(&granted));
        let (producer_id, epoch) = granted.unwrap_or((-1, -1));
        out.with_producer_id(ProducerId(producer_id)).with_producer_epoch(epoch)
    }

    pub fn add_partitions_to_txn(
        &self,
        call: &Call,
        request: AddPartitionsToTxnRequest,
    ) -> AddPartitionsToTxnResponse {
        let mut state = self.state();
        let claim = Claim {
            id: &request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id.0,
            epoch: request.v3_and_below_producer_epoch,
        };
        let wanted = || {
            request
                .v3_and_below_topics
                .iter()
                .flat_map(|t| t.partitions.iter().map(|p| (t.name.to_string(), *p)))
        };
        // all or none: a partition that is not there spoils the others, as they say
        let missing = wanted().any(|(topic, partition)| state.log(&topic, partition).is_none());
        let outcome = call.fault.whole().map_err(Into::into).and_then(|()| {
            state.check_claim(claim)?;
            if missing {
                return Err(ResponseError::OperationNotAttempted.into());
            }
            state.touch_transaction(claim, |transaction| transaction.partitions.extend(wanted()))
        });
        let of_topic = |topic: &add_partitions_to_txn_request::AddPartitionsToTxnTopic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let error = match &outcome {
                    Err(refusal)
                        if refusal.error == ResponseError::OperationNotAttempted
                            && state.log(&topic.name, *partition).is_none() =>
                    {
                        ResponseError::UnknownTopicOrPartition.code()
                    }
                    outcome => code(outcome),
                };
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(*partition)
                    .with_partition_error_code(error)
            });
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name.clone())
                .with_results_by_partition(partitions.collect())
        };
        let topics = request.v3_and_below_topics.iter().map(of_topic).collect();
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics)
    }

    pub fn add_offsets_to_txn(
        &self,
        call: &Call,
        request: AddOffsetsToTxnRequest,
    ) -> AddOffsetsToTxnResponse {
        let claim = Claim {
            id: &request.transactional_id,
            producer_id: request.producer_id.0,
            epoch: request.producer_epoch,
        };
        let group = request.group_id.to_string();
        let outcome: Answer<()> = call.fault.whole().map_err(Into::into).and_then(|()| {
            if group.is_empty() {
                return Err(ResponseError::InvalidGroupId.into());
            }
            self.state().touch_transaction(claim, |transaction| {
                transaction.offsets.entry(group).or_default();
            })
        });
        AddOffsetsToTxnResponse::default().with_error_code(code(&outcome))
    }

    pub fn txn_offset_commit(&self, call: &Call, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
        let mut state = self.state();
        let claim = Claim {
            id: &request.transactional_id,
            producer_id: request.producer_id.0,
            epoch: request.producer_epoch,
        };
        let allowed: Answer<()> = call.fault.whole().map_err(Into::into).and_then(|()| {
            let transaction = state.check_claim(claim)?;
            if transaction.phase != Phase::Ongoing
                || !transaction.offsets.contains_key(request.group_id.as_str())
            {
                return Err(ResponseError::InvalidTxnState.into());
            }
            if request.generation_id < 0 && request.member_id.is_empty() {
                return Ok(()); // a producer that knows no group metadata
            }
            let instance = request.group_instance_id.as_deref();
            match state.groups.get_mut(request.group_id.as_str()) {
                None => Err(ResponseError::IllegalGeneration.into()),
                Some(group) => Ok(group.may_commit(
                    &request.member_id,
                    instance,
                    request.generation_id,
                    Instant::now(),
                )?),
            }
        });
        let (mut kept, mut answers) = (Vec::new(), Vec::new());
        for topic in &request.topics {
            let partitions = topic.partitions.iter().map(|wanted| {
                let metadata = wanted.committed_metadata.as_ref();
                let outcome = allowed
                    .clone()
                    .and_then(|()| state.check_commit(&topic.name, wanted.partition_index, metadata));
                if outcome.is_ok() {
                    kept.push(Committed {
                        topic: topic.name.to_string(),
                        partition: wanted.partition_index,
                        offset: wanted.committed_offset,
                        leader_epoch: wanted.committed_leader_epoch,
                        metadata: metadata.map(|text| text.to_string()).unwrap_or_default(),
                        at_ms: now_ms(),
                        keep_ms: None,
                    });
                }
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code(&outcome))
            });
            let partitions = partitions.collect();
            answers.push(
                TxnOffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        if !kept.is_empty() {
            let group = request.group_id.to_string();
            let noted = state.touch_transaction(claim, |transaction| {
                transaction.offsets.entry(group).or_default().extend(kept)
            });
            for partition in
                answers.iter_mut().flat_map(|topic| &mut topic.partitions).filter(|p| p.error_code == 0)
            {
                partition.error_code = code(&noted);
            }
        }
        TxnOffsetCommitResponse::default().with_topics(answers)
    }

    pub fn end_txn(&self, call: &Call, request: EndTxnRequest) -> EndTxnResponse {
        let claim = Claim {
            id: &request.transactional_id,
            producer_id: request.producer_id.0,
            epoch: request.producer_epoch,
        };
        let outcome: Answer<()> = call
            .fault
            .whole()
            .map_err(Into::into)
            .and_then(|()| self.state().end_claimed(claim, request.committed));
        EndTxnResponse::default().with_error_code(code(&outcome))
    }

    pub fn describe_transactions(
        &self,
        _call: &Call,
        request: DescribeTransactionsRequest,
    ) -> DescribeTransactionsResponse {
        let state = self.state();
        let describe = |id: &TransactionalId| {
            let out = Described::default().with_transactional_id(id.clone());
            match state.transactions.get(id.as_str()) {
                None => out.with_error_code(ResponseError::TransactionalIdNotFound.code()),
                Some(transaction) => described(out, transaction),
            }
        };
        DescribeTransactionsResponse::default()
            .with_transaction_states(request.transactional_ids.iter().map(describe).collect())
    }

    pub fn list_transactions(
        &self,
        call: &Call,
        request: ListTransactionsRequest,
    ) -> ListTransactionsResponse {
        let state = self.state();
        let known = |name: &str| Phase::ALL.iter().any(|phase| phase.name() == name);
        let unknown: Vec<_> = request.state_filters.iter().filter(|name| !known(name)).cloned().collect();
        let states = &request.state_filters;
        let by_duration = call.version >= 1 && request.duration_filter >= 0;
        let now = now_ms();
        let mut listed: Vec<Listed> = state
            .transactions
            .iter()
            .filter(|(_, t)| states.is_empty() || states.iter().any(|name| name.as_str() == t.phase.name()))
            .filter(|(_, t)| {
                request.producer_id_filters.is_empty()
                    || request.producer_id_filters.contains(&ProducerId(t.producer_id))
            })
            .filter(|(_, t)| !by_duration || (t.is_open() && now - t.since_ms >= request.duration_filter))
            .map(|(id, t)| {
                Listed::default()
                    .with_transactional_id(TransactionalId(text(id)))
                    .with_producer_id(ProducerId(t.producer_id))
                    .with_transaction_state(text(t.phase.name()))
            })
            .collect();
        listed.sort_by(|a, b| a.transactional_id.as_str().cmp(b.transactional_id.as_str()));
        ListTransactionsResponse::default()
            .with_unknown_state_filters(unknown)
            .with_transaction_states(listed)
    }
}

fn described(out: Described, transaction: &Transaction) -> Described {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (name, partition) in &transaction.partitions {
        topics.entry(name).or_default().push(*partition);
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| TopicData::default().with_topic(topic(name)).with_partitions(partitions));
    out.with_transaction_state(text(transaction.phase.name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(if transaction.is_open() { transaction.since_ms } else { -1 })
        .with_producer_id(ProducerId(transaction.producer_id))
        .with_producer_epoch(transaction.epoch)
        .with_topics(topics.collect())
}
