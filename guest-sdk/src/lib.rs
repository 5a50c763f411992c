//! What authors of drover plugins depend on.
//!
//! A handler says what is to become of a message, a judge what the service's answer means, a selector which
//! server gets it. All are plain functions: the host does the I/O, and a test calls them natively.
//!
//! ```
//! use drover_guest::prelude::*;
//!
//! #[handler]
//! fn orders(msg: Message) -> Result<Action> {
//!     let order: serde_json::Value = msg.json()?; // no JSON: to the dead letters as `bad-json`
//!     deliver(post("/v1/orders").json(&order)?)
//! }
//! ```
//!
//! Outside WebAssembly every import goes to the thread's [`mock::MockHost`], so `cargo test` needs no target.

// `#[handler]` names this crate; so it can stand in our own tests and examples too.
extern crate self as drover_guest;

pub mod action;
#[cfg(any(target_family = "wasm", test))]
mod allocator;
pub mod bindings;
pub mod clock;
pub mod config;
pub mod context;
pub mod error;
#[doc(hidden)]
pub mod export;
#[path = "forward.rs"]
pub mod forward;
pub mod headers;

pub mod log;
pub mod message;
pub mod metrics;
#[cfg(not(target_family = "wasm"))]
pub mod mock;
pub mod per_instance;
pub mod producer;
pub mod random;
pub mod request;
pub mod select;
pub mod selection;
mod typed_config;
pub mod verdict;

pub use bindings::imports::drover::plugin::types::{
    Action, Advice, Body, Method, Rejection, Request, Response, Verdict,
};
pub use bindings::judge::exports::drover::plugin::judge::Judged;
pub use bindings::selector::exports::drover::plugin::server_selector::{App, Pick, Server};
pub use drover_guest_macros::{handler, init, judge, selector};
pub use error::{Error, Result};
pub use message::{Message, Value};
pub use select::Select;

/// What the macros expand to needs; no part of the API.
#[doc(hidden)]
pub mod __private {
    pub use wit_bindgen;
}

/// All that a plugin usually needs.
pub mod prelude {
    pub use crate::action::{deliver, finish};
    pub use crate::config::{config, config_get, config_list, refuse_unknown};
    pub use crate::headers::{HeaderBlock, Headers};
    pub use crate::per_instance::PerInstance;
    pub use crate::producer::{Output, emit};
    pub use crate::request::{delete, get, patch, post, put};
    pub use crate::select::Select;
    pub use crate::verdict::{
        by_status, defer, done, park, reject, retry, retry_after, retry_elsewhere, skip, throttled,
    };
    pub use crate::{
        Action, App, Body, Error, Judged, Message, Method, Pick, Request, Response, Result, Server, Verdict,
        handler, init, judge, selector,
    };
    pub use crate::{context, log, metrics};
}
