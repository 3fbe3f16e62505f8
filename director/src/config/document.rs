//! Parses a YAML file into a tree with line numbers, and reads it key by key.

use std::fmt;
use std::ops::RangeInclusive;

use atq_task::spec::most_similar;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::error::{ConfigError, Fault, Origin};
use super::fields;

/// A value in the file or the environment.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Located>),
    Map(Vec<(String, Located)>),
    /// Text of an environment variable; converted to a number or boolean if the key requires one.
    Environment(String),
}

/// A value with its line, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Located {
    pub(super) line: u64,
    pub(super) value: Value,
}

impl Value {
    /// Description of the found value, for "expected ..., found ...".
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Boolean(value) => format!("`{value}`"),
            Self::Integer(value) => format!("`{value}`"),
            Self::Float(value) => format!("`{value}`"),
            Self::Text(text) | Self::Environment(text) => {
                let excerpt: String = text.chars().take(60).flat_map(char::escape_debug).collect();
                format!("`{excerpt}`")
            }
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            line: spanned.referenced.line(),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<Spanned<String>, Located>()? {
            let line = key.referenced.line();
            // The line of the key, even if the value begins further down.
            entries.push((key.value, Located { line, ..value }));
        }
        Ok(Value::Map(entries))
    }
}

/// Parses a whole file. An empty one is an empty mapping.
pub(super) fn parse(text: &str) -> Result<Located, ConfigError> {
    let empty = Located {
        line: 1,
        value: Value::Map(Vec::new()),
    };
    let syntax = |line, message| Err(ConfigError::Syntax { line, message });
    match serde_saphyr::from_str::<Option<Located>>(text) {
        Ok(None) => Ok(empty),
        Ok(Some(root)) => match &root.value {
            Value::Map(_) => Ok(root),
            Value::Null => Ok(empty),
            other => syntax(
                Some(root.line),
                format!("expected keys with values, found {}", other.describe()),
            ),
        },
        Err(error) => {
            let error = error.without_snippet();
            let line = error
                .location()
                .map(|at| at.line())
                .filter(|line| *line > 0);
            let message = match error {
                serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                    format!("duplicate key `{key}`")
                }
                other => other.to_string(),
            };
            syntax(line, message)
        }
    }
}

