//! Hosts that come and go under a steady load, and what their partitions saw of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::case::Case;
use super::host::Host;
use super::kafka::Send;
use super::service::{Answer, Service};
use super::wait::eventually;

/// A message at a service. Each host has a service of its own, so that it is known who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub host: usize,
    pub partition: i32,
    pub offset: i64,
    pub at: Instant,
}

pub struct Churn<'a> {
    case: &'a Case,
    topic: String,
    keys: String,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    hosts: Vec<(Host, Service)>,
    /// Hosts that there ever were.
    born: usize,
    /// Commits that the broker refused hosts which have left since.
    pub refused: u64,
}

impl<'a> Churn<'a> {
    /// `keys` of the group.
    pub fn new(case: &'a Case, topic: &str, keys: &str) -> Self {
        Self {
            case,
            topic: topic.to_owned(),
            keys: keys.to_owned(),
            deliveries: Arc::default(),
            hosts: Vec::new(),
            born: 0,
            refused: 0,
        }
    }

    pub fn join(&mut self) {
        let (number, deliveries) = (self.born, Arc::clone(&self.deliveries));
        let service = Service::start(move |it| {
            let id = it.id();
            let mut parts = id.rsplit('/');
            let mut next = || parts.next().unwrap();
            let (offset, partition) = (next().parse().unwrap(), next().parse().unwrap());
            let delivery = Delivery { host: number, partition, offset, at: Instant::now() };
            deliveries.lock().unwrap().push(delivery);
            Answer::ok()
        });
        let setup = self.case.host().apart(&number.to_string()).reads(&self.topic, &self.keys);
        self.hosts.push((setup.app("shop", &service.app("")).start(), service));
        self.born += 1;
    }

    /// By its place among those that are there; 0 is there longest.
    pub fn leave(&mut self, at: usize) {
        let (host, _service) = self.hosts.remove(at);
        self.refused += host.control().report().groups[0].commits_refused;
        host.stop();
    }

    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Waits until all partitions are owned and every host has its share.
    #[track_caller]
    pub fn balanced(&self) {
        let partitions = self.case.kafka.partitions(&self.topic) as usize;
        let lanes = || self.hosts.iter().map(|it| it.0.control().report().groups[0].lanes.len());
        let fair = partitions / self.hosts.len();
        eventually("every host has its share", || {
            (lanes().sum::<usize>() == partitions && lanes().all(|it| it >= fair)).then_some(())
        });
    }

    /// Waits until further messages come through.
    #[track_caller]
    pub fn flows(&self) {
        let before = self.deliveries.lock().unwrap().len();
        eventually("messages flow", || {
            (self.deliveries.lock().unwrap().len() > before + KEYS as usize).then_some(())
        });
    }

    pub fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }
}

/// Produces until it is told to stop.
pub struct Load {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<u32>,
}

/// Records that may wait for their services: a load that the hosts cannot bear is held back.
const AHEAD: usize = 2_000;
const KEYS: u32 = 200;

impl Load {
    /// So many records a second, if the hosts can bear it.
    pub fn start(churn: &Churn<'_>, rate: u32) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (kafka, topic) = (Arc::clone(&churn.case.kafka), churn.topic.clone());
        let deliveries = Arc::clone(&churn.deliveries);
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while stopped.recv_timeout(Duration::from_millis(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
                if sent as usize > deliveries.lock().unwrap().len() + AHEAD {
                    continue;
                }
                let batch = sent..sent + rate.div_ceil(50);
                sent = batch.end;
                let send = |it: u32| Send::command("pay").key((it % KEYS).to_string()).value(it.to_string());
                kafka.produce(&topic, batch.map(send));
            }
            sent
        });
        Self { stop, thread }
    }

    /// How many it has sent.
    pub fn stop(self) -> u32 {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

/// What came more than once: (partition, offset) → the hosts that sent it.
pub fn repeated(deliveries: &[Delivery]) -> BTreeMap<(i32, i64), Vec<usize>> {
    let mut senders: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for it in deliveries {
        senders.entry((it.partition, it.offset)).or_default().push(it.host);
    }
    senders.retain(|_, hosts| hosts.len() > 1);
    senders
}

/// How long a partition rested when it changed its owner: from the last delivery of the old one to the first of the
/// new one; the shortest first.
pub fn pauses(deliveries: &[Delivery]) -> Vec<Duration> {
    let mut last: HashMap<i32, Delivery> = HashMap::new();
    let mut pauses = Vec::new();
    for it in deliveries {
        if let Some(before) = last.insert(it.partition, *it)
            && before.host != it.host
        {
            pauses.push(it.at - before.at);
        }
    }
    pauses.sort_unstable();
    pauses
}
