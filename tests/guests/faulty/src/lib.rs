//! `faulty`: does what the header `do` of the message says: traps, loops, eats memory, or ends it by a verdict.

use drover_guest::prelude::*;
use std::hint::black_box;

#[handler]
fn faulty(message: Message) -> Result<Action> {
    match message.header("do").unwrap_or_default() {
        "trap" => panic!("told to"),
        "trap-once" if message.attempt == 1 => panic!("told to, once"),
        "loop" => loop {
            black_box(());
        },
        "slow" => {
            // Some hundred ms on any machine.
            for it in 0..100_000_000_u64 {
                black_box(it);
            }
            deliver(post("/"))
        }
        "memory" => {
            let mut all = Vec::new();
            loop {
                all.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "recurse" => finish(reject("deep", recurse(0).to_string())),
        "huge" => {
            let megabytes: usize = message.text().and_then(|it| it.parse().ok()).unwrap_or(512);
            deliver(post("/").bytes(vec![b'x'; megabytes << 20]))
        }
        "size" => deliver(post("/").text(message.bytes().len().to_string())),
        "log" => {
            for line in 0..100_000 {
                log::write(log::Level::Info, &format!("line {line} of too many"));
            }
            deliver(post("/"))
        }
        "path" => deliver(post(message.text().unwrap_or_default())),
        "header" => deliver(post("/").header("bad name", "x\r\ny")),
        "done" => finish(done()),
        "skip" => finish(skip("told to")),
        "retry" => finish(retry("told to")),
        "reject" => finish(reject("told", "told to")),
        "park" => finish(park("told to")),
        "emit" => emit_and(&message, deliver(post("/"))),
        "emit-reject" => emit_and(&message, finish(reject("told", "told to"))),
        "error" => Err(Error::retry("told to")),
        _ => deliver(post("/")),
    }
}

/// Two records to the topics that the message names.
fn emit_and(message: &Message, then: Result<Action>) -> Result<Action> {
    for topic in message.header("to").unwrap_or_default().split(',') {
        emit(&Output::new(topic, message.bytes()).key("emitted").header("from", message.coordinates()))?;
    }
    then
}

#[allow(unconditional_recursion, reason = "that is the fault it is for")]
fn recurse(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    1 + recurse(black_box(room[1] + 1))
}
