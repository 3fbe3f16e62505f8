//! Query parameters of the routes that were added: known ones, each once, each with a value that
//! means something.

use super::error::RequestError;
use atq_task::spec::{nearest, shorten};
use axum::http::Uri;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The parameters of a request; those without a value count as absent.
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads the parameters of `uri`, of which `known` are known.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Self, RequestError> {
        let axum::extract::Query(pairs) =
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
                .map_err(|error| bad(error.body_text()))?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            let shown = shorten(name);
            if !known.contains(&name.as_str()) {
                return Err(bad(format!(
                    "`{shown}` is not a parameter; {}",
                    nearest(name, known)
                )));
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(bad(format!("`{shown}` stands twice; expected it once")));
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
    pub fn number(
        &self,
        name: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, RequestError> {
        let read = |text: &str| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            number.ok_or_else(|| unexpected(name, text, &expected))
        };
        self.text(name).map(read).transpose()
    }

    /// The value of a parameter that is a time: with units, such as `90s` or `1h30m`; a bare number is seconds.
    pub fn time(
        &self,
        name: &str,
        range: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, RequestError> {
        let read = |text: &str| {
            let seconds = text.parse().ok().map(Duration::from_secs);
            let time = seconds.or_else(|| humantime::parse_duration(text).ok());
            let shown = humantime::format_duration;
            let expected = format!(
                "a time from {} to {}, for example `90s` or `30m`",
                shown(*range.start()),
                shown(*range.end())
            );
            time.filter(|time| range.contains(time))
                .ok_or_else(|| unexpected(name, text, &expected))
        };
        self.text(name).map(read).transpose()
    }

    /// The value of a parameter that is one of a few words.
    pub fn word<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, RequestError> {
        let read = |text: &str| {
            let found = words.iter().find(|(word, _)| *word == text);
            let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let expected = format!("one of {}", known.join(", "));
            found
                .map(|(_, value)| *value)
                .ok_or_else(|| unexpected(name, text, &expected))
        };
        self.text(name).map(read).transpose()
    }
}

/// The error for a value that means nothing.
pub fn unexpected(name: &str, seen: &str, expected: &str) -> RequestError {
    bad(format!(
        "`{name}` is `{}`; expected {expected}",
        shorten(seen)
    ))
}

fn bad(reason: String) -> RequestError {
    RequestError::BadQuery { reason }
}
