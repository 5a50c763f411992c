//! Which server gets a message, and by which connection.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Answer, Case, Gate, Send, Service, app_of, eventually_is};

fn keyed(count: u32, keys: u32) -> impl Iterator<Item = Send> {
    (0..count).map(move |it| Send::command("pay").key((it % keys).to_string()).value(it.to_string()))
}

/// S195, S199: a hundred thousand calls to the one server of a random choice, by no more connections than calls at once.
#[test]
fn a_hundred_thousand_calls_reuse_their_connections() {
    let (case, service) =
        (Case::new(), Service::start(|_| Answer::body(200, "an answer that has to be read")));
    let topic = case.topic("orders", 2);
    let keys = "order: none\nconcurrency: 16\nselector: random";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    // In parts, so that a slow machine has time for each.
    for _ in 0..10 {
        case.produce(&topic, keyed(10_000, 1_000));
        case.all_committed(&topic);
    }
    host.stop();
    assert_eq!(service.count(), 100_000);
    assert!(service.connections() <= 16, "{} connections", service.connections());
}

/// A selector that is not cut short where the machine is busy: then the built-in choice stands in for it.
fn patient(selector: &str) -> String {
    format!("plugins: [{{name: {selector}, limits: {{cpu-ms: 1000}}}}]")
}

/// S106: exact, over all shards.
#[test]
fn round_robin_is_exact() {
    let case = Case::new();
    let services = [Service::ok(), Service::ok(), Service::ok()];
    let topic = case.topic("orders", 1);
    let app = app_of(&services.each_ref().map(Service::address), "order: none");
    let host = case.host().main(&patient("round-robin")).reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, keyed(900, 900));
    case.committed(&topic, &[900]);
    host.stop();
    assert_eq!(services.each_ref().map(Service::count), [300, 300, 300]);
}

/// S107: all servers, the last one too, equally likely.
#[test]
fn random_reaches_all_alike() {
    let case = Case::new();
    let services = [Service::ok(), Service::ok(), Service::ok()];
    let topic = case.topic("orders", 1);
    let app = app_of(&services.each_ref().map(Service::address), "order: none\nselector: random");
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, keyed(3_000, 3_000));
    case.committed(&topic, &[3_000]);
    host.stop();
    let counts = services.each_ref().map(Service::count);
    // Six standard deviations.
    assert!(counts.iter().all(|it| (845..=1_155).contains(it)), "{counts:?}");
}

/// S108: weights as written.
#[test]
fn weighted_follows_the_weights() {
    let case = Case::new();
    let services = [Service::ok(), Service::ok()];
    let topic = case.topic("orders", 1);
    let [one, three] = services.each_ref().map(Service::address);
    let app = format!(
        "servers: [{{address: '{one}', weight: 1}}, {{address: '{three}', weight: 3}}]\norder: none\nselector: weighted\ncommands: [pay]"
    );
    let host = case.host().main(&patient("weighted")).reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, keyed(800, 800));
    case.committed(&topic, &[800]);
    host.stop();
    assert_eq!(services.each_ref().map(Service::count), [200, 600]);
}

/// S108: a key stays with its server, and all servers have some.
#[test]
fn consistent_hash_keeps_a_key_at_its_server() {
    let case = Case::new();
    let services = [Service::ok(), Service::ok(), Service::ok()];
    let topic = case.topic("orders", 2);
    let app = app_of(&services.each_ref().map(Service::address), "selector: consistent-hash");
    // Without a bound for the load: with one, a busy server passes keys on.
    let plugins = "plugins: [{name: consistent-hash, config: {bound: 0}, limits: {cpu-ms: 1000}}]";
    let host = case.host().main(plugins).reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, keyed(1_000, 100));
    case.all_committed(&topic);
    host.stop();
    let mut server_of: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    for (number, service) in services.iter().enumerate() {
        assert!(service.count() > 0, "server {number} has none");
        for it in service.requests() {
            server_of.entry(it.text().parse::<u32>().unwrap() % 100).or_default().insert(number);
        }
    }
    assert!(server_of.len() == 100 && server_of.values().all(|it| it.len() == 1), "{server_of:?}");
}

/// S108: who is busy gets no more while another is free.
#[test]
fn least_loaded_leaves_a_busy_server_alone() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let (slow, fast) = (Service::start(move |_| Answer::held(&held)), Service::ok());
    let topic = case.topic("orders", 1);
    let keys = "order: none\nselector: least-loaded\ntimeout-ms: 120000";
    let host =
        case.host().reads(&topic, "").app("shop", &app_of(&[slow.address(), fast.address()], keys)).start();
    for count in 1..=50 {
        case.produce(&topic, keyed(1, 1));
        eventually_is("requests", &count, || slow.count() + fast.count());
        eventually_is("answers", &slow.count(), || slow.open() + fast.open());
    }
    assert!(slow.count() <= 1, "{} at the slow one", slow.count());
    gate.open();
    case.committed(&topic, &[50]);
    host.stop();
}

