//! From bytes to something that can be instantiated, or a refusal that says what to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::engine::Engine;
use super::guest::Limits;
use super::handler::HandlerCode;
use super::native::{self, Twin};
use super::selector::SelectorCode;
use crate::metrics::PluginMetrics;

/// Largest component that is compiled, in bytes.
pub const COMPONENT_BYTES_MAX: usize = 32 << 20;

/// Interfaces of the contract that this host offers.
const OFFERED: &[&str] = &["log", "config", "context", "metrics", "producer", "selection", "types"];
/// Those that a later version may offer, so that the refusal can say so.
const KNOWN_LATER: &[&str] = &["state", "upstream", "http"];

/// Why a component is not taken. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(
        "this is no WASM file: it begins with {0:?}; upload the .wasm that `cargo build --target wasm32-wasip2` makes"
    )]
    NotWasm(String),
    #[error(
        "this is a WASM module, drover runs components: build for the target wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    Module,
    #[error("this is precompiled machine code, which is never taken: upload the .wasm that it was made from")]
    Precompiled,
    #[error(
        "the component has {0} bytes, the limit is {COMPONENT_BYTES_MAX}: build it with `strip = \"debuginfo\"` and `opt-level = \"s\"`"
    )]
    TooLarge(usize),
    #[error("it does not compile: {0}")]
    Invalid(String),
    #[error(
        "it exports neither `drover:plugin/message-handler` nor `drover:plugin/server-selector` of version 0.1 (it exports: {0}); build it with the drover-guest SDK 0.1"
    )]
    NoExport(String),
    #[error(
        "it imports `{0}`, which this host does not offer to a {1}: remove the call, or run a host that offers it"
    )]
    Import(String, &'static str),
    #[error("it does not fit the contract: {0}; build it with the drover-guest SDK 0.1")]
    Mismatch(String),
    #[error("it does not start: {0}")]
    Start(String),
}

/// A plugin ready to run: immutable, shared by all shards, bound to this process' engine.
pub struct Plugin {
    pub name: Arc<str>,
    /// Of this process, never used twice: what shards tell versions apart by.
    pub id: u64,
    /// sha256 of the component, in hex; of a native twin its name.
    pub digest: String,
    pub config: Arc<BTreeMap<String, String>>,
    pub limits: Limits,
    /// What its guests count: of its name, through all versions.
    pub metrics: Arc<PluginMetrics>,
    pub code: Code,
    settings: Settings,
    /// Too slow for the shards until then, in ms since the process began.
    aside_until_ms: AtomicU64,
}

/// How long a slow plugin runs aside before it is tried inline again.
const ASIDE_MS: u64 = 60_000;

impl Plugin {
    /// Whether it runs aside for now.
    pub fn is_aside(&self, now_ms: u64) -> bool {
        now_ms < self.aside_until_ms.load(Ordering::Relaxed)
    }

    /// It is too slow for a shard.
    pub fn put_aside(&self, now_ms: u64) {
        self.aside_until_ms.store(now_ms + ASIDE_MS, Ordering::Relaxed);
    }
}

/// What a component is known by: sha256, in hex.
pub fn digest(component: &[u8]) -> String {
    Sha256::digest(component).iter().map(|it| format!("{it:02x}")).collect()
}

pub enum Code {
    Handler(HandlerCode),
    Selector(SelectorCode),
}

impl Code {
    pub fn kind(&self) -> &'static str {
        match self {
            Code::Handler(_) => "handler",
            Code::Selector(_) => "selector",
        }
    }
}

/// What a version is made of beside its bytes.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub config: BTreeMap<String, String>,
    /// None: the defaults of its kind.
    pub limits: Option<Limits>,
}

/// Compiles, checks against the contract and starts one instance for a trial.
///
/// Takes milliseconds for Rust, seconds for components that carry an interpreter: not for a shard's thread.
pub fn compile(engine: &Engine, name: &str, bytes: &[u8], settings: Settings) -> Result<Plugin, Refusal> {
    look(bytes)?;
    let component =
        Component::new(engine.inner(), bytes).map_err(|it| Refusal::Invalid(format!("{it:#}")))?;
    made(engine, name, code_of(engine, &component)?, digest(bytes), settings)
}

/// The native twin of this name, `native:forward` say, under the name that routes use; none where there is no such.
///
/// # Errors
/// As the component of the same settings: what its `init` says.
pub fn native(
    engine: &Engine,
    name: &str,
    twin: &str,
    settings: Settings,
) -> Option<Result<Plugin, Refusal>> {
    let code = match native::twin_of(twin)? {
        Twin::Handler(it) => Code::Handler(HandlerCode::native(it)),
        Twin::Selector(it) => Code::Selector(SelectorCode::Native(it)),
    };
    Some(made(engine, name, code, twin.to_owned(), settings))
}

