//! Hosts that come and go: nothing is lost, nothing is done twice but what was in flight.

use std::collections::{HashMap, HashSet};

use drover_broker::{ApiKey, ResponseError};

use crate::harness::churn::{Churn, Load, pauses, repeated};
use crate::harness::{Answer, Case, Gate, Host, Request, Send, Service, eventually, eventually_is};

fn keyed(from: u32, to: u32) -> impl Iterator<Item = Send> {
    (from..to).map(|it| Send::command("pay").key((it % 50).to_string()).value(it.to_string()))
}

/// Far more than a drain takes on the slowest machine: what overruns it may be repeated.
const AMPLE: &str = "drain-ms: 60000";

fn lanes(host: &Host) -> usize {
    host.control().report().groups[0].lanes.len()
}

/// S67, S152: two hosts join and leave under load: nothing is lost or repeated, each key stays in order.
#[test]
fn hosts_join_and_leave_under_load() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 4);
    let setup = case.host().reads(&topic, AMPLE).app("shop", &service.app(""));
    let one = setup.start();
    case.produce(&topic, keyed(0, 1_000));
    service.got(10);
    let two = setup.start();
    case.produce(&topic, keyed(1_000, 2_000));
    eventually_is("both have their share", &(2, 2), || (lanes(&one), lanes(&two)));
    case.produce(&topic, keyed(2_000, 3_000));
    one.stop();
    eventually_is("the other has all", &4, || lanes(&two));
    case.produce(&topic, keyed(3_000, 4_000));
    case.all_committed(&topic);
    two.stop();
    let requests = service.requests();
    assert_eq!(requests.iter().map(Request::text).collect::<HashSet<_>>().len(), 4_000);
    assert_eq!(requests.len(), 4_000, "none twice");
    let mut last: HashMap<u32, u32> = HashMap::new();
    for it in &requests {
        let number: u32 = it.text().parse().unwrap();
        let before = last.insert(number % 50, number);
        assert!(before.is_none_or(|it| it < number), "{before:?} before {number}");
    }
}

/// S67, S152, P21: hosts join and leave without end, also before the last one is settled: nothing is lost, and nothing
/// is done twice. What has begun ends, what lies below it is done too, and the commit of that passes before the
/// partition goes.
///
/// `DROVER_TEST_CHANGES` and `DROVER_TEST_RATE` make a measurement of it, whose figures are left in the test's folder:
/// `docs/decisions/0005-rebalance.md`.
#[test]
fn hand_overs_repeat_nothing() {
    let from_env = |name, usual| std::env::var(name).map_or(usual, |it| it.parse().unwrap());
    let (changes, rate) = (from_env("DROVER_TEST_CHANGES", 8), from_env("DROVER_TEST_RATE", 10_000));
    let case = Case::new();
    let topic = case.topic("orders", 12);
    let mut churn = Churn::new(&case, &topic, AMPLE);
    churn.join();
    let load = Load::start(&churn, rate);
    churn.flows();
    for change in 0..changes as usize {
        match churn.hosts() {
            1 => churn.join(),
            3 => churn.leave(change % 3),
            _ if change % 4 < 2 => churn.join(),
            _ => churn.leave(change % 2),
        }
        if change % 3 < 2 {
            churn.balanced();
            churn.flows();
        }
    }
    let sent = load.stop();
    case.all_committed(&topic);
    while churn.hosts() > 0 {
        churn.leave(0);
    }
    let deliveries = churn.deliveries();
    let (pauses, repeated) = (pauses(&deliveries), repeated(&deliveries));
    let places: HashSet<_> = deliveries.iter().map(|it| (it.partition, it.offset)).collect();
    let pause = |share: usize| pauses.get(pauses.len() * share / 100).or(pauses.last());
    let figures = format!(
        "{sent} records, {} delivered, {} repeated\n\
        {changes} changes, {} hand-overs of a partition, {} commits refused\n\
        their pauses: median {:?}, p99 {:?}, longest {:?}\n",
        places.len(),
        repeated.len(),
        pauses.len(),
        churn.refused,
        pause(50),
        pause(99),
        pauses.last()
    );
    std::fs::write(case.dir().join("figures.txt"), figures).unwrap();
    assert_eq!(places.len(), sent as usize, "each was delivered");
    assert!(repeated.is_empty(), "{repeated:?}");
}

