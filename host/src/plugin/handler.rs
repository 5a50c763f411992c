//! Handlers: one instance for each shard and version, used for message after message.

use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::bindings::handler::drover::plugin::types;
use super::bindings::handler::exports::drover::plugin::{judge, message_handler};
use super::compile::Plugin;
use super::engine::Engine;
use super::guest::{Call, Emitted, Guest, body_of};
use super::native::{HandlerTwin, NativeHandler};
use super::{Stopped, lifecycle};
use crate::domain::exchange::{Method, Request, Response};
use crate::domain::message::Message;
use crate::domain::outcome::Verdict;

/// What is shared by all instances of a version.
pub struct HandlerCode {
    made_of: MadeOf,
    /// The plugin imports `context.server`: its server has to be chosen before it runs.
    pub asks_server: bool,
}

enum MadeOf {
    Component {
        pre: InstancePre<Guest>,
        handle: message_handler::GuestIndices,
        judge: Option<judge::GuestIndices>,
    },
    Native(HandlerTwin),
}

/// What a handler wants done, and the records that it wants written if that goes well.
pub struct Handled {
    pub action: Action,
    pub emitted: Vec<Emitted>,
}

pub enum Action {
    Deliver(Request),
    Finish(Verdict),
}

/// One instance. Any error drops it: after a trap a store is dead.
pub enum Handler {
    Component(Box<Instance>),
    Native(NativeHandler),
}

/// Of a component.
pub struct Instance {
    store: Store<Guest>,
    handle: message_handler::Guest,
    judge: Option<judge::Guest>,
    call_ms: u32,
    call_ticks: u64,
    calls_left: u64,
}

impl HandlerCode {
    pub(super) fn new(pre: InstancePre<Guest>, asks_server: bool) -> wasmtime::Result<Self> {
        let handle = message_handler::GuestIndices::new(&pre)?;
        let judges = pre.component().get_export_index(None, "drover:plugin/judge@0.1.0").is_some();
        let judge = if judges { Some(judge::GuestIndices::new(&pre)?) } else { None };
        Ok(Self { made_of: MadeOf::Component { pre, handle, judge }, asks_server })
    }

    pub(super) fn native(twin: HandlerTwin) -> Self {
        Self { made_of: MadeOf::Native(twin), asks_server: false }
    }

    pub fn has_judge(&self) -> bool {
        match &self.made_of {
            MadeOf::Component { judge, .. } => judge.is_some(),
            MadeOf::Native(twin) => twin.has_judge(),
        }
    }

    /// `call_ms_max`: what a call may take on this thread, where the plugin's limit is more.
    pub fn start(&self, engine: &Engine, plugin: &Plugin, call_ms_max: u32) -> Result<Handler, Stopped> {
        let (pre, handle, judge) = match &self.made_of {
            MadeOf::Component { pre, handle, judge } => (pre, handle, judge),
            MadeOf::Native(twin) => {
                return NativeHandler::start(*twin, &plugin.config).map(Handler::Native);
            }
        };
        let (mut store, instance) = lifecycle::start(engine, plugin, pre)?;
        let load = || -> wasmtime::Result<_> {
            let handle = handle.load(&mut store, &instance)?;
            let judge = match judge {
                Some(it) => Some(it.load(&mut store, &instance)?),
                None => None,
            };
            Ok((handle, judge))
        };
        let (handle, judge) = { load }().map_err(|it| Stopped::of(&it, false))?;
        let call_ms = plugin.limits.call_ms.min(call_ms_max);
        Ok(Handler::Component(Box::new(Instance {
            store,
            handle,
            judge,
            call_ms,
            call_ticks: lifecycle::ticks(call_ms),
            calls_left: plugin.limits.calls,
        })))
    }
}

impl Handler {
    /// Asks what to do with a message. An error costs the instance.
    pub fn handle(
        &mut self,
        message: &Message,
        group: &str,
        received_ms: u64,
        call: Call,
    ) -> Result<Handled, Stopped> {
        match self {
            Handler::Component(it) => it.handle(message, group, received_ms, call),
            Handler::Native(it) => {
                Ok(Handled { action: Action::Deliver(it.handle(message)), emitted: Vec::new() })
            }
        }
    }

    /// Asks what an answer means; none where the plugin leaves that to the app's rule.
    pub fn judge(
        &mut self,
        message: &Message,
        server: &str,
        response: &Response,
        call: Call,
    ) -> Result<Option<Verdict>, Stopped> {
        match self {
            Handler::Component(it) => it.judge(message, server, response, call),
            Handler::Native(it) => Ok(it.judge(response)),
        }
    }

