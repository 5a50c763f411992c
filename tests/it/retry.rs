//! Which answers are a failure, what follows a failure, and when it is enough.

use crate::harness::{Answer, Case, Port, Send, Service, app_of, eventually};

/// S196: a service that refuses a thousand times; then it is there, and nothing was lost.
#[test]
fn refused_a_thousand_times_then_delivered() {
    let (case, port) = (Case::new(), Port::take());
    let topic = case.topic("orders", 1);
    let keys = "retry: {attempts: -1, first-ms: 1, most-ms: 5}\neject: {after: 1000000}";
    let host = case.host().reads(&topic, "").app("shop", &app_of(&[port.address()], keys)).start();
    case.produce(&topic, (0..20).map(|it| Send::command("pay").key(it.to_string()).value(it.to_string())));
    eventually("a thousand attempts", || (host.control().report().totals.attempts >= 1_000).then_some(()));
    assert!(host.is_running());
    assert!(matches!(case.kafka.committed(&case.group(), &topic)[..], [None | Some(0)]));
    let service = port.serve(|_| Answer::ok());
    let requests = service.got_messages(20);
    assert!(requests.iter().all(|it| it.attempt() > 1));
    case.committed(&topic, &[20]);
    host.stop();
    assert_eq!(service.count(), 20);
}

/// S68, S197: only status 200 with a JSON object whose `errno` is the number 0 is a success.
#[test]
fn errno_other_than_zero_is_a_failure() {
    for (rule, name) in [("success: errno", "rule"), ("handler: json-rpc-errno", "plugin")] {
        let case = Case::new();
        let answers = [
            (200, "{\"errno\": 1}"),
            (200, "{}"),
            (200, "OK"),
            (200, ""),
            (200, "{\"errno\": \"0\"}"),
            (201, "{\"errno\": 0}"),
            (500, "{\"errno\": 0}"),
            (200, "{\"errno\": 0, \"errmsg\": \"\"}"),
        ];
        let service = Service::start(move |it| {
            let (status, body) = answers[it.attempt() as usize - 1];
            Answer::body(status, body)
        });
        let topic = case.topic(&format!("orders-{name}"), 1);
        let keys = format!("{rule}\nretry: {{attempts: -1, first-ms: 1}}\neject: {{after: 1000}}");
        let host = case.host().group(name, &[&topic], "").app("shop", &service.app(&keys)).start();
        case.produce(&topic, [Send::command("pay").value("x")]);
        case.committed_by(&case.named(name), &topic, &[1]);
        host.stop();
        assert_eq!(service.count(), answers.len(), "{rule}");
    }
}

/// S69: the other rules: any 2xx, exactly 200, a value in the answer's JSON.
#[test]
fn success_is_what_the_rule_says() {
    let rules = [
        ("success: '2xx'", (302, ""), (204, "")),
        ("success: '200'", (201, ""), (200, "")),
        (
            "success: {json: /state/ok, equals: true}",
            (200, "{\"state\": {\"ok\": 1}}"),
            (202, "{\"state\": {\"ok\": true}}"),
        ),
    ];
    for (number, (rule, bad, good)) in rules.into_iter().enumerate() {
        let case = Case::new();
        let service = Service::start(move |it| {
            let (status, body) = if it.attempt() == 1 { bad } else { good };
            Answer::body(status, body)
        });
        let (topic, group) = (case.topic(&format!("orders-{number}"), 1), format!("g{number}"));
        let keys = format!("{rule}\nretry: {{first-ms: 1}}");
        let host = case.host().group(&group, &[&topic], "").app("shop", &service.app(&keys)).start();
        case.produce(&topic, [Send::command("pay")]);
        case.committed_by(&case.named(&group), &topic, &[1]);
        host.stop();
        assert_eq!(service.count(), 2, "{rule}");
    }
}

/// S71: time-outs, closed and reset connections, answers that break off or are none: ordinary failures.
#[test]
fn whatever_a_service_does_is_an_ordinary_failure() {
    let case = Case::new();
    let bad = [
        Answer::Hang,
        Answer::Close,
        Answer::Reset,
        Answer::Half,
        Answer::Garbage,
        Answer::Stuck,
        Answer::body(200, vec![b'x'; 3_000]),
        Answer::UntilClosed(vec![b'x'; 3_000]),
    ];
    let count = bad.len();
    let service =
        Service::start(move |it| bad.get(it.attempt() as usize - 1).cloned().unwrap_or_else(Answer::ok));
    let topic = case.topic("orders", 1);
    let keys = "timeout-ms: 300\nresponse-kb: 2\nretry: {attempts: -1, first-ms: 1, most-ms: 1}\neject: {after: 1000}";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    case.produce(&topic, [Send::command("pay").value("x")]);
    case.committed(&topic, &[1]);
    host.stop();
    let attempts: Vec<_> = service.requests().iter().map(|it| it.attempt() as usize).collect();
    assert_eq!(attempts, (1..=count + 1).collect::<Vec<_>>());
}

