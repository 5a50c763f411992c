//! Every number that drover publishes, with its help line.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// What one plugin counts itself. Bounded: names and series over the limit are dropped.
#[derive(Debug, Default)]
pub struct PluginMetrics {
    pub plugin: String,
    series: Mutex<BTreeMap<(String, String), Series>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Series {
    Counter(u64),
    Gauge(f64),
    /// Count and sum.
    Summary(u64, f64),
}

const SERIES_MAX: usize = 1_000;

impl PluginMetrics {
    pub fn new(plugin: &str) -> Self {
        Self { plugin: plugin.to_owned(), series: Mutex::default() }
    }

    pub fn add(&self, name: &str, delta: u64, labels: &[(String, String)]) {
        self.change(name, labels, Series::Counter(0), |it| {
            if let Series::Counter(sum) = it {
                *sum = sum.saturating_add(delta);
            }
        });
    }

    pub fn set(&self, name: &str, value: f64, labels: &[(String, String)]) {
        self.change(name, labels, Series::Gauge(0.0), |it| {
            if let Series::Gauge(now) = it {
                *now = value;
            }
        });
    }

    pub fn observe(&self, name: &str, value: f64, labels: &[(String, String)]) {
        self.change(name, labels, Series::Summary(0, 0.0), |it| {
            if let Series::Summary(count, sum) = it {
                *count += 1;
                *sum += value;
            }
        });
    }

    fn change(&self, name: &str, labels: &[(String, String)], new: Series, change: impl FnOnce(&mut Series)) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        let key = (name.to_owned(), labels.join(","));
        let mut series = self.series.lock().unwrap_or_else(|it| it.into_inner());
        if series.len() < SERIES_MAX || series.contains_key(&key) {
            change(series.entry(key).or_insert(new));
        }
    }
}