    /// Whether it has done its share, or grown: then the next message gets a new one.
    pub fn is_worn(&self) -> bool {
        match self {
            Handler::Component(it) => it.is_worn(),
            Handler::Native(_) => false,
        }
    }
}

impl Instance {
    fn handle(
        &mut self,
        message: &Message,
        group: &str,
        received_ms: u64,
        call: Call,
    ) -> Result<Handled, Stopped> {
        let attempt = call.attempt;
        self.begin(call);
        let record = &message.record;
        let argument = types::Message {
            topic: &record.topic,
            partition: record.partition as u32,
            offset: record.offset as u64,
            group,
            timestamp_ms: record.timestamp_ms.and_then(|it| u64::try_from(it).ok()),
            received_ms,
            key: record.key(),
            hash_key: message.hash_key.as_deref(),
            delay_ms: message.delay_ms,
            value_bytes: message.value.as_ref().map(|it| it.len() as u64),
            headers: &message.headers,
            command: &message.command,
            log_id: &message.log_id,
            url: message.url.as_deref(),
            attempt,
        };
        let action = match self.handle.call_handle(&mut self.store, argument) {
            Ok(types::Action::Deliver(it)) => Action::Deliver(request_of(message, it)),
            Ok(types::Action::Finish(it)) => Action::Finish(verdict_of(it)),
            Err(error) => return Err(Stopped::of(&error, self.store.data().memory.refused)),
        };
        Ok(Handled { action, emitted: self.store.data_mut().take_emitted() })
    }

    fn judge(
        &mut self,
        message: &Message,
        server: &str,
        response: &Response,
        call: Call,
    ) -> Result<Option<Verdict>, Stopped> {
        let Some(judge) = self.judge.clone() else { return Ok(None) };
        let attempt = call.attempt;
        self.begin(call);
        let judged = judge::Judged { command: &message.command, log_id: &message.log_id, attempt };
        let answer = types::Response {
            status: response.status,
            headers: &response.headers,
            body: &response.body,
            server,
            took_ms: response.took_ms,
        };
        match judge.call_judge(&mut self.store, judged, answer) {
            Ok(it) => Ok(Some(verdict_of(it))),
            Err(error) => Err(Stopped::of(&error, self.store.data().memory.refused)),
        }
    }

    fn is_worn(&self) -> bool {
        let memory = &self.store.data().memory;
        self.calls_left == 0 || memory.used > memory.most / 4 * 3
    }

    fn begin(&mut self, call: Call) {
        self.store.data_mut().begin(call, self.call_ms);
        self.store.set_epoch_deadline(self.call_ticks);
        self.calls_left = self.calls_left.saturating_sub(1);
    }
}

fn request_of(message: &Message, it: types::Request) -> Request {
    let replaced = match it.body {
        types::Body::Passthrough => None,
        types::Body::Replace(bytes) => Some(bytes),
    };
    Request {
        method: match it.method {
            types::Method::Get => Method::Get,
            types::Method::Head => Method::Head,
            types::Method::Post => Method::Post,
            types::Method::Put => Method::Put,
            types::Method::Patch => Method::Patch,
            types::Method::Delete => Method::Delete,
            types::Method::Options => Method::Options,
        },
        path: it.path,
        headers: it.headers,
        body: body_of(message, replaced),
        timeout_ms: it.timeout_ms,
    }
}

fn verdict_of(it: types::Verdict) -> Verdict {
    let after = |it: &types::Advice| it.after_ms.map(u64::from);
    match it {
        types::Verdict::Done => Verdict::Done,
        types::Verdict::Skip(reason) => Verdict::Skip(reason),
        types::Verdict::Retry(it) => Verdict::Retry { after_ms: after(&it), reason: it.reason },
        types::Verdict::RetryElsewhere(it) => {
            Verdict::RetryElsewhere { after_ms: after(&it), reason: it.reason }
        }
        types::Verdict::Throttled(it) => Verdict::Throttled { after_ms: after(&it), reason: it.reason },
        types::Verdict::Defer(until_ms) => Verdict::Defer(until_ms),
        types::Verdict::Park(reason) => Verdict::Park(reason),
        types::Verdict::Reject(it) => Verdict::Reject { code: it.code, reason: it.reason },
    }
}
