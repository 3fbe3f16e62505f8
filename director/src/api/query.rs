//! Query parameters of the added routes: only known ones, each at most once, with valid values.

use super::error::RequestError;
use atq_task::spec::{nearest, shorten};
use axum::http::Uri;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// The parameters of a request; parameters without a value count as absent.
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses the parameters of `uri`; only those in `known` are allowed.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Self, RequestError> {
        let axum::extract::Query(pairs) =
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
                .map_err(|error| bad(error.body_text()))?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            let excerpt = shorten(name);
            if !known.contains(&name.as_str()) {
                return Err(bad(format!(
                    "`{excerpt}` is not a parameter; {}",
                    nearest(name, known)
                )));
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(bad(format!("`{excerpt}` is given twice; expected once")));
            }
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        let pair = self
            .pairs
            .iter()
            .find(|(key, value)| key == name && !value.is_empty());
        pair.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that is a whole number.
    pub fn number<N: FromStr + PartialOrd + Display>(
        &self,
        name: &str,
        range: RangeInclusive<N>,
    ) -> Result<Option<N>, RequestError> {
        let read = |text: &str| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            number.ok_or_else(|| unexpected(name, text, &expected))
        };
        self.text(name).map(read).transpose()
    }

    /// The value of a parameter that is a duration: with units, such as `90s` or `1h30m`; a bare number is seconds.
    pub fn time(
        &self,
        name: &str,
        range: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, RequestError> {
        let read = |text: &str| {
            let seconds = text.parse().ok().map(Duration::from_secs);
            let time = seconds.or_else(|| humantime::parse_duration(text).ok());
            let format = humantime::format_duration;
            let expected = format!(
                "a time from {} to {}, for example `90s` or `30m`",
                format(*range.start()),
                format(*range.end())
            );
            time.filter(|time| range.contains(time))
                .ok_or_else(|| unexpected(name, text, &expected))
        };
        self.text(name).map(read).transpose()
    }

    /// The value of a parameter with a fixed set of values.
    pub fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, RequestError> {
        let read = |text: &str| {
            let found = choices.iter().find(|(name, _)| *name == text);
            let known: Vec<String> = choices
                .iter()
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            let expected = format!("one of {}", known.join(", "));
            found
                .map(|(_, value)| *value)
                .ok_or_else(|| unexpected(name, text, &expected))
        };
        self.text(name).map(read).transpose()
    }
}

/// The error for an invalid value.
pub fn unexpected(name: &str, found: &str, expected: &str) -> RequestError {
    bad(format!(
        "`{name}` is `{}`; expected {expected}",
        shorten(found)
    ))
}

fn bad(reason: String) -> RequestError {
    RequestError::BadQuery(reason)
}
