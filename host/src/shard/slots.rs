//! A shard's instances of handlers: one for each version, made when first needed, dropped on any error.

use std::cell::RefCell;
use std::collections::HashMap;

use super::live::Live;
use crate::domain::exchange::Response;
use crate::domain::message::Message;
use crate::domain::outcome::Verdict;
use crate::plugin::{Call, Code, Engine, Handled, Handler, Plugin, Stopped, StoppedKind};

pub struct Slots {
    engine: Engine,
    handlers: RefCell<HashMap<u64, Handler>>,
}

impl Slots {
    pub fn new(engine: Engine) -> Self {
        Self { engine, handlers: RefCell::default() }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn handle(
        &self,
        plugin: &Plugin,
        message: &Message,
        group: &str,
        received_ms: u64,
        call: Call,
    ) -> Result<Handled, Stopped> {
        self.with(plugin, |it| it.handle(message, group, received_ms, call))
    }

    pub fn judge(
        &self,
        plugin: &Plugin,
        message: &Message,
        server: &str,
        response: &Response,
        call: Call,
    ) -> Result<Option<Verdict>, Stopped> {
        self.with(plugin, |it| it.judge(message, server, response, call))
    }

    /// Drops the instances of versions that do not run any more.
    pub fn keep(&self, live: &Live) {
        let ids: Vec<u64> = live.plugins.values().map(|it| it.id).collect();
        self.handlers.borrow_mut().retain(|id, _| ids.contains(id));
    }

    /// A plain call: the guest runs now, on this thread, and nothing awaits while it is borrowed.
    fn with<R>(
        &self,
        plugin: &Plugin,
        call: impl FnOnce(&mut Handler) -> Result<R, Stopped>,
    ) -> Result<R, Stopped> {
        let Code::Handler(code) = &plugin.code else {
            let detail = format!("{} is a {}, not a handler", plugin.name, plugin.code.kind());
            return Err(Stopped { kind: StoppedKind::Refused, detail });
        };
        let mut handlers = self.handlers.borrow_mut();
        let mut handler = match handlers.remove(&plugin.id) {
            Some(it) if !it.is_worn() => it,
            Some(_) | None => code.start(&self.engine, plugin)?,
        };
        let answer = call(&mut handler)?;
        handlers.insert(plugin.id, handler);
        Ok(answer)
    }
}
