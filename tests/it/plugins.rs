//! Plugins that fail, lie, loop and leak; plugins that are exchanged under load; what they see and may do.

use crate::harness::{Answer, Case, Gate, Send, Service, app_of, eventually_is, guests};

fn plugin(name: &str, file: &str, keys: &str) -> String {
    format!("- name: {name}\n  file: '{file}'\n{keys}")
}

fn told(what: &str) -> Send {
    Send::command("pay").header("do", what).value(what)
}

/// S6, S11, P23: whatever a handler does is a failed message, never a success, never the end of the process; and the
/// good messages between them are delivered.
#[test]
fn a_faulty_handler_fails_its_message_only() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let plugins = format!("plugins:\n{}", plugin("faulty", guests::FAULTY, "  limits: {cpu-ms: 300}"));
    let keys = "handler: faulty\nretry: {attempts: 2, first-ms: 1}\norder: none";
    let host = case.host().main(&plugins).reads(&topic, "").app("shop", &service.app(keys)).start();
    let faults = ["trap", "loop", "memory", "recurse", "huge", "path", "header", "error"];
    let between = faults.iter().flat_map(|it| [told(it), told("nothing")]);
    case.produce(&topic, between);
    case.committed(&topic, &[2 * faults.len() as i64]);
    let dead = case.records(&case.dead_topic(), faults.len() as i64);
    host.stop();
    assert_eq!(service.count(), faults.len(), "the good ones, once each");
    let mut seen: Vec<_> = dead.iter().map(|it| it.said("do")).collect();
    seen.sort();
    let mut expected = faults.map(str::to_owned);
    expected.sort();
    assert_eq!(seen, expected);
    for it in &dead {
        let (what, reason) = (it.said("do"), it.said("drover-reason"));
        assert_eq!(it.said("drover-stage"), "handle", "{what}: {reason}");
        let word = match what.as_str() {
            "trap" => "unreachable",
            "loop" => "deadline",
            "memory" | "huge" => "memory",
            "recurse" => "recurse",
            "path" => "path",
            "header" => "header",
            _ => "told to",
        };
        assert!(reason.contains(word), "{what}: {reason}");
    }
}

/// S6: a handler that is slow, and may be, costs its message no attempt and holds up no other: it runs aside. So does
/// one that never ends, until its own limit.
#[test]
fn a_slow_handler_runs_aside() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let plugins = format!(
        "plugins:\n{}{}",
        plugin("faulty", guests::FAULTY, "  limits: {cpu-ms: 1000}\n"),
        plugin("quick", guests::ECHO, "")
    );
    let keys = "order: none\nretry: {attempts: 1}\ncommands: [{match: pay, handler: quick}, {any: true, handler: faulty}]";
    let host = case.host().main(&plugins).reads(&topic, "").app("shop", &service.app(keys)).start();
    let faulty = |what: &str| Send::command("other").header("do", what).value(what);
    let quick = || (0..5).map(|it| Send::command("pay").value(it.to_string()));
    case.produce(&topic, [faulty("loop")].into_iter().chain(quick()));
    service.got(5);
    assert!(case.kafka.read(&case.dead_topic()).is_empty(), "the endless one is still under way");
    case.produce(&topic, [faulty("slow")].into_iter().chain(quick()));
    let got = service.got(11);
    case.committed(&topic, &[12]);
    let dead = case.records(&case.dead_topic(), 1).remove(0);
    host.stop();
    assert!(dead.said("drover-reason").contains("deadline"), "{}", dead.said("drover-reason"));
    assert!(got.iter().all(|it| it.attempt() == 1), "stopped inline is no attempt");
}

