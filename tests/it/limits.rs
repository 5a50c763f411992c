//! Rates, concurrency, windows and budgets: what bounds the host, and that one's bounds are not another's.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::harness::http::get;
use crate::harness::{Answer, Case, Gate, Send, Service, eventually, eventually_is, guests};

fn numbered(count: u32) -> impl Iterator<Item = Send> {
    (0..count).map(|it| Send::command("pay").key(it.to_string()).value(it.to_string()))
}

/// S93: never more attempts under way than the route may have, whatever the number of shards.
#[test]
fn concurrency_bounds_what_is_under_way() {
    for limit in [1, 2, 3, 4] {
        let (case, gate) = (Case::new(), Gate::default());
        let held = gate.clone();
        let service = Service::start(move |_| Answer::held(&held));
        let (topic, group) = (case.topic(&format!("orders-{limit}"), 1), format!("g{limit}"));
        let keys = format!("order: none\nconcurrency: {limit}");
        let host = case.host().group(&group, &[&topic], "").app("shop", &service.app(&keys)).start();
        case.produce(&topic, numbered(100));
        service.got(limit);
        // All are handed over: none of the rest may start.
        eventually("all handed over", || (host.control().report().groups[0].open == 100).then_some(()));
        assert_eq!(service.open(), limit, "limit {limit}");
        gate.open();
        case.committed_by(&case.named(&group), &topic, &[100]);
        host.stop();
        assert!(service.most_open() <= limit, "{} of {limit} at once", service.most_open());
    }
}

/// S93: never more requests under way to one server than it may have, whatever the routes allow.
#[test]
fn a_server_has_a_limit_of_its_own() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |_| Answer::held(&held));
    let topic = case.topic("orders", 1);
    let keys = "order: none\nserver-concurrency: 6";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    case.produce(&topic, numbered(100));
    service.got(6);
    eventually("all handed over", || (host.control().report().groups[0].open == 100).then_some(()));
    gate.open();
    case.committed(&topic, &[100]);
    host.stop();
    assert!(service.most_open() <= 6, "{} at once", service.most_open());
}

/// What the host has taken and not settled is bounded in messages, by partition, and goes on when they end.
#[test]
fn what_is_in_flight_is_bounded() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |_| Answer::held(&held));
    let topic = case.topic("orders", 2);
    let host = case
        .host()
        .main("limits: {in-flight: 20}")
        .reads(&topic, "")
        .app("shop", &service.app("order: none"))
        .start();
    case.produce(&topic, (0..200).map(|it| Send::command("pay").value(it.to_string()).to(it % 2)));
    service.got(20);
    let open = host.control().report().groups[0].open;
    assert!(open <= 20, "{open} open");
    gate.open();
    case.committed(&topic, &[100, 100]);
    host.stop();
    assert!(service.most_open() <= 20, "{} at once", service.most_open());
}

/// S92, S211: attempts come no faster than the rate, and they come.
#[test]
fn a_rate_is_kept() {
    for (rate, count, least) in [(1, 3, 2_000), (50, 56, 980)] {
        let case = Case::new();
        let came = std::sync::Arc::new(Mutex::new(Vec::new()));
        let times = std::sync::Arc::clone(&came);
        let service = Service::start(move |_| {
            times.lock().unwrap().push(Instant::now());
            Answer::ok()
        });
        let (topic, group) = (case.topic(&format!("orders-{rate}"), 1), format!("g{rate}"));
        let keys = format!("order: none\nrate: {rate}");
        case.produce(&topic, numbered(count));
        // From before the first: on a loaded machine that one may come late, and the others on time.
        let began = Instant::now();
        let host = case.host().group(&group, &[&topic], "").app("shop", &service.app(&keys)).start();
        case.committed_by(&case.named(&group), &topic, &[i64::from(count)]);
        host.stop();
        let came = came.lock().unwrap();
        assert_eq!(came.len(), count as usize);
        // Never faster; how much slower a loaded machine is says nothing. A clock tick is forgiven.
        let took = came[came.len() - 1] - began;
        assert!(took + Duration::from_millis(50) >= Duration::from_millis(least), "{rate}/s: {took:?}");
    }
}

