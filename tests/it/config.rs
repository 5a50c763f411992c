//! Good and bad files, at the start and while it runs.

use std::io::{BufRead as _, BufReader};

use crate::harness::http::call;
use crate::harness::{Answer, Case, Gate, Send, Service, eventually, eventually_is};

/// S173, S203: garbage in a file is refused as a whole; what runs goes on.
#[test]
fn garbage_in_a_file_changes_nothing() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).start();
    let shop = host.path().with_file_name("apps").join("shop.yaml");
    let good = std::fs::read_to_string(&shop).unwrap();
    for garbage in ["\0\0\0", "servers: [", "servers: []\ncommands: [pay]", "cmmands: [pay]", "", "- 1\n- 2"]
    {
        std::fs::write(&shop, garbage).unwrap();
        let problems = host.block_on(host.control().reload()).unwrap_err();
        assert!(problems.join("\n").contains("shop.yaml"), "{garbage:?}: {problems:?}");
    }
    case.produce(&topic, [Send::command("pay").value("x")]);
    service.got(1);
    std::fs::write(&shop, good + "path: /new\n").unwrap();
    host.block_on(host.control().reload()).unwrap();
    case.produce(&topic, [Send::command("pay").value("y")]);
    assert_eq!(service.got(2)[1].path, "/new");
    case.committed(&topic, &[2]);
    host.stop();
}

/// S112, S172, S175, P22: servers and limits change under load; in flight ends at the old one.
#[test]
fn servers_change_under_load() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let (old, new) = (Service::start(move |_| Answer::held(&held)), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &old.app("order: none\ntimeout-ms: 120000")).start();
    case.produce(&topic, (0..50).map(|it| Send::command("pay").value(it.to_string())));
    old.got(50);
    let shop = host.path().with_file_name("apps").join("shop.yaml");
    std::fs::write(&shop, new.app("order: none\nconcurrency: 2")).unwrap();
    host.block_on(host.control().reload()).unwrap();
    case.produce(&topic, (50..100).map(|it| Send::command("pay").value(it.to_string())));
    new.got(50);
    gate.open();
    case.committed(&topic, &[100]);
    host.stop();
    assert_eq!((old.count(), new.count()), (50, 50));
    assert!(new.most_open() <= 2);
}

/// S174: a change is seen without being told, whatever it is.
#[test]
fn a_changed_file_is_seen_by_itself() {
    let (case, one, two) = (Case::new(), Service::ok(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &one.app("commands: [pay]")).start();
    let before = host.control().report().generation;
    let shop = host.path().with_file_name("apps").join("shop.yaml");
    std::fs::write(&shop, two.app("commands: [pay]")).unwrap();
    eventually("a new generation", || (host.control().report().generation > before).then_some(()));
    case.produce(&topic, [Send::command("pay").value("x")]);
    two.got(1);
    case.committed(&topic, &[1]);
    host.stop();
    assert_eq!(one.count(), 0);
}

/// S176: a command that is removed while its messages wait: they end as unmatched ones or on their old way, and the
/// offset advances.
#[test]
fn a_command_is_removed_with_work_queued() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |_| Answer::held(&held));
    let topic = case.topic("orders", 1);
    let host = case
        .host()
        .reads(&topic, "")
        .app("shop", &service.app("commands: [pay, other]\norder: partition\ntimeout-ms: 120000"))
        .start();
    case.produce(&topic, (0..10).map(|it| Send::command("pay").value(it.to_string())));
    service.got(1);
    let shop = host.path().with_file_name("apps").join("shop.yaml");
    std::fs::write(&shop, service.app("commands: [other]\norder: partition")).unwrap();
    host.block_on(host.control().reload()).unwrap();
    gate.open();
    case.committed(&topic, &[10]);
    let totals = host.control().report().totals;
    assert_eq!(totals.done + totals.dead, 10);
    host.stop();
}

