//! Who fails gets nothing for a while, who throttles or is new gets less; and nothing is lost meanwhile.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::harness::http::get;
use crate::harness::{Answer, Case, Gate, Host, Send, Service, app_of, eventually, eventually_is};

/// An hour: no test waits for its end.
const LONG: &str = "break-ms: 3600000, recover-ms: 1, window-s: 3600, min-stats: 20, health-rate: 0.5";
/// Comes to its end at once.
const SHORT: &str = "break-ms: 1, recover-ms: 1, window-s: 1, min-stats: 1000000, health-rate: 0.01";
/// Failing messages come again quickly, for ever.
const AGAIN: &str = "retry: {attempts: -1, first-ms: 1, most-ms: 5}";

fn numbered(command: &str, count: u32) -> impl Iterator<Item = Send> {
    (0..count).map(move |it| Send::command(command).key(it.to_string()).value(it.to_string()))
}

/// Answers with this status until it is mended.
fn failing(status: u16) -> (Service, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&mended);
    let answer = move || if seen.load(SeqCst) { Answer::ok() } else { Answer::status(status) };
    (Service::start(move |_| answer()), mended)
}

/// How many messages wait for this.
fn level(host: &Host, wait: &str) -> u64 {
    metric(host, &format!("drover_waiting{{for=\"{wait}\"}}"))
}

fn metric(host: &Host, name: &str) -> u64 {
    let page = get(host.admin(), "/metrics").body;
    let line = page.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse::<f64>().unwrap() as u64
}

/// 0 normal, 1 broken, 2 recovering; of the app as a whole where no server is named.
fn state(host: &Host, app: &str, server: &str) -> u64 {
    metric(host, &format!("drover_breaker_state{{app=\"{app}\",server=\"{server}\"}}"))
}

fn circuit_is_break(host: &Host, topic: &str) -> u64 {
    let stats = get(host.admin(), "/stats").json();
    stats["data"]["clientStats"][topic]["circuitIsBreak"].as_u64().unwrap_or(0)
}

fn reload(host: &Host, app: &str, yaml: &str) {
    let path = host.path().with_file_name("apps").join(format!("{app}.yaml"));
    std::fs::write(path, yaml).unwrap();
    host.block_on(host.control().reload()).unwrap();
}

/// S84, S102, S104, S172: for a server, and for an app: broken after enough failures; then nothing is sent and no attempt
/// counted, whatever comes; seen from outside; a reload ends it.
#[test]
fn an_open_breaker_sends_nothing() {
    for per in ["server", "app"] {
        let (case, (service, mended)) = (Case::new(), failing(500));
        let (topic, group) = (case.topic(&format!("orders-{per}"), 1), format!("g-{per}"));
        let app = |rule| {
            service.app(&format!("order: none\nconcurrency: 4\n{AGAIN}\nbreaker: {{{rule}, per: [{per}]}}"))
        };
        let host = case.host().group(&group, &[&topic], "").app("shop", &app(LONG)).start();
        let server = if per == "server" { service.address() } else { String::new() };
        assert_eq!((state(&host, "shop", &server), circuit_is_break(&host, &topic)), (0, 0));
        case.produce(&topic, numbered("pay", 100));
        eventually_is("broken", &1, || circuit_is_break(&host, &topic));
        // All places of the route wait: none is left to send anything.
        eventually_is("waiting for the breaker", &4, || level(&host, "breaker"));
        assert_eq!(state(&host, "shop", &server), 1);
        let before = service.count();
        assert!(before >= 20, "broken after {before}");
        case.produce(&topic, numbered("pay", 50));
        eventually_is("all handed over", &150, || host.control().report().groups[0].open);
        assert_eq!((service.count(), level(&host, "breaker")), (before, 4));
        let attempts = host.control().report().totals.attempts;
        assert_eq!(attempts, before as u64, "what waits counts no attempt");
        mended.store(true, SeqCst);
        reload(&host, "shop", &app(SHORT));
        case.committed_by(&case.named(&group), &topic, &[150]);
        eventually_is("normal again", &(0, 0, 0), || {
            (state(&host, "shop", &server), circuit_is_break(&host, &topic), level(&host, "breaker"))
        });
        host.stop();
    }
}

