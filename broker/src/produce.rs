//! Produce: batches are checked, stamped and appended.
use crate::batch::{HEADER_LEN, Header, Record, Records, build, checksum_holds, magic, with_max_timestamp};
use crate::codec::Codec;
use crate::dispatch::Call;
use crate::error::{Answer, Refusal};
use crate::log::{Appended, UNPACKED_MAX};
use crate::server::Shared;
use crate::settings::Settings;
use crate::state::{State, now_ms};
use crate::txn::{Claim, Phase};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use std::cell::Cell;
use std::io::ErrorKind;

const ACKS_ALL: i16 = -1;
/// Others have their turn when a request has unpacked so much: a small one can hold many batches that unpack into
/// `UNPACKED_MAX` each.
const TURN_BYTES: usize = 32 << 20;

/// What is true of all partitions of a request.
struct Context<'a> {
    acks: i16,
    transactional_id: Option<&'a str>,
    now_ms: i64,
    /// Unpacked since the others had their turn.
    unpacked: Cell<usize>,
}

/// A batch that may be written, and how its latest timestamp was found.
struct Checked {
    header: Header,
    bytes: Bytes,
}

impl Shared {
    pub async fn produce(&self, call: &Call, request: ProduceRequest) -> ProduceResponse {
        let context = Context {
            acks: request.acks,
            transactional_id: request.transactional_id.as_ref().map(|id| id.as_str()),
            now_ms: now_ms(),
            unpacked: Cell::new(0),
        };
        let mut responses = Vec::with_capacity(request.topic_data.len());
        for topic in request.topic_data {
            let fault = call.fault.topic(&topic.name);
            let mut partitions = Vec::with_capacity(topic.partition_data.len());
            for partition in topic.partition_data {
                if context.unpacked.get() >= TURN_BYTES {
                    context.unpacked.set(0);
                    tokio::task::yield_now().await;
                }
                let records = partition.records.unwrap_or_default();
                let mut state = self.state();
                let outcome = fault
                    .map_err(Refusal::from)
                    .and_then(|()| state.produce(&context, &topic.name, partition.index, records));
                let out = state.produced(&context, &topic.name, partition.index, outcome);
                partitions.push(out);
            }
            responses.push(
                TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions),
            );
        }
        ProduceResponse::default().with_responses(responses)
    }
}

impl State {
    /// The batch of one partition.
    fn produce(
        &mut self,
        context: &Context<'_>,
        topic: &str,
        partition: i32,
        mut records: Bytes,
    ) -> Answer<Appended> {
        if !(-1..=1).contains(&context.acks) {
            return Err(ResponseError::InvalidRequiredAcks.into());
        }
        let Some((_, settings)) = self.log_mut(topic, partition) else {
            return Err(ResponseError::UnknownTopicOrPartition.into());
        };
        let settings = settings.clone();
        if context.acks == ACKS_ALL && settings.min_insync_replicas > 1 {
            return Err(Refusal::new(
                ResponseError::NotEnoughReplicas,
                "min.insync.replicas is more than the one there is",
            ));
        }
        if records.is_empty() {
            return Err(Refusal::new(ResponseError::InvalidRecord, "there are no records"));
        }
        let batch = check_batch(&mut records, &settings, context)?;
        if !records.is_empty() {
            return Err(Refusal::new(
                ResponseError::InvalidRecord,
                "there is more than the one batch that each partition may have in a request",
            ));
        }
        self.check_transaction(context, topic, partition, &batch.header)?;
        let Some((log, _)) = self.log_mut(topic, partition) else {
            return Err(ResponseError::UnknownTopicOrPartition.into());
        };
        log.append(&batch.header, &batch.bytes, &settings, context.now_ms)
    }

    /// What is said of one partition.
    fn produced(
        &self,
        context: &Context<'_>,
        topic: &str,
        partition: i32,
        outcome: Answer<Appended>,
    ) -> PartitionProduceResponse {
        let mut out = PartitionProduceResponse::default().with_index(partition).with_log_append_time_ms(-1);
        out.log_start_offset = self.log(topic, partition).map_or(-1, |log| log.start);
        match outcome {
            Ok(appended) => {
                out.base_offset = appended.base_offset;
                if self.topics.get(topic).is_some_and(|topic| topic.settings.log_append_time) {
                    out.log_append_time_ms = context.now_ms;
                }
            }
            Err(refusal) => {
                out.error_code = refusal.error.code();
                out.base_offset = -1;
                out.error_message = refusal.message.map(|message| crate::wire::text(&message));
                let one = |index: &i32| {
                    BatchIndexAndErrorMessage::default()
                        .with_batch_index(*index)
                        .with_batch_index_error_message(out.error_message.clone())
                };
                out.record_errors = refusal.records.iter().map(one).collect();
            }
        }
        out
    }

    /// Transactional records belong to an open transaction that has named their partition.
    fn check_transaction(
        &self,
        context: &Context<'_>,
        topic: &str,
        partition: i32,
        batch: &Header,
    ) -> Answer<()> {
        if !batch.transactional() {
            return Ok(());
        }
        let Some(id) = context.transactional_id else { return Err(ResponseError::InvalidTxnState.into()) };
        let claim = Claim { id, producer_id: batch.producer_id, epoch: batch.producer_epoch };
        let transaction = self.check_claim(claim).map_err(|refusal| match refusal.error {
            // what clients of every age take for "fenced" in this API
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch.into(),
            _ => refusal,
        })?;
        if transaction.phase != Phase::Ongoing
            || !transaction.partitions.contains(&(topic.to_string(), partition))
        {
            return Err(ResponseError::InvalidTxnState.into());
        }
        Ok(())
    }
}

