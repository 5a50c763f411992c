//! What cannot be delivered: it goes to the dead letters with all that is known of it, or it waits. Never nowhere.

use std::collections::HashSet;

use drover::clock::now_ms;

use crate::harness::{Answer, Case, Request, Send, Service, eventually};

/// S24, S87: raw bytes and coordinates, and the offset advances.
#[test]
fn an_unreadable_record_goes_to_the_dead_letters_as_it_is() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let app = format!("servers: ['{}']\ncommands: [pay]", service.address());
    let host = case.host().reads(&topic, "format: native").app("shop", &app).start();
    let unreadable =
        Send::default().key([1, 2, 255]).value([0, 159, 146, 150]).header("x-one", "1").at(1_234);
    case.produce(&topic, [unreadable, Send::command("pay").value("good")]);
    assert_eq!(service.got(1)[0].text(), "good");
    let dead = case.records(&case.dead_topic(), 1).remove(0);
    assert_eq!(dead.key.as_deref(), Some(&[1, 2, 255][..]));
    assert_eq!(dead.value.as_deref(), Some(&[0, 159, 146, 150][..]));
    let expected = [
        ("x-one", "1"),
        ("drover-origin-topic", &topic),
        ("drover-origin-partition", "0"),
        ("drover-origin-offset", "0"),
        ("drover-origin-timestamp-ms", "1234"),
        ("drover-group", &case.group()),
        ("drover-stage", "decode"),
        ("drover-code", "unreadable"),
        ("drover-attempts", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(dead.said(name), value, "{name}");
    }
    assert!(dead.said("drover-reason").contains("drover-command"), "{}", dead.said("drover-reason"));
    case.committed(&topic, &[2]);
    host.stop();
}

/// S64, S198: fifty poison messages in a row, and the good one behind them is delivered and committed.
#[test]
fn the_good_message_behind_fifty_poisoned_ones() {
    let case = Case::new();
    let service = Service::start(|it| Answer::status(if it.text() == "good" { 200 } else { 500 }));
    let topic = case.topic("orders", 1);
    let app = format!(
        "servers: ['{}']\nretry: {{attempts: 2, first-ms: 1}}\neject: {{after: 100000}}\norder: partition\ncommands: [pay]",
        service.address()
    );
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    let poison = (0..50).map(|it| Send::command("pay").key("k").value(format!("poison {it}")));
    case.produce(&topic, poison.chain([Send::command("pay").key("k").value("good")]));
    assert_eq!(service.got(101)[100].text(), "good");
    case.committed(&topic, &[51]);
    let dead = case.records(&case.dead_topic(), 50);
    host.stop();
    assert_eq!(dead.len(), 50);
    for (offset, it) in dead.iter().enumerate() {
        assert_eq!(it.said("drover-origin-offset"), offset.to_string());
        assert_eq!(it.said("drover-attempts"), "2");
        assert_eq!(it.said("drover-stage"), "judge");
        assert_eq!(it.said("drover-code"), "attempts");
        assert_eq!(it.said("drover-origin-command"), "pay");
        assert!(it.said("drover-first-reason").contains("500"), "{}", it.said("drover-first-reason"));
        assert!(it.said("drover-plugin").starts_with("forward@"));
    }
}

/// S16, S48: a command that nothing takes: dead letters, parked or skipped, as the group says.
#[test]
fn an_unmatched_command_ends_as_its_group_says() {
    for policy in ["dead", "park", "skip"] {
        let (case, service) = (Case::new(), Service::ok());
        let topic = case.topic(&format!("orders-{policy}"), 1);
        let app = format!("servers: ['{}']\ncommands: [pay]", service.address());
        let host =
            case.host().group(policy, &[&topic], &format!("unmatched: {policy}")).app("shop", &app).start();
        case.produce(&topic, [Send::command("unknown").value("u"), Send::command("pay")]);
        let group = case.named(policy);
        case.committed_by(&group, &topic, &[2]);
        let count = |topic: &str| case.kafka.read(topic).len();
        let (dead, parked) = (count(&format!("{group}.dead")), count(&format!("{group}.park")));
        let expected = match policy {
            "dead" => (1, 0),
            "park" => (0, 1),
            _ => (0, 0),
        };
        assert_eq!((dead, parked), expected, "{policy}");
        host.stop();
        assert_eq!(service.count(), 1);
    }
}