fn made(
    engine: &Engine,
    name: &str,
    code: Code,
    digest: String,
    settings: Settings,
) -> Result<Plugin, Refusal> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let plugin = Plugin {
        name: name.into(),
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        digest,
        settings: settings.clone(),
        aside_until_ms: AtomicU64::new(0),
        config: Arc::new(settings.config),
        metrics: engine.metrics().of(name),
        limits: settings.limits.unwrap_or(match code {
            Code::Handler(_) => Limits::HANDLER,
            Code::Selector(_) => Limits::SELECTOR,
        }),
        code,
    };
    plugin.probe(engine).map_err(|it| Refusal::Start(it.to_string()))?;
    Ok(plugin)
}

/// What can be told without compiling.
fn look(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(Refusal::TooLarge(bytes.len()));
    }
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return Err(Refusal::Precompiled);
    }
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Err(Refusal::Module),
        Some([0, b'a', b's', b'm', ..]) => Ok(()),
        _ => {
            let start = &bytes[..bytes.len().min(8)];
            Err(Refusal::NotWasm(String::from_utf8_lossy(start).into_owned()))
        }
    }
}

fn code_of(engine: &Engine, component: &Component) -> Result<Code, Refusal> {
    let exports =
        |name: &str| component.get_export_index(None, format!("drover:plugin/{name}@0.1.0").as_str());
    let mismatch = |it: wasmtime::Error| Refusal::Mismatch(format!("{it:#}"));
    if exports("message-handler").is_some() {
        check_imports(engine, component, "handler", "selection")?;
        let linker = engine.handler_linker(component).map_err(mismatch)?;
        let pre = linker.instantiate_pre(component).map_err(mismatch)?;
        let asks_server = imports_function(engine, component, "context", "server");
        HandlerCode::new(pre, asks_server).map(Code::Handler).map_err(mismatch)
    } else if exports("server-selector").is_some() {
        check_imports(engine, component, "selector", "context producer")?;
        let linker = engine.selector_linker(component).map_err(mismatch)?;
        let pre = linker.instantiate_pre(component).map_err(mismatch)?;
        SelectorCode::new(pre).map(Code::Selector).map_err(mismatch)
    } else {
        let all: Vec<_> =
            component.component_type().exports(engine.inner()).map(|(name, _)| name.to_owned()).collect();
        Err(Refusal::NoExport(if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }))
    }
}

fn check_imports(
    engine: &Engine,
    component: &Component,
    kind: &'static str,
    withheld: &str,
) -> Result<(), Refusal> {
    for (name, _) in component.component_type().imports(engine.inner()) {
        let Some(ours) = name.strip_prefix("drover:plugin/") else {
            if name.starts_with("wasi:") {
                continue;
            }
            return Err(Refusal::Import(name.to_owned(), kind));
        };
        let interface = ours.split('@').next().unwrap_or(ours);
        let withheld = withheld.split(' ').any(|it| it == interface);
        if withheld || !OFFERED.contains(&interface) || KNOWN_LATER.contains(&interface) {
            return Err(Refusal::Import(name.to_owned(), kind));
        }
    }
    Ok(())
}

fn imports_function(engine: &Engine, component: &Component, interface: &str, function: &str) -> bool {
    let wanted = format!("drover:plugin/{interface}@");
    component.component_type().imports(engine.inner()).any(|(name, import)| match import.ty {
        ComponentItem::ComponentInstance(it) if name.starts_with(&wanted) => {
            it.exports(engine.inner()).any(|(name, _)| name == function)
        }
        _ => false,
    })
}

impl Plugin {
    /// What it was made with beside its bytes.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Starts an instance under the real limits and drops it.
    fn probe(&self, engine: &Engine) -> Result<(), super::Stopped> {
        match &self.code {
            Code::Handler(code) => code.start(engine, self, u32::MAX).map(drop),
            Code::Selector(code) => code.start(engine, self).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::standard;

    /// A handler that only passes a value on has no cost of it: it does not even import it.
    #[test]
    fn only_who_reads_values_imports_them() {
        let engine = Engine::new().unwrap();
        let reads = |name: &str| {
            let component = Component::new(engine.inner(), standard::component(name).unwrap()).unwrap();
            imports_function(&engine, &component, "context", "value")
        };
        let names = ["forward", "json-rpc-errno", "cloudevents", "webhook", "reshape"];
        assert_eq!(names.map(reads), [false, false, true, true, true]);
    }
}
