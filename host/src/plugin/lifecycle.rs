//! An instance's start, the same for every kind.

use std::sync::Arc;

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, UpdateDeadline};

use super::Stopped;
use super::compile::Plugin;
use super::engine::{Engine, TICK};
use super::guest::Guest;

/// A limit as epochs: rounded up, and one more for the one under way.
pub fn ticks(limit_ms: u32) -> u64 {
    u64::from(limit_ms).div_ceil(TICK.as_millis() as u64) + 1
}

/// A store of its own, the instance in it, `init` called where the plugin has one.
pub fn start(
    engine: &Engine,
    plugin: &Plugin,
    pre: &InstancePre<Guest>,
) -> Result<(Store<Guest>, Instance), Stopped> {
    let metrics = Arc::clone(&plugin.metrics);
    let guest = Guest::new(Arc::clone(&plugin.name), Arc::clone(&plugin.config), &plugin.limits, metrics);
    let mut store = Store::new(engine.inner(), guest);
    store.limiter(|it| &mut it.memory);
    store.set_hostcall_fuel(plugin.limits.hostcall_bytes);
    store.set_epoch_deadline(ticks(plugin.limits.start_ms));
    store.epoch_deadline_callback(|mut store| {
        let guest = store.data_mut();
        Ok(match guest.has_overrun() {
            true => UpdateDeadline::Interrupt,
            false => UpdateDeadline::Continue(u64::from(guest.limit_ms).max(1)),
        })
    });
    let mut begin = || -> wasmtime::Result<Result<Instance, String>> {
        let instance = pre.instantiate(&mut store)?;
        Ok(init(&mut store, &instance)?.map(|()| instance))
    };
    match begin() {
        Ok(Ok(instance)) => Ok((store, instance)),
        Ok(Err(reason)) => Err(Stopped::of_init(&reason)),
        Err(error) => Err(Stopped::of(&error, store.data().memory.refused)),
    }
}

fn init(store: &mut Store<Guest>, instance: &Instance) -> wasmtime::Result<Result<(), String>> {
    let Some(lifecycle) = instance.get_export_index(&mut *store, None, "drover:plugin/lifecycle@0.1.0")
    else {
        return Ok(Ok(()));
    };
    let Some(init) = instance.get_export_index(&mut *store, Some(&lifecycle), "init") else {
        return Ok(Ok(()));
    };
    let init = instance.get_typed_func::<(), (Result<(), String>,)>(&mut *store, &init)?;
    Ok(init.call(store, ())?.0)
}
