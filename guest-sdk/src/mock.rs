//! The host of native tests: every import outside WebAssembly comes here, to the thread's own.

use std::cell::RefCell;
use std::marker::PhantomData;

use crate::log::Level;
use crate::producer::{EmitError, Output};
use crate::selection::{Load, Metadata};

/// A line that the plugin logged.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// Its text.
    pub message: String,
    /// Its fields.
    pub fields: Vec<(String, String)>,
}

/// Which call a number came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// `metrics::add`
    Add,
    /// `metrics::set`
    Set,
    /// `metrics::observe`
    Observe,
}

/// A number that the plugin reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// By which call.
    pub kind: MetricKind,
    /// Under which name.
    pub name: String,
    /// Delta or value.
    pub value: f64,
    /// Its labels.
    pub labels: Vec<(String, String)>,
}

/// What a plugin sees of the host, and what the host saw of the plugin.
pub(crate) struct State {
    /// Which mock host this is; an instance's values are made anew for each.
    pub generation: u64,
    pub config: Vec<(String, String)>,
    pub level: Level,
    pub lines: Vec<Line>,
    pub emitted: Vec<Output>,
    pub emit_error: Option<EmitError>,
    pub metrics: Vec<Metric>,
    pub loads: Vec<Load>,
    pub message: Metadata,
    pub value: Option<Vec<u8>>,
    pub server: Option<String>,
    pub traceparent: Option<String>,
    pub shadow: bool,
    pub remaining_ms: u32,
    pub now_ms: Option<u64>,
    pub seed: Option<u64>,
}

impl State {
    const fn new(generation: u64) -> Self {
        let message = Metadata {
            command: String::new(),
            topic: String::new(),
            partition: 0,
            offset: 0,
            key: None,
            log_id: String::new(),
            headers: Vec::new(),
        };
        Self {
            generation,
            config: Vec::new(),
            level: Level::Trace,
            lines: Vec::new(),
            emitted: Vec::new(),
            emit_error: None,
            metrics: Vec::new(),
            loads: Vec::new(),
            message,
            value: None,
            server: None,
            traceparent: None,
            shadow: false,
            remaining_ms: 10_000,
            now_ms: None,
            seed: None,
        }
    }
}

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State::new(0)) };
}

/// An import's way in.
pub(crate) fn with<R>(use_it: impl FnOnce(&mut State) -> R) -> R {
    STATE.with(|state| use_it(&mut state.borrow_mut()))
}

/// The host of this thread, from here on. The last one made counts.
///
/// ```
/// use drover_guest::mock::MockHost;
/// use drover_guest::prelude::*;
///
/// let host = MockHost::new().config("shop", "7");
/// log::info!("shop {}", config_get("shop").unwrap());
/// assert_eq!(host.lines()[0].message, "shop 7");
/// ```
#[derive(Debug)]
pub struct MockHost {
    /// It stands for its thread, so it stays there.
    here: PhantomData<*const ()>,
}

impl MockHost {
    /// Without settings, servers or lines; all levels of the log are kept.
    #[allow(
        clippy::new_without_default,
        reason = "it replaces the thread's host, which a default should not"
    )]
    pub fn new() -> Self {
        with(|host| *host = State::new(host.generation + 1));
        Self { here: PhantomData }
    }

    fn set(self, change: impl FnOnce(&mut State)) -> Self {
        with(change);
        self
    }

    /// With this setting.
    #[must_use]
    pub fn config(self, key: &str, value: &str) -> Self {
        self.set(|host| host.config.push((key.to_string(), value.to_string())))
    }

    /// Keeps only lines of this level and above.
    #[must_use]
    pub fn level(self, level: Level) -> Self {
        self.set(|host| host.level = level)
    }

    /// Refuses every record.
    #[must_use]
    pub fn emit_error(self, error: EmitError) -> Self {
        self.set(|host| host.emit_error = Some(error))
    }

    /// The loads of the servers, in their order.
    #[must_use]
    pub fn loads(self, loads: Vec<Load>) -> Self {
        self.set(|host| host.loads = loads)
    }

    /// What a selector sees of the message.
    #[must_use]
    pub fn message(self, message: Metadata) -> Self {
        self.set(|host| host.message = message)
    }

    /// The message's value, for who asks the host for it: a judge.
    #[must_use]
    pub fn value(self, value: impl Into<Vec<u8>>) -> Self {
        self.set(|host| host.value = Some(value.into()))
    }

    /// The server chosen for this attempt.
    #[must_use]
    pub fn server(self, uri: &str) -> Self {
        self.set(|host| host.server = Some(uri.to_string()))
    }

    /// The message's trace context.
    #[must_use]
    pub fn traceparent(self, traceparent: &str) -> Self {
        self.set(|host| host.traceparent = Some(traceparent.to_string()))
    }

    /// Only watches the plugin.
    #[must_use]
    pub fn shadow(self) -> Self {
        self.set(|host| host.shadow = true)
    }

    /// What is left of the attempt's time.
    #[must_use]
    pub fn remaining_ms(self, remaining_ms: u32) -> Self {
        self.set(|host| host.remaining_ms = remaining_ms)
    }

    /// The clock, in ms since 1970; the real one without it.
    #[must_use]
    pub fn now_ms(self, now_ms: u64) -> Self {
        self.set(|host| host.now_ms = Some(now_ms))
    }

    /// The randomness, for a test that repeats.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.set(|host| host.seed = Some(seed))
    }

    /// What was logged so far.
    pub fn lines(&self) -> Vec<Line> {
        with(|host| host.lines.clone())
    }

    /// What was emitted so far.
    pub fn emitted(&self) -> Vec<Output> {
        with(|host| host.emitted.clone())
    }

    /// What was counted so far.
    pub fn metrics(&self) -> Vec<Metric> {
        with(|host| host.metrics.clone())
    }
}
