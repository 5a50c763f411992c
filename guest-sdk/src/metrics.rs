//! Numbers under the plugin's name. Labels have few values: each combination is a series.

#[cfg(target_family = "wasm")]
use crate::bindings::imports::drover::plugin::metrics as imported;
#[cfg(not(target_family = "wasm"))]
use crate::mock::{self, Metric, MetricKind};

/// Adds to a counter.
pub fn add(name: &str, delta: u64, labels: &[(&str, &str)]) {
    #[cfg(target_family = "wasm")]
    imported::add(name, delta, &owned(labels));
    #[cfg(not(target_family = "wasm"))]
    record(MetricKind::Add, name, delta as f64, labels);
}

/// Sets a gauge.
pub fn set(name: &str, value: f64, labels: &[(&str, &str)]) {
    #[cfg(target_family = "wasm")]
    imported::set(name, value, &owned(labels));
    #[cfg(not(target_family = "wasm"))]
    record(MetricKind::Set, name, value, labels);
}

/// Puts a value into a histogram.
pub fn observe(name: &str, value: f64, labels: &[(&str, &str)]) {
    #[cfg(target_family = "wasm")]
    imported::observe(name, value, &owned(labels));
    #[cfg(not(target_family = "wasm"))]
    record(MetricKind::Observe, name, value, labels);
}

#[cfg(not(target_family = "wasm"))]
fn record(kind: MetricKind, name: &str, value: f64, labels: &[(&str, &str)]) {
    mock::with(|host| {
        host.metrics.push(Metric { kind, name: name.to_string(), value, labels: owned(labels) })
    });
}

/// As the bindings want their pairs.
pub(crate) fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}
