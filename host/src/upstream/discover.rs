//! Servers that are found rather than listed: the addresses of a name, asked for again and again, or the lines of
//! a file that is watched. What cannot be found now stays as it was: a name server that is away, or a file half
//! written, takes no server out of service.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;

use super::directory::Directory;
use super::server::split_address;
use crate::clock;
use crate::domain::app::{App, Protocol, Server, ServerSource};

/// How often files are looked at, and whether a name is due.
const TICK: Duration = Duration::from_millis(250);
/// For one answer of the name service.
const LOOKUP: Duration = Duration::from_secs(5);

/// Looks for the servers of every app that has them found. One task of the control runtime.
pub struct Discovery {
    directory: Directory,
    /// By app.
    seen: HashMap<Arc<str>, Seen>,
}

/// What is known of one app's source.
struct Seen {
    app: Arc<App>,
    /// Of the file that was read last: when it changed, and its size.
    mark: Option<(SystemTime, u64)>,
    asked: Option<Instant>,
    /// Why the last look found nothing; told once.
    trouble: Option<String>,
}

/// What a look at a source came to.
enum Look {
    Unchanged,
    Found(Vec<Server>, Option<(SystemTime, u64)>),
    Failed(String),
}

impl Discovery {
    pub fn new(directory: Directory) -> Self {
        Self { directory, seen: HashMap::new() }
    }

    /// Until it is dropped.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            self.look().await;
        }
    }

    /// Looks once at every source that is due; returns when all have answered.
    pub async fn look(&mut self) {
        let apps: Vec<Arc<App>> = self.directory.apps().into_iter().map(|(_, it)| it.app()).collect();
        let same = |a: &App, b: &App| a.servers == b.servers && a.protocol == b.protocol;
        self.seen.retain(|name, seen| apps.iter().any(|it| it.name == *name && same(it, &seen.app)));
        for app in &apps {
            let new = || Seen { app: Arc::clone(app), mark: None, asked: None, trouble: None };
            self.seen.entry(Arc::clone(&app.name)).or_insert_with(new);
        }
        let looks = join_all(self.seen.values_mut().map(Seen::look)).await;
        for (seen, look) in self.seen.values_mut().zip(looks) {
            match look {
                Look::Unchanged => {}
                Look::Found(servers, mark) => {
                    if seen.trouble.take().is_some() {
                        tracing::info!(app = &*seen.app.name, "its servers are found again");
                    }
                    seen.mark = mark;
                    self.directory.found(&seen.app, &servers, clock::monotonic_ms());
                }
                Look::Failed(trouble) => {
                    if seen.trouble.as_ref() != Some(&trouble) {
                        tracing::warn!(
                            app = &*seen.app.name,
                            trouble,
                            "its servers cannot be found: they stay as they are"
                        );
                        seen.trouble = Some(trouble);
                    }
                }
            }
        }
    }
}

impl Seen {
    async fn look(&mut self) -> Look {
        match &self.app.servers {
            ServerSource::Listed(_) | ServerSource::Message { .. } => Look::Unchanged,
            ServerSource::File(path) => look_in(path, self.mark).await,
            ServerSource::Dns { host, port, every_ms } => {
                if self.asked.is_some_and(|it| it.elapsed() < Duration::from_millis(*every_ms)) {
                    return Look::Unchanged;
                }
                self.asked = Some(Instant::now());
                look_up(host, *port, self.app.protocol).await
            }
        }
    }
}

async fn look_up(host: &str, port: u16, protocol: Protocol) -> Look {
    let answer = match tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Look::Failed(format!("looking up {host}: {error}")),
        Err(_) => return Look::Failed(format!("looking up {host}: no answer within {} s", LOOKUP.as_secs())),
    };
    let mut addresses: Vec<String> = answer.map(|it| it.to_string()).collect();
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() {
        return Look::Failed(format!("{host} has no address"));
    }
    // To the service it has the name that was looked up, not one of its addresses.
    let default = if protocol == Protocol::Https { 443 } else { 80 };
    let name: Arc<str> = if port == default { host.into() } else { format!("{host}:{port}").into() };
    let server = |address: String| Server { name: Some(Arc::clone(&name)), ..plain(&address, 1) };
    Look::Found(addresses.into_iter().map(server).collect(), None)
}

async fn look_in(path: &Path, mark: Option<(SystemTime, u64)>) -> Look {
    let failed = |error: std::io::Error| Look::Failed(format!("{}: {error}", path.display()));
    let new = match tokio::fs::metadata(path).await {
        Ok(it) => (it.modified().unwrap_or(SystemTime::UNIX_EPOCH), it.len()),
        Err(error) => return failed(error),
    };
    if mark == Some(new) {
        return Look::Unchanged;
    }
    match tokio::fs::read_to_string(path).await {
        Ok(text) => match servers_of(&text) {
            Ok(servers) => Look::Found(servers, Some(new)),
            Err(detail) => Look::Failed(format!("{}:{detail}", path.display())),
        },
        Err(error) => failed(error),
    }
}

/// Lines `host:port`, each with a weight behind it if it is not 1; what follows `#` is a comment.
///
/// # Errors
/// Number of the line and what is wrong with it.
fn servers_of(text: &str) -> Result<Vec<Server>, String> {
    let mut servers: Vec<Server> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next() else { continue };
        let wrong = |what: &str| format!("{}: {what}, as in `host:port` or `host:port 2`", index + 1);
        let (host, port) = split_address(address, Protocol::Http);
        let has_port = address.rsplit_once(':').is_some_and(|it| it.1.parse() == Ok(port));
        if host.is_empty() || !has_port || port == 0 || address.contains('/') {
            return Err(wrong(&format!("{address:?} is no address")));
        }
        let weight = match words.next().map(str::parse::<u32>) {
            None => 1,
            Some(Ok(weight)) if weight > 0 => weight,
            Some(_) => return Err(wrong("the weight is a number from 1")),
        };
        if words.next().is_some() {
            return Err(wrong("too many words"));
        }
        match servers.iter_mut().find(|it| *it.address == *address) {
            Some(known) => known.weight = known.weight.saturating_add(weight),
            None => servers.push(plain(address, weight)),
        }
    }
    if servers.is_empty() { Err("1: no server stands here".to_owned()) } else { Ok(servers) }
}

fn plain(address: &str, weight: u32) -> Server {
    Server { address: address.into(), name: None, weight, zone: String::new(), labels: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_file() {
        let read = |text: &str| {
            servers_of(text).map(|all| {
                all.iter().map(|it| format!("{}*{}", it.address, it.weight)).collect::<Vec<_>>().join(" ")
            })
        };
        let cases = [
            ("a:1\n\n# none\nb:2 3 # three\n", Ok("a:1*1 b:2*3")),
            ("a:1\na:1 2", Ok("a:1*3")),
            ("[::1]:80", Ok("[::1]:80*1")),
            ("", Err("1: no server")),
            ("a:1\na", Err("2: \"a\" is no address")),
            ("http://a:1", Err("1: \"http://a:1\" is no address")),
            ("a:99999", Err("1: \"a:99999\" is no address")),
            ("a:1 0", Err("1: the weight")),
            ("a:1 2 3", Err("1: too many words")),
        ];
        for (text, expected) in cases {
            match (read(text), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text:?}"),
                (Err(got), Err(expected)) => assert!(got.starts_with(expected), "{text:?}: {got}"),
                (got, expected) => panic!("{text:?}: {got:?}, not {expected:?}"),
            }
        }
    }
}
