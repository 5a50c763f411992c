//! What is not to be tried yet waits on a ladder of topics: it holds up nobody, and survives what Kafka survives.

use std::sync::{Arc, Mutex};

use drover::clock::now_ms;

use crate::harness::{Answer, Case, Request, Send, Service, eventually, eventually_is};

type Came = Arc<Mutex<Vec<(String, u64)>>>;

/// A service that notes when each message came, in ms since 1970.
fn watch(answer: impl Fn(&Request) -> Answer + std::marker::Send + Sync + 'static) -> (Service, Came) {
    let came = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&came);
    let service = Service::start(move |it| {
        book.lock().unwrap().push((it.text(), now_ms()));
        answer(it)
    });
    (service, came)
}

fn delayed(value: &str, delay_ms: u64) -> Send {
    Send::command("pay").key("k").value(value).header("drover-delay-ms", delay_ms.to_string())
}

/// S53, S54, S56: never before its time, counted from when it was produced, and whatever comes behind it does not wait.
#[test]
fn a_delay_holds_up_nobody() {
    let case = Case::new();
    let (service, came) = watch(|_| Answer::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).start();
    let produced_ms = now_ms();
    let late = delayed("late", 3_000).at(produced_ms as i64);
    // Of its delay of an hour all but two seconds are over.
    let nearly = delayed("nearly", 3_600_000).at(produced_ms as i64 - 3_598_000);
    let short = delayed("short", 300).at(produced_ms as i64);
    case.produce(&topic, [late, nearly, short, Send::command("pay").key("k").value("now")]);
    // The two that wait on rungs are settled in the source.
    case.committed(&topic, &[4]);
    service.got(4);
    host.stop();
    let came = came.lock().unwrap().clone();
    let order: Vec<&str> = came.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(order[2..], ["nearly", "late"], "{came:?}");
    for (value, delay_ms) in [("now", 0), ("short", 300), ("nearly", 2_000), ("late", 3_000)] {
        let at_ms = came.iter().find(|it| it.0 == value).unwrap().1;
        assert!(at_ms >= produced_ms + delay_ms, "{value}: {came:?} after {produced_ms}");
    }
}

/// S55: a delay outlives the host that took it in, and fires once. It keeps its identity on the way.
#[test]
fn a_delay_survives_kill_9() {
    let case = Case::new();
    let (service, came) = watch(|_| Answer::ok());
    let topic = case.topic("orders", 2);
    let setup = case.host().reads(&topic, "").app("shop", &service.app(""));
    let mut first = setup.spawn(&[]);
    let produced_ms = now_ms();
    case.produce(&topic, [delayed("late", 8_000).to(1)]);
    eventually("the source is committed", || {
        (case.kafka.committed(&case.group(), &topic)[1] == Some(1)).then_some(())
    });
    first.kill();
    case.kafka.bury(&case.group());
    assert_eq!(service.count(), 0);
    let host = setup.start();
    let request = service.got(1).remove(0);
    let rung = format!("{}.{topic}.delay.1s", case.group());
    case.all_committed(&rung);
    host.stop();
    assert_eq!(service.count(), 1);
    assert!(came.lock().unwrap()[0].1 >= produced_ms + 8_000);
    assert_eq!(request.id(), format!("{}/{topic}/1/0", case.group()));
    assert_eq!(request.attempt(), 1);
}

/// S79, S83, S85, P26: what is tried longer than its inline budget waits on its ladder: its partition goes on, its
/// attempts are counted on through a restart, and its dead letter tells of the first failure and of the original.
#[test]
fn a_retry_holds_up_nobody_and_keeps_its_count() {
    let case = Case::new();
    let service = Service::start(|it| Answer::status(if it.text() == "bad" { 500 } else { 200 }));
    let topic = case.topic("orders", 1);
    let keys = "order: none\nretry: {attempts: 3, first-ms: 1000, factor: 1, inline-ms: 0}";
    let setup = case.host().reads(&topic, "").app("shop", &service.app(keys));
    let mut first = setup.spawn(&[]);
    case.produce(
        &topic,
        [Send::command("pay").key("k").value("bad"), Send::command("pay").key("k").value("good")],
    );
    case.committed(&topic, &[2]);
    service.got(2);
    first.kill();
    case.kafka.bury(&case.group());
    let host = setup.start();
    let dead = case.records(&case.dead_topic(), 1).remove(0);
    let rung = format!("{}.{topic}.retry.1s", case.group());
    case.all_committed(&rung);
    host.stop();
    let bad: Vec<Request> = service.requests().into_iter().filter(|it| it.text() == "bad").collect();
    // The first host may have been killed before its second attempt was settled.
    let mut attempts: Vec<u32> = bad.iter().map(Request::attempt).collect();
    attempts.dedup();
    assert_eq!(attempts, [1, 2, 3]);
    let first_seen = bad[0].said("drover-first-seen-ms");
    for it in &bad {
        assert_eq!((it.id(), it.said("drover-first-seen-ms")), (bad[0].id(), first_seen.clone()));
    }
    assert_eq!(dead.said("drover-attempts"), "3");
    assert_eq!(dead.said("drover-origin-topic"), topic);
    assert_eq!(dead.said("drover-origin-offset"), "0");
    assert_eq!(dead.said("drover-first-seen-ms"), first_seen);
    assert_eq!(dead.header("drover-rung"), None);
    assert!(dead.said("drover-first-reason").contains("500"));
}

/// A rung is as wide as its source, and is followed when that grows (P14, P17); only what is needed is made.
#[test]
fn rungs_are_made_when_they_are_needed() {
    let case = Case::new();
    let service = Service::start(|it| Answer::status(if it.attempt() == 1 { 500 } else { 200 }));
    let topic = case.topic("orders", 3);
    let keys = "order: none\nretry: {first-ms: 1000, inline-ms: 0}";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    let rung = format!("{}.{topic}.retry.1s", case.group());
    assert_eq!(case.kafka.partitions(&rung), 0);
    case.produce(&topic, (0..3).map(|it| Send::command("pay").to(it)));
    service.got(6);
    assert_eq!(case.kafka.partitions(&rung), 3);
    case.kafka.add_partitions(&topic, 5);
    eventually_is("five partitions", &5, || case.kafka.partitions(&topic));
    case.produce(&topic, (3..5).map(|it| Send::command("pay").to(it)));
    service.got(10);
    eventually("everything committed", || {
        let committed: Vec<_> = case.kafka.committed(&case.group(), &rung).into_iter().flatten().collect();
        (committed == [1; 5]).then_some(())
    });
    host.stop();
    let delays = format!("{}.{topic}.delay.1s", case.group());
    assert_eq!(case.kafka.partitions(&delays), 0);
}

/// S57: for an app, or for all of them.
#[test]
fn delays_can_be_switched_off() {
    let (case, service) = (Case::new(), Service::ok());
    for (group, main, keys) in [("app", "", "delays: false"), ("all", "delays: false", "")] {
        let topic = case.topic(group, 1);
        let host = case.host().main(main).group(group, &[&topic], "").app("shop", &service.app(keys)).start();
        case.produce(&topic, [delayed(group, 3_600_000)]);
        case.committed_by(&case.named(group), &topic, &[1]);
        host.stop();
    }
    let got: Vec<String> = service.requests().iter().map(Request::text).collect();
    assert_eq!(got, ["app", "all"]);
}