/// S6: after a trap the next attempt has a fresh instance. A flood of log lines is cut, and harms nobody.
#[test]
fn a_trap_is_retried_with_a_fresh_instance() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let plugins = format!("plugins:\n{}", plugin("faulty", guests::FAULTY, "  limits: {cpu-ms: 5000}"));
    let keys = "handler: faulty\nretry: {attempts: 2, first-ms: 1}";
    let host = case.host().main(&plugins).reads(&topic, "").app("shop", &service.app(keys)).start();
    case.produce(&topic, [told("trap-once"), told("log"), told("nothing")]);
    case.committed(&topic, &[3]);
    host.stop();
    assert_eq!(service.count(), 3);
}

/// S6: `on-plugin-failure: dead` spares the retries.
#[test]
fn on_plugin_failure_dead_tries_once() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let plugins = format!("plugins:\n{}", plugin("faulty", guests::FAULTY, ""));
    let keys = "handler: faulty\non-plugin-failure: dead";
    let host = case.host().main(&plugins).reads(&topic, "").app("shop", &service.app(keys)).start();
    case.produce(&topic, [told("trap"), told("nothing")]);
    case.committed(&topic, &[2]);
    assert_eq!(case.records(&case.dead_topic(), 1)[0].said("drover-attempts"), "1");
    host.stop();
    assert_eq!(service.count(), 1);
}

/// S7: a selector that traps, loops or lies: the built-in choice, or a failed attempt, as the app says.
#[test]
fn a_faulty_selector_falls_back_or_fails_as_configured() {
    for what in ["trap", "trap-update", "loop", "out-of-range"] {
        for (policy, delivered) in [("builtin", true), ("fail", false)] {
            let (case, service) = (Case::new(), Service::ok());
            let (group, topic) = (format!("{what}-{policy}"), case.topic(&format!("{what}-{policy}"), 1));
            let config = format!("  config: {{do: {what}}}");
            let plugins = format!("plugins:\n{}", plugin("chooser", guests::FAULTY_SELECTOR, &config));
            let keys = format!(
                "selector: chooser\non-selector-failure: {policy}\nretry: {{attempts: 2, first-ms: 1}}"
            );
            let host = case
                .host()
                .main(&plugins)
                .group(&group, &[&topic], "")
                .app("shop", &service.app(&keys))
                .start();
            case.produce(&topic, [Send::command("pay").value("x")]);
            let group = case.named(&group);
            case.committed_by(&group, &topic, &[1]);
            let dead = case.kafka.read(&format!("{group}.dead"));
            host.stop();
            assert_eq!(
                (service.count(), dead.len()),
                (usize::from(delivered), usize::from(!delivered)),
                "{group}"
            );
            assert!(dead.iter().all(|it| it.said("drover-stage") == "select"));
        }
    }
}

/// S4, S109: "none available" is a failure of the attempt, and no reason to choose otherwise.
#[test]
fn a_selector_may_say_that_there_is_none() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let plugins = format!("plugins:\n{}", plugin("chooser", guests::FAULTY_SELECTOR, ""));
    let keys = "selector: chooser\nretry: {attempts: 2, first-ms: 1}";
    let host = case.host().main(&plugins).reads(&topic, "").app("shop", &service.app(keys)).start();
    case.produce(&topic, [Send::command("pay").value("x")]);
    case.committed(&topic, &[1]);
    let dead = case.records(&case.dead_topic(), 1).remove(0);
    assert_eq!(
        (dead.said("drover-stage"), dead.said("drover-attempts")),
        ("select".to_owned(), "2".to_owned())
    );
    host.stop();
    assert_eq!(service.count(), 0);
}