/// S104: the log tells each change, once.
#[test]
fn each_change_is_told() {
    let (case, (service, mended)) = (Case::new(), failing(500));
    let topic = case.topic("orders", 1);
    let rule = "break-ms: 100, recover-ms: 100, window-s: 60, min-stats: 20, health-rate: 0.5, per: [app]";
    let app = service.app(&format!("{AGAIN}\nbreaker: {{{rule}}}"));
    let (mut host, log) = case.host().reads(&topic, "").app("shop", &app).spawn_heard();
    case.produce(&topic, numbered("pay", 50));
    let mut lines = BufReader::new(log).lines().map(Result::unwrap);
    let mut change = || lines.find(|it| it.contains("a breaker changes its state")).unwrap();
    let first = change();
    assert!(first.contains("WARN") && first.contains("\"break\"") && first.contains("shop"), "{first}");
    mended.store(true, SeqCst);
    // What was under way may break it again.
    let mut last = change();
    while !last.contains("\"normal\"") {
        let next = change();
        assert_ne!(last.contains("\"recover\""), next.contains("\"recover\""), "{last}\n{next}");
        last = next;
    }
    case.committed(&topic, &[50]);
    host.signal("TERM");
    assert_eq!(host.wait(), Some(0));
}

/// S103: the break lasts as long as it is told to; what comes back comes back bit by bit.
#[test]
fn the_break_is_kept_and_the_way_back_is_a_ramp() {
    let (case, mended) = (Case::new(), Arc::new(AtomicBool::new(false)));
    let came = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (times, good) = (Arc::clone(&came), Arc::clone(&mended));
    let service = Service::start(move |_| {
        times.lock().unwrap().push(Instant::now());
        if good.load(SeqCst) { Answer::ok() } else { Answer::status(500) }
    });
    let topic = case.topic("orders", 1);
    let app = |recover_ms| {
        let rule = format!(
            "break-ms: 2000, recover-ms: {recover_ms}, window-s: 60, min-stats: 50, health-rate: 0.5"
        );
        service.app(&format!("order: none\nconcurrency: 100\n{AGAIN}\nbreaker: {{{rule}}}"))
    };
    let host = case.host().reads(&topic, "").app("shop", &app(600_000)).start();
    case.produce(&topic, numbered("pay", 2_000));
    eventually_is("broken", &1, || state(&host, "shop", &service.address()));
    mended.store(true, SeqCst);
    let before = service.count();
    eventually_is("recovering", &2, || state(&host, "shop", &service.address()));
    // A share of what waits goes, the rest goes on waiting.
    eventually("some are through", || (service.count() > before + 2).then_some(()));
    assert!(level(&host, "breaker") > 50 && service.count() < 1_000);
    reload(&host, "shop", &app(1));
    case.committed(&topic, &[2_000]);
    host.stop();
    // Never shorter; how much longer says nothing. Half of it is forgiven to a thread that was held up before sending.
    let came = came.lock().unwrap();
    let longest = came.windows(2).map(|it| it[1] - it[0]).max().unwrap();
    assert!(longest > Duration::from_millis(1_000), "{longest:?}");
}

/// S102: a server that is broken is left out, the others take its messages.
#[test]
fn a_broken_server_is_left_out() {
    let (case, (bad, mended), good) = (Case::new(), failing(500), Service::ok());
    let topic = case.topic("orders", 1);
    let app = |rule| {
        let keys = format!("order: none\n{AGAIN}\nbreaker: {{{rule}}}");
        app_of(&[bad.address(), good.address()], &keys)
    };
    let host = case.host().reads(&topic, "").app("shop", &app(LONG)).start();
    case.produce(&topic, numbered("pay", 300));
    case.committed(&topic, &[300]);
    let shop = host.control().directory().app("shop").unwrap();
    eventually_is("servers in service", &1, || shop.in_service().servers.len());
    // The app as a whole is well: what the one did counts for it alone.
    assert_eq!((state(&host, "shop", &bad.address()), state(&host, "shop", "")), (1, 0));
    assert_eq!(circuit_is_break(&host, &topic), 0);
    let before = bad.count();
    case.produce(&topic, numbered("pay", 200));
    case.committed(&topic, &[500]);
    assert_eq!((bad.count(), good.count()), (before, 500));
    mended.store(true, SeqCst);
    reload(&host, "shop", &app(SHORT));
    eventually_is("normal again", &0, || state(&host, "shop", &bad.address()));
    case.produce(&topic, numbered("pay", 100));
    case.committed(&topic, &[600]);
    host.stop();
    assert!(bad.count() > before);
}

