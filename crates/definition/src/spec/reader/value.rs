//! The kinds of values that fields hold, and the words for what is wrong with them.

use super::Reader;
use crate::spec::Fault;
pub(super) use crate::wording::{nearest, shorten};
use serde_json::{Map, Value};

/// Longest string that a process can be given as an argument or in its environment, in bytes: the
/// kernel's `MAX_ARG_STRLEN` (execve(2)), without its NUL.
pub(super) const STRING_BYTES: usize = 131_071;
/// Most faults that are told. A definition of a mebibyte has room for a hundred thousand, and the
/// answer would be a hundred times as long as the question.
const MAX_FAULTS: usize = 1000;
/// The largest whole number that JSON carries unharmed everywhere.
pub(super) const MAX_WHOLE: u64 = 1 << 53;

impl Reader<'_> {
    pub(super) fn object<'v>(
        &mut self,
        field: &str,
        value: &'v Value,
        known: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        self.object_as_shown(field, value, known, &[])
    }

    /// An object that may also have fields in which the answers of the Director `show` something; they mean nothing.
    pub(super) fn object_as_shown<'v>(
        &mut self,
        field: &str,
        value: &'v Value,
        known: &[&str],
        shown: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let Some(fields) = value.as_object() else {
            let field = if field.is_empty() { "body" } else { field };
            return self.fault(field, wrong_type(value, "an object"));
        };
        let is_unknown = |key: &&String| {
            let key = key.as_str();
            !known.contains(&key) && !shown.contains(&key)
        };
        for key in fields.keys().filter(is_unknown) {
            let path = if field.is_empty() {
                shorten(key)
            } else {
                format!("{field}.{}", shorten(key))
            };
            self.note(
                &path,
                format!("is not a known field; {}", nearest(key, known)),
            );
        }
        Some(fields)
    }

    /// An object that may be missing; then it has no fields.
    pub(super) fn optional_object<'v>(
        &mut self,
        field: &str,
        value: Option<&'v Value>,
        known: &[&str],
    ) -> Option<Option<&'v Map<String, Value>>> {
        match value {
            None | Some(Value::Null) => Some(None),
            Some(value) => self.object(field, value, known).map(Some),
        }
    }

    pub(super) fn required_text(&mut self, field: &str, value: Option<&Value>) -> Option<String> {
        match value {
            None | Some(Value::Null) => self.fault(field, "is missing; it is required".into()),
            Some(Value::String(text)) if text.is_empty() => {
                self.fault(field, "is empty; it is required".into())
            }
            other => self.text(field, other),
        }
    }

    /// Docker hands texts to `execve`, which ends them at the first NUL.
    pub(super) fn text(&mut self, field: &str, value: Option<&Value>) -> Option<String> {
        match value {
            None | Some(Value::Null) => Some(String::new()),
            Some(Value::String(text)) if text.contains('\0') => self.fault(
                field,
                "holds a NUL character, which no container can take".into(),
            ),
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => self.fault(field, wrong_type(other, "a string")),
        }
    }

    pub(super) fn texts(&mut self, field: &str, value: Option<&Value>) -> Option<Vec<String>> {
        let items = match value {
            None | Some(Value::Null) => return Some(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return self.fault(field, wrong_type(other, "a list of strings")),
        };
        let before = self.faults.len();
        let texts: Vec<String> = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| match item {
                Value::Null => {
                    self.fault(&format!("{field}[{index}]"), wrong_type(item, "a string"))
                }
                item => self.text(&format!("{field}[{index}]"), Some(item)),
            })
            .collect();
        for (index, text) in texts.iter().enumerate() {
            if text.len() > STRING_BYTES && !field.ends_with("environment") {
                self.note(&format!("{field}[{index}]"), too_long(STRING_BYTES));
            }
        }
        (self.faults.len() == before).then_some(texts)
    }

    /// A whole number with a default.
    pub(super) fn number(
        &mut self,
        field: &str,
        value: Option<&Value>,
        min: u64,
        max: u64,
        default: u64,
    ) -> Option<u64> {
        let number = self.whole_number(field, value, min, max)?;
        Some(number.unwrap_or(default))
    }

    /// A whole number that may be missing.
    pub(super) fn whole_number(
        &mut self,
        field: &str,
        value: Option<&Value>,
        min: u64,
        max: u64,
    ) -> Option<Option<u64>> {
        let expected = format!("a whole number from {min} to {max}");
        match value {
            None | Some(Value::Null) => Some(None),
            Some(Value::Number(number)) => match whole(number) {
                Some(number) if (min..=max).contains(&number) => Some(Some(number)),
                _ => self.fault(field, format!("is {number}; expected {expected}")),
            },
            Some(other) => self.fault(field, wrong_type(other, &expected)),
        }
    }

    pub(super) fn boolean(&mut self, field: &str, value: Option<&Value>) -> Option<bool> {
        match value {
            None | Some(Value::Null) => Some(false),
            Some(Value::Bool(flag)) => Some(*flag),
            Some(other) => self.fault(field, wrong_type(other, "true or false")),
        }
    }

    pub(super) fn note(&mut self, field: &str, message: String) {
        let (field, message) = match self.faults.len() {
            0..MAX_FAULTS => (field, message),
            MAX_FAULTS => (
                "body",
                format!(
                    "has more faults than these {MAX_FAULTS}; they are told when these are mended"
                ),
            ),
            _ => return,
        };
        self.faults.push(Fault {
            field: field.to_owned(),
            message,
        });
    }

    pub(super) fn fault<T>(&mut self, field: &str, message: String) -> Option<T> {
        self.note(field, message);
        None
    }
}

/// JSON has one kind of number: `3.0` is as whole as `3`.
pub(super) fn whole(number: &serde_json::Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let value = number.as_f64()?;
        let is_whole = value.fract() == 0.0 && (0.0..=MAX_WHOLE as f64).contains(&value);
        // In range and without a fraction: the conversion is exact.
        is_whole.then_some(value as u64)
    })
}

pub(super) fn too_long(bytes: usize) -> String {
    format!("is longer than {bytes} bytes")
}

pub(super) fn wrong_type(seen: &Value, expected: &str) -> String {
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
