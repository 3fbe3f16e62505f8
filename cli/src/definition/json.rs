//! Definitions in JSON. The values are parsed by the same library as in the Director; a second library provides the places
//! of the fields.

use super::places::{Lines, Place, PlacedFault, Places, field, item};
use atq_definition::spec::shorten;
use jsonc_parser::ast::Value as Node;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::Value;
use std::collections::HashMap;

/// Parses a definition. As at the Director, a duplicate field is a fault.
pub(super) fn read(text: &str) -> Result<(Value, Places), PlacedFault> {
    let payload = serde_json::from_str(text).map_err(|error| syntax(text, &error))?;
    let read = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default());
    let mut walk = Walk {
        lines: Lines::of(text),
        places: Places::default(),
    };
    match read.map(|read| read.value) {
        Ok(Some(root)) => {
            let start = walk.lines.place(root.start());
            walk.places.record(String::new(), start);
            walk.visit(&root, "")?;
        }
        Ok(None) => {}
        Err(error) => {
            let place = walk.lines.place(error.range().start);
            return Err(PlacedFault::at(format!("is not JSON: {error}"), place));
        }
    }
    Ok((payload, walk.places))
}

/// Converts a syntax error. The library counts columns in bytes and repeats the place in its message.
fn syntax(text: &str, error: &serde_json::Error) -> PlacedFault {
    let (line, column) = (error.line().max(1), error.column());
    let full = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    let message = full.strip_suffix(&suffix).unwrap_or(&full);
    let content = text.split('\n').nth(line - 1).unwrap_or_default();
    let before = content
        .char_indices()
        .take_while(|(start, _)| start + 1 < column)
        .count();
    let place = Place {
        line,
        column: before + 1,
    };
    PlacedFault::at(format!("is not JSON: {message}"), place)
}

struct Walk<'a> {
    lines: Lines<'a>,
    places: Places,
}

impl Walk<'_> {
    /// Visits a node. The depth is limited by the first library.
    fn visit(&mut self, node: &Node<'_>, path: &str) -> Result<(), PlacedFault> {
        match node {
            Node::Object(object) => {
                let mut seen = HashMap::new();
                for property in &object.properties {
                    let name = property.name.as_str();
                    let at = field(path, name);
                    let place = self.lines.place(property.name.start());
                    if let Some(first) = seen.insert(name, place) {
                        let name = shorten(name);
                        let why = format!(
                            "the field `{name}` is a duplicate; the first is in line {}",
                            first.line
                        );
                        return Err(PlacedFault::at(why, place));
                    }
                    self.places.record(at.clone(), place);
                    self.visit(&property.value, &at)?;
                }
            }
            Node::Array(array) => {
                for (index, element) in array.elements.iter().enumerate() {
                    let at = item(path, index);
                    let place = self.lines.place(element.start());
                    self.places.record(at.clone(), place);
                    self.visit(element, &at)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