/// S15, S171: two apps for one command: refused at the start, and both places are named.
#[test]
fn two_apps_for_one_command_do_not_start() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let setup = case.host().reads(&topic, "").app("one", &service.app("")).app("two", &service.app(""));
    let error = setup.try_start().err().expect("it starts").to_string();
    assert!(error.contains("two.yaml:") && error.contains("one.yaml:"), "{error}");
    assert_eq!(case.kafka.committed(&case.group(), &topic), [None]);
}

/// A dead-letter topic that is missing and may not be made: refused at the start, not found out by the first poison.
#[test]
fn a_missing_dead_letter_topic_that_may_not_be_made() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let setup = case.host().reads(&topic, "dead-letters: {create: false}").app("shop", &service.app(""));
    let error = setup.try_start().err().expect("it starts").to_string();
    assert!(error.contains(&case.dead_topic()), "{error}");
    assert_eq!(case.kafka.committed(&case.group(), &topic), [None]);
}

/// S172, S176: a group is added and removed while another one goes on; what it had not begun stays in Kafka.
#[test]
fn groups_come_and_go() {
    let (case, service) = (Case::new(), Service::ok());
    let (topic, other) = (case.topic("orders", 2), case.topic("other", 2));
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).start();
    case.produce(&topic, [Send::command("pay").value("1")]);
    case.produce(&other, [Send::command("pay").value("2")]);
    service.got(1);
    let first = std::fs::read_to_string(host.path()).unwrap();
    let second = case.named("second");
    let more = format!("groups:\n- {{name: {second}, topics: [{other}], commit-every-ms: 50}}\n");
    std::fs::write(host.path(), first.replace("groups:\n", &more)).unwrap();
    host.block_on(host.control().reload()).unwrap();
    service.got(2);
    case.all_committed(&topic);
    eventually("the second group's commit", || {
        let committed: i64 = case.kafka.committed(&second, &other).into_iter().flatten().sum();
        (committed == 1).then_some(())
    });
    std::fs::write(host.path(), &first).unwrap();
    host.block_on(host.control().reload()).unwrap();
    assert_eq!(case.kafka.members(&second), Vec::<String>::new(), "it has left");
    case.produce(&other, [Send::command("pay").value("3")]);
    case.produce(&topic, [Send::command("pay").value("4")]);
    assert_eq!(service.got(3)[2].text(), "4");
    case.all_committed(&topic);
    host.stop();
    assert_eq!(service.count(), 3);
}

/// S172, S175: a group reads another topic from a reload on: what was in flight is finished, nothing is lost or
/// repeated.
#[test]
fn a_group_reads_other_topics() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service =
        Service::start(move |it| if it.text() == "held" { Answer::held(&held) } else { Answer::ok() });
    let (topic, other) = (case.topic("orders", 1), case.topic("other", 1));
    let host = case.host().reads(&topic, "").app("shop", &service.app("timeout-ms: 120000")).start();
    case.produce(&topic, [Send::command("pay").value("held")]);
    case.produce(&other, [Send::command("pay").value("other")]);
    service.got(1);
    let text = std::fs::read_to_string(host.path()).unwrap();
    std::fs::write(host.path(), text.replace(&topic, &other)).unwrap();
    std::thread::scope(|scope| {
        let reloaded = scope.spawn(|| host.block_on(host.control().reload()));
        gate.open();
        reloaded.join().unwrap().unwrap();
    });
    assert_eq!(service.got(2)[1].text(), "other");
    case.committed(&topic, &[1]);
    case.committed(&other, &[1]);
    assert_eq!(host.control().report().groups.len(), 1, "one group, whatever its seats");
    eventually_is("S135: its numbers go on", &2, || host.control().report().groups[0].settled);
    host.stop();
    assert_eq!(service.count(), 2);
}

/// S172: what does not change what a group reads changes without joining anew.
#[test]
fn a_groups_pace_and_policy_change_in_place() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &service.app("commands: [pay]")).start();
    case.produce(&topic, [Send::command("pay").value("1")]);
    case.committed(&topic, &[1]);
    let member = case.kafka.members(&case.group());
    let text = std::fs::read_to_string(host.path()).unwrap();
    let name = format!("name: {}", case.group());
    let changed = text.replace(&name, &format!("{name}\n  unmatched: skip\n  drain-ms: 77"));
    assert_ne!(changed, text);
    std::fs::write(host.path(), changed + "\nlimits: {in-flight: 10}\n").unwrap();
    host.block_on(host.control().reload()).unwrap();
    case.produce(&topic, [Send::command("unknown").value("2")]);
    case.committed(&topic, &[2]);
    assert_eq!(case.kafka.members(&case.group()), member);
    assert_eq!(host.control().report().totals.skipped, 1);
    host.stop();
}