/// S67: more hosts than partitions: those without work wait for it.
#[test]
fn more_hosts_than_partitions() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let setup = case.host().reads(&topic, "").app("shop", &service.app(""));
    let hosts = [setup.start(), setup.start(), setup.start()];
    eventually("all have joined", || hosts.iter().all(|it| it.control().missing().is_empty()).then_some(()));
    case.produce(&topic, keyed(0, 100));
    case.committed(&topic, &[100]);
    let (busy, idle): (Vec<_>, Vec<_>) = hosts.into_iter().partition(|it| lanes(it) == 1);
    assert_eq!((busy.len(), idle.len()), (1, 2));
    busy.into_iter().for_each(Host::stop);
    case.produce(&topic, keyed(100, 200));
    case.committed(&topic, &[200]);
    idle.into_iter().for_each(Host::stop);
    assert_eq!(service.count(), 200);
}

/// P4, S98: a service that hangs holds up a hand-over no longer than the drain; what was in flight comes again, under
/// the same name.
#[test]
fn a_hung_service_does_not_hold_up_a_hand_over() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service = Service::start(move |_| Answer::held(&held));
    let topic = case.topic("orders", 2);
    let setup = case.host().reads(&topic, "drain-ms: 200").app("shop", &service.app("timeout-ms: 120000"));
    let one = setup.start();
    case.produce(&topic, (0..10).map(|it| Send::command("pay").value(it.to_string()).to(it % 2)));
    service.got(10);
    let two = setup.start();
    // The second host gets a partition while all of its messages hang at the first.
    let requests = service.got(15);
    eventually_is("both have their share", &(1, 1), || (lanes(&one), lanes(&two)));
    let names: HashSet<_> = requests.iter().map(Request::id).collect();
    assert_eq!(names.len(), 10, "what comes again has its old name");
    gate.open();
    case.committed(&topic, &[5, 5]);
    one.stop();
    two.stop();
    assert_eq!(service.count(), 15);
}

/// P1, P2, P18: a partition that goes and comes back at once: answers to what was in flight before are late and
/// change nothing.
#[test]
fn a_partition_that_comes_back_at_once() {
    let (case, gate) = (Case::new(), Gate::default());
    let held = gate.clone();
    let service =
        Service::start(
            move |it| {
                if it.header("hold").is_some() { Answer::held(&held) } else { Answer::ok() }
            },
        );
    let topic = case.topic("orders", 2);
    let setup = case.host().reads(&topic, "drain-ms: 100").app("shop", &service.app("timeout-ms: 120000"));
    let one = setup.start();
    let hold = |it: i32| {
        Send::command("pay").key(it.to_string()).value(it.to_string()).header("hold", "1").to(it % 2)
    };
    case.produce(&topic, (0..4).map(hold));
    service.got(4);
    let two = setup.start();
    eventually_is("both have their share", &(1, 1), || (lanes(&one), lanes(&two)));
    service.got(6);
    let leaving = std::thread::spawn(move || two.stop());
    gate.open();
    leaving.join().unwrap();
    eventually_is("the first has all again", &2, || lanes(&one));
    case.produce(&topic, (4..8).map(|it| Send::command("pay").value(it.to_string()).to(it % 2)));
    case.committed(&topic, &[4, 4]);
    one.stop();
    let names: HashSet<_> = service.requests().iter().map(Request::id).collect();
    assert_eq!(names.len(), 8);
}

/// P17: partitions that are added while it runs are read from their beginning.
#[test]
fn partitions_that_are_added() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).start();
    case.produce(&topic, keyed(0, 10));
    case.committed(&topic, &[10]);
    case.kafka.add_partitions(&topic, 3);
    eventually_is("three partitions", &3, || case.kafka.partitions(&topic));
    let more = |it: u32| Send::command("pay").value(it.to_string()).to((it % 3) as i32);
    eventually("room in the new ones", || Some(case.produce(&topic, (10..40).map(more))));
    case.committed(&topic, &[20, 10, 10]);
    host.stop();
    assert_eq!(service.count(), 40);
}

