//! Common parts of fault messages.

use serde_json::Value;
use std::ops::RangeInclusive;

pub(crate) const MISSING: &str = "is missing; it is required";

/// True if the text consists of letters, digits, `_` and `-`, has a length in the range, and has a letter or digit at both ends.
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

/// The entry of `known` most similar to `key`, if one is similar enough.
pub fn most_similar<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let similarity = |name: &str| strsim::jaro_winkler(&key.to_lowercase(), &name.to_lowercase());
    let scored = known.iter().map(|name| (similarity(name), *name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.75)
        .map(|(_, name)| name)
}

/// Suggests the entry of `known` most similar to `key`, or lists all of them.
pub fn nearest(key: &str, known: &[&str]) -> String {
    match most_similar(key, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("expected one of {}", names.join(", "))
        }
    }
}

/// Shortens a quoted text, so that the message stays readable.
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
