//! The end of a process, asked for or not.

use crate::harness::{Answer, Case, Gate, Request, Send, Service, eventually_is};

fn messages(count: u32) -> impl Iterator<Item = Send> {
    (0..count).map(|it| Send::command("pay").key(it.to_string()).value(it.to_string()))
}

/// S177, S178, P19: SIGTERM and SIGINT stop the intake, let what is in flight end, commit, and exit with 0.
#[test]
fn a_signal_drains_and_exits_with_zero() {
    for signal in ["TERM", "INT"] {
        let (case, gate) = (Case::new(), Gate::default());
        let held = gate.clone();
        let service = Service::start(move |_| Answer::held(&held));
        let topic = case.topic(&format!("orders-{signal}"), 1);
        let setup =
            case.host().group(signal, &[&topic], "").app("shop", &service.app("concurrency: 4\norder: none"));
        let mut host = setup.spawn(&[]);
        case.produce(&topic, messages(100));
        service.got(4);
        host.signal(signal);
        gate.open();
        assert_eq!(host.wait(), Some(0), "{signal}");
        let done = service.count();
        // What was not started is left to the next host, and only what is done is committed.
        let committed = case.kafka.committed(&case.named(signal), &topic)[0].unwrap_or(0);
        assert!(committed <= done as i64, "{committed} of {done}");
        // The first may have ended all it had before the signal reached it: one more shows that the second is there.
        case.produce(&topic, [Send::command("pay").key("more").value("more")]);
        let mut host = setup.spawn(&[]);
        case.committed_by(&case.named(signal), &topic, &[101]);
        host.signal(signal);
        assert_eq!(host.wait(), Some(0), "{signal}, the second host");
        let mut bodies: Vec<_> = service.requests().iter().map(|it| it.text()).collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!(bodies.len(), 101);
    }
}

/// S177, P19: a second signal does not wait; nothing is committed that was not done.
#[test]
fn a_second_signal_ends_it_at_once() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |_| Answer::held(&held));
    let topic = case.topic("orders", 1);
    let setup = case.host().reads(&topic, "").app("shop", &service.app("timeout-ms: 120000"));
    let mut host = setup.spawn(&[]);
    case.produce(&topic, messages(5));
    service.got(5);
    host.signal("TERM");
    // The first one has to be taken before the second counts as a second: a pending signal is one, however often sent.
    let signals = std::thread::scope(|it| {
        let sending = it.spawn(|| {
            let mut sent = 0;
            while host_is_there(host.id()) && sent < 10_000 {
                host.signal("TERM");
                sent += 1;
            }
            sent
        });
        sending.join().unwrap()
    });
    let code = host.wait();
    assert!(code.is_some_and(|it| it != 0), "ended by itself, not with 0: {code:?} after {signals}");
    assert!(matches!(case.kafka.committed(&case.group(), &topic)[..], [None | Some(0)]));
    gate.open();
    case.kafka.bury(&case.group());
    let host = setup.start();
    case.committed(&topic, &[5]);
    host.stop();
}

fn host_is_there(id: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|it| !it.trim_start().starts_with(['Z', 'X'])) && !state.is_empty()
}

/// S178: a stop in the middle of an ordered line: what waits behind is neither done nor committed.
#[test]
fn a_stop_leaves_what_waits_to_the_next_host() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |_| Answer::held(&held));
    let topic = case.topic("orders", 1);
    let setup = case.host().reads(&topic, "").app("shop", &service.app("order: partition"));
    let host = setup.start();
    case.produce(&topic, messages(10));
    service.got(1);
    eventually_is("all handed over", &10, || host.control().report().groups[0].open);
    let stopping = std::thread::spawn(move || host.stop());
    // The queue is swept before the one in flight ends.
    std::thread::scope(|it| it.spawn(|| gate.open()).join().unwrap());
    stopping.join().unwrap();
    let done = service.count() as i64;
    assert_eq!(case.kafka.committed(&case.group(), &topic), [Some(done)]);
    let host = setup.start();
    case.committed(&topic, &[10]);
    host.stop();
    assert_eq!(service.count(), 10, "none twice");
}