/// S61, P9: what an operator commits by hand is where the group goes on.
#[test]
fn a_group_goes_on_where_an_operator_put_it() {
    let (case, service) = (Case::new(), Service::ok());
    let topic = case.topic("orders", 1);
    let setup = case.host().reads(&topic, "").app("shop", &service.app(""));
    case.produce(&topic, keyed(0, 10));
    for (offset, expected) in [(None, 10), (Some(4), 16), (Some(9), 17), (None, 17)] {
        if let Some(offset) = offset {
            case.kafka.commit(&case.group(), &topic, &[offset]);
        }
        let host = setup.start();
        case.committed(&topic, &[10]);
        host.stop();
        assert_eq!(service.count(), expected, "after {offset:?}");
    }
}

/// P3: commits that are refused while the group joins are sent again.
#[test]
fn refused_commits_are_sent_again() {
    let (case, service) = (Case::with_faults(), Service::ok());
    let topic = case.topic("orders", 1);
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).start();
    for error in [
        ResponseError::RebalanceInProgress,
        ResponseError::IllegalGeneration,
        ResponseError::CoordinatorLoadInProgress,
        ResponseError::NotCoordinator,
    ] {
        case.faults().fail(ApiKey::OffsetCommit, error, 3);
    }
    case.produce(&topic, keyed(0, 100));
    case.committed(&topic, &[100]);
    host.stop();
    assert_eq!(service.requests().iter().map(Request::id).collect::<HashSet<_>>().len(), 100);
}

/// P3, S67: a last commit that is refused is sent again before its partition goes.
#[test]
fn a_refused_last_commit_is_sent_again() {
    let (case, service) = (Case::with_faults(), Service::ok());
    let topic = case.topic("orders", 2);
    let keys = format!("{AMPLE}\ncommit-every-ms: 600000");
    let setup = case.host().reads(&topic, &keys).app("shop", &service.app(""));
    let one = setup.start();
    case.produce(&topic, keyed(0, 100));
    service.got(100);
    case.faults().fail(ApiKey::OffsetCommit, ResponseError::RebalanceInProgress, 3);
    let two = setup.start();
    eventually_is("both have their share", &(1, 1), || (lanes(&one), lanes(&two)));
    let refused = one.control().report().groups[0].commits_refused;
    one.stop();
    two.stop();
    case.all_committed(&topic);
    assert_eq!((refused > 0, service.count()), (true, 100), "refused, and none twice");
}

/// P29, S152: a member that the group has forgotten loses its lanes, joins anew and goes on.
#[test]
fn a_forgotten_member_joins_anew() {
    let (case, service) = (Case::with_faults(), Service::ok());
    let topic = case.topic("orders", 2);
    let host = case.host().reads(&topic, "").app("shop", &service.app("")).start();
    case.produce(&topic, keyed(0, 100));
    case.all_committed(&topic);
    case.faults().fail(ApiKey::OffsetCommit, ResponseError::UnknownMemberId, 1);
    case.produce(&topic, keyed(100, 200));
    case.all_committed(&topic);
    case.kafka.bury(&case.group());
    case.produce(&topic, keyed(200, 300));
    case.all_committed(&topic);
    host.stop();
    assert_eq!(service.requests().iter().map(Request::id).collect::<HashSet<_>>().len(), 300);
}

/// P16, S202: the broker goes away while messages are in flight and dead letters are written, and comes back.
#[test]
fn a_broker_that_goes_and_comes_back() {
    let case = Case::with_faults();
    let service = Service::start(|it| Answer::status(if it.text().ends_with('7') { 500 } else { 200 }));
    let topic = case.topic("orders", 2);
    let keys = "retry: {attempts: 2, first-ms: 1}\neject: {after: 100000}";
    let host = case.host().reads(&topic, "").app("shop", &service.app(keys)).start();
    case.produce(&topic, keyed(0, 100));
    service.got(10);
    for api in [ApiKey::Produce, ApiKey::Fetch, ApiKey::OffsetCommit, ApiKey::Heartbeat] {
        case.faults().drop_connection(api, 3);
    }
    case.produce(&topic, keyed(100, 500));
    case.all_committed(&topic);
    let dead = case.records(&case.dead_topic(), 50);
    host.stop();
    assert_eq!(service.requests().iter().map(Request::id).collect::<HashSet<_>>().len(), 500);
    let origins: HashSet<_> =
        dead.iter().map(|it| (it.said("drover-origin-partition"), it.said("drover-origin-offset"))).collect();
    assert_eq!(origins.len(), 50);
}
