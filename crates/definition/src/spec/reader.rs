//! Parses a payload to a [`TaskSpec`](super::TaskSpec) and collects its faults. The parser of each
//! object is next to its type; this file has the common parts.

use super::declared::{Declared, MAX_WHOLE, names_of};
use super::{Fault, Surroundings};
use crate::wording::{MISSING, nearest, shorten, too_long, wrong_type};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Maximum length in bytes of a process argument or an environment variable: the
/// kernel's `MAX_ARG_STRLEN` (execve(2)), without its NUL.
pub(super) const STRING_BYTES: usize = 131_071;
/// Maximum number of reported faults. A definition of 1 MiB can have a hundred thousand, and the
/// answer would be a hundred times as large as the request.
const MAX_FAULTS: usize = 1000;

/// The parser's state. A method that returns `None` has recorded a fault.
pub(super) struct Reader<'a> {
    pub(super) faults: Vec<Fault>,
    pub(super) surroundings: &'a dyn Surroundings,
}

/// An object of a payload.
pub(super) struct Object<'v> {
    pub(super) path: String,
    /// `None` if the object is absent.
    fields: Option<&'v Map<String, Value>>,
    declared: &'static Declared,
}

/// A field of a payload, present or not.
pub(super) struct Field<'v> {
    pub(super) path: String,
    /// `null` is treated as absent.
    pub(super) value: Option<&'v Value>,
    schema: &'static Value,
    /// Bounds of a whole number.
    pub(super) range: RangeInclusive<u64>,
}

impl<'v> Object<'v> {
    pub(super) fn field(&self, name: &str) -> Field<'v> {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let value = self.fields.and_then(|fields| fields.get(name));
        Field {
            path,
            value: value.filter(|value| !value.is_null()),
            schema: self.declared.schema(name),
            range: self.declared.range(name),
        }
    }
}

impl<'v> Field<'v> {
    /// Lowers the upper bound of a whole number.
    pub(super) fn at_most(mut self, max: u64) -> Self {
        self.range = *self.range.start()..=max.min(*self.range.end());
        self
    }

    /// Replaces the bounds of a whole number, for a type whose bounds depend on the field that contains it.
    pub(super) fn within(self, range: RangeInclusive<u64>) -> Self {
        Self { range, ..self }
    }

    /// True if the value is declared as a whole number.
    pub(super) fn is_whole_number(&self) -> bool {
        self.schema["type"][0] == "integer"
    }

    /// Maximum length of a text.
    pub(super) fn max_length(&self) -> usize {
        self.limit("maxLength")
    }

    /// Maximum number of items of a list.
    pub(super) fn max_items(&self) -> usize {
        self.limit("maxItems")
    }

    fn limit(&self, keyword: &str) -> usize {
        let limit = self.schema[keyword].as_u64().map(usize::try_from);
        limit.and_then(Result::ok).unwrap_or(usize::MAX)
    }

    /// The default declared by the wire type.
    pub(super) fn default(&self) -> &'static Value {
        &self.schema["default"]
    }

    /// True if it is absent or the empty string.
    pub(super) fn is_empty(&self) -> bool {
        self.value.is_none_or(|value| value.as_str() == Some(""))
    }

    /// The path of a list item.
    pub(super) fn item(&self, index: usize) -> String {
        format!("{}[{index}]", self.path)
    }
}

