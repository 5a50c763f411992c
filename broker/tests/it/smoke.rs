//! A record goes in and comes out, in memory and over a restart.
use crate::client::Client;
use crate::kit::*;
use drover_broker::{Broker, Config};

#[test]
fn a_record_goes_in_and_comes_out() {
    let (_broker, mut client) = broker();
    create(&mut client, "greetings", 1, &[]);
    assert_eq!(produce(&mut client, "greetings", &Batch::of(&["hello", "world"])), 0);
    assert_eq!(produce(&mut client, "greetings", &Batch::of(&["again"])), 2);
    assert_eq!(values(&read_all(&mut client, "greetings", 0, false)), ["hello", "world", "again"]);
}

#[test]
fn a_restart_keeps_what_was_written_and_a_directory_has_one_broker() {
    let scratch = Scratch::new();
    for round in 0..3 {
        let broker = Broker::start(quick(Some(scratch.0.clone()))).unwrap();
        let taken = Broker::start(quick(Some(scratch.0.clone()))).err().unwrap().to_string();
        assert!(taken.contains(&scratch.0.display().to_string()), "{taken}");
        let mut client = Client::new(broker.addr());
        if round == 0 {
            create(&mut client, "greetings", 1, &[]);
        }
        assert_eq!(produce(&mut client, "greetings", &Batch::of(&["hello"])), round);
        assert_eq!(read_all(&mut client, "greetings", 0, false).len(), round as usize + 1);
        broker.shutdown();
    }
}

#[test]
fn a_taken_port_is_named() {
    let broker = Broker::start(Config::default()).unwrap();
    let refused =
        Broker::start(Config { listen: broker.addr(), ..Config::default() }).err().unwrap().to_string();
    assert!(refused.contains(&broker.addr().to_string()), "{refused}");
}
