//! What becomes of records: stamps, codecs, sequences, transactions, retention, compaction.
use crate::client::Client;
use crate::kit::*;
use drover_broker::{Broker, ResponseError};
use kafka_protocol::messages::*;
use kafka_protocol::records::Compression;

#[test]
fn every_codec_is_served_as_it_came() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    create(&mut client, "zstd", 1, &[("compression.type", "zstd")]);
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (nth, codec) in codecs.into_iter().enumerate() {
        let batch = Batch::of(&["one", "two"]).packed(codec);
        assert_eq!(produce(&mut client, "t", &batch), 2 * nth as i64);
        assert_eq!(produce(&mut client, "zstd", &batch), 2 * nth as i64);
        let codec_of = |client: &mut Client, topic: &str| {
            try_fetch(client, topic, 2 * nth as i64, false).records.unwrap()[22] & 7
        };
        assert_eq!(codec_of(&mut client, "t"), codec as u8);
        assert_eq!(codec_of(&mut client, "zstd"), Compression::Zstd as u8);
    }
    assert_eq!(read_all(&mut client, "t", 0, false).len(), 10);
    assert_eq!(read_all(&mut client, "zstd", 0, false).len(), 10);
}

#[test]
fn offsets_are_found_by_time() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    assert_eq!(list_offset(&mut client, "t", -3), (0, -1, -1), "an empty log has no latest time");
    for at in [1000, 3000, 2000] {
        produce(&mut client, "t", &Batch::new().with(None, Some("v"), at).with(None, Some("v"), at + 1));
    }
    for (asked, offset, at) in
        [(0, 0, 1000), (1001, 1, 1001), (1002, 2, 3000), (3001, 3, 3001), (3002, -1, -1)]
    {
        assert_eq!(list_offset(&mut client, "t", asked), (0, offset, at), "{asked}");
    }
    assert_eq!(list_offset(&mut client, "t", -3), (0, 3, 3001));
}

#[test]
fn a_topic_can_stamp_refuse_and_bound_records() {
    let (_broker, mut client) = broker();
    create(&mut client, "stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    create(&mut client, "small", 1, &[("max.message.bytes", "100")]);
    create(&mut client, "safe", 1, &[("min.insync.replicas", "2")]);
    create(&mut client, "t", 1, &[]);
    let before = now_ms();
    let answer = try_produce(&mut client, "stamped", &Batch::new().with(None, Some("v"), 1000), None);
    assert!(answer.log_append_time_ms >= before);
    // in the batch's header: the time of all its records, whatever they say themselves
    let stored = try_fetch(&mut client, "stamped", 0, false).records.unwrap();
    assert_eq!(stored[22] & 8, 8);
    assert_eq!(stored[35..43], answer.log_append_time_ms.to_be_bytes());
    let mut refused = |topic: &str, batch: &Batch, error: ResponseError| {
        assert_eq!(try_produce(&mut client, topic, batch, None).error_code, error.code(), "{topic}");
    };
    refused("small", &Batch::of(&[&"x".repeat(200)]), ResponseError::MessageTooLarge);
    refused("safe", &Batch::of(&["v"]), ResponseError::NotEnoughReplicas);
    refused("t", &Batch::new().with(None, None, now_ms() + 2 * 3_600_000), ResponseError::InvalidTimestamp);
}

#[test]
fn sequences_are_kept_over_a_restart() {
    let scratch = Scratch::new();
    let mut broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
    let mut client = Client::new(broker.addr());
    create(&mut client, "t", 1, &[]);
    let (id, epoch) = init_producer(&mut client, None, 1000);
    let batch = |sequence: i32| Batch::of(&["a", "b"]).by_producer(id, epoch, sequence, false);
    assert_eq!(produce(&mut client, "t", &batch(0)), 0);
    for _ in 0..2 {
        assert_eq!(produce(&mut client, "t", &batch(0)), 0, "the same again is the same offset");
        let gap = try_produce(&mut client, "t", &batch(8), None);
        assert_eq!(gap.error_code, ResponseError::OutOfOrderSequenceNumber.code());
        drop(broker);
        broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
        client = Client::new(broker.addr());
    }
    assert_eq!(produce(&mut client, "t", &batch(2)), 2);
    assert_ne!(init_producer(&mut client, None, 1000).0, id, "no number is given twice");
}

/// A producer with a transactional id, by hand.
pub struct Transactional {
    id: TransactionalId,
    pub producer: (i64, i16),
    sequence: i32,
}

impl Transactional {
    pub fn new(client: &mut Client, id: &str, timeout_ms: i32) -> Transactional {
        Transactional {
            id: TransactionalId(text(id)),
            producer: init_producer(client, Some(id), timeout_ms),
            sequence: 0,
        }
    }
    pub fn add(&self, client: &mut Client, topic: &str) -> i16 {
        let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![0]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.id.clone())
            .with_v3_and_below_producer_id(ProducerId(self.producer.0))
            .with_v3_and_below_producer_epoch(self.producer.1)
            .with_v3_and_below_topics(vec![topic]);
        client.call(3, &request).results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }
    pub fn write(&mut self, client: &mut Client, topic: &str, value: &str) -> i16 {
        let batch = Batch::of(&[value]).by_producer(self.producer.0, self.producer.1, self.sequence, true);
        let error = try_produce(client, topic, &batch, Some(&self.id)).error_code;
        self.sequence += i32::from(error == 0);
        error
    }
    pub fn end(&self, client: &mut Client, commit: bool) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.id.clone())
            .with_producer_id(ProducerId(self.producer.0))
            .with_producer_epoch(self.producer.1)
            .with_committed(commit);
        client.call(3, &request).error_code
    }
}

