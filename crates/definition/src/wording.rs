//! The wording of faults.

use serde_json::Value;
use std::ops::RangeInclusive;

pub(crate) const MISSING: &str = "is missing; it is required";

/// Whether it has so many letters, digits, `_` and `-`, with a letter or digit at both ends.
pub(crate) fn is_name(text: &str, length: RangeInclusive<usize>) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let inside = text.chars().all(|c| plain(c) || "_-".contains(c));
    inside && text.starts_with(plain) && text.ends_with(plain) && length.contains(&text.len())
}

pub(crate) fn too_long(bytes: usize) -> String {
    format!("is longer than {bytes} bytes")
}

pub(crate) fn wrong_type(seen: &Value, expected: &str) -> String {
    let seen = match seen {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("is {seen}; expected {expected}")
}

/// The one of `known` that is most like `key`, as a question, or all of them.
pub fn nearest(key: &str, known: &[&str]) -> String {
    let scored = known
        .iter()
        .map(|name| {
            (
                strsim::jaro_winkler(&key.to_lowercase(), &name.to_lowercase()),
                name,
            )
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match scored {
        Some((score, name)) if score > 0.75 => format!("did you mean `{name}`?"),
        _ => format!(
            "known are {}",
            known
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// Keeps a message readable when the text that it quotes is not.
pub fn shorten(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    match clean.chars().count() > 80 {
        true => format!("{}...", clean.chars().take(77).collect::<String>()),
        false => clean,
    }
}