/// P13: a dead letter that cannot be written blocks its message and never drops it.
#[test]
fn without_its_dead_letter_topic_a_poisoned_message_waits() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let app = format!("servers: ['{}']\ncommands: [pay]", service.address());
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, [Send::command("pay").value("first")]);
    case.committed(&topic, &[1]);
    case.kafka.delete_topic(&case.dead_topic());
    case.produce(&topic, [Send::command("unknown").value("u"), Send::command("pay").value("second")]);
    service.got(2);
    // Its neighbours go on, its offset does not.
    eventually("a write that failed", || (host.control().report().totals.done == 2).then_some(()));
    assert_eq!(case.kafka.committed(&case.group(), &topic), [Some(1)]);
    case.kafka.make_topic(&case.dead_topic(), 1, &[]);
    case.committed(&topic, &[3]);
    assert_eq!(case.records(&case.dead_topic(), 1)[0].value.as_deref(), Some(&b"u"[..]));
    host.stop();
}

/// S54: a record may say any number and carry any number of headers; it ends as a message, and nothing else ends.
#[test]
fn a_record_that_says_too_much_harms_nobody() {
    let case = Case::new();
    let service =
        Service::start(|it| Answer::status(if it.text() == "worn" && it.number == 0 { 500 } else { 200 }));
    let topic = case.topic("orders", 1);
    let app = service.app("order: partition\nretry: {attempts: -1, first-ms: 1}");
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    let worn = Send::command("pay").value("worn").header("drover-attempt", u32::MAX.to_string());
    let late = Send::command("pay").value("late").header("drover-delay-ms", u64::MAX.to_string());
    let wide =
        (0..30_000).fold(Send::command("pay").value("wide"), |it, at| it.header(&format!("x{at}"), ""));
    case.produce(&topic, [worn, late, wide, Send::command("pay").value("good")]);
    case.committed(&topic, &[4]);
    let requests = service.got(3);
    assert_eq!(requests.iter().map(|it| it.text()).collect::<Vec<_>>(), ["worn", "worn", "good"]);
    assert_eq!(requests[1].attempt(), u32::MAX);
    let rung = format!("{}.{topic}.delay.131072s", case.group());
    assert_eq!(case.records(&rung, 1)[0].said("drover-due-ms"), u64::MAX.to_string());
    let dead = case.records(&case.dead_topic(), 1).remove(0);
    assert_eq!((dead.said("drover-code"), dead.said("drover-stage")), ("handle".into(), "handle".into()));
    assert!(dead.said("drover-reason").contains("headers"), "{}", dead.said("drover-reason"));
    host.stop();
}

/// S86: expired on arrival, by its route's default, or while it is tried again: not delivered any more, and told why.
/// Never is never.
#[test]
fn what_has_expired_is_not_delivered() {
    let case = Case::new();
    let service = Service::start(|it| Answer::status(if it.text() == "tried" { 500 } else { 200 }));
    let topic = case.topic("orders", 1);
    let keys =
        "order: none\nttl-ms: 60000\nretry: {attempts: -1, first-ms: 10, most-ms: 50, inline-ms: 60000}";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    let old_ms = (now_ms() - 120_000) as i64;
    let one = |value: &str| Send::command("pay").value(value);
    let soon = (now_ms() + 1_500).to_string();
    let all = [
        one("late").header("drover-expires-ms", "5"),
        one("by default").at(old_ms),
        one("never").at(old_ms).header("drover-expires-ms", "-1"),
        one("tried").header("drover-expires-ms", soon),
        one("good").at(now_ms() as i64),
    ];
    case.produce(&topic, all);
    case.committed(&topic, &[5]);
    let dead = case.records(&case.dead_topic(), 3);
    host.stop();
    let mut values: Vec<_> =
        dead.iter().map(|it| String::from_utf8_lossy(it.value.as_ref().unwrap()).into_owned()).collect();
    values.sort_unstable();
    assert_eq!(values, ["by default", "late", "tried"]);
    for it in &dead {
        assert_eq!(it.said("drover-code"), "expired");
        assert!(it.said("drover-reason").contains("expired"), "{}", it.said("drover-reason"));
        let tried = it.value.as_deref() == Some(b"tried");
        assert_eq!(it.said("drover-attempts") != "0", tried, "{it:?}");
        assert_eq!(it.header("drover-first-reason").is_some(), tried);
    }
    let delivered: HashSet<String> = service.requests().iter().map(Request::text).collect();
    assert_eq!(delivered, ["never", "tried", "good"].map(str::to_owned).into());
}
