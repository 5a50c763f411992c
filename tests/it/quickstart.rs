//! The first five minutes: `drover dev` as a newcomer has it, every line that it prints tried as it stands.

use std::io::{BufRead, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use crate::harness::http::{Reply, call, get};
use crate::harness::{ChildHost, eventually, spawn_command};

/// The first of six ports in a row that are free now; each test looks from a place of its own.
fn ports(from: u16) -> u16 {
    let free = |first: u16| (0..6).all(|it| TcpListener::bind(("127.0.0.1", first + it)).is_ok());
    let first = from + (std::process::id() % 500) as u16 * 6;
    (first..first + 6_000).step_by(6).find(|it| free(*it)).expect("six free ports")
}

/// Starts it and gives what it prints up to its last word before it waits.
fn dev(data: &Path, ports: u16) -> (ChildHost, Vec<String>, impl BufRead) {
    let ports = ports.to_string();
    let mut dev = spawn_command(&["dev", "--data", data.to_str().unwrap(), "--ports", &ports], &[]);
    let mut output = BufReader::new(dev.take_output());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "it ended: {lines:?}");
        let is_last = line.starts_with("Ctrl-C drains");
        lines.push(line.trim_end().to_owned());
        if is_last {
            return (dev, lines, output);
        }
    }
}

/// What a printed `curl` line does.
fn curl(line: &str) -> Reply {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 0 {
            words.extend(part.split_whitespace().map(str::to_owned))
        } else {
            words.push(part.to_owned())
        }
    }
    let (mut url, mut method, mut headers, mut body) = (String::new(), "GET", Vec::new(), Vec::new());
    let mut rest = words.into_iter().skip(1);
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-s" => {}
            "-H" => headers.push(rest.next().unwrap()),
            "-d" => (method, body) = ("POST", rest.next().unwrap().into_bytes()),
            "-T" => (method, body) = ("PUT", std::fs::read(rest.next().unwrap()).unwrap()),
            _ => url = word,
        }
    }
    let headers: Vec<_> = headers.iter().filter_map(|it| it.split_once(": ")).collect();
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    call(address.parse().unwrap(), &format!("{method} /{path}"), &headers, body)
}

/// S215: the quickstart does what it says: send, watch, swap; Ctrl-C ends it with 0, a second start finds its data.
#[test]
fn dev_does_what_it_prints() {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("quickstart-{}", std::process::id()));
    let first = ports(20_000);
    let (mut running, said, mut output) = dev(&data, first);
    let lines: Vec<&str> = said.iter().map(|it| it.trim()).filter(|it| it.starts_with("curl ")).collect();
    let [greet, pay, seen_greetings, seen_payments, stats, swap, swap_back] = lines[..] else {
        panic!("other lines than known: {lines:#?}")
    };
    let asked = |line: &str| serde_json::from_str::<serde_json::Value>(&curl(line).body).unwrap();
    let answered = |line: &str| curl(line).status;
    assert_eq!((answered(greet), answered(pay)), (200, 200));
    let body = |line: &str| asked(line)["last"][0]["body"].as_str().map(str::to_owned);
    // Greetings go to two servers in turn; the printed line looks at the first.
    eventually("Ann is greeted", || {
        curl(greet);
        body(seen_greetings).filter(|it| it == r#"{"name":"Ann"}"#)
    });
    eventually("a payment", || body(seen_payments).filter(|it| it.contains("5")));
    eventually("both counted as done", || {
        let text = curl(stats).body;
        text.contains("\"done\"").then_some(())
    });
    assert_eq!(answered(swap), 200);
    eventually("a greeting as CloudEvent", || {
        curl(greet);
        let names = asked(seen_greetings)["last"][0]["headers"].to_string();
        names.contains("ce-").then_some(())
    });
    assert_eq!(answered(swap_back), 200);
    let live = output.by_ref().lines().map_while(Result::ok).find(|it| it.contains("received")).unwrap();
    for word in ["received", "delivered", "retried", "dead", "lag"] {
        assert!(live.contains(word), "{live:?}");
    }
    running.signal("INT");
    assert_eq!(running.wait(), Some(0));
    let (mut again, _, _output) = dev(&data, first);
    let admin = SocketAddr::from(([127, 0, 0, 1], first + 2));
    let plugins = get(admin, "/v1/plugins").body;
    assert!(plugins.contains("greet"), "the uploaded plugin is known: {plugins}");
    again.signal("INT");
    assert_eq!(again.wait(), Some(0));
    std::fs::remove_dir_all(&data).unwrap();
}

/// A taken port is named, with what to do about it.
#[test]
fn a_taken_port_is_named() {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("taken-{}", std::process::id()));
    let (taken, first) = loop {
        let first = ports(26_000);
        if let Ok(taken) = TcpListener::bind(("127.0.0.1", first + 3)) {
            break (taken, first);
        }
    };
    let words = ["dev", "--data", data.to_str().unwrap(), "--ports", &first.to_string()];
    let mut dev = spawn_command(&words, &[]);
    let said: Vec<String> = BufReader::new(dev.take_output()).lines().map_while(Result::ok).collect();
    assert_eq!(dev.wait(), Some(1));
    let last = said.last().unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(last.starts_with("drover: ") && last.contains(&port) && last.contains("--ports"), "{last}");
    let _ = std::fs::remove_dir_all(&data);
}
