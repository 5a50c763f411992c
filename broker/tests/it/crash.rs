//! kill -9 at random moments while three kinds of producers write: what was acknowledged is there, once.
//!
//! The broker that is killed is this test binary again, told by its environment to serve.
use crate::client::Client;
use crate::hostile::Random;
use crate::kit::*;
use drover_broker::{Broker, Config};
use kafka_protocol::messages::*;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

const DATA: &str = "DROVER_BROKER_TEST_DATA";
const ROUNDS: u64 = 6;

/// Not a test of its own: the process that is killed.
#[test]
fn serve_until_killed() {
    let Ok(data) = std::env::var(DATA) else { return };
    let broker =
        Broker::start(Config { auto_create: false, ..quick(Some(Path::new(&data).join("broker"))) }).unwrap();
    let ready = Path::new(&data).join("address");
    std::fs::write(ready.with_extension("new"), broker.addr().to_string()).unwrap();
    std::fs::rename(ready.with_extension("new"), ready).unwrap();
    loop {
        std::thread::park();
    }
}

fn spawn(data: &Path) -> (Child, SocketAddr) {
    let _ = std::fs::remove_file(data.join("address"));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::serve_until_killed", "--nocapture"])
        .env(DATA, data)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let address =
        eventually("the broker is up", || std::fs::read_to_string(data.join("address")).ok()?.parse().ok());
    (child, address)
}

/// Each producer's own books, over all rounds.
#[derive(Default)]
struct Books {
    next: u64,
    acknowledged: Vec<String>,
}

impl Books {
    fn value(&self) -> String {
        format!("{}", self.next)
    }
}

/// Never sends again what was not acknowledged, so each value is there once or not at all.
fn plain(client: &mut Client, books: &mut Books) -> Option<()> {
    let value = books.value();
    books.next += 1;
    let response = client.try_call(9, &produce_request("plain", Batch::of(&[&value]).bytes(), None))?;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    books.acknowledged.push(value);
    Some(())
}

/// Sends again what was not acknowledged, with the same sequence.
fn idempotent(client: &mut Client, books: &mut Books, producer: (i64, i16)) -> Option<()> {
    let value = books.value();
    let batch = Batch::of(&[&value]).by_producer(producer.0, producer.1, books.next as i32, false);
    let response = client.try_call(9, &produce_request("idempotent", batch.bytes(), None))?;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    books.acknowledged.push(value);
    books.next += 1;
    Some(())
}

