//! A thread's instances of handlers: one for each version, made when first needed, dropped on any error.

use std::cell::RefCell;

use super::compile::{Code, Plugin};
use super::engine::Engine;
use super::guest::Call;
use super::handler::{Handled, Handler};
use super::{Stopped, StoppedKind};
use crate::domain::exchange::Response;
use crate::domain::message::Message;
use crate::domain::outcome::Verdict;

/// Used by one thread, for message after message.
pub struct Slots {
    engine: Engine,
    /// What a call may take here, in ms, where its plugin's limit is more.
    call_ms_max: u32,
    /// Instances that are kept; the one that was made first goes.
    most: usize,
    slots: RefCell<Vec<Slot>>,
}

struct Slot {
    plugin: u64,
    handler: Option<Handler>,
    /// Mean of what its calls took, in µs; the newest counts a sixteenth.
    mean_us: f64,
}

/// Counted as this at most: a thread that lost its core in a call says nothing of the plugin.
const SAMPLE_US_MAX: f64 = 1_000.0;
/// A plugin whose calls take longer in the mean costs its neighbours more than a change of the thread, which is
/// 20 to 25 µs.
const SLOW_US: f64 = 200.0;

impl Slots {
    pub fn new(engine: Engine, call_ms_max: u32, most: usize) -> Self {
        Self { engine, call_ms_max, most, slots: RefCell::default() }
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

    /// Drops the instances of versions that are not among `ids`.
    pub fn keep(&self, ids: &[u64]) {
        self.slots.borrow_mut().retain(|it| ids.contains(&it.plugin));
    }

    /// A call of this plugin took so long. True when it is slow in the mean; the count begins anew then.
    pub fn note(&self, plugin: &Plugin, took_us: u64) -> bool {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.iter_mut().find(|it| it.plugin == plugin.id) else { return false };
        slot.mean_us += ((took_us as f64).min(SAMPLE_US_MAX) - slot.mean_us) / 16.0;
        let is_slow = slot.mean_us > SLOW_US;
        if is_slow {
            slot.mean_us = 0.0;
        }
        is_slow
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
        let mut slots = self.slots.borrow_mut();
        let at = match slots.iter().position(|it| it.plugin == plugin.id) {
            Some(at) => at,
            None => {
                if slots.len() >= self.most {
                    slots.remove(0);
                }
                slots.push(Slot { plugin: plugin.id, handler: None, mean_us: 0.0 });
                slots.len() - 1
            }
        };
        let slot = &mut slots[at].handler;
        if slot.as_ref().is_some_and(Handler::is_worn) {
            *slot = None;
        }
        let handler = match slot {
            Some(it) => it,
            None => slot.insert(code.start(&self.engine, plugin, self.call_ms_max)?),
        };
        let answer = call(handler);
        if answer.is_err() {
            *slot = None;
        }
        answer
    }
}
