//! The little of WASI that guests of every language link against. A guest has no ambient power (S10):
//! its environment is empty, what it prints goes to our log, it may read clocks and random numbers, and
//! every other function of WASI is there only to say by name that it is not granted.
//!
//! Written by hand rather than taken from wasmtime-wasi: that brings an async runtime of its own, a file
//! system and sockets, all to be switched off again, and its synchronous output blocks on a runtime.
//! `docs/decisions/0004-own-wasi.md`.

use std::time::Duration;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceDynamic, ResourceType, Val};
use wasmtime::{Result, StoreContextMut};

use super::guest::Guest;
use crate::clock;

/// Makes every `wasi:` import of the component resolve.
pub fn link(linker: &mut Linker<Guest>, engine: &wasmtime::Engine, component: &Component) -> Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !name.starts_with("wasi:") {
            continue;
        }
        let short = name.split('@').next().unwrap_or(name).to_owned();
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(engine) {
            match export.ty {
                ComponentItem::Resource(_) => {
                    instance.resource(item, ResourceType::host_dynamic(kind_of(item)), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => define(&mut instance, &short, item)?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Resources of one name are one type, whichever interface names them.
fn kind_of(resource: &str) -> u32 {
    resource.bytes().fold(0x811c_9dc5, |hash, it| (hash ^ u32::from(it)).wrapping_mul(0x0100_0193))
}

fn define(instance: &mut LinkerInstance<'_, Guest>, interface: &str, name: &str) -> Result<()> {
    let full = format!("{interface}.{name}");
    match known(&full) {
        Some(call) => instance.func_new(name, move |store, _, arguments, results| {
            let answer = call(store, arguments)?;
            if let Some(place) = results.first_mut() {
                *place = answer;
            }
            Ok(())
        }),
        None => instance.func_new(name, move |_, _, _, _| {
            Err(wasmtime::Error::msg(format!("the plugin called {full}, which plugins are not granted")))
        }),
    }
}

type Known = fn(StoreContextMut<'_, Guest>, &[Val]) -> Result<Val>;

fn known(full: &str) -> Option<Known> {
    Some(match full {
        "wasi:cli/environment.get-environment" | "wasi:cli/environment.get-arguments" => |_, _| empty(),
        "wasi:cli/environment.initial-cwd" => |_, _| Ok(Val::Option(None)),
        "wasi:cli/exit.exit" => |_, _| Err(wasmtime::Error::msg("the plugin exited")),
        "wasi:cli/stdin.get-stdin" => |store, _| handle(store, "input-stream"),
        "wasi:cli/stdout.get-stdout" | "wasi:cli/stderr.get-stderr" => {
            |store, _| handle(store, "output-stream")
        }
        "wasi:cli/terminal-stdin.get-terminal-stdin"
        | "wasi:cli/terminal-stdout.get-terminal-stdout"
        | "wasi:cli/terminal-stderr.get-terminal-stderr" => |_, _| Ok(Val::Option(None)),
        "wasi:io/streams.[method]output-stream.check-write" => |_, _| ok(Some(Val::U64(4096))),
        "wasi:io/streams.[method]output-stream.write"
        | "wasi:io/streams.[method]output-stream.blocking-write-and-flush" => write,
        "wasi:io/streams.[method]output-stream.flush"
        | "wasi:io/streams.[method]output-stream.blocking-flush" => |_, _| ok(None),
        "wasi:io/streams.[method]input-stream.read"
        | "wasi:io/streams.[method]input-stream.blocking-read" => |_, _| closed(),
        "wasi:clocks/monotonic-clock.now" => |_, _| Ok(Val::U64(clock::monotonic_ns())),
        "wasi:clocks/monotonic-clock.resolution" => |_, _| Ok(Val::U64(1)),
        "wasi:clocks/wall-clock.now" => |_, _| wall_clock(),
        "wasi:clocks/wall-clock.resolution" => |_, _| Ok(date_time(0, 1)),
        "wasi:random/random.get-random-u64" | "wasi:random/insecure.get-insecure-random-u64" => {
            |_, _| Ok(Val::U64(random()))
        }
        "wasi:random/random.get-random-bytes" | "wasi:random/insecure.get-insecure-random-bytes" => {
            random_bytes
        }
        "wasi:random/insecure-seed.insecure-seed" => {
            |_, _| Ok(Val::Tuple(vec![Val::U64(random()), Val::U64(random())]))
        }
        "wasi:filesystem/preopens.get-directories" => |_, _| empty(),
        _ => return None,
    })
}

fn empty() -> Result<Val> {
    Ok(Val::List(Vec::new()))
}

fn ok(value: Option<Val>) -> Result<Val> {
    Ok(Val::Result(Ok(value.map(Box::new))))
}

fn closed() -> Result<Val> {
    Ok(Val::Result(Err(Some(Box::new(Val::Variant("closed".to_owned(), None))))))
}

fn handle(store: StoreContextMut<'_, Guest>, resource: &str) -> Result<Val> {
    let own = ResourceDynamic::new_own(0, kind_of(resource));
    Ok(Val::Resource(own.try_into_resource_any(store)?))
}

fn write(mut store: StoreContextMut<'_, Guest>, arguments: &[Val]) -> Result<Val> {
    if let Some(Val::List(bytes)) = arguments.get(1) {
        let bytes: Vec<u8> =
            bytes.iter().filter_map(|it| if let Val::U8(b) = it { Some(*b) } else { None }).collect();
        store.data_mut().write_output(&bytes);
    }
    ok(None)
}

fn date_time(seconds: u64, nanoseconds: u32) -> Val {
    Val::Record(vec![
        ("seconds".to_owned(), Val::U64(seconds)),
        ("nanoseconds".to_owned(), Val::U32(nanoseconds)),
    ])
}

fn wall_clock() -> Result<Val> {
    let now = Duration::from_millis(clock::now_ms());
    Ok(date_time(now.as_secs(), now.subsec_nanos()))
}

fn random_bytes(_: StoreContextMut<'_, Guest>, arguments: &[Val]) -> Result<Val> {
    let Some(Val::U64(length)) = arguments.first() else { return empty() };
    if *length > 64 << 10 {
        return Err(wasmtime::Error::msg("the plugin asked for over 64 KiB of random bytes at once"));
    }
    Ok(Val::List((0..*length).map(|_| Val::U8(random() as u8)).collect()))
}

fn random() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    // The fixed bits of a UUID lie in the middle of each half.
    high.rotate_left(32) ^ low
}
