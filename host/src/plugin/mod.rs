//! The edge to the sandbox: everything that names wasmtime. A [`Plugin`] is a compiled version, shared by
//! all threads; a [`Handler`] or [`Selector`] is an instance of one, owned by one shard and called inline.
//! Handlers that are too slow for that run [`Aside`]. Some plugins have a native twin, which is one of these too.
//!
//! ```text
//! bytes --compile--> Plugin --start--> Handler --handle--> Action --judge--> Verdict
//! ```

mod aside;
mod bindings;
mod compile;
mod engine;
mod guest;
mod handler;
mod imports;
mod lifecycle;
mod native;
#[cfg(test)]
mod native_tests;
mod selector;
mod slots;
pub mod standard;
mod wasi;

pub use aside::{Aside, INLINE_MS};
pub use compile::{Code, Plugin, Refusal, Settings, compile, digest, native};
pub use engine::Engine;
pub use guest::{Call, Emitted, Limits, Load};
pub use handler::{Action, Handled, Handler};
pub use selector::{AppView, Pick, Selector, ServerView};
pub use slots::Slots;

/// How a guest's call ended that did not return. The instance is gone with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    pub kind: StoppedKind,
    /// For a person: the trap and the guest's own functions.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoppedKind {
    /// It ran longer than its limit.
    Deadline,
    /// It wanted more memory than its limit.
    Memory,
    /// Any other trap: a panic, a bad access, an exhausted stack.
    Trap,
    /// It answered more than its limit, or something that is no valid answer.
    Answer,
    /// It said itself that it cannot start.
    Refused,
}

impl StoppedKind {
    pub fn as_str(self) -> &'static str {
        match self {
            StoppedKind::Deadline => "deadline",
            StoppedKind::Memory => "memory",
            StoppedKind::Trap => "trap",
            StoppedKind::Answer => "answer",
            StoppedKind::Refused => "refused",
        }
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "plugin {}: {}", self.kind.as_str(), self.detail)
    }
}

impl Stopped {
    fn refused(reason: String) -> Self {
        Self { kind: StoppedKind::Refused, detail: reason }
    }

    fn of_init(reason: &str) -> Self {
        Self::refused(format!("its init says: {reason}"))
    }

    fn of(error: &wasmtime::Error, out_of_memory: bool) -> Self {
        let trap = error.downcast_ref::<wasmtime::Trap>();
        let kind = match trap {
            Some(wasmtime::Trap::Interrupt) => StoppedKind::Deadline,
            _ if out_of_memory => StoppedKind::Memory,
            Some(_) => StoppedKind::Trap,
            None if error.downcast_ref::<wasmtime::WasmBacktrace>().is_some() => StoppedKind::Trap,
            None => StoppedKind::Answer,
        };
        let root = error.root_cause().to_string();
        let frames = error.downcast_ref::<wasmtime::WasmBacktrace>().map(functions_of).unwrap_or_default();
        let detail = if frames.is_empty() { root } else { format!("{root}, in {frames}") };
        Self { kind, detail }
    }
}

/// The innermost functions of the guest that have a name.
fn functions_of(backtrace: &wasmtime::WasmBacktrace) -> String {
    let named = backtrace.frames().iter().filter_map(|it| it.func_name());
    let plain: Vec<String> = named
        .map(wasmtime_demangled)
        .filter(|it| !it.starts_with("core::") && !it.starts_with("std::") && !it.starts_with("__rust"))
        .take(4)
        .collect();
    plain.join(" < ")
}

fn wasmtime_demangled(name: &str) -> String {
    rustc_demangle::try_demangle(name).map_or_else(|_| name.to_owned(), |it| format!("{it:#}"))
}
