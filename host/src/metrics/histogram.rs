//! How long things take: fixed buckets, one writer each, no locked instruction.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::route::bump;

/// Upper bounds of the buckets, in µs; one more takes what is above.
pub const BOUNDS_US: [u64; 16] = [
    10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// Written by one thread.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub fn observe(&self, us: u64) {
        let at = BOUNDS_US.partition_point(|it| *it < us);
        bump(&self.buckets[at], 1);
        bump(&self.sum_us, us);
    }
}

/// A histogram's numbers at one moment, or several ones' together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramSum {
    pub buckets: [u64; BOUNDS_US.len() + 1],
    pub sum_us: u64,
}

impl HistogramSum {
    pub fn add(&mut self, other: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += bucket.load(Relaxed);
        }
        self.sum_us += other.sum_us.load(Relaxed);
    }

    pub fn merge(&mut self, other: &Self) {
        for (sum, bucket) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += bucket;
        }
        self.sum_us += other.sum_us;
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Upper bounds in s, each with the count of its own bucket.
    pub fn seconds(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_US.iter().map(|it| *it as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for us in [0, 10, 11, 30_000_000, 30_000_001, u64::from(u32::MAX)] {
            histogram.observe(us);
        }
        let mut sum = HistogramSum::default();
        sum.add(&histogram);
        assert_eq!((sum.count(), sum.buckets[0], sum.buckets[1]), (6, 2, 1));
        assert_eq!((sum.buckets[15], sum.buckets[16]), (1, 2));
        assert_eq!(sum.seconds()[0], (0.000_01, 2));
    }
}
