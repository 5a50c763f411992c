//! The services of a storm: an HTTP double, one door for each host, so that it is known who sent what. It writes down
//! each attempt and answers as the phase has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::history::{Answer, Attempt, Event, Id};
use crate::journal::Journal;
use crate::random::Random;

/// What services do with what comes, beside their usual ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Half of the answers are 500.
    Fails,
    /// Three of ten are never answered.
    Hangs,
    /// Each answer takes longer, and less than the hosts' deadline.
    Slow,
    /// Three of ten connections are reset in the place of an answer.
    Resets,
}

/// What a message says of itself, as its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub id: Id,
    pub key: u32,
    pub seq: u32,
}

impl Told {
    pub fn value(self) -> String {
        format!(r#"{{"id":{},"key":{},"seq":{}}}"#, self.id, self.key, self.seq)
    }

    pub fn read(value: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(value).ok()?;
        let number = |name: &str| value[name].as_u64();
        let short = |name: &str| u32::try_from(number(name)?).ok();
        Some(Self { id: number("id")?, key: short("key")?, seq: short("seq")? })
    }
}

/// One message of so many is refused for ever: dead letters are a part of every storm.
const POISON: u64 = 199;

pub struct Services {
    journal: Arc<Journal>,
    mood: watch::Sender<Mood>,
    /// Makes the choices of each request differ.
    seed: u64,
    requests: AtomicU64,
    /// Requests that are none of the storm's messages.
    strange: AtomicU64,
}

impl Services {
    pub fn new(journal: Arc<Journal>, seed: u64) -> Arc<Self> {
        let (mood, _) = watch::channel(Mood::Well);
        Arc::new(Self { journal, mood, seed, requests: AtomicU64::new(0), strange: AtomicU64::new(0) })
    }

    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub fn strange(&self) -> u64 {
        self.strange.load(Ordering::Relaxed)
    }

    /// Opens the door of a host; where it is.
    pub async fn open(self: &Arc<Self>, host: u16) -> anyhow::Result<std::net::SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("opening a service")?;
        let address = listener.local_addr()?;
        let services = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let services = Arc::clone(&services);
                    tokio::spawn(async move {
                        // The peer may go at any time.
                        let _ = services.serve(host, stream).await;
                    });
                }
            }
        });
        Ok(address)
    }

    async fn serve(&self, host: u16, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut read = Vec::new();
        while let Some(body) = request(&mut stream, &mut read).await? {
            let began = self.journal.now();
            let Some(told) = Told::read(&body) else {
                self.strange.fetch_add(1, Ordering::Relaxed);
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?;
                continue;
            };
            let answer = self.answer(told, &mut stream).await;
            let Told { id, key, seq } = told;
            let ended = self.journal.now();
            // Before the answer goes: nobody hears of it earlier than the history.
            self.journal.record(&Event::Attempted(Attempt { id, key, seq, host, began, ended, answer }));
            let status = match answer {
                Answer::Delivered => "200 OK".to_owned(),
                Answer::Refused(status) => format!("{status} Refused"),
                Answer::Broken => {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                    return Ok(());
                }
                Answer::Gone => return Ok(()),
            };
            stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    /// What it is to be answered with, when it is time to.
    async fn answer(&self, told: Told, stream: &mut TcpStream) -> Answer {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0x9e37_79b9));
        let mood = *self.mood.borrow();
        let usual = random.below(4);
        let work_ms = if mood == Mood::Slow { random.between(200, 600) } else { usual };
        tokio::time::sleep(Duration::from_millis(work_ms)).await;
        match mood {
            Mood::Hangs if random.chance(30) => {
                // Until the client gives it up.
                let _ = stream.read(&mut [0]).await;
                Answer::Gone
            }
            Mood::Resets if random.chance(30) => Answer::Broken,
            Mood::Fails if random.chance(50) => Answer::Refused(500),
            _ if told.id % POISON == POISON - 1 => Answer::Refused(500),
            _ if random.chance(1) => Answer::Refused(503),
            _ => Answer::Delivered,
        }
    }
}

/// The next request's body; none at the end of the connection. `read` keeps what came beyond it.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(head) = read.windows(4).position(|it| it == b"\r\n\r\n") {
            let end = head + 4 + length(&read[..head]);
            if end <= read.len() {
                let body = read[head + 4..end].to_vec();
                read.drain(..end);
                return Ok(Some(body));
            }
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

/// Of the body; hosts say it always.
fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let said = head.lines().find_map(|it| it.strip_prefix("content-length:"));
    said.and_then(|it| it.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_what_it_was_made_of() {
        let told = Told { id: u64::MAX, key: 7, seq: 9 };
        assert_eq!(Told::read(told.value().as_bytes()), Some(told));
        assert_eq!(Told::read(b"{}"), None);
        assert_eq!(Told::read(b"\xff"), None);
    }

    #[test]
    fn the_length_is_found_whatever_its_case() {
        assert_eq!(length(b"POST / HTTP/1.1\r\nContent-Length: 12\r\nhost: a"), 12);
        assert_eq!(length(b"GET / HTTP/1.1\r\nhost: a"), 0);
    }
}