#[test]
fn transactions_isolate_and_fence() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    let mut first = Transactional::new(&mut client, "id", 60_000);
    assert_eq!(first.write(&mut client, "t", "unannounced"), ResponseError::InvalidTxnState.code());
    for (value, commit) in [("aborted", false), ("committed", true)] {
        assert_eq!(first.add(&mut client, "t"), 0);
        assert_eq!(first.write(&mut client, "t", value), 0);
        assert_eq!(first.end(&mut client, commit), 0);
    }
    assert_eq!(first.add(&mut client, "t"), 0);
    assert_eq!(first.write(&mut client, "t", "open"), 0);
    let part = try_fetch(&mut client, "t", 0, true);
    assert_eq!((part.last_stable_offset, part.high_watermark), (4, 5));
    assert_eq!(values(&read_all(&mut client, "t", 0, true)), ["committed"]);
    assert_eq!(values(&read_all(&mut client, "t", 0, false)), ["aborted", "committed", "open"]);
    // the next one aborts what is open, and the first is fenced
    let mut second = Transactional::new(&mut client, "id", 60_000);
    assert_eq!(first.end(&mut client, true), ResponseError::ProducerFenced.code());
    assert_eq!(first.write(&mut client, "t", "zombie"), ResponseError::InvalidProducerEpoch.code());
    assert_eq!(second.add(&mut client, "t"), 0);
    assert_eq!(second.write(&mut client, "t", "second"), 0);
    assert_eq!(second.end(&mut client, true), 0);
    assert_eq!(values(&read_all(&mut client, "t", 0, true)), ["committed", "second"]);
}

#[test]
fn a_transaction_left_open_times_out() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    let mut producer = Transactional::new(&mut client, "id", 200);
    assert_eq!(producer.add(&mut client, "t"), 0);
    assert_eq!(producer.write(&mut client, "t", "late"), 0);
    eventually("stable", || {
        let part = try_fetch(&mut client, "t", 0, true);
        (part.high_watermark > 1 && part.last_stable_offset == part.high_watermark).then_some(())
    });
    assert_eq!(producer.end(&mut client, true), ResponseError::ProducerFenced.code());
    assert!(read_all(&mut client, "t", 0, true).is_empty());
}

#[test]
fn retention_deletes_by_size_and_by_time() {
    for settings in
        [[("segment.bytes", "200"), ("retention.bytes", "400")], [("segment.ms", "1"), ("retention.ms", "1")]]
    {
        let scratch = Scratch::new();
        let broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
        let mut client = Client::new(broker.addr());
        create(&mut client, "t", 1, &settings);
        for _ in 0..50 {
            produce(&mut client, "t", &Batch::of(&["a value of some length"]));
        }
        eventually("the first ones are gone", || (list_offset(&mut client, "t", -2).1 >= 40).then_some(()));
        assert_eq!(try_fetch(&mut client, "t", 0, false).error_code, ResponseError::OffsetOutOfRange.code());
        assert_eq!(list_offset(&mut client, "t", -1).1, 50, "the end stays");
        drop(broker);
        let broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
        let mut client = Client::new(broker.addr());
        assert_eq!(list_offset(&mut client, "t", -1).1, 50, "also over a restart");
        assert!(list_offset(&mut client, "t", -2).1 >= 40);
        assert_eq!(produce(&mut client, "t", &Batch::of(&["v"])), 50);
    }
}