/// Two records in two topics, then the end; every third is aborted.
fn transaction(
    client: &mut Client,
    books: &mut Books,
    producer: (i64, i16),
    sequence: &mut i32,
) -> Option<()> {
    let (value, id) = (books.value(), TransactionalId(text("crash")));
    books.next += 1;
    let topic = |topic| {
        add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![0])
    };
    let add = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id.clone())
        .with_v3_and_below_producer_id(ProducerId(producer.0))
        .with_v3_and_below_producer_epoch(producer.1)
        .with_v3_and_below_topics(vec![topic("left"), topic("right")]);
    client.try_call(3, &add)?;
    for topic in ["left", "right"] {
        let batch = Batch::of(&[&value]).by_producer(producer.0, producer.1, *sequence, true);
        let response = client.try_call(9, &produce_request(topic, batch.bytes(), Some("crash")))?;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    *sequence += 1;
    let commit = !books.next.is_multiple_of(3);
    let end = EndTxnRequest::default()
        .with_transactional_id(id)
        .with_producer_id(ProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_committed(commit);
    assert_eq!(client.try_call(3, &end)?.error_code, 0);
    if commit {
        books.acknowledged.push(value);
    }
    Some(())
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let scratch = Scratch::new();
    let (mut writes_plain, mut writes_once, mut writes_both) =
        (Books::default(), Books::default(), Books::default());
    let mut producer = None;
    for seed in 1..=ROUNDS {
        let (mut child, address) = spawn(&scratch.0);
        let mut client = Client::new(address);
        if producer.is_none() {
            for topic in ["plain", "idempotent", "left", "right"] {
                create(&mut client, topic, 1, &[("segment.bytes", "20000")]);
            }
            producer = Some(init_producer(&mut client, None, 1000));
        }
        let once = producer.unwrap();
        // what the killed round left open is aborted by this
        let both = init_producer(&mut client, Some("crash"), 60_000);
        let acknowledged = AtomicU64::new(0);
        let kill_after = 50 + Random(seed * 7919).next() % 250;
        let mut connections: Vec<Client> = (0..3).map(|_| Client::new(address)).collect();
        let (mut third, mut second, mut first) =
            (connections.pop().unwrap(), connections.pop().unwrap(), connections.pop().unwrap());
        let count = || acknowledged.fetch_add(1, Ordering::Relaxed);
        let mut sequence = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while plain(&mut first, &mut writes_plain).is_some() {
                    count();
                }
            });
            scope.spawn(|| {
                while idempotent(&mut second, &mut writes_once, once).is_some() {
                    count();
                }
            });
            scope.spawn(|| {
                while transaction(&mut third, &mut writes_both, both, &mut sequence).is_some() {
                    count();
                }
            });
            eventually("enough to lose", || {
                (acknowledged.load(Ordering::Relaxed) >= kill_after).then_some(())
            });
            child.kill().unwrap(); // SIGKILL
            child.wait().unwrap();
        });
    }
    let (mut child, address) = spawn(&scratch.0);
    let mut client = Client::new(address);
    init_producer(&mut client, Some("crash"), 60_000);
    let found = values(&read_all(&mut client, "plain", 0, false));
    assert!(found.is_sorted_by_key(|value| value.parse::<u64>().unwrap()), "in order, none twice");
    for value in &writes_plain.acknowledged {
        assert!(found.contains(value), "{value} was acknowledged");
    }
    let found = values(&read_all(&mut client, "idempotent", 0, false));
    let tail = &found[writes_once.acknowledged.len()..];
    assert_eq!(found[..writes_once.acknowledged.len()], writes_once.acknowledged);
    assert!(tail.len() <= 1, "only the one that was under way");
    let (left, right) =
        (values(&read_all(&mut client, "left", 0, true)), values(&read_all(&mut client, "right", 0, true)));
    assert_eq!(left, right, "a transaction is whole or not at all");
    for value in &writes_both.acknowledged {
        assert!(left.contains(value), "{value} was committed");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_torn_tail_is_cut() {
    let scratch = Scratch::new();
    let broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
    let mut client = Client::new(broker.addr());
    create(&mut client, "t", 1, &[]);
    produce(&mut client, "t", &Batch::of(&["first"]));
    produce(&mut client, "t", &Batch::of(&["second"]));
    drop(broker);
    let topic = std::fs::read_dir(scratch.0.join("topics")).unwrap().next().unwrap().unwrap().path();
    let segment = std::fs::read_dir(topic).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&segment).unwrap();
    let first = 12 + u32::from_be_bytes(whole[8..12].try_into().unwrap()) as usize;
    let cuts = [first, first + 1, first + 30, first + 61, whole.len() - 1];
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for bytes in cuts.iter().map(|cut| &whole[..*cut]).chain([&damaged[..]]) {
        std::fs::write(&segment, bytes).unwrap();
        let broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
        let mut client = Client::new(broker.addr());
        assert_eq!(values(&read_all(&mut client, "t", 0, false)), ["first"]);
        assert_eq!(produce(&mut client, "t", &Batch::of(&["again"])), 1);
        assert_eq!(values(&read_all(&mut client, "t", 0, false)), ["first", "again"]);
    }
}

#[test]
fn a_damaged_journal_entry_costs_what_it_said_and_no_more() {
    let scratch = Scratch::new();
    let broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
    let mut client = Client::new(broker.addr());
    for topic in ["first", "second", "third"] {
        create(&mut client, topic, 1, &[]);
        produce(&mut client, topic, &Batch::of(&["v"]));
    }
    drop(broker);
    let journal = scratch.0.join("meta.log");
    let mut bytes = std::fs::read(&journal).unwrap();
    let at = bytes.windows(6).position(|window| window == b"second").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
    let mut client = Client::new(broker.addr());
    let known = client.call(1, &MetadataRequest::default().with_topics(None));
    let names: Vec<String> =
        known.topics.iter().map(|topic| topic.name.clone().unwrap().to_string()).collect();
    assert_eq!(names, ["first", "third"]);
    assert_eq!(values(&read_all(&mut client, "third", 0, false)), ["v"]);
    // its records are set aside, not deleted
    let mut directories = std::fs::read_dir(scratch.0.join("topics")).unwrap().flatten();
    assert!(directories.any(|entry| entry.path().extension().is_some_and(|extension| extension == "orphan")));
}