/// S161, S172: rules, secrets and addresses of the doors change without a restart; a place that is taken refuses the
/// whole reload.
#[test]
fn doors_follow_the_files() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let (old, new) = (case.dir().join("old"), case.dir().join("new"));
    std::fs::write(&old, "fern").unwrap();
    std::fs::write(&new, "moss").unwrap();
    let gateway = |secret: &std::path::Path| {
        format!(
            "gateway: {{listen: '127.0.0.1:0', credentials: [{{name: a, secret: {{file: {secret:?}}}}}]}}"
        )
    };
    let setup =
        case.host().reads(&topic, "").app("shop", &service.app("commands: [pay]")).main(&gateway(&old));
    let host = setup.start();
    let send = |to, secret: &str| {
        let bearer = format!("Bearer {secret}");
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        call(to, "POST /v1/messages", &headers, r#"{"command":"pay","data":"x"}"#).status
    };
    let at = host.gateway();
    assert_eq!([send(at, "fern"), send(at, "moss")], [200, 401]);
    // The file of the secret is not watched: a reload reads it.
    std::fs::write(&old, "moss").unwrap();
    host.block_on(host.control().reload()).unwrap();
    assert_eq!([send(at, "fern"), send(at, "moss")], [401, 200], "at the same address");

    let text = std::fs::read_to_string(host.path()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = taken.local_addr().unwrap().to_string();
    std::fs::write(host.path(), text.replace("127.0.0.1:0', cred", &format!("{elsewhere}', cred"))).unwrap();
    let problems = host.block_on(host.control().reload()).unwrap_err().join("\n");
    assert!(problems.contains("gateway.listen") && problems.contains(&elsewhere), "{problems}");
    assert_eq!(send(at, "moss"), 200, "what runs goes on");
    drop(taken);
    host.block_on(host.control().reload()).unwrap();
    assert_eq!(host.gateway().to_string(), elsewhere);
    assert_eq!(send(host.gateway(), "moss"), 200);
    service.got(4);
    case.committed(&topic, &[4]);
    host.stop();
}

/// What cannot change while it runs is refused by its key, in words, and nothing else of that reading takes effect.
#[test]
fn what_needs_a_restart_says_so() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).start();
    let shop = host.path().with_file_name("apps").join("shop.yaml");
    let (main, app) =
        (std::fs::read_to_string(host.path()).unwrap(), std::fs::read_to_string(&shop).unwrap());
    std::fs::write(&shop, app + "path: /new\n").unwrap();
    std::fs::write(host.path(), main.replace("shards: 2", "shards: 3")).unwrap();
    let problems = host.block_on(host.control().reload()).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("`shards`") && problems[0].contains("restart"), "{problems:?}");
    case.produce(&topic, [Send::command("pay").value("x")]);
    assert_eq!(service.got(1)[0].path, "/");
    host.stop();
}

/// S172: what is logged follows the files.
#[test]
fn log_levels_follow_the_files() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let setup = case.host().reads(&topic, "").app("shop", &service.app("")).main("log: warn");
    let (mut host, log) = setup.spawn_heard();
    case.produce(&topic, [Send::command("pay").value("x")]);
    case.committed(&topic, &[1]);
    let path = case.dir().join("drover.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("log: warn", "log: info")).unwrap();
    let mut lines = BufReader::new(log).lines().map(Result::unwrap);
    let first = lines.find(|it| it.contains("INFO")).unwrap();
    assert!(first.contains("reloaded"), "nothing of this level before: {first}");
    host.signal("TERM");
    assert_eq!(host.wait(), Some(0));
    assert!(lines.any(|it| it.contains("stopped")));
}