/// S1, S2: a handler and a selector of its own for each command of one app.
#[test]
fn each_command_has_its_own_plugins() {
    let (case, first, second) = (Case::new(), Service::ok(), Service::ok());
    let topic = case.topic("orders", 1);
    let plugins = format!(
        "plugins:\n{}\n{}",
        plugin("last", guests::FAULTY_SELECTOR, "  config: {do: last}"),
        plugin("echo", guests::ECHO, "")
    );
    let keys =
        "commands: [plain, {match: last, selector: last}, {match: echo, handler: echo, selector: last}]";
    let app = app_of(&[first.address(), second.address()], keys);
    let host = case.host().main(&plugins).reads(&topic, "").app("shop", &app).start();
    let of = |command: &'static str| (0..10).map(move |_| Send::command(command).value("x"));
    case.produce(&topic, of("last").chain(of("plain")).chain(of("echo")));
    case.committed(&topic, &[30]);
    host.stop();
    let count = |service: &Service, command: &str| {
        service.requests().iter().filter(|it| it.said("drover-command") == command).count()
    };
    assert_eq!((count(&first, "last"), count(&second, "last")), (0, 10));
    assert_eq!(count(&first, "plain") + count(&second, "plain"), 10);
    assert!(count(&first, "plain") > 0);
    assert!(
        second
            .requests()
            .iter()
            .filter(|it| it.said("drover-command") == "echo")
            .all(|it| it.path == "/echo")
    );
}

/// S5: native twins stand where components do: they deliver, show in the list, and cannot be uploaded over.
#[test]
fn native_twins_deliver() {
    let (case, first, second) = (Case::new(), Service::ok(), Service::ok());
    let topic = case.topic("orders", 1);
    let plugins = "plugins:\n- name: native:forward\n  config: {path: /in, content-type: text/plain}";
    let keys = "handler: native:forward\nselector: native:round-robin";
    let app = app_of(&[first.address(), second.address()], keys);
    let host = case.host().main(plugins).reads(&topic, "").app("shop", &app).start();
    case.produce(&topic, (0..10).map(|it| Send::command("pay").value(it.to_string()).header("x-one", "1")));
    case.committed(&topic, &[10]);
    let runs: Vec<_> = host.control().plugins().into_iter().map(|it| (it.name, it.kind, it.digest)).collect();
    let shown = |name: &str, kind| (name.to_owned(), kind, name.to_owned());
    assert_eq!(runs, [shown("native:forward", "handler"), shown("native:round-robin", "selector")]);
    let upload = drover::control::Upload {
        name: "native:forward".to_owned(),
        bytes: std::fs::read(guests::ECHO).unwrap().into(),
        by: "test".to_owned(),
    };
    match host.block_on(host.control().upload(upload)) {
        Err(drover::control::UploadError::Refused(why)) => {
            assert!(why.contains("compiled into the host"), "{why}")
        }
        other => panic!("{other:?}"),
    }
    host.stop();
    assert_eq!((first.count(), second.count()), (5, 5));
    for it in first.requests().iter().chain(&second.requests()) {
        assert_eq!(
            (it.path.as_str(), it.said("content-type"), it.said("x-one")),
            ("/in", "text/plain".to_owned(), "1".to_owned())
        );
    }
}

/// S5, S6: wrong settings of a native twin refuse the start, in the words of the component's.
#[test]
fn a_native_twin_refuses_wrong_settings() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    for (name, at_it) in
        [("native:forward", "config: {method: PUSH}"), ("native:json-rpc-errno", "config: {method: PUT}")]
    {
        let plugins = format!("plugins:\n- name: {name}\n  {at_it}");
        let keys = format!("handler: {name}");
        let started =
            case.host().main(&plugins).reads(&topic, "").app("shop", &service.app(&keys)).try_start();
        let error = started.err().map_or_else(String::new, |it| format!("{it:#}"));
        assert!(error.contains("its init says") && error.contains(name), "{error}");
    }
}

