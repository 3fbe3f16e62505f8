//! Samples of sweeps. `ATQ_TEST_SAMPLE=N` limits each sweep to N cases, the same in each run; without it all cases run.

use std::fmt;

/// Environment variable with the size of the sample, for `make quick`.
const VARIABLE: &str = "ATQ_TEST_SAMPLE";
/// Position of each chosen case within its part of the sweep, in thousandths.
const SEED: usize = 618;

/// Numbers of cases of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// Number of cases that ran.
    pub ran: usize,
    /// Number of cases of the whole sweep.
    pub of: usize,
}

impl fmt::Display for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} cases", self.ran, self.of)
    }
}

/// Maximum number of cases of a sweep, if there is one.
///
/// # Panics
/// When the variable is not a positive number.
pub fn limit() -> Option<usize> {
    let text = std::env::var(VARIABLE)
        .ok()
        .filter(|text| !text.is_empty())?;
    match text.parse() {
        Ok(limit) if limit > 0 => Some(limit),
        _ => panic!("{VARIABLE} is `{text}`; expected a positive number"),
    }
}

/// The cases to run, spread evenly over the sweep.
pub fn sample<T>(cases: Vec<T>) -> (Vec<T>, Sampled) {
    sample_of(cases, limit())
}

fn sample_of<T>(cases: Vec<T>, limit: Option<usize>) -> (Vec<T>, Sampled) {
    let of = cases.len();
    let ran = limit.map_or(of, |limit| limit.min(of));
    let mut next = 0;
    let mut index_of_next = || {
        let index = (next * 1000 + SEED) * of / (ran.max(1) * 1000);
        next += 1;
        index
    };
    let mut wanted = index_of_next();
    let mut chosen = Vec::with_capacity(ran);
    for (index, case) in cases.into_iter().enumerate() {
        if index == wanted && chosen.len() < ran {
            chosen.push(case);
            wanted = index_of_next();
        }
    }
    assert_eq!(chosen.len(), ran);
    (chosen, Sampled { ran, of })
}

#[test]
fn a_sample_has_its_size_is_spread_and_repeatable() {
    for of in [0, 1, 2, 7, 100, 397] {
        for limit in [None, Some(1), Some(3), Some(40), Some(1000)] {
            let (chosen, sampled) = sample_of((0..of).collect(), limit);
            assert_eq!(sampled.of, of);
            assert_eq!(sampled.ran, limit.map_or(of, |limit| of.min(limit)));
            assert_eq!(chosen, sample_of((0..of).collect(), limit).0);
            // No part of the sweep is left out.
            let gap = of.div_ceil(sampled.ran.max(1));
            let steps = chosen.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(steps.max().unwrap_or(0) <= gap, "{chosen:?}");
        }
    }
}