/// A segment for each batch, so that nothing hides in the active one.
const COMPACTED: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "14"),
    ("segment.ms", "1"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("delete.retention.ms", "1"),
];

#[test]
fn compaction_keeps_the_last_of_each_key() {
    let scratch = Scratch::new();
    for data in [None, Some(scratch.0.clone())] {
        let broker = Broker::start(quick(data.clone())).unwrap();
        let mut client = Client::new(broker.addr());
        create(&mut client, "t", 1, &COMPACTED);
        for n in 0..60 {
            let (key, value) = (format!("k{}", n % 3), format!("{n}"));
            let batch = Batch::new().with(Some(&key), Some(&value), now_ms()).with(
                Some("other"),
                Some(&value),
                now_ms(),
            );
            produce(&mut client, "t", &batch.packed(Compression::Gzip));
        }
        produce(&mut client, "t", &Batch::new().with(Some("k0"), None, now_ms()));
        produce(&mut client, "t", &Batch::new().with(Some("end"), Some("end"), now_ms()));
        let want = ["58", "59", "59", "end"];
        eventually("compacted", || {
            let mut left = values(&read_all(&mut client, "t", 0, false));
            left.sort();
            (left == want).then_some(())
        });
        let kept = read_all(&mut client, "t", 0, false);
        let offset = |value: &str| {
            kept.iter().filter(|r| r.value.as_deref() == Some(value.as_bytes())).map(|r| r.offset).max()
        };
        assert_eq!((offset("58"), offset("end")), (Some(116), Some(121)), "offsets stay");
        if data.is_some() {
            drop(broker);
            let broker = Broker::start(quick(data)).unwrap();
            let mut client = Client::new(broker.addr());
            assert_eq!(list_offset(&mut client, "t", -1).1, 122);
            assert_eq!(produce(&mut client, "t", &Batch::new().with(Some("k"), Some("v"), now_ms())), 122);
        }
    }
}

#[test]
fn compaction_respects_transactions() {
    let scratch = Scratch::new();
    let broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
    let mut client = Client::new(broker.addr());
    create(&mut client, "t", 1, &COMPACTED);
    let keyed = |producer: &Transactional, sequence: i32, value: &str| {
        Batch::new().with(Some("k"), Some(value), now_ms()).by_producer(
            producer.producer.0,
            producer.producer.1,
            sequence,
            true,
        )
    };
    let one = Transactional::new(&mut client, "one", 60_000);
    for (sequence, (value, commit)) in [("kept", true), ("aborted", false)].into_iter().enumerate() {
        assert_eq!(one.add(&mut client, "t"), 0);
        assert_eq!(
            try_produce(&mut client, "t", &keyed(&one, sequence as i32, value), Some("one")).error_code,
            0
        );
        assert_eq!(one.end(&mut client, commit), 0);
    }
    let open = Transactional::new(&mut client, "open", 60_000);
    assert_eq!(open.add(&mut client, "t"), 0);
    assert_eq!(try_produce(&mut client, "t", &keyed(&open, 0, "open"), Some("open")).error_code, 0);
    produce(&mut client, "t", &Batch::new().with(Some("k"), Some("after"), now_ms()));
    eventually("the aborted one is gone", || {
        (values(&read_all(&mut client, "t", 0, false)) == ["kept", "open", "after"]).then_some(())
    });
    assert_eq!(values(&read_all(&mut client, "t", 0, true)), ["kept"], "what is open hides what follows");
    assert_eq!(open.end(&mut client, true), 0);
    drop(broker);
    let broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
    let mut client = Client::new(broker.addr());
    produce(&mut client, "t", &Batch::new().with(Some("end"), Some("end"), now_ms()));
    eventually("all is decided", || {
        (values(&read_all(&mut client, "t", 0, true)) == ["after", "end"]).then_some(())
    });
}
