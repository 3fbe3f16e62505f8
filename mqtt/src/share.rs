//! The share of the devices that one of several workers simulates.

use std::env::VarError;

/// One worker of several. Devices are numbered over all workers: worker `index` has the numbers `index`, `index + count`,
/// `index + 2 * count`, and so on. This is also how the Director splits the rows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerShare {
    index: u32,
    count: u32,
}

/// The environment does not describe a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "ATQ_SHARE_INDEX is `{index}` and ATQ_SHARE_COUNT is `{count}`; expected an index below the count, or neither"
)]
pub struct WorkerShareError {
    index: String,
    count: String,
}

impl WorkerShare {
    /// A single worker, which has all devices.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Worker `index`, from 0, of `count`; `None` unless the index is below the count.
    pub const fn new(index: u32, count: u32) -> Option<Self> {
        if index < count {
            Some(Self { index, count })
        } else {
            None
        }
    }

    /// The share that `atq-sync` sets in the environment, or [`WorkerShare::WHOLE`] without it.
    ///
    /// # Errors
    /// When only one variable is set, or the values are not an index below a count.
    pub fn from_environment() -> Result<Self, WorkerShareError> {
        Self::from_variables(&variable("ATQ_SHARE_INDEX"), &variable("ATQ_SHARE_COUNT"))
    }

    /// Whether the environment describes a share.
    pub fn is_in_environment() -> bool {
        !variable("ATQ_SHARE_COUNT").is_empty()
    }

    /// The same for the values of the variables; an absent one is empty.
    fn from_variables(index: &str, count: &str) -> Result<Self, WorkerShareError> {
        if index.is_empty() && count.is_empty() {
            return Ok(Self::WHOLE);
        }
        let share = match (index.parse(), count.parse()) {
            (Ok(index), Ok(count)) => Self::new(index, count),
            _ => None,
        };
        share.ok_or_else(|| WorkerShareError {
            index: index.to_owned(),
            count: count.to_owned(),
        })
    }

    /// The worker's number, from 0.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The number of workers, at least 1.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// How many of `total` devices belong to this worker.
    pub const fn size(self, total: u32) -> u32 {
        total / self.count + (self.index < total % self.count) as u32
    }

    /// The number, over all workers, of this worker's device `n`.
    pub const fn number(self, n: u32) -> u64 {
        n as u64 * self.count as u64 + self.index as u64
    }
}

/// A variable of the environment; an absent one is empty.
pub fn variable(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) => value,
        Err(VarError::NotPresent) => String::new(),
        Err(VarError::NotUnicode(value)) => value.to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_parts_cover_all_devices_without_overlap(total in 0u32..3000, count in 1u32..40) {
            let mut seen = BTreeSet::new();
            for index in 0..count {
                let share = WorkerShare::new(index, count).unwrap();
                for n in 0..share.size(total) {
                    prop_assert!(seen.insert(share.number(n)));
                }
            }
            prop_assert!(seen.into_iter().eq(0..u64::from(total)));
        }

        #[test]
        fn the_sizes_of_parts_differ_by_at_most_one(total: u32, count in 1u32..100) {
            let sizes = (0..count).map(|index| WorkerShare::new(index, count).unwrap().size(total));
            let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
            prop_assert!(most - least <= 1);
        }
    }

    #[test]
    fn the_environment_is_an_index_below_a_count_or_empty() {
        assert_eq!(WorkerShare::from_variables("", ""), Ok(WorkerShare::WHOLE));
        assert_eq!(
            WorkerShare::from_variables("1", "2"),
            Ok(WorkerShare { index: 1, count: 2 })
        );
        for (index, count) in [
            ("2", "2"),
            ("0", "0"),
            ("1", ""),
            ("", "2"),
            ("x", "3"),
            ("-1", "3"),
        ] {
            let error = WorkerShare::from_variables(index, count).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("is `{index}` and")), "{text}");
        }
    }
}
