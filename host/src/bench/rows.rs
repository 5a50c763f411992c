//! A row of the table: what was measured, what it must reach, what it wants to reach.

use serde::Serialize;

use super::lab::Run;
use super::machine::Disturbance;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    pub fn is_reached(self, value: f64) -> bool {
        match self {
            Limit::AtLeast(limit) => value >= limit,
            Limit::AtMost(limit) => value <= limit,
        }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    pub name: String,
    /// The median; none where it was not measured.
    pub value: Option<f64>,
    pub unit: &'static str,
    pub least: f64,
    pub most: f64,
    pub gate: Option<Limit>,
    pub aim: Option<Limit>,
    /// Absolute figures, or why there are none.
    pub beside: String,
    /// The worst of its runs.
    pub disturbance: Disturbance,
}

impl Row {
    /// A row of these values, one for each pair.
    pub fn of(name: impl Into<String>, unit: &'static str, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            name: name.into(),
            value: values.get(values.len() / 2).copied(),
            unit,
            least: values.first().copied().unwrap_or(0.0),
            most: values.last().copied().unwrap_or(0.0),
            ..Self::default()
        }
    }

    pub fn missing(name: impl Into<String>, unit: &'static str, why: impl Into<String>) -> Self {
        Self { name: name.into(), unit, beside: why.into(), ..Self::default() }
    }

    pub fn gate(mut self, limit: Limit) -> Self {
        self.gate = Some(limit);
        self
    }

    pub fn aim(mut self, limit: Limit) -> Self {
        self.aim = Some(limit);
        self
    }

    pub fn beside(mut self, text: impl Into<String>) -> Self {
        self.beside = text.into();
        self
    }

    pub fn disturbed_as(mut self, runs: &[&[Run]]) -> Self {
        let all = runs.iter().flat_map(|it| it.iter());
        self.disturbance = all.fold(Disturbance::default(), |worst, it| worst.worse(it.disturbance));
        self
    }
}

/// `of` of each run of one over the same of the other's run beside it.
pub fn ratios(one: &[Run], other: &[Run], of: impl Fn(&Run) -> f64) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| of(one) / of(other)).collect()
}

pub fn median(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    let mut all: Vec<f64> = runs.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_median_and_knows_its_limits() {
        let row = Row::of("a", "", vec![3.0, 1.0, 2.0]);
        assert_eq!((row.value, row.least, row.most), (Some(2.0), 1.0, 3.0));
        assert!(Limit::AtLeast(2.0).is_reached(2.0) && !Limit::AtLeast(2.1).is_reached(2.0));
        assert!(Limit::AtMost(2.0).is_reached(2.0) && !Limit::AtMost(1.9).is_reached(2.0));
        assert_eq!(Row::of("none", "", Vec::new()).value, None);
    }
}
