//! How long it takes from an upload at the operators' door until the first message is handled by it, under a
//! steady load.
//!
//! The version that runs drops everything, the new one forwards: the first request that the sink gets is the
//! first message on the new version. On an embedded broker of its own, since uploads stay in the control topic.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Plan;
use super::child::Child;
use super::lab::{Lab, PARTITIONS};
use super::load::{Load, Producer};
use super::machine::now_ns;
use super::progress::Progress;
use super::rows::{Limit, Row};
use super::sink::Expected;
use crate::plugin::standard;

const A_SECOND: u64 = 500;
/// Messages before and after the upload.
const LASTING: Duration = Duration::from_secs(4);
const UPLOAD_AFTER: Duration = Duration::from_secs(1);
const READY_WITHIN: Duration = Duration::from_secs(60);

pub fn row(plan: &Plan, progress: &Progress) -> anyhow::Result<Row> {
    let mut lab = Lab::open(&Plan { brokers: None, broker_pid: None, ..plan.clone() })?;
    let mut all = Vec::new();
    for round in 1..=plan.pairs {
        let took = once(&mut lab, plan)?;
        progress.say(&format!("{round}/{} swap: {took:.0} ms", plan.pairs));
        all.push(took);
    }
    let row = Row::of("upload → first message on the new version", "ms", all);
    Ok(row.gate(Limit::AtMost(250.0)).beside(format!("under {A_SECOND} messages / s")))
}

/// In ms.
fn once(lab: &mut Lab, plan: &Plan) -> anyhow::Result<f64> {
    let messages = A_SECOND * LASTING.as_secs();
    let load = Load {
        topic: lab.new_topic("swap")?,
        messages,
        bytes: plan.bytes,
        partitions: PARTITIONS,
        keys: 100_000,
    };
    // Free a moment ago: the host says so if somebody else was faster.
    let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    lab.expect(Expected { count: 1, ..Expected::default() })?;
    let (mut child, handler) = lab.start_replaceable(&load, &admin)?;
    wait_until_ready(&mut child, &admin)?;
    let mut producer = Producer::new(&lab.brokers, 0)?;
    let sending = thread::spawn(move || producer.pace(&load, A_SECOND));
    thread::sleep(UPLOAD_AFTER);
    let component = standard::component("forward").context("there is no plugin forward")?;
    let begun_ns = now_ns();
    let answer = ask(&admin, &format!("PUT /v1/plugins/{handler}"), component)?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "the upload was refused: {answer}");
    lab.first(&mut child)?;
    let arrivals = lab.last(&mut child)?;
    let sent = sending.join().map_err(|_| anyhow::anyhow!("the load ended by a panic"))?;
    sent?;
    anyhow::ensure!(arrivals.first_ns > begun_ns, "the old version forwarded a message");
    Ok((arrivals.first_ns - begun_ns) as f64 / 1e6)
}

fn wait_until_ready(child: &mut Child, admin: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if ask(admin, "GET /readyz", &[]).is_ok_and(|it| it.starts_with("HTTP/1.1 200")) {
            return Ok(());
        }
        child.must_run()?;
        anyhow::ensure!(Instant::now() < deadline, "not ready; {}", child.last_words());
        thread::sleep(Duration::from_millis(50));
    }
}

/// One request, one answer, on a connection of its own.
fn ask(address: &str, request: &str, body: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
