//! What the attributes expand to: the component's exports around the author's functions.

use std::cell::RefCell;

use crate::{App, Pick, Select};

/// Before the author's code: a panic says its text and place through the log, then it traps.
#[cfg(target_family = "wasm")]
pub fn enter() {
    thread_local! {
        static ENTERED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    if !ENTERED.replace(true) {
        std::panic::set_hook(Box::new(|panic| {
            crate::log::write(crate::log::Level::Critical, &panic.to_string());
        }));
    }
}

/// Passes an update to the instance's selector.
pub fn update<S: Select>(slot: &RefCell<Option<S>>, app: App) -> Result<(), String> {
    let mut slot = slot.borrow_mut();
    slot.get_or_insert_default().update(app).map_err(|error| error.reason().to_string())
}

/// Asks the instance's selector.
pub fn select<S: Select>(slot: &RefCell<Option<S>>, pick: &Pick) -> Result<u32, String> {
    let mut slot = slot.borrow_mut();
    slot.get_or_insert_default().select(pick).map_err(|error| error.reason().to_string())
}

/// The SDK's version.
pub const SDK_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The contract's, as the bindings have it.
pub const CONTRACT: &str = "drover:plugin@0.1.0";

/// The parts, one after the other, as the bytes of a section. `LEN` is the sum of their lengths.
pub const fn joined<const LEN: usize>(parts: &[&str]) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let text = parts[part].as_bytes();
        let mut index = 0;
        while index < text.len() {
            bytes[at] = text[index];
            (index, at) = (index + 1, at + 1);
        }
        part += 1;
    }
    bytes
}

/// The length of the parts together.
pub const fn length_of(parts: &[&str]) -> usize {
    let (mut part, mut length) = (0, 0);
    while part < parts.len() {
        length += parts[part].len();
        part += 1;
    }
    length
}

/// The custom section `drover:plugin`: who this is, for people and lists. What a plugin can do is decided by its
/// imports and exports alone. Stands in the component's core module.
#[doc(hidden)]
#[macro_export]
macro_rules! __plugin_section {
    ($kind:literal) => {
        // Cargo allows no character in a name or version that JSON would have to escape.
        const PARTS: &[&str] = &[
            concat!("{\"name\":\"", env!("CARGO_PKG_NAME"), "\",\"version\":\"", env!("CARGO_PKG_VERSION")),
            concat!("\",\"kind\":\"", $kind, "\",\"language\":\"rust\",\"sdk\":\""),
            $crate::export::SDK_VERSION,
            "\",\"contract\":\"",
            $crate::export::CONTRACT,
            "\"}",
        ];
        #[cfg_attr(target_family = "wasm", used, unsafe(link_section = "drover:plugin"))]
        static SECTION: [u8; $crate::export::length_of(PARTS)] = $crate::export::joined(PARTS);
        #[cfg(not(target_family = "wasm"))]
        const _: &[u8] = &SECTION;
    };
}

/// `#[handler]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_handler {
    ($handle:ident) => {
        const _: () = {
            use $crate::{Action, Message};

            $crate::__plugin_section!("handler");

            fn handle(message: $crate::message::Received) -> Action {
                $crate::action::IntoAction::into_action($handle(Message::from(message)))
            }

            // Exported names would clash where several plugins are linked natively, as in the host.
            #[cfg(not(target_family = "wasm"))]
            const _: fn($crate::message::Received) -> Action = handle;

            #[cfg(target_family = "wasm")]
            struct Plugin;
            #[cfg(target_family = "wasm")]
            impl $crate::bindings::handler::exports::drover::plugin::message_handler::Guest for Plugin {
                fn handle(message: $crate::message::Received) -> Action {
                    $crate::export::enter();
                    handle(message)
                }
            }
            #[cfg(target_family = "wasm")]
    $crate::bindings::handler::export_handler!(Plugin with_types_in $crate::bindings::handler);
        };
    };
}

/// `#[judge]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_judge {
    ($judge:ident) => {
        const _: () = {
            use $crate::{Judged, Response, Verdict};

            fn judge(message: Judged, response: Response) -> Verdict {
                $crate::verdict::IntoVerdict::into_verdict($judge(&message, &response))
            }

            #[cfg(not(target_family = "wasm"))]
            const _: fn(Judged, Response) -> Verdict = judge;

            #[cfg(target_family = "wasm")]
            struct Plugin;
            #[cfg(target_family = "wasm")]
            impl $crate::bindings::judge::exports::drover::plugin::judge::Guest for Plugin {
                fn judge(message: Judged, response: Response) -> Verdict {
                    $crate::export::enter();
                    judge(message, response)
                }
            }
            #[cfg(target_family = "wasm")]
    $crate::bindings::judge::export_judge!(Plugin with_types_in $crate::bindings::judge);
        };
    };
}

/// `#[init]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_init {
    ($init:ident) => {
        const _: () = {
            type Outcome = ::core::result::Result<(), ::std::string::String>;

            fn init() -> Outcome {
                $init().map_err(|error| $crate::Error::from(error).reason().to_string())
            }

            #[cfg(not(target_family = "wasm"))]
            const _: fn() -> Outcome = init;

            #[cfg(target_family = "wasm")]
            struct Plugin;
            #[cfg(target_family = "wasm")]
            impl $crate::bindings::lifecycle::exports::drover::plugin::lifecycle::Guest for Plugin {
                fn init() -> Outcome {
                    $crate::export::enter();
                    init()
                }
            }
            #[cfg(target_family = "wasm")]
    $crate::bindings::lifecycle::export_lifecycle!(Plugin with_types_in $crate::bindings::lifecycle);
        };
    };
}

/// `#[selector]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_selector {
    ($selector:ty) => {
        const _: () = {
            type Outcome<T> = ::core::result::Result<T, ::std::string::String>;

            $crate::__plugin_section!("selector");

            ::std::thread_local! {
                static SELECTOR: ::core::cell::RefCell<Option<$selector>> =
                    const { ::core::cell::RefCell::new(None) };
            }

            fn update(app: $crate::App) -> Outcome<()> {
                SELECTOR.with(|slot| $crate::export::update(slot, app))
            }

            fn select(pick: $crate::Pick) -> Outcome<u32> {
                SELECTOR.with(|slot| $crate::export::select(slot, &pick))
            }

            #[cfg(not(target_family = "wasm"))]
            const _: (fn($crate::App) -> Outcome<()>, fn($crate::Pick) -> Outcome<u32>) = (update, select);

            #[cfg(target_family = "wasm")]
            struct Plugin;
            #[cfg(target_family = "wasm")]
            impl $crate::bindings::selector::exports::drover::plugin::server_selector::Guest for Plugin {
                fn update(app: $crate::App) -> Outcome<()> {
                    $crate::export::enter();
                    update(app)
                }
                fn select(pick: $crate::Pick) -> Outcome<u32> {
                    $crate::export::enter();
                    select(pick)
                }
            }
            #[cfg(target_family = "wasm")]
    $crate::bindings::selector::export_selector!(Plugin with_types_in $crate::bindings::selector);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_json() {
        const PARTS: &[&str] = &["{\"a\":\"", SDK_VERSION, "\"}"];
        static SECTION: [u8; length_of(PARTS)] = joined(PARTS);
        let section: serde_json::Value = serde_json::from_slice(&SECTION).unwrap();
        assert_eq!(section["a"], SDK_VERSION);
    }

    // The contract's own line is the truth.
    #[test]
    fn the_contract_is_the_one_in_the_file() {
        assert!(include_str!("../wit/drover.wit").contains(&format!("package {CONTRACT};")));
    }
}
