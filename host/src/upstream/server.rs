//! One server: where it is, what it is called, how it does.

use std::sync::Arc;

use super::health::Health;
use super::stats::Stats;
use crate::domain::app::Protocol;

/// One server, the same object for as long as its app names it: its counters survive reloads.
#[derive(Debug)]
pub struct Server {
    /// `host:port`, also its id.
    pub address: Arc<str>,
    /// `protocol://host:port`.
    pub uri: Arc<str>,
    /// What it is called, as requests carry it, and as its certificate has to.
    pub host_header: http::HeaderValue,
    pub tls_name: Box<str>,
    pub host: Box<str>,
    pub port: u16,
    pub protocol: Protocol,
    pub weight: u32,
    pub zone: String,
    pub labels: Vec<(String, String)>,
    pub stats: Stats,
    pub health: Health,
}

impl Server {
    pub(super) fn new(
        it: &crate::domain::app::Server,
        protocol: Protocol,
        (shards, slow_since_ms): (u32, Option<u64>),
    ) -> Self {
        let (host, port) = split_address(&it.address, protocol);
        let name = it.name.as_ref().unwrap_or(&it.address);
        Self {
            uri: format!("{}://{}", protocol.as_str(), it.address).into(),
            tls_name: split_address(name, protocol).0.into(),
            host_header: http::HeaderValue::from_str(name)
                .unwrap_or_else(|_| http::HeaderValue::from_static("?")),
            address: Arc::clone(&it.address),
            host: host.into(),
            port,
            protocol,
            weight: it.weight,
            zone: it.zone.clone(),
            labels: it.labels.clone(),
            stats: Stats::new(shards),
            health: Health::new(slow_since_ms),
        }
    }

    /// A server that a message itself names.
    pub(super) fn named(address: &str, protocol: Protocol, shards: u32) -> Self {
        let listed = crate::domain::app::Server {
            address: address.into(),
            name: None,
            weight: 1,
            zone: String::new(),
            labels: Vec::new(),
        };
        Self::new(&listed, protocol, (shards, None))
    }

    pub(super) fn is_as(&self, it: &crate::domain::app::Server, protocol: Protocol) -> bool {
        self.protocol == protocol
            && self.weight == it.weight
            && self.zone == it.zone
            && self.labels == it.labels
    }
}

/// `host:port`, `[v6]:port` or a host alone.
pub fn split_address(address: &str, protocol: Protocol) -> (&str, u16) {
    let default = if protocol == Protocol::Https { 443 } else { 80 };
    match address.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
            (host.trim_start_matches('[').trim_end_matches(']'), port.parse().unwrap_or(default))
        }
        Some(_) | None => (address.trim_start_matches('[').trim_end_matches(']'), default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("a:1", Protocol::Http, ("a", 1)),
            ("a", Protocol::Http, ("a", 80)),
            ("a", Protocol::Https, ("a", 443)),
            ("[::1]:8080", Protocol::Http, ("::1", 8080)),
            ("[::1]", Protocol::Http, ("::1", 80)),
        ];
        for (address, protocol, expected) in cases {
            assert_eq!(split_address(address, protocol), expected, "{address}");
        }
    }
}
