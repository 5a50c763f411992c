//! What `bindgen!` makes of the contract in `guest-sdk/wit`. Arguments are borrowed: no clone for a call.

/// Handlers. The judge is optional: its export is looked up by hand.
pub mod handler {
    wasmtime::component::bindgen!({
        path: "../guest-sdk/wit",
        world: "handler-judge",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: { default: trappable },
    });
}

/// Selectors. What both worlds import is the same Rust type in both.
pub mod selector {
    wasmtime::component::bindgen!({
        path: "../guest-sdk/wit",
        world: "selector",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: { default: trappable },
        with: {
            "drover:plugin/log": super::handler::drover::plugin::log,
            "drover:plugin/config": super::handler::drover::plugin::config,
            "drover:plugin/metrics": super::handler::drover::plugin::metrics,
        },
    });
}
