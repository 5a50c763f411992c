//! Logs with holes, logs that were cut, and where a group begins.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use std::time::Duration;

use crate::harness::{Case, Send, Service, eventually, eventually_is};

const WAIT: Duration = Duration::from_secs(30);

fn transactional(case: &Case, id: &str) -> BaseProducer {
    let mut config = case.kafka.config();
    config.set("transactional.id", case.named(id));
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    producer
}

fn in_transaction(producer: &BaseProducer, topic: &str, values: std::ops::Range<u32>) {
    producer.begin_transaction().unwrap();
    for it in values {
        let headers = rdkafka::message::OwnedHeaders::new()
            .insert(rdkafka::message::Header { key: "drover-command", value: Some("pay") });
        let value = it.to_string();
        let record: BaseRecord<'_, str, str> =
            BaseRecord::to(topic).payload(value.as_str()).partition(0).headers(headers);
        producer.send(record).map_err(|it| it.0).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

/// S63, P6: aborted records and markers leave holes; what is committed is delivered and its place is committed.
#[test]
fn transactions_leave_holes_that_stall_nothing() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "window: 20").app("shop", &service.app("")).start();
    let producer = transactional(&case, "tx");
    for round in 0..10 {
        in_transaction(&producer, &topic, round * 10..round * 10 + 10);
        if round % 2 == 0 {
            producer.commit_transaction(WAIT).unwrap();
        } else {
            producer.abort_transaction(WAIT).unwrap();
        }
    }
    // The last transaction is aborted: a record behind it shows that the hole is crossed.
    let (_, last) = case.produce(&topic, [Send::command("pay").value("last").to(0)])[0];
    case.committed(&topic, &[last + 1]);
    host.stop();
    let mut values: Vec<_> =
        service.requests().iter().filter_map(|it| it.text().parse::<u32>().ok()).collect();
    values.sort_unstable();
    let expected: Vec<_> = (0..100).filter(|it| it / 10 % 2 == 0).collect();
    assert_eq!(values, expected, "aborted messages are never delivered");
    assert_eq!(service.count(), 51);
}

/// P30: nothing of an open transaction is delivered, nor what lies behind it; then all of it.
#[test]
fn an_open_transaction_holds_back_what_is_behind_it() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).start();
    case.produce(&topic, [Send::command("pay").value("before").to(0)]);
    service.got(1);
    let producer = transactional(&case, "tx");
    in_transaction(&producer, &topic, 0..5);
    case.produce(&topic, [Send::command("pay").value("behind").to(0)]);
    case.committed(&topic, &[1]);
    assert_eq!(service.count(), 1);
    producer.commit_transaction(WAIT).unwrap();
    service.got(7);
    case.committed(&topic, &[7]);
    host.stop();
}

/// S63, P6: a compacted topic; the hole is wider than the window.
#[test]
fn a_compacted_topic_stalls_nothing() {
    let (case, service) = (Case::new(), Service::ok());
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("min.compaction.lag.ms", "0"),
        ("max.compaction.lag.ms", "100"),
    ];
    let topic = case.topic_with("orders", 1, &settings);
    let one = |it: u32| {
        Send::command("pay")
            .key(if it.is_multiple_of(100) { it.to_string() } else { "k".to_owned() })
            .value(it.to_string())
    };
    case.produce(&topic, (0..1_000).map(one));
    let left = || case.kafka.read(&topic).len();
    let mut number = 1_000;
    eventually("the broker compacts", || {
        // Only closed segments are compacted: one record more each time.
        case.produce(&topic, [one(number)]);
        number += 1;
        (left() < 500).then_some(())
    });
    let host = case.host().reads(&topic, "window: 20").app("shop", &service.app("")).start();
    case.all_committed(&topic);
    host.stop();
    assert!(service.count() < 1_000);
}

/// S51, P7: the committed offset is no longer there: the group goes on with the oldest record that is.
#[test]
fn a_log_that_was_cut_below_the_commit() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let setup = case.host().reads(&topic, "").app("shop", &service.app(""));
    let send = |it: u32| Send::command("pay").value(it.to_string());
    case.produce(&topic, (0..10).map(send));
    let host = setup.start();
    case.committed(&topic, &[10]);
    host.stop();
    case.produce(&topic, (10..100).map(send));
    case.kafka.delete_before(&topic, 0, 50);
    let host = setup.start();
    case.committed(&topic, &[100]);
    host.stop();
    assert_eq!(service.count(), 10 + 50);
}

/// P7: a topic that is deleted and made anew is read from its beginning.
#[test]
fn a_topic_that_is_made_anew() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).start();
    let send = |it: u32| Send::command("pay").value(it.to_string());
    case.produce(&topic, (0..10).map(send));
    case.committed(&topic, &[10]);
    case.kafka.delete_topic(&topic);
    eventually_is("given back", &0, || host.control().report().groups[0].lanes.len());
    case.kafka.make_topic(&topic, 1, &[]);
    eventually_is("taken again", &1, || host.control().report().groups[0].lanes.len());
    case.produce(&topic, (10..15).map(send));
    service.got_messages(10);
    case.committed(&topic, &[5]);
    host.stop();
    assert_eq!(service.requests().iter().filter(|it| it.text().len() == 2).count(), 5);
}

/// S51, S65: `start` counts for a new group only, and loses nothing.
#[test]
fn a_new_group_begins_where_it_is_told() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let send = |it: u32| Send::command("pay").value(it.to_string());
    case.produce(&topic, (0..10).map(send));
    let path = |name: &str| service.app(&format!("path: /{name}\ngroups: [{}]", case.named(name)));
    let setup = case
        .host()
        .group("oldest", &[&topic], "start: oldest")
        .group("newest", &[&topic], "start: newest")
        .app("oldest", &path("oldest"))
        .app("newest", &path("newest"));
    let host = setup.start();
    case.committed_by(&case.named("oldest"), &topic, &[10]);
    case.committed_by(&case.named("newest"), &topic, &[10]);
    case.produce(&topic, (10..15).map(send));
    case.committed_by(&case.named("newest"), &topic, &[15]);
    host.stop();
    // Known by now: what came meanwhile is delivered, to the newest too.
    case.produce(&topic, (15..20).map(send));
    let host = setup.start();
    for group in ["oldest", "newest"] {
        case.committed_by(&case.named(group), &topic, &[20]);
    }
    host.stop();
    let count = |path: &str| service.requests().iter().filter(|it| it.path == path).count();
    assert_eq!((count("/oldest"), count("/newest")), (20, 10));
}