/// S172: a reload that changes something else leaves a broken server broken.
#[test]
fn a_reload_keeps_what_is_known() {
    let (case, (bad, _), (good, late)) = (Case::new(), failing(500), (Service::ok(), Service::ok()));
    let topic = case.topic("orders", 1);
    let app = |servers: &[String], more: &str| {
        app_of(servers, &format!("order: none\n{AGAIN}\n{more}\nbreaker: {{{LONG}, per: [server]}}"))
    };
    let two = [bad.address(), good.address()];
    let host = case.host().reads(&topic, "").app("shop", &app(&two, "")).start();
    case.produce(&topic, numbered("pay", 300));
    eventually_is("broken", &1, || state(&host, "shop", &bad.address()));
    let three = [bad.address(), good.address(), late.address()];
    reload(&host, "shop", &app(&three, "slow-start-ms: 1\nrate: 100000"));
    case.committed(&topic, &[300]);
    let before = bad.count();
    case.produce(&topic, numbered("pay", 100));
    case.committed(&topic, &[400]);
    assert_eq!((bad.count(), state(&host, "shop", &bad.address())), (before, 1));
    assert!(late.count() > 0);
    host.stop();
}

/// S105: a host that stops while a breaker is open floods nobody and loses nothing.
#[test]
fn a_stop_with_an_open_breaker() {
    let (case, (service, mended)) = (Case::new(), failing(500));
    let topic = case.topic("orders", 1);
    let app = service.app(&format!("concurrency: 4\n{AGAIN}\nbreaker: {{{LONG}}}"));
    let setup = case.host().reads(&topic, "").app("shop", &app);
    let host = setup.start();
    case.produce(&topic, numbered("pay", 100));
    eventually_is("waiting for the breaker", &4, || level(&host, "breaker"));
    let before = service.count();
    host.stop();
    assert_eq!(service.count(), before);
    assert!(matches!(case.kafka.committed(&case.group(), &topic)[..], [None | Some(0)]));
    mended.store(true, SeqCst);
    let host = setup.start();
    case.committed(&topic, &[100]);
    host.stop();
    assert_eq!(service.count(), before + 100);
    assert!(case.kafka.read(&case.dead_topic()).is_empty());
}

/// S97: a broken app does not stop its neighbour in the partition.
#[test]
fn a_broken_app_does_not_slow_its_neighbour() {
    let (case, (dead, mended), fast) = (Case::new(), failing(500), Service::ok());
    let topic = case.topic("orders", 1);
    let app = |rule| dead.app(&format!("commands: [dead]\n{AGAIN}\nbreaker: {{{rule}}}"));
    let fast_app = fast.app(&format!("commands: [fast]\nbreaker: {{{LONG}}}"));
    let host = case.host().reads(&topic, "").app("dead", &app(LONG)).app("fast", &fast_app).start();
    case.produce(&topic, numbered("dead", 100));
    eventually_is("broken", &1, || state(&host, "dead", &dead.address()));
    // Of other keys: those of one key wait for each other, whatever their commands.
    case.produce(&topic, (0..1_000).map(|it| Send::command("fast").value(it.to_string())));
    fast.got(1_000);
    assert_eq!((state(&host, "fast", &fast.address()), state(&host, "fast", "")), (0, 0));
    mended.store(true, SeqCst);
    reload(&host, "dead", &app(SHORT));
    case.committed(&topic, &[1_100]);
    host.stop();
}

/// S102, S209: where messages name their servers, a breaker is one server's own.
#[test]
fn a_named_server_has_a_breaker_of_its_own() {
    let (case, (bad, mended), good) = (Case::new(), failing(500), Service::ok());
    let topic = case.topic("orders", 1);
    let app = |rule| {
        let rest =
            format!("commands: [{{any: true}}]\norder: none\n{AGAIN}\nbreaker: {{{rule}, per: [server]}}");
        format!("url-from-message: {{allow: [127.0.0.1]}}\n{rest}\n")
    };
    let host = case.host().reads(&topic, "format: bigpipe").app("shop", &app(LONG)).start();
    let to = |at: &Service, count: u32| {
        let url = format!("http://{}/in", at.address());
        let message = serde_json::json!({
            "Headers": {}, "Url": url, "Data": "", "Topic": "t", "Partition": 0, "CreateTime": 1,
        });
        let value = message.to_string();
        (0..count).map(move |_| Send::default().value(value.clone()))
    };
    case.produce(&topic, to(&bad, 50));
    eventually("broken", || {
        let all = host.control().directory().app("shop").unwrap().breakers();
        all.iter().any(|it| it.state == drover::domain::breaker::State::Break).then_some(())
    });
    eventually_is("waiting for the breaker", &50, || level(&host, "breaker"));
    let before = bad.count();
    case.produce(&topic, to(&good, 200));
    good.got(200);
    assert_eq!((bad.count(), state(&host, "shop", &good.address())), (before, 0));
    mended.store(true, SeqCst);
    reload(&host, "shop", &app(SHORT));
    case.committed(&topic, &[250]);
    host.stop();
}