/// S97, S213: a topic whose service hangs holds up no other topic.
#[test]
fn a_slow_topic_does_not_stop_another() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let (slow, fast) = (Service::start(move |_| Answer::held(&held)), Service::ok());
    let (a, b) = (case.topic("a", 1), case.topic("b", 1));
    let slow_app = slow.app(&format!("topics: [{a}]\ntimeout-ms: 120000"));
    let host = case
        .host()
        .group("g", &[&a, &b], "window: 200")
        .app("slow", &slow_app)
        .app("fast", &fast.app(&format!("topics: [{b}]")))
        .start();
    case.produce(&a, numbered(1_000));
    slow.got(100);
    case.produce(&b, numbered(1_000));
    fast.got(1_000);
    case.committed(&b, &[1_000]);
    gate.open();
    case.committed(&a, &[1_000]);
    host.stop();
}

/// S97: of two commands in one partition the dead one's service does not stop the other, while the window lasts.
#[test]
fn a_dead_service_does_not_stop_its_neighbour_in_the_partition() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let (slow, fast) = (Service::start(move |_| Answer::held(&held)), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case
        .host()
        .reads(&topic, "")
        .app("slow", &slow.app("commands: [slow]\ntimeout-ms: 120000"))
        .app("fast", &fast.app("commands: [fast]"))
        .start();
    let both =
        (0..2_000).map(|it| Send::command(if it % 2 == 0 { "slow" } else { "fast" }).key(it.to_string()));
    case.produce(&topic, both);
    fast.got(1_000);
    // S101: the one that hangs has no more than its concurrency.
    assert!(slow.open() <= 128);
    gate.open();
    case.committed(&topic, &[2_000]);
    host.stop();
    assert!(slow.most_open() <= 128);
}

/// S96, P27: a full window pauses its partition, and it goes on when there is room.
#[test]
fn a_full_window_pauses_and_resumes() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |_| Answer::held(&held));
    let topic = case.topic("orders", 1);
    let keys = "order: none\nconcurrency: 10000\ntimeout-ms: 120000";
    let host = case.host().reads(&topic, "window: 128").app("shop", &service.app(keys)).start();
    case.produce(&topic, numbered(5_000));
    service.got(128);
    let lane = eventually("the window's gate", || {
        let lane = host.control().report().groups[0].lanes.first().cloned()?;
        lane.gate.is_some().then_some(lane)
    });
    assert_eq!((lane.open, service.count()), (128, 128), "no more than the window is open");
    gate.open();
    case.committed(&topic, &[5_000]);
    eventually_is("no gate", &None, || host.control().report().groups[0].lanes[0].gate);
    host.stop();
    assert_eq!(service.count(), 5_000);
    assert!(service.most_open() <= 128);
}

/// P11: a message over the whole budget goes through, by itself. S22: 20 MB.
#[test]
fn a_message_over_the_budget_goes_through() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic_with("orders", 1, &[("max.message.bytes", "22000000")]);
    let host = case
        .host()
        .main("limits: {bytes-mb: 1}")
        .reads(&topic, "")
        .app("shop", &service.app("timeout-ms: 60000"))
        .start();
    let large = [1, 3 << 20, 20 << 20, 700_000, 700_000].map(|it| Send::command("pay").value(vec![b'x'; it]));
    case.produce(&topic, large);
    case.committed(&topic, &[5]);
    host.stop();
    let mut lengths: Vec<_> = service.requests().iter().map(|it| it.body.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1, 700_000, 700_000, 3 << 20, 20 << 20]);
}

/// S22: a handler may read 20 MB within a limit of its time that the copy alone would use up.
#[test]
fn a_handler_reads_20_mb() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic_with("orders", 1, &[("max.message.bytes", "22000000")]);
    let plugins = format!("plugins:\n- name: faulty\n  file: '{}'\n  limits: {{cpu-ms: 5}}", guests::FAULTY);
    let keys = "handler: faulty\nretry: {attempts: 1}\ntimeout-ms: 60000";
    let host = case.host().main(&plugins).reads(&topic, "").app("shop", &service.app(keys)).start();
    case.produce(&topic, [Send::command("pay").header("do", "size").value(vec![b'x'; 20 << 20])]);
    assert_eq!(service.got(1)[0].body, (20 << 20).to_string().as_bytes());
    case.committed(&topic, &[1]);
    host.stop();
}