/// Servers from a file: a changed file is followed without a restart, a broken one changes nothing.
#[test]
fn servers_of_a_file_are_followed() {
    let case = Case::new();
    let (one, two) = (Service::ok(), Service::ok());
    let topic = case.topic("orders", 1);
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{topic}.servers"));
    // Beside it and renamed, as an operator should.
    let write = |text: String| {
        let new = file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    write(format!("# the first\n{}\n", one.address()));
    let app = format!("discover: {{file: '{}'}}\ncommands: [pay]", file.display());
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    let shop = host.control().directory().app("shop").unwrap();
    let now = || shop.all().iter().map(|it| it.address.to_string()).collect::<Vec<_>>();
    case.produce(&topic, keyed(1, 1));
    case.committed(&topic, &[1]);
    assert_eq!((one.count(), two.count()), (1, 0));
    write(format!("{} 3\n", two.address()));
    eventually_is("servers", &vec![two.address()], now);
    write("nonsense\n".to_owned());
    case.produce(&topic, keyed(5, 1));
    case.committed(&topic, &[6]);
    assert_eq!((one.count(), two.count()), (1, 5));
    write(format!("{}\n{}\n", one.address(), two.address()));
    eventually_is("servers", &vec![one.address(), two.address()], now);
    host.stop();
    std::fs::remove_file(file).unwrap();
}

/// Servers from a name: every address of it is one, and the service sees the name.
#[test]
fn servers_of_a_name_are_found() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let name = format!("localhost:{}", service.address().rsplit(':').next().unwrap());
    // The name may have an address at which nobody listens.
    let app = format!("discover: {{dns: '{name}'}}\nretry: {{first-ms: 1, attempts: 20}}\ncommands: [pay]");
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, keyed(4, 1));
    case.committed(&topic, &[4]);
    host.stop();
    let hosts: BTreeSet<_> = service.requests().iter().map(|it| it.said("host")).collect();
    assert_eq!((service.count(), hosts), (4, BTreeSet::from([name])));
}

/// S111: a server that fails is left out for a while.
#[test]
fn a_failing_server_is_left_out() {
    let (case, good) = (Case::new(), Service::ok());
    let bad = Service::start(|_| Answer::status(502));
    let topic = case.topic("orders", 1);
    let keys = "order: none\nretry: {first-ms: 1, attempts: 20}\neject: {after: 3, first-ms: 600000}";
    let app = app_of(&[bad.address(), good.address()], keys);
    let host = case.host().reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, keyed(100, 100));
    case.committed(&topic, &[100]);
    let shop = host.control().directory().app("shop").unwrap();
    eventually_is("servers in service", &1, || shop.in_service().servers.len());
    let before = bad.count();
    case.produce(&topic, keyed(200, 200));
    case.committed(&topic, &[300]);
    host.stop();
    assert_eq!((bad.count(), good.count()), (before, 300));
}

/// S10, S166: only servers that the app lists may be named by a message.
#[test]
fn a_message_names_only_servers_that_are_allowed() {
    let (case, service, other) = (Case::new(), Service::ok(), Service::ok());
    let topic = case.topic("orders", 1);
    let app = format!("url-from-message: {{allow: ['{}']}}\ncommands: [{{any: true}}]", service.address());
    let host = case.host().reads(&topic, "format: bigpipe").app("shop", &app).start();
    let message = |at: &str| {
        let url = format!("http://{at}/in?x=1");
        let all = serde_json::json!({
            "Headers": {}, "Url": url, "Data": "hello", "Topic": "t", "Partition": 0, "CreateTime": 1,
        });
        Send::default().value(all.to_string())
    };
    case.produce(&topic, [message(&other.address()), message(&service.address())]);
    let request = service.got(1).remove(0);
    assert_eq!((request.path.as_str(), request.text().as_str()), ("/in?x=1", "hello"));
    case.committed(&topic, &[2]);
    let dead = case.records(&case.dead_topic(), 1).remove(0);
    assert_eq!(dead.said("drover-stage"), "select");
    host.stop();
    assert_eq!((service.count(), other.count()), (1, 0));
}

/// S10, S166: a port that cannot be is nobody's, and a host ends where its check saw it end.
#[test]
fn an_address_is_read_one_way_only() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let app = "url-from-message: {allow: [127.0.0.1]}\nretry: {attempts: 1}\ncommands: [{any: true}]";
    let host = case.host().reads(&topic, "format: bigpipe").app("shop", app).start();
    let message = |url: String| {
        let all = serde_json::json!({
            "Headers": {}, "Url": url, "Data": "", "Topic": "t", "Partition": 0, "CreateTime": 1,
        });
        Send::default().value(all.to_string())
    };
    let at = service.address();
    let urls = [
        "http://127.0.0.1:65536/".to_owned(),
        format!("http://{at}?x=/admin"),
        format!("http://{at}#/admin"),
    ];
    case.produce(&topic, urls.map(message));
    case.committed(&topic, &[3]);
    let mut paths: Vec<_> = service.got(2).into_iter().map(|it| it.path).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/", "/?x=/admin"]);
    let dead = case.records(&case.dead_topic(), 1).remove(0);
    assert_eq!(dead.said("drover-stage"), "select", "{}", dead.said("drover-reason"));
    host.stop();
}

/// Bytes behind an answer are never the answer to the next message on that connection.
#[test]
fn what_follows_an_answer_answers_nobody() {
    let case = Case::new();
    // 204 has no body, whatever its length says: this is a second answer in the same packet.
    let service = Service::start(|it| match it.text().as_str() {
        "odd" => Answer::body(204, "HTTP/1.1 500 Smuggled\r\ncontent-length: 0\r\n\r\n"),
        _ => Answer::ok(),
    });
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &service.app("order: partition")).start();
    case.produce(
        &topic,
        (0..40).map(|it| Send::command("pay").value(if it % 2 == 0 { "odd" } else { "good" })),
    );
    case.committed(&topic, &[40]);
    host.stop();
    assert_eq!((service.count(), service.connections()), (40, 21));
}