/// S99, S214: a server that comes to others gets more and more; nothing waits for it or is dropped.
#[test]
fn a_new_server_starts_slowly() {
    let (case, old, new) = (Case::new(), Service::ok(), Service::ok());
    let topic = case.topic("orders", 1);
    let app = |servers: &[&Service], slow_ms: u32| {
        let servers: Vec<String> = servers.iter().map(|it| it.address()).collect();
        app_of(&servers, &format!("order: none\nslow-start-ms: {slow_ms}"))
    };
    let host = case.host().reads(&topic, "").app("shop", &app(&[&old], 3_600_000)).start();
    case.produce(&topic, numbered("pay", 100));
    case.committed(&topic, &[100]);
    assert_eq!(old.count(), 100, "who was there first has nobody to spare it");
    reload(&host, "shop", &app(&[&old, &new], 3_600_000));
    case.produce(&topic, numbered("pay", 400));
    case.committed(&topic, &[500]);
    let first = new.count();
    assert!(first < 100, "{first} of 400 to the new one");
    reload(&host, "shop", &app(&[&old, &new], 1));
    eventually("its whole share", || {
        let shop = host.control().directory().app("shop").unwrap();
        let full = drover::domain::breaker::Share::FULL;
        shop.all().iter().all(|it| it.health.admission.share() == full).then_some(())
    });
    case.produce(&topic, numbered("pay", 400));
    case.committed(&topic, &[900]);
    host.stop();
    assert!(new.count() >= first + 150, "{} of 400", new.count() - first);
    assert_eq!(old.count() + new.count(), 900);
}

/// S111: a server whose checks fail is left out before a message finds out, and comes back when they are good.
#[test]
fn a_server_is_checked() {
    let (case, good) = (Case::new(), Service::ok());
    let well = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&well);
    let sick = Service::start(move |it| match (it.path.as_str(), seen.load(SeqCst)) {
        ("/up", false) => Answer::status(500),
        _ => Answer::ok(),
    });
    let topic = case.topic("orders", 1);
    let check = "check: {path: /up, every-ms: 100, healthy-after: 2, unhealthy-after: 2}";
    let app = app_of(&[sick.address(), good.address()], &format!("order: none\n{check}"));
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    let shop = host.control().directory().app("shop").unwrap();
    eventually_is("servers in service", &1, || shop.in_service().servers.len());
    let messages = |it: &Service| it.requests().iter().filter(|it| it.path != "/up").count();
    case.produce(&topic, numbered("pay", 100));
    case.committed(&topic, &[100]);
    assert_eq!((messages(&sick), messages(&good)), (0, 100));
    well.store(true, SeqCst);
    eventually_is("servers in service", &2, || shop.in_service().servers.len());
    case.produce(&topic, numbered("pay", 100));
    case.committed(&topic, &[200]);
    assert!(messages(&sick) > 0);
    assert!(sick.requests().iter().filter(|it| it.path == "/up").all(|it| it.method == "GET"));
    host.stop();
}

/// S84, P15: a service that says "too much" gets less, no attempt is counted, and all arrives when it is well.
#[test]
fn a_service_that_throttles_gets_less() {
    let (case, (service, mended)) = (Case::new(), failing(429));
    let topic = case.topic("orders", 1);
    let keys = "order: none\nretry: {attempts: 1, first-ms: 1, most-ms: 5}";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    case.produce(&topic, numbered("pay", 300));
    eventually("waiting for a turn", || (level(&host, "throttled") > 0).then_some(()));
    mended.store(true, SeqCst);
    case.committed(&topic, &[300]);
    host.stop();
    assert!(service.requests().iter().all(|it| it.attempt() == 1));
    assert!(case.kafka.read(&case.dead_topic()).is_empty());
}

/// An adaptive app has a few requests under way until answers say that more is well.
#[test]
fn an_adaptive_app_finds_its_concurrency() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |_| Answer::held(&held));
    let topic = case.topic("orders", 1);
    let keys = "order: none\nconcurrency: 400\nadaptive: true\ntimeout-ms: 120000";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    // Before its first look nothing is bounded.
    let shop = host.control().directory().app("shop").unwrap();
    eventually("a limit", || (shop.admission.under_way_most() > 0).then_some(()));
    case.produce(&topic, numbered("pay", 400));
    service.got(20);
    eventually_is("waiting for a place", &380, || level(&host, "adaptive"));
    assert_eq!(service.open(), 20);
    gate.open();
    case.committed(&topic, &[400]);
    host.stop();
    assert_eq!(service.count(), 400);
}