/// A dead letter that is too large for its topic is cut, says so, and the offset advances.
#[test]
fn a_dead_letter_over_the_topics_limit_is_cut() {
    let (case, service) = (Case::new(), Service::start(|_| Answer::status(500)));
    let topic = case.topic_with("orders", 1, &[("max.message.bytes", "4000000")]);
    case.topic_with("g.dead", 1, &[("max.message.bytes", "200000")]);
    let host = case.host().reads(&topic, "").app("shop", &service.app("retry: {attempts: 1}")).start();
    case.produce(
        &topic,
        [
            Send::command("pay").value(vec![b'x'; 3_000_000]),
            Send::command("pay").value("y"),
            Send::command("pay").value("z").key("k").header("x-much", vec![b'x'; 199_900]),
            Send::command("pay").key(vec![b'k'; 199_900]),
        ],
    );
    case.committed(&topic, &[4]);
    host.stop();
    let dead = case.records(&case.dead_topic(), 4);
    let of = |offset: &str| dead.iter().find(|it| it.said("drover-origin-offset") == offset).unwrap();
    let cut = of("0");
    assert_eq!(cut.said("drover-truncated-from-bytes"), "3000000");
    assert!(cut.value.as_ref().is_some_and(|it| it.len() == 64 << 10));
    let whole = of("1");
    assert_eq!(
        (whole.value.as_deref(), whole.header("drover-truncated-from-bytes")),
        (Some(&b"y"[..]), None)
    );
    // Nor does the bulk of headers or of a key stop the partition.
    let (bare, keyless) = (of("2"), of("3"));
    assert_eq!((bare.value.as_deref(), bare.key.as_deref()), (Some(&b"z"[..]), Some(&b"k"[..])));
    assert_eq!((bare.header("x-much"), bare.header("drover-key-left-out-bytes")), (None, None));
    assert!(bare.said("drover-headers-left-out-bytes").parse::<u32>().unwrap() > 199_900);
    assert_eq!(
        (keyless.key.as_ref(), keyless.said("drover-key-left-out-bytes")),
        (None, "199900".to_owned())
    );
}

/// S136: every wait has a name, and a level that falls to nothing when it is over.
#[test]
fn what_messages_wait_for_is_seen() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |_| Answer::held(&held));
    let topic = case.topic("orders", 1);
    let keys = "timeout-ms: 120000\nserver-concurrency: 4\ncommands:\n- match: pay\n- {match: narrow, concurrency: 2}\n- {match: slow, rate: 20}";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    let of = |command: &str, key: &str| Send::command(command).key(key).value("x");
    // Two shards have two places each at the server. Twelve of a command that take them all, and wait for more.
    case.produce(&topic, (0..12).map(|it| of("pay", &it.to_string())));
    service.got(4);
    case.produce(&topic, (0..5).map(|_| of("pay", "0")));
    case.produce(&topic, (20..30).map(|it| of("narrow", &it.to_string())));
    case.produce(&topic, (40..100).map(|it| of("slow", &it.to_string())));
    let level = |wait: &str| {
        let page = get(host.admin(), "/metrics").body;
        let line = format!("drover_waiting{{for=\"{wait}\"}} ");
        page.lines().find_map(|it| it.strip_prefix(&line)).unwrap().parse::<f64>().unwrap() as u64
    };
    eventually_is("waiting for the rate", &true, || level("rate") > 10);
    eventually_is("waiting for the server", &true, || level("server") >= 8);
    eventually_is("waiting behind their key", &5, || level("order"));
    eventually_is("waiting for a place", &8, || level("concurrency"));
    gate.open();
    service.got(87);
    for wait in ["rate", "server", "order", "concurrency"] {
        eventually_is(wait, &0, || level(wait));
    }
    host.stop();
}
