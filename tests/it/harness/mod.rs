//! What the tests stand on: a broker, services, hosts, and clients of their own. Everything is over TCP.

mod broker;
mod case;
pub mod churn;
mod host;
pub mod http;
mod kafka;
mod service;
mod wait;

pub use case::Case;
pub use host::{ChildHost, Host, Setup, child, spawn_command};
pub use kafka::{Record, Send};
pub use service::{Answer, Event, Gate, Port, Request, Service, app_of};
pub use wait::{eventually, eventually_is};

/// Components of `tests/guests`.
pub mod guests {
    pub const ECHO: &str = env!("GUEST_ECHO");
    pub const FAULTY: &str = env!("GUEST_FAULTY");
    pub const FAULTY_SELECTOR: &str = env!("GUEST_FAULTY_SELECTOR");
}