impl Reader<'_> {
    pub(super) fn object<'v>(
        &mut self,
        path: &str,
        value: &'v Value,
        declared: &'static Declared,
    ) -> Option<Object<'v>> {
        let Some(fields) = value.as_object() else {
            let path = if path.is_empty() { "body" } else { path };
            return self.fault(path, wrong_type(value, "an object"));
        };
        let object = Object {
            path: path.to_owned(),
            fields: Some(fields),
            declared,
        };
        for key in fields.keys().map(String::as_str) {
            if !declared.names.contains(&key) && !declared.shown.contains(&key) {
                let why = format!("is not a known field; {}", nearest(key, &declared.names));
                self.note(&object.field(&shorten(key)).path, why);
            }
        }
        Some(object)
    }

    /// An optional object; if absent, it has no fields.
    pub(super) fn optional_object<'v>(
        &mut self,
        field: &Field<'v>,
        declared: &'static Declared,
    ) -> Option<Object<'v>> {
        match field.value {
            Some(value) => self.object(&field.path, value, declared),
            None => Some(Object {
                path: field.path.clone(),
                fields: None,
                declared,
            }),
        }
    }

    pub(super) fn required_text(&mut self, field: &Field) -> Option<String> {
        match field.value {
            None => self.fault(&field.path, MISSING.into()),
            Some(Value::String(text)) if text.is_empty() => {
                self.fault(&field.path, "is empty; it is required".into())
            }
            Some(value) => self.text(&field.path, value),
        }
    }

    /// An optional text with the declared maximum length.
    pub(super) fn optional_text(&mut self, field: &Field) -> Option<Option<String>> {
        let text = self.any_text(field)?;
        match text
            .as_ref()
            .is_some_and(|text| text.len() > field.max_length())
        {
            true => self.fault(&field.path, too_long(field.max_length())),
            false => Some(text),
        }
    }

    /// An optional text whose length is checked by the caller.
    pub(super) fn any_text(&mut self, field: &Field) -> Option<Option<String>> {
        match field.value {
            None => Some(None),
            Some(value) => self.text(&field.path, value).map(Some),
        }
    }

    /// Docker passes texts to `execve`, which ends them at the first NUL.
    pub(super) fn text(&mut self, path: &str, value: &Value) -> Option<String> {
        match value {
            Value::String(text) if text.contains('\0') => self.fault(
                path,
                "contains a NUL character, which a container cannot receive".into(),
            ),
            Value::String(text) => Some(text.clone()),
            other => self.fault(path, wrong_type(other, "a string")),
        }
    }

    /// A list of texts of at most `longest` bytes each.
    pub(super) fn texts(&mut self, field: &Field, longest: usize) -> Option<Vec<String>> {
        let before = self.faults.len();
        let items = self.list(field, "a list of strings")?.iter().enumerate();
        let texts: Vec<String> = items
            .filter_map(|(index, item)| self.text(&field.item(index), item))
            .collect();
        for (index, text) in texts.iter().enumerate() {
            if text.len() > longest {
                self.note(&field.item(index), too_long(longest));
            }
        }
        (self.faults.len() == before).then_some(texts)
    }

    /// The items of a list; empty if it is absent.
    pub(super) fn list<'v>(&mut self, field: &Field<'v>, expected: &str) -> Option<&'v [Value]> {
        match field.value {
            None => Some(&[]),
            Some(Value::Array(items)) => Some(items),
            Some(other) => self.fault(&field.path, wrong_type(other, expected)),
        }
    }

    /// A whole number; if absent, its default, or 0 if none is declared (as with serde).
    pub(super) fn number(&mut self, field: &Field) -> Option<u64> {
        let default = field.default().as_u64().unwrap_or(0);
        Some(self.whole_number(field)?.unwrap_or(default))
    }

    /// An optional whole number.
    pub(super) fn whole_number(&mut self, field: &Field) -> Option<Option<u64>> {
        let (min, max) = field.range.clone().into_inner();
        let expected = format!("a whole number from {min} to {max}");
        match field.value {
            None => Some(None),
            Some(Value::Number(number)) => match whole(number) {
                Some(number) if field.range.contains(&number) => Some(Some(number)),
                _ => self.fault(&field.path, format!("is {number}; expected {expected}")),
            },
            Some(other) => self.fault(&field.path, wrong_type(other, &expected)),
        }
    }

    pub(super) fn required_number(&mut self, field: &Field) -> Option<u64> {
        match self.whole_number(field)? {
            Some(number) => Some(number),
            None => self.fault(&field.path, MISSING.into()),
        }
    }

    pub(super) fn boolean(&mut self, field: &Field) -> Option<Option<bool>> {
        match field.value {
            None => Some(None),
            Some(Value::Bool(flag)) => Some(Some(*flag)),
            Some(other) => self.fault(&field.path, wrong_type(other, "true or false")),
        }
    }

    /// A value of the enum `W`.
    pub(super) fn word<W: DeserializeOwned>(&mut self, field: &Field) -> Option<Option<W>> {
        let (value, word) = match field.value {
            None => return Some(None),
            Some(value @ Value::String(word)) => (value, word),
            Some(other) => return self.fault(&field.path, wrong_type(other, "a string")),
        };
        match W::deserialize(value) {
            Ok(known) => Some(Some(known)),
            Err(_) => {
                let hint = nearest(word, names_of::<W>());
                self.fault(&field.path, format!("is `{}`; {hint}", shorten(word)))
            }
        }
    }

    pub(super) fn note(&mut self, path: &str, message: String) {
        let (path, message) = match self.faults.len() {
            0..MAX_FAULTS => (path, message),
            MAX_FAULTS => (
                "body",
                format!(
                    "has more faults than these {MAX_FAULTS}; fix these first to see the others"
                ),
            ),
            _ => return,
        };
        self.faults.push(Fault {
            field: path.to_owned(),
            message,
        });
    }

    pub(super) fn fault<T>(&mut self, path: &str, message: String) -> Option<T> {
        self.note(path, message);
        None
    }
}

/// JSON has a single number type: `3.0` is treated as `3`.
pub(super) fn whole(number: &serde_json::Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let value = number.as_f64()?;
        let is_whole = value.fract() == 0.0 && (0.0..=MAX_WHOLE as f64).contains(&value);
        // A number in range and without a fraction converts exactly.
        is_whole.then_some(value as u64)
    })
}
