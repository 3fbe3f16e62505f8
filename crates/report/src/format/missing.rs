//! The names of the figures that a tool's own summary does not hold.

use crate::histogram::to_u64;

/// Collects the names of missing figures.
#[derive(Debug, Default)]
pub struct Missing {
    names: Vec<String>,
}

impl Missing {
    /// The value of a figure; zero and missing when there is none.
    pub fn figure(&mut self, name: &str, value: Option<f64>) -> f64 {
        let value = value.filter(|value| value.is_finite() && *value >= 0.0);
        if value.is_none() {
            self.names.push(name.to_owned());
        }
        value.unwrap_or_default()
    }

    /// The same of a whole number.
    pub fn count(&mut self, name: &str, value: Option<f64>) -> u64 {
        to_u64(self.figure(name, value))
    }

    /// These figures are missing.
    pub fn lacks<const N: usize>(&mut self, names: [&str; N]) {
        self.names.extend(names.map(str::to_owned));
    }

    /// The names of the figures that are missing.
    pub fn names(self) -> Vec<String> {
        self.names
    }
}