/// S178: a stop leaves no hole: what lies below a message that is done is done too, and so nothing comes twice.
#[test]
fn a_stop_finishes_what_lies_below_what_is_done() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |it| if it.text() == "0" { Answer::held(&held) } else { Answer::ok() });
    let topic = case.topic("orders", 1);
    let setup = case.host().reads(&topic, "drain-ms: 60000").app("shop", &service.app(""));
    let host = setup.start();
    // The second waits behind the first, the third is done meanwhile, the fourth waits behind the second.
    let keys = ["slow", "slow", "fast", "slow"].iter().enumerate();
    case.produce(&topic, keys.map(|(at, key)| Send::command("pay").key(*key).value(at.to_string())));
    service.got(2);
    eventually_is("three wait, one is done", &(3, 1), || {
        let report = host.control().report();
        (report.groups[0].open, report.groups[0].settled)
    });
    let stopping = std::thread::spawn(move || host.stop());
    gate.open();
    stopping.join().unwrap();
    let done = service.count() as i64;
    assert!(done >= 3, "{done}");
    assert_eq!(case.kafka.committed(&case.group(), &topic), [Some(done)]);
    let host = setup.start();
    case.committed(&topic, &[4]);
    host.stop();
    assert_eq!(service.count(), 4, "none twice");
}

/// P19: a host that slept sends nothing of what it held before it is a member again: another has taken that up.
#[test]
fn a_host_that_slept_sends_nothing_of_its_old_life() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    // Each host calls by a path of its own.
    let service =
        Service::start(move |it| if it.path == "/one" { Answer::held(&held) } else { Answer::ok() });
    let topic = case.topic("orders", 1);
    let app =
        |path: &str| service.app(&format!("path: {path}\nconcurrency: 2\norder: none\ntimeout-ms: 120000"));
    let mut sleeper = case.host().apart("one").reads(&topic, "").app("shop", &app("/one")).spawn(&[]);
    case.produce(&topic, messages(20));
    service.got(2);
    sleeper.signal("STOP");
    eventually_is("its session is over", &0, || case.kafka.members(&case.group()).len());
    let host = case.host().apart("two").reads(&topic, "").app("shop", &app("/two")).start();
    case.committed(&topic, &[20]);
    // What it has under way ends, so that it would go on with what it holds.
    gate.open();
    sleeper.signal("CONT");
    eventually_is("both are members", &2, || case.kafka.members(&case.group()).len());
    host.stop();
    case.produce(&topic, messages(5));
    case.committed(&topic, &[25]);
    sleeper.signal("TERM");
    assert_eq!(sleeper.wait(), Some(0));
    let of_sleeper: Vec<_> = service.requests().into_iter().filter(|it| it.path == "/one").collect();
    let offset = |it: &Request| it.id().rsplit('/').next().unwrap().parse::<i64>().unwrap();
    let old: Vec<i64> = of_sleeper.iter().map(offset).filter(|it| *it < 20).collect();
    assert_eq!(old.len(), 2, "only what was under way: {old:?}");
}

/// P19: SIGSTOP beyond the session: another host takes over; the sleeper commits nothing over it, and joins anew.
#[test]
fn a_host_that_slept_through_its_session() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let setup = case.host().reads(&topic, "").app("shop", &service.app(""));
    let mut sleeper = setup.spawn(&[]);
    case.produce(&topic, messages(10));
    case.committed(&topic, &[10]);
    sleeper.signal("STOP");
    case.kafka.bury(&case.group());
    let host = setup.start();
    case.produce(&topic, messages(10));
    case.committed(&topic, &[20]);
    sleeper.signal("CONT");
    eventually_is("both are members", &2, || case.kafka.members(&case.group()).len());
    case.produce(&topic, messages(10));
    case.committed(&topic, &[30]);
    host.stop();
    case.produce(&topic, messages(10));
    case.committed(&topic, &[40]);
    sleeper.signal("TERM");
    assert_eq!(sleeper.wait(), Some(0));
}