/// S3, S27: a handler sees everything there is to know of a message.
#[test]
fn a_handler_sees_every_field() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let plugins = format!("plugins:\n{}", plugin("echo", guests::ECHO, ""));
    let keys = "handler: echo\nretry: {first-ms: 1}\ntimeout-ms: 9000";
    let host = case.host().main(&plugins).reads(&topic, "").app("shop", &service.app(keys)).start();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let message = Send::command("pay")
        .key([1, 255])
        .value([0, 200])
        .header("drover-log-id", "log-7")
        .header("drover-hash-key", "hash-7")
        .header("traceparent", trace)
        .header("x-twice", "1")
        .header("x-twice", "2")
        .at(1_700_000_000_123);
    case.produce(&topic, [Send::command("other"), message]);
    let request = service.got(1).remove(0);
    let seen: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let expected = [
        ("topic", serde_json::json!(topic)),
        ("partition", 0.into()),
        ("offset", 1.into()),
        ("group", case.group().into()),
        ("timestamp_ms", 1_700_000_000_123_i64.into()),
        ("key", serde_json::json!([1, 255])),
        ("hash_key", "hash-7".into()),
        ("delay_ms", 0.into()),
        ("value", serde_json::json!([0, 200])),
        ("command", "pay".into()),
        ("log_id", "log-7".into()),
        ("attempt", 1.into()),
        ("server", format!("http://{}", service.address()).into()),
        ("traceparent", trace.into()),
    ];
    for (name, value) in expected {
        assert_eq!(seen[name], value, "{name}");
    }
    assert!(seen["received_ms"].as_u64().unwrap() > 1_700_000_000_123);
    assert!((1..=9_000).contains(&seen["remaining_ms"].as_u64().unwrap()), "{}", seen["remaining_ms"]);
    let twice: Vec<_> = seen["headers"].as_array().unwrap().iter().filter(|it| it[0] == "x-twice").collect();
    assert_eq!(twice.len(), 2);
    assert_eq!(request.said("traceparent"), trace);
    case.committed(&topic, &[2]);
    host.stop();
}

/// S12: each verdict has its end.
#[test]
fn each_verdict_has_its_end() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let plugins = format!("plugins:\n{}", plugin("faulty", guests::FAULTY, ""));
    let keys = "handler: faulty\nretry: {attempts: 2, first-ms: 1}\norder: none";
    let host = case.host().main(&plugins).reads(&topic, "").app("shop", &service.app(keys)).start();
    let all = ["done", "skip", "retry", "reject", "park"];
    case.produce(&topic, all.map(told));
    case.committed(&topic, &[all.len() as i64]);
    let totals = host.control().report().totals;
    assert_eq!((totals.done, totals.skipped, totals.dead, totals.aside), (1, 1, 2, 1));
    let mut dead: Vec<_> = case
        .records(&case.dead_topic(), 2)
        .iter()
        .map(|it| (it.said("do"), it.said("drover-code")))
        .collect();
    dead.sort();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(dead, [pair("reject", "told"), pair("retry", "attempts")]);
    assert_eq!(case.records(&case.park_topic(), 1)[0].said("do"), "park");
    host.stop();
    assert_eq!(service.count(), 0);
}

/// S13: what a handler emits is written after the success and before the commit; after a failure it is not.
#[test]
fn emitted_records_go_out_with_the_success() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |it| match it.header("then") {
        Some("fail") => Answer::status(500),
        _ => Answer::held(&held),
    });
    let (topic, one, two) = (case.topic("orders", 1), case.topic("one", 1), case.topic("two", 1));
    let plugins = format!("plugins:\n{}", plugin("faulty", guests::FAULTY, ""));
    let keys = "handler: faulty\nretry: {attempts: 1}\norder: none\nsuccess: '2xx'";
    let host = case.host().main(&plugins).reads(&topic, "").app("shop", &service.app(keys)).start();
    let emit = |what: &str| told(what).header("to", format!("{one},{two}"));
    case.produce(&topic, [emit("emit"), emit("emit-reject")]);
    service.got(1);
    assert_eq!(case.records(&case.dead_topic(), 1)[0].said("do"), "emit-reject");
    assert!(case.kafka.read(&one).is_empty(), "its success is not there yet");
    gate.open();
    case.committed(&topic, &[2]);
    for emitted in [&one, &two] {
        let all = case.kafka.read(emitted);
        assert_eq!(all.len(), 1, "once, and only for the success");
        assert_eq!(all[0].said("from"), format!("{topic}/0/0"));
        assert_eq!(all[0].key.as_deref(), Some(&b"emitted"[..]));
    }
    host.stop();
}

