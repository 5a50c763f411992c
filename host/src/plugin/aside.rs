//! Slow handlers, on threads of their own: on a shard each of their calls would hold up every other message.
//!
//! A shard calls inline for at most [`INLINE_MS`]. A handler that overran that, though its own limit is more, or
//! that is slow in the mean, runs here for a minute; then it is tried inline again. A call that was stopped inline
//! runs here from its beginning: a handler does nothing before its verdict, so that counts no attempt.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::compile::Plugin;
use super::engine::Engine;
use super::guest::Call;
use super::handler::Handled;
use super::slots::Slots;
use super::{Stopped, StoppedKind};
use crate::domain::exchange::Response;
use crate::domain::message::Message;
use crate::domain::outcome::Verdict;

/// What a call may take on a shard, in ms.
pub const INLINE_MS: u32 = 10;

/// Calls that wait for a thread; a shard that has more waits to hand them over.
const WAITING_MAX: usize = 256;

/// Instances that a thread keeps.
const INSTANCES: usize = 8;

/// The threads. Cheap to clone; none runs before the first call.
#[derive(Clone)]
pub struct Aside(Arc<Pool>);

struct Pool {
    engine: Engine,
    threads: usize,
    calls: Mutex<Option<mpsc::Sender<Work>>>,
}

/// Runs with the instances of the thread that takes it.
type Work = Box<dyn FnOnce(&Slots) + Send>;

/// What of a call can go to another thread.
struct Facts {
    message: Message,
    attempt: u32,
    server: Option<Arc<str>>,
    remaining_ms: u32,
}

impl Aside {
    pub fn new(engine: Engine, threads: usize) -> Self {
        Self(Arc::new(Pool { engine, threads, calls: Mutex::new(None) }))
    }

    pub async fn handle(
        &self,
        plugin: &Arc<Plugin>,
        (group, received_ms): (&str, u64),
        call: &Call,
    ) -> Result<Handled, Stopped> {
        let (plugin, group, facts) = (Arc::clone(plugin), group.to_owned(), Facts::of(call)?);
        self.run(move |slots| {
            let (message, call) = facts.call();
            slots.handle(&plugin, &message, &group, received_ms, call)
        })
        .await
    }

    pub async fn judge(
        &self,
        plugin: &Arc<Plugin>,
        server: &str,
        response: &Response,
        call: &Call,
    ) -> Result<Option<Verdict>, Stopped> {
        let (plugin, server, response) = (Arc::clone(plugin), server.to_owned(), response.clone());
        let facts = Facts::of(call)?;
        self.run(move |slots| {
            let (message, call) = facts.call();
            slots.judge(&plugin, &message, &server, &response, call)
        })
        .await
    }

    async fn run<R: Send + 'static>(
        &self,
        call: impl FnOnce(&Slots) -> Result<R, Stopped> + Send + 'static,
    ) -> Result<R, Stopped> {
        let (tell, told) = oneshot::channel();
        let work: Work = Box::new(move |slots| {
            // Nobody waits any more when the shard has ended.
            let _ = tell.send(call(slots));
        });
        let gone = || Stopped::refused("the threads for slow handlers are gone".to_owned());
        let calls = self.0.calls().map_err(|it| Stopped::refused(it.to_string()))?;
        calls.send(work).await.map_err(|_| gone())?;
        told.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Pool {
    /// Where calls go; starts the threads with the first one. They end with the pool.
    fn calls(&self) -> std::io::Result<mpsc::Sender<Work>> {
        let mut held = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = &*held {
            return Ok(calls.clone());
        }
        let (calls, taken) = mpsc::channel::<Work>(WAITING_MAX);
        let taken = Arc::new(Mutex::new(taken));
        for index in 0..self.threads.max(1) {
            let (engine, taken) = (self.engine.clone(), Arc::clone(&taken));
            thread::Builder::new().name(format!("aside-{index}")).spawn(move || {
                let slots = Slots::new(engine, u32::MAX, INSTANCES);
                loop {
                    // One waits for work, the others for their turn to wait.
                    let work = taken.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                    match work {
                        Some(work) => work(&slots),
                        None => return,
                    }
                }
            })?;
        }
        *held = Some(calls.clone());
        Ok(calls)
    }
}

impl Facts {
    fn of(call: &Call) -> Result<Self, Stopped> {
        let Some(message) = &call.message else {
            let detail = "a call without a message".to_owned();
            return Err(Stopped { kind: StoppedKind::Refused, detail });
        };
        Ok(Self {
            message: Message::clone(message),
            attempt: call.attempt,
            server: call.server.clone(),
            remaining_ms: call.remaining_ms,
        })
    }

    fn call(self) -> (Rc<Message>, Call) {
        let message = Rc::new(self.message);
        let call = Call {
            message: Some(Rc::clone(&message)),
            attempt: self.attempt,
            server: self.server,
            remaining_ms: self.remaining_ms,
            ..Call::default()
        };
        (message, call)
    }
}
