//! The service that all contestants deliver to: HTTP/1.1 with kept connections, one thread, one fixed answer.
//! It looks at a request only as far as it must, so that it is never the limit.
//!
//! Its parent says what it is to [expect](Expected) and hears `ready`, then `first`, then `warm` if some come before
//! those that count, then an [`Arrivals`] as JSON when the last one is there.

use std::cell::RefCell;
use std::fmt;
use std::io::Write as _;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::machine::now_ns;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a body begins with where the time of its sending is in it, then [`STAMP_DIGITS`] of hex.
pub const STAMP: &[u8] = b"sent-ns:";
pub const STAMP_DIGITS: usize = 16;

/// What is to come: `expect <count>`, and then `stamped`, and then `after <warm>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub count: u64,
    /// Each has the time of its sending in its body.
    pub stamped: bool,
    /// So many come before those that count: a contestant gets warm by them.
    pub warm: u64,
}

/// What the sink saw of one run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Arrivals {
    pub first_ns: u64,
    pub last_ns: u64,
    /// Of stamped ones, from sent to arrived.
    pub latency: Option<Latency>,
}

/// In µs.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub most: f64,
}

/// What it is waiting for.
#[derive(Default)]
struct Book {
    expected: Expected,
    /// With those that do not count.
    arrived: u64,
    first_ns: u64,
    latencies_ns: Vec<u64>,
}

impl Expected {
    fn parse(line: &str) -> Self {
        let mut words = line.split_ascii_whitespace().skip(1);
        let number = |it: &mut dyn Iterator<Item = &str>| it.next().and_then(|it| it.parse().ok());
        let mut this = Self { count: number(&mut words).unwrap_or(0), ..Self::default() };
        while let Some(word) = words.next() {
            match word {
                "stamped" => this.stamped = true,
                "after" => this.warm = number(&mut words).unwrap_or(0),
                _ => {}
            }
        }
        this
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamped = if self.stamped { " stamped" } else { "" };
        write!(out, "expect {}{stamped} after {}", self.count, self.warm)
    }
}

impl Book {
    fn begin(&mut self, line: &str) {
        *self = Self { expected: Expected::parse(line), ..Self::default() };
        say("ready");
    }

    /// Takes note of one; what the parent is to hear goes to `say`.
    fn arrived(&mut self, body: &[u8], mut say: impl FnMut(&str)) {
        self.arrived += 1;
        if self.expected.stamped
            && let Some(sent_ns) = stamp_of(body)
        {
            self.latencies_ns.push(now_ns().saturating_sub(sent_ns));
        }
        let Expected { count, warm, .. } = self.expected;
        if self.arrived == 1 {
            say("first");
        }
        if self.arrived == warm {
            say("warm");
        }
        if self.arrived == warm + 1 {
            self.first_ns = now_ns();
        }
        if self.arrived == warm + count {
            let latency = latency_of(&mut self.latencies_ns);
            let arrivals = Arrivals { first_ns: self.first_ns, last_ns: now_ns(), latency };
            say(&serde_json::to_string(&arrivals).unwrap_or_default());
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A parent that is gone needs no answer: the end of stdin ends this process.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn stamp_of(body: &[u8]) -> Option<u64> {
    let digits = body.strip_prefix(STAMP)?.get(..STAMP_DIGITS)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn latency_of(all: &mut [u64]) -> Option<Latency> {
    all.sort_unstable();
    let at = |share: f64| all.get((all.len() as f64 * share) as usize).map(|it| *it as f64 / 1e3);
    Some(Latency { p50: at(0.5)?, p99: at(0.99)?, most: *all.last()? as f64 / 1e3 })
}

/// Serves until stdin ends; its address is its first line.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve())
}

async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&listener.local_addr()?.to_string());
    let (sender, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let book = Rc::new(RefCell::new(Book::default()));
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => book.borrow_mut().begin(&line),
                None => return Ok(()),
            },
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                tokio::task::spawn_local(connection(stream, Rc::clone(&book)));
            }
        }
    }
}

/// Until the client closes it, or sends what is no request.
async fn connection(mut stream: TcpStream, book: Rc<RefCell<Book>>) -> std::io::Result<()> {
    let mut buffer = vec![0; 32 << 10];
    let mut filled = 0;
    loop {
        filled += match stream.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            read => read,
        };
        let mut done = 0;
        while let Some((head, whole)) = measure(&buffer[done..filled]) {
            book.borrow_mut().arrived(&buffer[done + head..done + whole], say);
            done += whole;
            stream.write_all(ANSWER).await?;
        }
        buffer.copy_within(done..filled, 0);
        filled -= done;
        if filled == buffer.len() {
            return Err(std::io::Error::other("a request larger than the sink's buffer"));
        }
    }
}

/// Lengths of the head and of the whole of the request that the buffer begins with, if it is all there.
fn measure(buffer: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    let mut body = 0;
    loop {
        let end = at + buffer[at..].iter().position(|it| *it == b'\n')?;
        let line = buffer[at..end].trim_ascii_end();
        at = end + 1;
        if line.is_empty() {
            break;
        }
        const NAME: &[u8] = b"content-length:";
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            body = std::str::from_utf8(line[NAME.len()..].trim_ascii()).ok()?.parse().ok()?;
        }
    }
    (buffer.len() >= at + body).then_some((at, at + body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_measured_whole_or_not_at_all() {
        let request = b"POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabcPOST";
        let whole = request.len() - 4;
        for cut in 0..whole {
            assert_eq!(measure(&request[..cut]), None);
        }
        assert_eq!(measure(request), Some((whole - 3, whole)));
        assert_eq!(measure(b"GET / HTTP/1.1\r\n\r\n"), Some((18, 18)));
    }

    #[test]
    fn what_is_expected_is_understood_as_it_was_said() {
        let all = [(1, false, 0), (2_000, true, 0), (7, false, 9), (7, true, 9)];
        for (count, stamped, warm) in all {
            let said = Expected { count, stamped, warm };
            assert_eq!(Expected::parse(&said.to_string()), said);
        }
    }

    #[test]
    fn what_arrives_while_it_gets_warm_does_not_count() {
        let mut book = Book { expected: Expected::parse("expect 2 after 3"), ..Book::default() };
        let mut said = Vec::new();
        for at in 1..=5 {
            book.arrived(b"", |it| said.push(format!("{at} {it}")));
            assert_eq!(book.first_ns > 0, at > 3, "{at}");
        }
        assert_eq!(said[..2], ["1 first", "3 warm"]);
        assert!(said.len() == 3 && said[2].starts_with("5 {"), "{said:?}");
    }

    #[test]
    fn stamps_and_percentiles() {
        assert_eq!(stamp_of(b"sent-ns:00000000000000ffxyz"), Some(255));
        assert_eq!(stamp_of(b"sent-ns:ff"), None);
        let mut all: Vec<u64> = (0..1_000).map(|it| it * 1_000).rev().collect();
        let latency = latency_of(&mut all).unwrap();
        assert_eq!((latency.p50, latency.p99, latency.most), (500.0, 990.0, 999.0));
        assert!(latency_of(&mut []).is_none());
    }
}