/// Takes one batch off the front.
fn check_batch(records: &mut Bytes, settings: &Settings, context: &Context<'_>) -> Answer<Checked> {
    let corrupt = |why: &str| Refusal::new(ResponseError::CorruptMessage, why);
    if magic(records).is_some_and(|magic| magic < 2) {
        return Err(Refusal::new(
            ResponseError::UnsupportedForMessageFormat,
            "record batches have to be of format 2",
        ));
    }
    let header = Header::parse(records).ok_or_else(|| corrupt("this is no record batch"))?;
    if header.len > records.len() {
        return Err(corrupt("the batch is cut off"));
    }
    let batch = records.split_to(header.len);
    if !checksum_holds(&batch) {
        return Err(corrupt("the checksum is wrong"));
    }
    if batch.len() > settings.max_message_bytes {
        let why = format!(
            "the batch has {} bytes, max.message.bytes is {}",
            batch.len(),
            settings.max_message_bytes
        );
        return Err(Refusal::new(ResponseError::MessageTooLarge, why));
    }
    let invalid = |why: &str| Refusal::new(ResponseError::InvalidRecord, why);
    if header.control() {
        return Err(invalid("clients do not write control batches"));
    }
    if header.transactional() && header.producer_id < 0 {
        return Err(invalid("a transactional batch has a producer"));
    }
    if header.producer_id >= 0 && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(invalid("a producer's batch has a sequence and an epoch"));
    }
    if header.count < 1 || header.last_offset_delta != header.count - 1 {
        return Err(invalid("the number of records and the last offset differ"));
    }
    let codec = Codec::of_bits(header.codec()).ok_or(ResponseError::UnsupportedCompressionType)?;
    let body = codec.decompress(&batch.slice(HEADER_LEN..), UNPACKED_MAX).map_err(|failure| match failure
        .kind()
    {
        ErrorKind::FileTooLarge => Refusal::new(ResponseError::MessageTooLarge, failure.to_string()),
        _ => corrupt(&failure.to_string()),
    })?;
    context.unpacked.set(context.unpacked.get() + body.len());
    let latest = check_records(&header, &body, settings, context.now_ms)?;
    let (header, batch) = recompress(header, batch, codec, &body, settings)?;
    stamp(header, batch, latest, settings, context.now_ms)
}

/// Looks at every record; gives back the latest timestamp.
fn check_records(header: &Header, body: &[u8], settings: &Settings, now_ms: i64) -> Answer<i64> {
    let invalid = |why: &str| Refusal::new(ResponseError::InvalidRecord, why);
    let (mut count, mut latest) = (0, i64::MIN);
    let (mut keyless, mut out_of_range) = (Vec::new(), Vec::new());
    let first = now_ms.saturating_sub(settings.timestamp_before_max_ms);
    let last = now_ms.saturating_add(settings.timestamp_after_max_ms);
    let producers_clock = !settings.log_append_time && !header.log_append_time();
    for record in Records::new(body) {
        let record: Record<'_> = record.map_err(|_| invalid("a record does not follow the format"))?;
        if record.offset_delta != count {
            return Err(invalid("offsets inside a batch count from 0"));
        }
        if settings.compact && record.key.is_none() {
            keyless.push(count);
        }
        let timestamp = header.base_timestamp.saturating_add(record.timestamp_delta);
        if producers_clock && timestamp != -1 && !(first..=last).contains(&timestamp) {
            out_of_range.push(count);
        }
        count += 1;
        latest = latest.max(timestamp);
        if count > header.count {
            break;
        }
    }
    if count != header.count {
        return Err(invalid("the header's number of records is wrong"));
    }
    if !keyless.is_empty() {
        let refusal = invalid("Compacted topic cannot accept message without key");
        return Err(Refusal { records: keyless, ..refusal });
    }
    if !out_of_range.is_empty() {
        let why = format!("A timestamp is out of range: it should be within [{first}, {last}]");
        return Err(Refusal { records: out_of_range, ..Refusal::new(ResponseError::InvalidTimestamp, why) });
    }
    Ok(latest)
}

/// Stores records with the topic's codec where it has one.
fn recompress(
    header: Header,
    batch: Bytes,
    codec: Codec,
    body: &[u8],
    settings: &Settings,
) -> Answer<(Header, Bytes)> {
    let Some(wanted) = settings.compression.filter(|wanted| *wanted != codec) else {
        return Ok((header, batch));
    };
    let mut changed = header;
    changed.attributes = (header.attributes & !7) | wanted.bits();
    let batch = build(changed, &wanted.compress(body)?).freeze();
    changed.len = batch.len();
    Ok((changed, batch))
}

/// Makes the header's timestamp true: the broker's clock where the topic wants that, else the latest record's.
fn stamp(mut header: Header, batch: Bytes, latest: i64, settings: &Settings, now_ms: i64) -> Answer<Checked> {
    let wanted = if settings.log_append_time { now_ms } else { latest };
    if header.max_timestamp == wanted && header.log_append_time() == settings.log_append_time {
        return Ok(Checked { header, bytes: batch });
    }
    let bytes = with_max_timestamp(&batch, wanted, settings.log_append_time).freeze();
    header = Header::parse(&bytes).ok_or(ResponseError::CorruptMessage)?;
    Ok(Checked { header, bytes })
}
