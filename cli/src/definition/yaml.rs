//! Definitions in YAML 1.2, where `yes` is a string. Anchors, aliases and `<<` are resolved, within limits; a value of an
//! anchor has the place of the anchor.

use super::places::{Place, PlacedFault, Places, field, item};
use atq_definition::spec::shorten;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Error, Location, RenderOptions, SnippetMode, Spanned, UserMessageFormatter};
use std::fmt;

/// Maximum nesting. A definition needs six levels; the stack of a thread allows about a hundred.
const MAX_DEPTH: usize = 32;
/// Maximum number of tokens from aliases.
const MAX_ALIAS_TOKENS: usize = 20_000;

/// Parses a definition. A duplicate field is a fault.
pub(super) fn read(text: &str) -> Result<(Value, Places), PlacedFault> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ALIAS_TOKENS },
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    };
    let root: Spanned<Node> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax(&error))?;
    let mut places = Places::default();
    places.record(String::new(), place(root.defined));
    let payload = root.value.flatten("", &mut places);
    Ok((payload, places))
}

/// Converts a syntax error. The library repeats the place in its message.
fn syntax(error: &serde_saphyr::Error) -> PlacedFault {
    let error = error.without_snippet();
    let location = error.location().unwrap_or(Location::UNKNOWN);
    let message = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the field `{}` is a duplicate", shorten(key))
        }
        error => {
            let mut options = RenderOptions::new(&UserMessageFormatter);
            options.snippets = SnippetMode::Off;
            let full = error.render_with_options(options);
            let (line, column) = (location.line(), location.column());
            let suffix = format!(" at line {line}, column {column}");
            let message = full.strip_suffix(&suffix).unwrap_or(&full);
            format!("is not YAML: {message}")
        }
    };
    PlacedFault::at(message, place(location))
}

fn place(location: Location) -> Place {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    Place {
        line: number(location.line()),
        column: number(location.column()),
    }
}

/// A value with the places of its parts.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Object(Vec<(Spanned<String>, Node)>),
}

impl Node {
    fn flatten(self, path: &str, places: &mut Places) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => {
                let items = items.into_iter().enumerate().map(|(index, node)| {
                    let at = item(path, index);
                    places.record(at.clone(), place(node.defined));
                    node.value.flatten(&at, places)
                });
                Value::Array(items.collect())
            }
            Self::Object(fields) => {
                let mut object = Map::new();
                for (name, node) in fields {
                    let at = field(path, &name.value);
                    places.record(at.clone(), place(name.defined));
                    object.insert(name.value, node.flatten(&at, places));
                }
                Value::Object(object)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that exists in JSON, too")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value)
            .map(|number| Node::Scalar(Value::Number(number)))
            .ok_or_else(|| de::Error::custom("the number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Value::String(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut object: Vec<(Spanned<String>, Node)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(name) = fields.next_key::<Spanned<String>>()? {
            // The library compares typed keys, so `1` and `"1"` differ for it.
            if !seen.insert(name.value.clone()) {
                let name = shorten(&name.value);
                return Err(de::Error::custom(format!(
                    "the field `{name}` is a duplicate"
                )));
            }
            object.push((name, fields.next_value()?));
        }
        Ok(Node::Object(object))
    }
}
