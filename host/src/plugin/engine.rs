//! The one wasmtime engine of this process: its settings, its clock, and what guests may import.
//!
//! Guests are called synchronously on the shard that owns their instance. A guest that runs too long is
//! stopped by the engine's epoch: one thread counts it up each millisecond, every call sets how many
//! it may last. Figures: `docs/decisions/0002-inline-calls.md`.

use std::thread;
use std::time::Duration;

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, OptLevel};

use super::bindings::{handler, selector};
use super::guest::Guest;
use super::wasi;
use crate::metrics::PluginTable;

/// Of the epoch: a call's limit is a number of these.
pub const TICK: Duration = Duration::from_millis(1);

/// Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    metrics: PluginTable,
}

impl Engine {
    /// Starts the thread that counts the epoch; it ends with the last clone.
    ///
    /// # Errors
    /// When this machine cannot run compiled WASM.
    pub fn new() -> wasmtime::Result<Self> {
        let mut config = Config::new();
        // On by default, and three times the cost of a synchronous call.
        config.concurrency_support(false);
        config.epoch_interruption(true);
        config.cranelift_opt_level(OptLevel::Speed);
        config.max_wasm_stack(512 << 10);
        config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20));
        config.native_unwind_info(false);
        // What no plugin needs is no attack surface.
        config.wasm_memory64(false);
        config.wasm_multi_memory(false);
        config.wasm_relaxed_simd(false);
        let inner = wasmtime::Engine::new(&config)?;
        let weak = inner.weak();
        thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        })?;
        Ok(Self { inner, metrics: PluginTable::default() })
    }

    pub fn inner(&self) -> &wasmtime::Engine {
        &self.inner
    }

    /// What the plugins of this process count themselves.
    pub fn metrics(&self) -> &PluginTable {
        &self.metrics
    }

    /// What a handler may import.
    pub(super) fn handler_linker(&self, component: &Component) -> wasmtime::Result<Linker<Guest>> {
        use handler::drover::plugin as of;
        let mut linker = Linker::new(&self.inner);
        of::log::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |it| it)?;
        of::config::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |it| it)?;
        of::context::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |it| it)?;
        of::metrics::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |it| it)?;
        of::producer::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |it| it)?;
        of::types::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |it| it)?;
        wasi::link(&mut linker, &self.inner, component)?;
        Ok(linker)
    }

    /// What a selector may import.
    pub(super) fn selector_linker(&self, component: &Component) -> wasmtime::Result<Linker<Guest>> {
        use selector::drover::plugin as of;
        let mut linker = Linker::new(&self.inner);
        of::log::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |it| it)?;
        of::config::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |it| it)?;
        of::metrics::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |it| it)?;
        of::selection::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |it| it)?;
        wasi::link(&mut linker, &self.inner, component)?;
        Ok(linker)
    }
}
