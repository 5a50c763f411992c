//! What a service gets for a record: every byte, every header, and who it is.

use crate::harness::{Answer, Case, Send, Service};

/// S20, S26, S27: the value is the body, the record's headers go along, the envelope names the message.
#[test]
fn a_native_record_arrives_byte_for_byte() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case
        .host()
        .reads(&topic, "")
        .app("shop", &format!("servers: ['{}']\npath: /in\ncommands: [pay]", service.address()))
        .start();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let record = Send::command("pay").key("k").value(bytes.clone());
    let record = record.header("drover-log-id", "log-1").header("x-one", "1").header("x-one", "2");
    case.produce(
        &topic,
        [record.header("connection", "x-two").header("content-type", "a/b").header("x-two", "3")],
    );
    let request = service.got(1).remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/in"));
    assert_eq!(request.body, bytes);
    let ones: Vec<_> = request.headers.iter().filter(|it| it.0 == "x-one").map(|it| &*it.1).collect();
    assert_eq!(ones, ["1", "2"]);
    assert_eq!((request.header("x-two"), request.said("content-type").as_str()), (None, "a/b"));
    assert_eq!(request.said("drover-log-id"), "log-1");
    assert_eq!(request.said("drover-command"), "pay");
    assert_eq!(request.id(), format!("{}/{topic}/0/0", case.group()));
    assert_eq!(request.attempt(), 1);
    case.committed(&topic, &[1]);
    host.stop();
    assert_eq!(service.count(), 1);
}

/// The topic is the command where nothing else says it.
#[test]
fn a_raw_record_is_routed_by_its_topic() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case
        .host()
        .reads(&topic, "format: raw")
        .app("shop", &format!("servers: ['{}']\ncommands: ['{topic}']", service.address()))
        .start();
    case.produce(&topic, [Send::default().value("{\"Cmd\": \"not looked at\"}")]);
    let request = service.got(1).remove(0);
    assert_eq!(request.text(), "{\"Cmd\": \"not looked at\"}");
    assert_eq!(request.said("drover-command"), topic);
    case.committed(&topic, &[1]);
    host.stop();
}

/// S71: what names a message is the same for each attempt of it.
#[test]
fn identity_is_stable_over_attempts() {
    let case = Case::new();
    let service = Service::start(|it| Answer::status(if it.attempt() < 4 { 500 } else { 200 }));
    let topic = case.topic("orders", 1);
    let app = format!(
        "servers: ['{}']\nretry: {{first-ms: 1}}\neject: {{after: 1000}}\ncommands: [pay]",
        service.address()
    );
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, [Send::command("pay").value("x")]);
    let requests = service.got(4);
    let attempts: Vec<_> = requests.iter().map(|it| it.attempt()).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    for name in ["idempotency-key", "drover-log-id", "drover-first-seen-ms"] {
        assert!(requests.iter().all(|it| it.said(name) == requests[0].said(name)), "{name}");
    }
    case.committed(&topic, &[1]);
    host.stop();
    assert_eq!(service.count(), 4);
}

/// S45: each group gets every message; P10: nulls, empty and binary keys, tombstones.
#[test]
fn two_groups_each_get_every_message_of_every_shape() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let app = |group: &str| {
        format!(
            "servers: ['{}']\npath: /{group}\ngroups: [{}]\ncommands: [pay]",
            service.address(),
            case.named(group)
        )
    };
    let host = case
        .host()
        .group("a", &[&topic], "")
        .group("b", &[&topic], "")
        .app("one", &app("a"))
        .app("two", &app("b"))
        .start();
    let shapes = [
        Send::command("pay"),
        Send::command("pay").key("").value(""),
        Send::command("pay").key([0, 255, 10, 13]).value([0, 255]),
        Send::command("pay").key("tombstone"),
        Send::command("pay").key(vec![b'k'; 10_000]).value("huge key"),
    ];
    case.produce(&topic, shapes);
    let requests = service.got(10);
    for group in ["a", "b"] {
        let mut bodies: Vec<_> =
            requests.iter().filter(|it| it.path == format!("/{group}")).map(|it| it.body.clone()).collect();
        bodies.sort();
        let expected: [&[u8]; 5] = [b"", b"", b"", &[0, 255], b"huge key"];
        assert_eq!(bodies, expected, "{group}");
        case.committed_by(&case.named(group), &topic, &[5]);
    }
    host.stop();
}
