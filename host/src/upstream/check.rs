//! Servers are asked whether they are well, where their app says so (S111): a GET on a connection of its own, so that a
//! server that takes no connections any more is found out, too. What is found counts from the next health tick on.
//!
//! One thread for all of it, since connections belong to the thread that opened them.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::connection::{self, Body, Sender};
use super::directory::Directory;
use super::server::Server;
use super::tls::Tls;
use crate::clock;
use crate::domain::app::Check;

/// How often it is looked who is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The thread that checks.
pub struct Checks {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Checks {
    pub fn start(directory: Directory, tls: Tls) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new()
            .name("check".to_owned())
            .spawn(move || LocalSet::new().block_on(&runtime, run(directory, tls, stopped)))?;
        Ok(Self { stop, thread })
    }

    /// Gives up what is under way.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that checks servers ended by a panic");
        }
    }
}

async fn run(directory: Directory, tls: Tls, mut stopped: oneshot::Receiver<()>) {
    // By app and address: when the next check is due.
    let mut due_ms: HashMap<(Arc<str>, Arc<str>), u64> = HashMap::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            _ = look.tick() => {}
        }
        let now_ms = clock::monotonic_ms();
        let mut next_ms = HashMap::new();
        for (name, servers) in directory.apps() {
            let app = servers.app();
            let Some(check) = &app.check else { continue };
            for server in servers.all() {
                let key = (Arc::clone(&name), Arc::clone(&server.address));
                let due = due_ms.get(&key).copied().unwrap_or(now_ms);
                if due <= now_ms {
                    tokio::task::spawn_local(ask(Arc::clone(&name), server, check.clone(), tls.clone()));
                }
                // A shorter time between two that comes by a reload counts at once. None meets the one before: its
                // time is shorter still.
                let next = if due <= now_ms { now_ms + check.every_ms } else { due };
                next_ms.insert(key, next.min(now_ms + check.every_ms));
            }
        }
        due_ms = next_ms;
    }
}

async fn ask(app: Arc<str>, server: Arc<Server>, check: Check, tls: Tls) {
    let asked =
        tokio::time::timeout(Duration::from_millis(check.timeout_ms), get(&server, &check.path, &tls));
    let trouble = match asked.await {
        Ok(Ok(status)) if (200..300).contains(&status) => None,
        Ok(Ok(status)) => Some(format!("status {status}")),
        Ok(Err(detail)) => Some(detail),
        Err(_) => Some(format!("no answer within {} ms", check.timeout_ms)),
    };
    if !server.health.checked(&check, trouble.is_none()) {
        return;
    }
    match trouble {
        None => tracing::info!(app = &*app, server = &*server.address, "its checks are good again"),
        Some(detail) => {
            tracing::warn!(app = &*app, server = &*server.address, detail, "its checks fail: it is left out");
        }
    }
}

/// The status of the answer, whose body nobody reads.
///
/// # Errors
/// Why there is none.
async fn get(server: &Server, path: &str, tls: &Tls) -> Result<u16, String> {
    let mut sender = connection::open(server, tls).await.map_err(|it| it.to_string())?;
    let mut request = http::Request::get(path).header(http::header::USER_AGENT, "drover-check");
    if let Sender::Http1(_) = sender {
        request = request
            .header(http::header::HOST, server.host_header.clone())
            .header(http::header::CONNECTION, "close");
    }
    let request = request.body(Body::default()).map_err(|it| it.to_string())?;
    if !sender.is_ready().await {
        return Err("closed before it took a request".to_owned());
    }
    let answer = sender.send(request, server).await.map_err(|it| it.0.to_string())?;
    Ok(answer.status().as_u16())
}