/// Looks up an environment variable by its full name.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A mapping of the file; keys are removed when they are read.
pub(super) struct Section<'a> {
    prefix: String,
    entries: Vec<(String, Located)>,
    known: Vec<&'static str>,
    env: Option<Environment<'a>>,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Section<'a> {
    pub(super) fn new(root: Located, env: Environment<'a>, faults: &'a mut Vec<Fault>) -> Self {
        let entries = match root.value {
            Value::Map(entries) => entries,
            _ => Vec::new(),
        };
        Self {
            prefix: String::new(),
            entries,
            known: Vec::new(),
            env: Some(env),
            faults,
        }
    }

    /// The mapping under a key, empty if it is absent.
    pub(super) fn child(&mut self, key: &'static str) -> Section<'_> {
        let entries = match self.take(key) {
            Some((_, Value::Map(entries))) => entries,
            Some((place, other)) => {
                self.fault(key, place, expected("a mapping", &other));
                Vec::new()
            }
            None => Vec::new(),
        };
        let env = self.env;
        self.below(key, entries, env)
    }

    fn below(
        &mut self,
        name: &str,
        entries: Vec<(String, Located)>,
        env: Option<Environment<'a>>,
    ) -> Section<'_> {
        Section {
            prefix: format!("{}{name}.", self.prefix),
            entries,
            known: Vec::new(),
            env,
            faults: self.faults,
        }
    }

    /// The items of the list under a key; `None` if it is absent. The environment cannot override lists.
    pub(super) fn list(&mut self, key: &'static str) -> Option<Vec<Located>> {
        match self.take_from_file(key)? {
            (_, Value::List(items)) => Some(items),
            (place, other) => {
                self.fault(key, place, expected("a list", &other));
                None
            }
        }
    }

    /// The entries of a mapping with arbitrary keys, empty if it is absent. The environment cannot override it. A
    /// fault describes the expected value `what` and does not show the found one.
    pub(super) fn entries(&mut self, key: &'static str, what: &str) -> Vec<(String, Located)> {
        match self.take_from_file(key) {
            Some((_, Value::Map(entries))) => entries,
            Some((place, _)) => {
                self.fault(key, place, format!("must be {what}"));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// The environment, for values that name variables of their own.
    pub(super) fn environment(&self) -> Option<Environment<'a>> {
        self.env
    }

    /// An item of a list as a section, if it is a mapping.
    pub(super) fn item(&mut self, key: &str, index: usize, item: Located) -> Option<Section<'_>> {
        let name = format!("{key}[{index}]");
        if !matches!(item.value, Value::Map(_)) {
            let message = expected("a mapping", &item.value);
            self.fault(&name, Origin::Line(item.line), message);
        }
        self.named(&name, item)
    }

    /// A mapping as a section with this name; `None`, without a fault, if it is not a mapping.
    pub(super) fn named(&mut self, name: &str, item: Located) -> Option<Section<'_>> {
        let Value::Map(entries) = item.value else {
            return None;
        };
        Some(self.below(name, entries, None))
    }

    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        convert: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let (place, value) = self.take(key)?;
        match convert(&value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(key, place, message);
                None
            }
        }
    }

    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        convert: impl FnOnce(&Value) -> Result<T, String>,
        default: T,
    ) -> T {
        self.optional(key, convert).unwrap_or(default)
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let (least, most) = range.into_inner();
        self.or(key, |value| fields::integer(value, least, most), default)
    }

    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        convert: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let before = self.faults.len();
        let value = self.optional(key, convert);
        if value.is_none() && self.faults.len() == before {
            self.faults.push(Fault {
                key: format!("{}{key}", self.prefix),
                place: Origin::Missing,
                message: "is missing".to_owned(),
                missing: self.prefix.is_empty(),
            });
        }
        value
    }

    pub(super) fn fault(&mut self, key: &str, place: Origin, message: String) {
        self.faults.push(Fault {
            key: format!("{}{key}", self.prefix),
            place,
            message,
            missing: false,
        });
    }

    /// Whether the value of a key has a fault.
    pub(super) fn is_faulty(&self, key: &str) -> bool {
        let key = format!("{}{key}", self.prefix);
        self.faults.iter().any(|fault| fault.key == key)
    }

    /// The number of faults so far, in the whole file.
    pub(super) fn faults(&self) -> usize {
        self.faults.len()
    }

    /// The source of a value that is not read yet.
    pub(super) fn place(&self, key: &str) -> Origin {
        let name = variable(&self.prefix, key);
        let text = self.env.and_then(|env| env(&name));
        if text.is_some_and(|text| !text.is_empty()) {
            return Origin::Environment(name);
        }
        let found = self.entries.iter().find(|(name, _)| name == key);
        found.map_or(Origin::Missing, |(_, located)| Origin::Line(located.line))
    }

    /// Reports every key that was not read.
    pub(super) fn finish(&mut self) {
        for (key, located) in std::mem::take(&mut self.entries) {
            let message = match most_similar(&key, &self.known) {
                Some(near) => format!("is unknown: did you mean `{}{near}`?", self.prefix),
                None => format!("is unknown: expected one of `{}`", self.known.join("`, `")),
            };
            let excerpt: String = key.chars().take(60).flat_map(char::escape_debug).collect();
            self.fault(&excerpt, Origin::Line(located.line), message);
        }
    }

    fn take_from_file(&mut self, key: &'static str) -> Option<(Origin, Value)> {
        let env = self.env.take();
        let taken = self.take(key);
        self.env = env;
        taken
    }

    /// Removes and returns the value of a key; the environment takes precedence. A key without a value counts as
    /// absent.
    fn take(&mut self, key: &'static str) -> Option<(Origin, Value)> {
        self.known.push(key);
        let at = self.entries.iter().position(|(name, _)| name == key);
        let in_file = at.map(|at| self.entries.remove(at).1);
        let name = variable(&self.prefix, key);
        let override_ = self.env.and_then(|env| env(&name));
        if let Some(text) = override_.filter(|text| !text.is_empty()) {
            return Some((Origin::Environment(name), Value::Environment(text)));
        }
        let located = in_file.filter(|located| located.value != Value::Null)?;
        Some((Origin::Line(located.line), located.value))
    }
}

/// The environment variable that overrides a key: for `limits.` and `uploadBytes`, `ATQ_LIMITS_UPLOAD_BYTES`.
fn variable(prefix: &str, key: &str) -> String {
    let mut name = "ATQ_".to_owned();
    for c in prefix.chars().chain(key.chars()) {
        match c {
            '.' => name.push('_'),
            _ if c.is_ascii_uppercase() => name.extend(['_', c]),
            _ => name.push(c.to_ascii_uppercase()),
        }
    }
    name
}

pub(super) fn expected(what: &str, found: &Value) -> String {
    format!("must be {what}, found {}", found.describe())
}
