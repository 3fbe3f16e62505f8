//! Shares: totals that are divided between the workers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most shares of a task.
pub const MAX_SHARES: usize = 32;
/// Most workers of a task.
pub const MAX_WORKERS: u32 = 10_000;
/// Longest name of a share, in bytes.
const MAX_NAME: usize = 32;
/// Names that every worker has.
const BUILT_IN: [&str; 2] = ["index", "count"];

/// The name of a share: a lower-case letter, then letters, digits, `_` or `-`, at most 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShareName(String);

impl ShareName {
    /// The environment variable with this share.
    pub fn variable(&self) -> String {
        format!("ATQ_SHARE_{}", self.0.to_uppercase().replace('-', "_"))
    }
}

impl FromStr for ShareName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if BUILT_IN.contains(&text) {
            return Err(format!(
                "the name `{text}` is reserved: every worker has it"
            ));
        }
        let inner = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
        let is_name = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.len() <= MAX_NAME
            && text.chars().all(inner);
        match is_name {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "the name `{text}` is not one of a share: a lower-case letter, then letters, digits, `_` or `-`, at most \
                 {MAX_NAME} characters"
            )),
        }
    }
}

impl TryFrom<String> for ShareName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ShareName> for String {
    fn from(name: ShareName) -> Self {
        name.0
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A total to divide, `NAME=TOTAL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Its name.
    pub name: ShareName,
    /// The number that the shares sum up to.
    pub total: u64,
}

impl FromStr for Total {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, total) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not `NAME=TOTAL`, for example `users=1000`"))?;
        let number = |_| {
            format!(
                "the total `{total}` is not an integer from 0 to {}",
                u64::MAX
            )
        };
        Ok(Self {
            name: name.parse()?,
            total: total.parse().map_err(number)?,
        })
    }
}

/// The part of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The place of the worker, from 0.
    pub index: u32,
    /// The number of workers.
    pub count: u32,
    /// Its parts of the totals.
    pub parts: BTreeMap<ShareName, u64>,
}

impl Share {
    /// The value of `{share:NAME}`.
    pub fn value(&self, name: &str) -> Option<u64> {
        match name {
            "index" => Some(self.index.into()),
            "count" => Some(self.count.into()),
            _ => self.parts.get(&name.parse().ok()?).copied(),
        }
    }

    /// The names of all values.
    pub fn names(&self) -> Vec<String> {
        let parts = self.parts.keys().map(ShareName::to_string);
        BUILT_IN
            .map(str::to_owned)
            .into_iter()
            .chain(parts)
            .collect()
    }

    /// The environment variables of the tool.
    pub fn environment(&self) -> Vec<(String, String)> {
        let built_in = [
            ("ATQ_SHARE_INDEX", self.index),
            ("ATQ_SHARE_COUNT", self.count),
        ];
        let built_in = built_in.map(|(name, value)| (name.to_owned(), value.to_string()));
        let parts = self.parts.iter();
        let parts = parts.map(|(name, part)| (name.variable(), part.to_string()));
        built_in.into_iter().chain(parts).collect()
    }

    /// Checks a share that was received.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.count > MAX_WORKERS || self.index >= self.count {
            return Err(format!("index {} of {} workers", self.index, self.count));
        }
        if self.parts.len() > MAX_SHARES {
            return Err(format!("{} shares, at most {MAX_SHARES}", self.parts.len()));
        }
        Ok(())
    }
}

/// Divides the totals between `count` workers. The parts of a total differ by at most 1 and sum up to it.
///
/// # Errors
/// Totals that cannot be divided: fewer than one for each worker, two of the same name, too many.
pub fn divide(totals: &[Total], count: u32) -> Result<Vec<Share>, String> {
    check(totals, count)?;
    let share = |index| Share {
        index,
        count,
        parts: totals
            .iter()
            .map(|one| (one.name.clone(), part(one.total, index, count)))
            .collect(),
    };
    Ok((0..count).map(share).collect())
}

/// The part of the worker `index`: earlier workers get the rest.
fn part(total: u64, index: u32, count: u32) -> u64 {
    let count = u64::from(count);
    total / count + u64::from(u64::from(index) < total % count)
}

fn check(totals: &[Total], count: u32) -> Result<(), String> {
    if count == 0 || count > MAX_WORKERS {
        return Err(format!(
            "{count} workers; from 1 to {MAX_WORKERS} are possible"
        ));
    }
    if totals.len() > MAX_SHARES {
        return Err(format!(
            "{} shares; at most {MAX_SHARES} are possible",
            totals.len()
        ));
    }
    let mut seen = BTreeMap::new();
    for Total { name, total } in totals {
        if let Some(earlier) = seen.insert(name.variable(), name) {
            return Err(format!(
                "the shares `{earlier}` and `{name}` have the same variable {}; use different names",
                name.variable()
            ));
        }
        if *total < count.into() {
            return Err(format!(
                "the share `{name}` has a total of {total} for {count} workers; each needs at least 1, so use a total of \
                 {count} or more, or fewer workers"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn total(text: &str) -> Total {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn parts_sum_up_to_the_total_and_differ_by_at_most_one(count in 1..600_u32, total in any::<u64>()) {
            let total = total.max(count.into());
            let totals = [Total { name: "users".parse().unwrap(), total }];
            let shares = divide(&totals, count).unwrap();
            let parts: Vec<u64> = shares.iter().map(|share| share.value("users").unwrap()).collect();
            let sum: u128 = parts.iter().copied().map(u128::from).sum();
            prop_assert_eq!(sum, u128::from(total));
            prop_assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1);
            prop_assert!(*parts.iter().min().unwrap() >= 1);
            let indexes: Vec<u32> = shares.iter().map(|share| share.index).collect();
            prop_assert_eq!(indexes, (0..count).collect::<Vec<_>>());
        }

        #[test]
        fn any_text_is_a_total_or_an_error_that_repeats_it(text in ".{0,60}") {
            if let Err(error) = text.parse::<Total>() {
                let (name, total) = text.split_once('=').unwrap_or((&text, &text));
                prop_assert!(error.contains(name) || error.contains(total), "{}", error);
            }
        }
    }

    #[test]
    fn a_total_below_the_number_of_workers_is_refused() {
        let error = divide(&[total("users=2")], 3).unwrap_err();
        assert_eq!(
            error,
            "the share `users` has a total of 2 for 3 workers; each needs at least 1, so use a total of 3 or more, or fewer workers"
        );
    }

    #[test]
    fn names_that_share_a_variable_or_are_reserved_are_refused() {
        let error = divide(&[total("a-b=9"), total("a_b=9")], 3).unwrap_err();
        assert!(error.contains("ATQ_SHARE_A_B"), "{error}");
        for name in [
            "index",
            "count",
            "Users",
            "",
            "1a",
            "a b",
            "ü",
            &"a".repeat(33),
        ] {
            assert!(name.parse::<ShareName>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_tool_gets_its_share_in_the_environment() {
        let shares = divide(&[total("users=10"), total("page-views=7")], 3).unwrap();
        let environment = shares[0].environment();
        let expected = [
            ("ATQ_SHARE_INDEX", "0"),
            ("ATQ_SHARE_COUNT", "3"),
            ("ATQ_SHARE_PAGE_VIEWS", "3"),
            ("ATQ_SHARE_USERS", "4"),
        ];
        assert_eq!(
            environment,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn a_share_from_a_peer_is_checked() {
        let share = |text| serde_json::from_str::<Share>(text);
        assert!(
            share(r#"{"index":3,"count":3,"parts":{}}"#)
                .unwrap()
                .check()
                .is_err()
        );
        assert!(share(r#"{"index":0,"count":1,"parts":{"LD_PRELOAD":1}}"#).is_err());
        assert!(share(r#"{"index":0,"count":1,"parts":{"users":-1}}"#).is_err());
        assert!(
            share(r#"{"index":0,"count":1,"parts":{"users":1}}"#)
                .unwrap()
                .check()
                .is_ok()
        );
    }
}