/// S71: a name that leads nowhere. S87: the dead letter says at which stage, and why.
#[test]
fn a_host_that_does_not_exist_is_an_ordinary_failure() {
    let case = Case::new();
    let topic = case.topic("orders", 1);
    let app = app_of(&["nowhere.invalid:80".to_owned()], "retry: {attempts: 2, first-ms: 1}");
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, [Send::command("pay").value("x")]);
    case.committed(&topic, &[1]);
    let dead = case.records(&case.dead_topic(), 1).remove(0);
    assert_eq!(
        (dead.said("drover-stage"), dead.said("drover-attempts")),
        ("send".to_owned(), "2".to_owned())
    );
    assert!(dead.said("drover-reason").contains("nowhere.invalid"), "{}", dead.said("drover-reason"));
    host.stop();
}

/// S79: as many attempts as were asked for, and no more.
#[test]
fn attempts_end_where_the_route_says() {
    let (case, service) = (Case::new(), Service::start(|_| Answer::body(500, "no")));
    let topic = case.topic("orders", 1);
    let keys = "retry: {attempts: 3, first-ms: 1}\neject: {after: 1000}\ncommands: [pay, {match: once, retry: {attempts: 1}}]";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    case.produce(&topic, [Send::command("pay").value("x"), Send::command("once").value("x")]);
    case.committed(&topic, &[2]);
    let mut dead = case.records(&case.dead_topic(), 2);
    dead.sort_by_key(|it| it.said("drover-origin-offset"));
    let attempts: Vec<_> = dead.iter().map(|it| it.said("drover-attempts")).collect();
    assert_eq!(attempts, ["3", "1"]);
    host.stop();
    assert_eq!(service.count(), 4);
}

/// S84: 429 and 503 count no attempt; `Retry-After` is followed up to the longest pause.
#[test]
fn a_throttled_message_keeps_its_attempts() {
    let case = Case::new();
    let answers = std::sync::Mutex::new(vec![
        Answer::status(429).with("retry-after", "0"),
        Answer::status(503).with("retry-after", "3600"),
        Answer::status(429),
        Answer::status(503),
        Answer::ok(),
    ]);
    let service = Service::start(move |_| answers.lock().unwrap().remove(0));
    let topic = case.topic("orders", 1);
    let keys = "retry: {attempts: 1, first-ms: 1, most-ms: 20}\neject: {after: 1000}";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    case.produce(&topic, [Send::command("pay").value("x")]);
    case.committed(&topic, &[1]);
    host.stop();
    let attempts: Vec<_> = service.requests().iter().map(|it| it.attempt()).collect();
    assert_eq!(attempts, [1; 5]);
    assert!(case.kafka.read(&case.dead_topic()).is_empty());
}

/// S110: the next attempt goes to another server than the one that failed.
#[test]
fn a_retry_goes_to_another_server() {
    let (case, good) = (Case::new(), Service::ok());
    let bad = Service::start(|_| Answer::status(500));
    let topic = case.topic("orders", 1);
    let keys = "retry: {attempts: 2, first-ms: 1}\neject: {after: 100000}";
    let app = app_of(&[bad.address(), good.address()], keys);
    for selector in ["round-robin", "random", "weighted", "least-loaded"] {
        let host = case
            .host()
            .group(selector, &[&topic], "")
            .app("shop", &format!("selector: {selector}\n{app}"))
            .start();
        if case.kafka.ends(&topic)[0].1 == 0 {
            case.produce(&topic, (0..40).map(|it| Send::command("pay").value(it.to_string())));
        }
        case.committed_by(&case.named(selector), &topic, &[40]);
        host.stop();
        let dead = case.kafka.read(&case.named(&format!("{selector}.dead")));
        assert!(dead.is_empty(), "{selector}: {dead:?}");
    }
    assert_eq!(good.count(), 4 * 40);
}
