//! kill -9 at named places, twenty times at each, hits counted: nothing is lost (S60).

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};

use crate::harness::{Answer, Case, ChildHost, Gate, Request, Send, Service, Setup, guests};

const KILLS: u32 = 20;
const MESSAGES: u32 = 20;

/// A topic, a group and a service of one test; each round sends some messages and kills a host.
struct Field {
    case: Case,
    topic: String,
    service: Service,
    setup: Setup,
    hits: u32,
    sent: u32,
}

impl Field {
    fn new(keys: &str, main: &str) -> Self {
        Self::with(Service::ok(), keys, main)
    }

    fn with(service: Service, keys: &str, main: &str) -> Self {
        let case = Case::new();
        let topic = case.topic("orders", 2);
        let keys = format!("{keys}\nretry: {{attempts: -1, first-ms: 1}}");
        let setup = case.host().main(main).reads(&topic, "").app("shop", &service.app(&keys));
        Self { case, topic, service, setup, hits: 0, sent: 0 }
    }

    fn send(&mut self, count: u32) {
        let all = self.sent..self.sent + count;
        self.sent = all.end;
        let one = |it: u32| Send::command("pay").key((it % 7).to_string()).value(it.to_string());
        self.case.produce(&self.topic, all.map(one));
    }

    /// A host that stops at a place; waits until it has, and kills it there.
    fn kill_at(&mut self, place: &str) {
        let mut host = self.setup.spawn_to_stop_at(place);
        self.send(MESSAGES);
        self.await_hit(&mut host, place);
        host.kill();
        self.case.kafka.bury(&self.case.group());
    }

    fn await_hit(&mut self, host: &mut ChildHost, place: &str) {
        let name = place.split(':').next().unwrap();
        let said = BufReader::new(host.take_output()).lines().map_while(Result::ok);
        let hit = said.into_iter().any(|it| it.contains(&format!("failpoint {name}")));
        assert!(hit, "the host ended before it came to {place}");
        self.hits += 1;
    }

    /// A host that is not killed does the rest; nothing is lost, and everything is committed.
    fn end(self) {
        assert_eq!(self.hits, KILLS);
        let host = self.setup.start();
        self.case.all_committed(&self.topic);
        host.stop();
        let delivered: HashSet<_> = self.service.requests().iter().map(Request::text).collect();
        assert_eq!(delivered.len(), self.sent as usize, "every message was delivered");
        assert!(self.case.kafka.read(&self.case.dead_topic()).is_empty());
    }
}

/// S60, S205: taken from Kafka and not handed over.
#[test]
fn when_records_were_read() {
    let mut field = Field::new("", "");
    for _ in 0..KILLS {
        field.kill_at("read");
    }
    field.end();
}

/// S60: sent to the service, which has not answered.
#[test]
fn when_requests_are_in_flight() {
    let gate = Gate::default();
    let held = gate.clone();
    let service = Service::start(move |_| Answer::held(&held));
    let mut field = Field::with(service, "timeout-ms: 120000", "");
    for _ in 0..KILLS {
        let before = field.service.count();
        let mut host = field.setup.spawn(&[]);
        field.send(MESSAGES);
        field.service.got(before + 3);
        field.hits += 1;
        host.kill();
        field.case.kafka.bury(&field.case.group());
    }
    gate.open();
    field.end();
}

/// S60: the service has done it, and it is not committed.
#[test]
fn after_success_and_before_commit() {
    let mut field = Field::new("", "");
    for round in 0..KILLS {
        field.kill_at(&format!("settled:{}", round % 5));
    }
    field.end();
}

/// S60: while a partition is given to another host.
#[test]
fn while_a_partition_is_given_back() {
    let mut field = Field::new("", "");
    for _ in 0..KILLS {
        let mut first = field.setup.spawn_to_stop_at("rebalance");
        field.send(MESSAGES);
        field.case.all_committed(&field.topic);
        field.send(MESSAGES);
        let mut second = field.setup.spawn(&[]);
        field.await_hit(&mut first, "rebalance");
        first.kill();
        second.kill();
        field.case.kafka.bury(&field.case.group());
    }
    field.end();
}

/// S60: while a plugin is exchanged.
#[test]
fn while_a_plugin_is_exchanged() {
    let plugins = format!("plugins:\n- name: mine\n  file: '{}'", guests::FAULTY);
    let mut field = Field::new("handler: mine", &plugins);
    let path = field.setup.write();
    for round in 0..KILLS {
        let before = field.service.count();
        let mut host = field.setup.spawn_to_stop_at("swap");
        field.send(MESSAGES);
        field.service.got(before + 1);
        change_settings(&path, round);
        field.send(MESSAGES);
        field.await_hit(&mut host, "swap");
        host.kill();
        field.case.kafka.bury(&field.case.group());
    }
    field.end();
}

/// A change that has everything built and published anew: the plugin has other settings.
fn change_settings(path: &std::path::Path, round: u32) {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("- name: mine\n", &format!("- name: mine\n  config: {{round: {round}}}\n"));
    std::fs::write(path, text).unwrap();
}
