//! The service that all contestants deliver to: HTTP/1.1 with kept connections, one thread, one fixed answer.
//! It looks at a request only as far as it must, so that it is never the limit.
//!
//! Its parent says `expect <count>` or `expect <count> stamped` and hears `ready`, then `first`, then an
//! [`Arrivals`] as JSON when the last one of the count is there.

use std::cell::RefCell;
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
    expected: u64,
    arrived: u64,
    first_ns: u64,
    stamped: bool,
    latencies_ns: Vec<u64>,
}

impl Book {
    fn begin(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace().skip(1);
        let expected = words.next().and_then(|it| it.parse().ok()).unwrap_or(0);
        *self = Self { expected, stamped: words.next().is_some(), ..Self::default() };
        say("ready");
    }

    fn arrived(&mut self, body: &[u8]) {
        self.arrived += 1;
        if self.stamped
            && let Some(sent_ns) = stamp_of(body)
        {
            self.latencies_ns.push(now_ns().saturating_sub(sent_ns));
        }
        if self.arrived == 1 {
            self.first_ns = now_ns();
            say("first");
        }
        if self.arrived == self.expected {
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
            book.borrow_mut().arrived(&buffer[done + head..done + whole]);
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
    fn stamps_and_percentiles() {
        assert_eq!(stamp_of(b"sent-ns:00000000000000ffxyz"), Some(255));
        assert_eq!(stamp_of(b"sent-ns:ff"), None);
        let mut all: Vec<u64> = (0..1_000).map(|it| it * 1_000).rev().collect();
        let latency = latency_of(&mut all).unwrap();
        assert_eq!((latency.p50, latency.p99, latency.most), (500.0, 990.0, 999.0));
        assert!(latency_of(&mut []).is_none());
    }
}
