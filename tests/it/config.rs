//! Good and bad files, at the start and while it runs.

use crate::harness::{Answer, Case, Gate, Send, Service};

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
    crate::harness::eventually("a new generation", || {
        (host.control().report().generation > before).then_some(())
    });
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
