//! What plugins count themselves. Bounded: names and series over the limit are dropped and counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::lock;

const NAMES_MAX: usize = 32;
const SERIES_MAX: usize = 1_000;
const LABELS_MAX: usize = 8;
const TEXT_BYTES_MAX: usize = 128;

/// Names and values of labels, fit for exposition.
pub type Labels = Vec<(String, String)>;

/// What one plugin counts, by all of its instances and versions.
#[derive(Debug, Default)]
pub struct PluginMetrics {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By name as it is published.
    names: BTreeMap<String, BTreeMap<Labels, Series>>,
    series: usize,
    dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Series {
    Counter(u64),
    Gauge(f64),
    /// Count and sum.
    Summary(u64, f64),
}

impl PluginMetrics {
    pub fn add(&self, name: &str, delta: u64, labels: &[(String, String)]) {
        self.change(name, labels, Series::Counter(0), |it| match it {
            Series::Counter(sum) => {
                *sum = sum.saturating_add(delta);
                true
            }
            Series::Gauge(_) | Series::Summary(..) => false,
        });
    }

    pub fn set(&self, name: &str, value: f64, labels: &[(String, String)]) {
        self.change(name, labels, Series::Gauge(0.0), |it| match it {
            Series::Gauge(now) => {
                *now = value;
                true
            }
            Series::Counter(_) | Series::Summary(..) => false,
        });
    }

    pub fn observe(&self, name: &str, value: f64, labels: &[(String, String)]) {
        self.change(name, labels, Series::Summary(0, 0.0), |it| match it {
            Series::Summary(count, sum) => {
                *count += 1;
                *sum += value;
                true
            }
            Series::Counter(_) | Series::Gauge(_) => false,
        });
    }

    /// All series by name, and how often something was dropped.
    pub fn all(&self) -> (BTreeMap<String, BTreeMap<Labels, Series>>, u64) {
        let inner = lock(&self.inner);
        (inner.names.clone(), inner.dropped)
    }

    fn change(
        &self,
        name: &str,
        labels: &[(String, String)],
        new: Series,
        change: impl FnOnce(&mut Series) -> bool,
    ) {
        let name = word(name);
        let name = name.strip_suffix("_total").map_or(name.as_str(), |it| it).to_owned();
        let mut labels: Labels =
            labels.iter().take(LABELS_MAX).map(|(key, value)| (label(key), cut(value).to_owned())).collect();
        labels.sort();
        labels.dedup_by(|a, b| a.0 == b.0);
        let mut inner = lock(&self.inner);
        let Inner { names, series, dropped } = &mut *inner;
        let known = names.get(&name);
        let fits = match known {
            // A name is of one kind for good.
            Some(all) => {
                all.values()
                    .next()
                    .is_none_or(|it| std::mem::discriminant(it) == std::mem::discriminant(&new))
                    && (all.contains_key(&labels) || *series < SERIES_MAX)
            }
            None => names.len() < NAMES_MAX && *series < SERIES_MAX,
        };
        if !fits {
            *dropped += 1;
            return;
        }
        let entry = names.entry(name).or_default().entry(labels).or_insert_with(|| {
            *series += 1;
            new
        });
        if !change(entry) {
            *dropped += 1;
        }
    }
}

/// The plugins of this process by name; what they counted stays through their versions (S135).
#[derive(Clone, Debug, Default)]
pub struct PluginTable {
    plugins: Arc<Mutex<BTreeMap<String, Arc<PluginMetrics>>>>,
}

impl PluginTable {
    pub fn of(&self, plugin: &str) -> Arc<PluginMetrics> {
        Arc::clone(lock(&self.plugins).entry(plugin.to_owned()).or_default())
    }

    pub fn all(&self) -> Vec<(String, Arc<PluginMetrics>)> {
        lock(&self.plugins).iter().map(|(name, it)| (name.clone(), Arc::clone(it))).collect()
    }
}

/// A name as Prometheus takes it.
fn word(text: &str) -> String {
    let good = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let text: String = cut(text).chars().map(|it| if good(it) { it } else { '_' }).collect();
    if text.starts_with(|it: char| it.is_ascii_digit()) || text.is_empty() {
        format!("_{text}")
    } else {
        text
    }
}

/// Those that we and Prometheus set ourselves are not a guest's.
fn label(text: &str) -> String {
    let text = word(text);
    if text.starts_with("__") || ["plugin", "le", "quantile"].contains(&text.as_str()) {
        format!("of_{}", text.trim_start_matches('_'))
    } else {
        text
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(all: &[(&str, &str)]) -> Labels {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_and_labels_are_made_fit() {
        let it = PluginMetrics::default();
        it.add("orders.paid_total", 2, &labels(&[("plugin", "x"), ("a-b", "1"), ("a-b", "2")]));
        it.set("9lives", 1.5, &[]);
        it.observe("size", 2.0, &[]);
        it.observe("size", 3.0, &[]);
        // Another kind than before.
        it.add("size", 1, &[]);
        let (all, dropped) = it.all();
        let shown: Vec<_> = all.iter().flat_map(|(name, all)| all.iter().map(move |it| (name, it))).collect();
        let expected = [
            ("_9lives", labels(&[]), Series::Gauge(1.5)),
            ("orders_paid", labels(&[("a_b", "1"), ("of_plugin", "x")]), Series::Counter(2)),
            ("size", labels(&[]), Series::Summary(2, 5.0)),
        ];
        assert_eq!(shown.len(), expected.len());
        for ((name, (labels, series)), expected) in shown.into_iter().zip(&expected) {
            assert_eq!((name.as_str(), labels, series), (expected.0, &expected.1, &expected.2));
        }
        assert_eq!(dropped, 1);
    }

    #[test]
    fn a_flood_is_bounded() {
        let it = PluginMetrics::default();
        for number in 0..100 {
            it.add(&format!("n{number}"), 1, &[]);
        }
        for number in 0..5_000 {
            it.add("n0", 1, &labels(&[("user", &number.to_string())]));
        }
        let (all, dropped) = it.all();
        assert_eq!(all.len(), NAMES_MAX);
        assert_eq!(all.values().map(BTreeMap::len).sum::<usize>(), SERIES_MAX);
        assert_eq!(dropped, 68 + 5_000 - (SERIES_MAX - NAMES_MAX) as u64);
    }
}