/// S64: a record that can never be written makes a dead letter, and holds up nobody.
#[test]
fn an_emitted_record_that_cannot_be_written_is_a_dead_letter() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let small = case.topic_with("small", 1, &[("max.message.bytes", "1000")]);
    let plugins = format!("plugins:\n{}", plugin("faulty", guests::FAULTY, ""));
    let host =
        case.host().main(&plugins).reads(&topic, "").app("shop", &service.app("handler: faulty")).start();
    let large = told("emit").header("to", small.as_str()).value(vec![b'x'; 10_000]);
    case.produce(&topic, [large, told("nothing")]);
    case.committed(&topic, &[2]);
    let dead = case.records(&case.dead_topic(), 1).remove(0);
    assert_eq!(
        (dead.said("drover-stage"), dead.said("drover-code")),
        ("settle".to_owned(), "emit".to_owned())
    );
    host.stop();
}

/// S8, P22: an upload under load: what is in flight ends on the old version, what comes gets the new one, and a
/// component that is none leaves all as it was.
#[test]
fn a_plugin_is_exchanged_under_load() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |it| match it.path.as_str() {
        "/echo" => Answer::held(&held),
        _ => Answer::ok(),
    });
    let topic = case.topic("orders", 1);
    let plugins = format!("plugins:\n{}", plugin("mine", guests::ECHO, ""));
    let host = case
        .host()
        .main(&plugins)
        .reads(&topic, "")
        .app("shop", &service.app("handler: mine\norder: none\ntimeout-ms: 120000"))
        .start();
    case.produce(&topic, (0..20).map(|_| told("nothing")));
    service.got(20);
    let upload = |bytes: Vec<u8>| drover::control::Upload {
        name: "mine".to_owned(),
        bytes: bytes.into(),
        by: "test".to_owned(),
    };
    let refused = host.block_on(host.control().upload(upload(b"no component".to_vec())));
    assert!(matches!(refused, Err(drover::control::UploadError::Refused(_))), "{refused:?}");
    let old = host.control().plugins();
    host.block_on(host.control().upload(upload(std::fs::read(guests::FAULTY).unwrap()))).unwrap();
    assert_ne!(host.control().plugins()[0].digest, old[0].digest);
    case.produce(&topic, (0..20).map(|_| told("nothing")));
    let requests = service.got(40);
    assert_eq!(requests.iter().filter(|it| it.path == "/echo").count(), 20);
    gate.open();
    case.committed(&topic, &[40]);
    assert_eq!(host.control().report().totals.dead, 0);
    host.stop();
    assert_eq!(service.count(), 40);
}

/// S8: what was uploaded runs after a restart too, and on every other host.
#[test]
fn an_uploaded_plugin_runs_on_every_host_and_after_a_restart() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let plugins = format!("plugins:\n{}", plugin("mine", guests::ECHO, ""));
    let setup = case.host().main(&plugins).reads(&topic, "").app("shop", &service.app("handler: mine"));
    let (one, two) = (setup.start(), setup.start());
    let bytes = std::fs::read(guests::FAULTY).unwrap();
    let upload =
        drover::control::Upload { name: "mine".to_owned(), bytes: bytes.into(), by: "test".to_owned() };
    let digest = one.block_on(one.control().upload(upload)).unwrap().digest;
    let runs = |host: &crate::harness::Host| host.control().plugins().iter().any(|it| it.digest == digest);
    eventually_is("the other host follows", &true, || runs(&two));
    one.stop();
    two.stop();
    let again = setup.start();
    assert!(runs(&again));
    case.produce(&topic, [told("nothing")]);
    assert_eq!(service.got(1)[0].path, "/");
    case.committed(&topic, &[1]);
    again.stop();
}
