//! Who waits for whom, and who does not.

use std::collections::{HashMap, HashSet};

use crate::harness::{Answer, Case, Event, Gate, Request, Send, Service};

/// S115: strictly one at a time and in order for each key, also through failures and retries.
#[test]
fn ten_thousand_messages_of_a_hundred_keys_with_failures() {
    let case = Case::new();
    // Every seventh fails at first, every 49th twice.
    let service = Service::start(|it| {
        let number: u32 = it.text().parse().unwrap();
        let failures = u32::from(number.is_multiple_of(7)) + u32::from(number.is_multiple_of(49));
        Answer::status(if it.attempt() <= failures { 500 } else { 200 })
    });
    let topic = case.topic("orders", 3);
    let app = format!(
        "servers: ['{}']\nretry: {{first-ms: 1}}\neject: {{after: 100000}}\ncommands: [pay]",
        service.address()
    );
    let host = case.host().reads(&topic, "order: key").app("shop", &app).start();
    case.produce(&topic, (0..10_000).map(|it| keyed(it, 100)));
    case.all_committed(&topic);
    host.stop();
    let requests = service.requests();
    assert_in_order(&requests, &service.events(), |it| it.text().parse::<u32>().unwrap() % 100);
    let succeeded: HashSet<_> = requests.iter().map(Request::text).collect();
    assert_eq!(succeeded.len(), 10_000);
    let expected = 10_000 + 10_000_usize.div_ceil(7) + 10_000_usize.div_ceil(49);
    assert_eq!(requests.len(), expected, "each message once, and again where it failed");
}

fn keyed(number: u32, keys: u32) -> Send {
    Send::command("pay").key(format!("key-{}", number % keys)).value(number.to_string())
}

/// Of each line none came before the one in front of it was answered for good.
fn assert_in_order(requests: &[Request], events: &[Event], line: impl Fn(&Request) -> u32) {
    let mut open: HashMap<u32, usize> = HashMap::new();
    let mut last: HashMap<u32, (u32, u32)> = HashMap::new();
    for event in events {
        match event {
            Event::Came(it) => {
                let request = &requests[*it];
                let (line, number) = (line(request), request.text().parse::<u32>().unwrap());
                assert_eq!(open.insert(line, *it), None, "two of line {line} at once");
                let now = (number, request.attempt());
                let before = last.insert(line, now);
                assert!(before.is_none_or(|it| it < now), "line {line}: {before:?} before {now:?}");
            }
            Event::Ended(it) => {
                open.remove(&line(&requests[*it]));
            }
        }
    }
}

/// S62, S116: order `partition` is a line for each partition.
#[test]
fn order_partition_is_one_line_for_each_partition() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 2);
    let app = format!("servers: ['{}']\norder: partition\ncommands: [pay]", service.address());
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, (0..500).map(|it| keyed(it, 50).to((it % 2) as i32)));
    case.committed(&topic, &[250, 250]);
    host.stop();
    let requests = service.requests();
    assert_eq!(requests.len(), 500);
    assert_in_order(&requests, &service.events(), |it| it.text().parse::<u32>().unwrap() % 2);
}

/// Order `none`: one that hangs holds up neither its key nor its partition.
#[test]
fn order_none_waits_for_nobody() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |it| if it.text() == "0" { Answer::held(&held) } else { Answer::ok() });
    let topic = case.topic("orders", 1);
    let app = format!("servers: ['{}']\norder: none\ncommands: [pay]", service.address());
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, (0..100).map(|it| keyed(it, 1)));
    service.got(100);
    // S61: what is open holds the commit, whatever is done behind it.
    assert!(matches!(case.kafka.committed(&case.group(), &topic)[..], [None | Some(0)]));
    gate.open();
    case.committed(&topic, &[100]);
    host.stop();
}

/// S85: a key that waits for its retry holds up no other, and its own followers wait behind it.
#[test]
fn a_key_that_fails_holds_up_its_own_messages_only() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |it| if it.text() == "0" { Answer::held(&held) } else { Answer::ok() });
    let topic = case.topic("orders", 1);
    let app = format!("servers: ['{}']\ncommands: [pay]", service.address());
    let host = case.host().reads(&topic, "order: key").app("shop", &app).start();
    case.produce(&topic, (0..100).map(|it| keyed(it, 20)));
    let came = service.got(96);
    assert!(came.iter().all(|it| it.text() == "0" || it.text().parse::<u32>().unwrap() % 20 != 0));
    gate.open();
    case.committed(&topic, &[100]);
    host.stop();
    assert_eq!(service.count(), 100);
    let requests = service.requests();
    assert_in_order(&requests, &service.events(), |it| it.text().parse::<u32>().unwrap() % 20);
}

/// Messages without a key have no order to keep.
#[test]
fn messages_without_a_key_wait_for_nobody() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |it| if it.text() == "0" { Answer::held(&held) } else { Answer::ok() });
    let topic = case.topic("orders", 1);
    let app = format!("servers: ['{}']\ncommands: [pay]", service.address());
    let host = case.host().reads(&topic, "order: key").app("shop", &app).start();
    case.produce(&topic, (0..50).map(|it| Send::command("pay").value(it.to_string())));
    service.got(50);
    gate.open();
    case.committed(&topic, &[50]);
    host.stop();
}
