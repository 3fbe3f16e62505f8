//! The tables of the fields of a definition in `docs/`, generated from the description of the API.

use crate::document::check_committed;
use atq_definition::examples::{BUNDLE, parse, payload};
use atq_director::api::openapi::document;
use serde_json::{Value, json};

/// The page with the tables.
const PAGE: &str = "docs/reference/definition.md";
/// The types with a table, each with the JSON pointer of an object of this type in a definition.
const TABLES: [(&str, &str); 4] = [
    ("TaskPayload", ""),
    ("ServicePayload", "/worker"),
    ("Ulimits", "/worker/ulimits"),
    ("Sysctls", "/worker/sysctls"),
];
/// Maximum number of fields of an object that are listed in a cell.
const MAX_LISTED: usize = 5;

/// The schemas of the API's types.
struct Schemas(Value);

/// A field of an object.
struct Field {
    name: String,
    description: String,
    is_required: bool,
    /// Whether it may be `null`; then it has no default.
    is_nullable: bool,
    /// The schema of its type.
    schema: Value,
}

impl Schemas {
    fn new() -> Self {
        let mut document = serde_json::to_value(document()).unwrap();
        Self(document["components"]["schemas"].take())
    }

    /// The fields of an object: required ones first, the others by name.
    fn fields(&self, object: &str) -> Vec<Field> {
        let required = words(&self.0[object]["required"]);
        let properties = self.0[object]["properties"].as_object().unwrap();
        let mut fields: Vec<Field> = properties
            .iter()
            .map(|(name, schema)| {
                let used = schema.get("oneOf").map_or(schema, |either| &either[0]);
                Field {
                    name: name.clone(),
                    description: used["description"].as_str().unwrap().replace('\n', " "),
                    is_required: required.contains(name),
                    is_nullable: used != schema || schema["type"].is_array(),
                    schema: self.resolve(used).clone(),
                }
            })
            .collect();
        fields.sort_by_key(|field| {
            required
                .iter()
                .position(|name| *name == field.name)
                .unwrap_or(required.len())
        });
        fields
    }

    fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        match schema["$ref"].as_str() {
            Some(path) => &self.0[path.rsplit('/').next().unwrap()],
            None => schema,
        }
    }

    fn table(&self, object: &str) -> String {
        let mut table =
            "| field | type | default | description |\n| --- | --- | --- | --- |\n".to_owned();
        for field in self.fields(object) {
            let default = match field.default() {
                Some(default) => format!("`{}`", default.to_string().trim_matches('"')),
                None if field.is_required => "required".to_owned(),
                None => "none".to_owned(),
            };
            let (name, kind) = (&field.name, self.kind(&field.schema, ""));
            let description = field.description.replace('|', "\\|");
            table += &format!("| `{name}` | {kind} | {default} | {description} |\n");
        }
        table
    }

    /// Describes the values of this schema; `s` is the plural ending of the description.
    fn kind(&self, schema: &Value, s: &str) -> String {
        if schema.get("enum").is_some() {
            return code(&words(&schema["enum"]));
        }
        if let Some(kinds) = schema["oneOf"].as_array() {
            let kinds = kinds.iter().map(|kind| self.kind(self.resolve(kind), s));
            return kinds.collect::<Vec<_>>().join(", or ");
        }
        match (type_of(schema), &schema["minimum"], &schema["maximum"]) {
            ("boolean", ..) => "`true`, `false`".to_owned(),
            ("integer", min, Value::Null) => format!("{min} or more"),
            ("integer", min, max) => format!("{min} to {max}"),
            ("array", ..) => {
                let most = schema
                    .get("maxItems")
                    .map_or(String::new(), |most| format!("at most {most} "));
                format!(
                    "list of {most}{}",
                    self.kind(self.resolve(&schema["items"]), "s")
                )
            }
            ("object", ..) => match schema["properties"].as_object() {
                None => format!("object{s} of strings"),
                Some(fields) if fields.len() > MAX_LISTED => format!("object{s}"),
                Some(fields) => format!(
                    "object{s} of {}",
                    code(&fields.keys().cloned().collect::<Vec<_>>())
                ),
            },
            (kind, ..) => format!("{kind}{s}"),
        }
    }
}

impl Field {
    /// The declared default, else the default of the type.
    fn default(&self) -> Option<Value> {
        if self.is_required || self.is_nullable {
            return None;
        }
        let of_type = || match type_of(&self.schema) {
            "boolean" => json!(false),
            "integer" => json!(0),
            "array" => json!([]),
            "object" => json!({}),
            _ => self.schema["enum"][0].clone(),
        };
        Some(self.schema.get("default").cloned().unwrap_or_else(of_type))
    }
}

fn type_of(schema: &Value) -> &str {
    let kind = &schema["type"];
    kind.as_str().or(kind[0].as_str()).unwrap()
}

fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().into_iter().flatten();
    words
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

fn code(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// Inserts `table` between the markers for `object` in `text`.
fn with_table(text: &str, object: &str, table: &str) -> String {
    let begin = format!("<!-- fields of {object}: generated by `make openapi` -->\n");
    let (before, rest) = text.split_once(&begin).expect(&begin);
    let (_, after) = rest.split_once("<!-- end of fields -->").unwrap();
    format!("{before}{begin}\n{table}\n<!-- end of fields -->{after}")
}

#[test]
fn the_description_equals_the_committed_file() {
    let schemas = Schemas::new();
    check_committed(PAGE, |text| {
        let tables = TABLES
            .iter()
            .map(|(object, _)| (object, schemas.table(object)));
        tables.fold(text.to_owned(), |text, (object, table)| {
            with_table(&text, object, &table)
        })
    });
}

#[test]
fn the_declared_defaults_are_correct() {
    let mut checked = 0;
    let absent = payload(&[("/worker/fileid", json!(BUNDLE))]);
    for (object, at) in TABLES {
        for field in Schemas::new().fields(object) {
            if let Some(default) = field.default() {
                let mut given = absent.clone();
                given.pointer_mut(at).unwrap()[&field.name] = default;
                assert_eq!(
                    parse(&given).unwrap(),
                    parse(&absent).unwrap(),
                    "{}",
                    field.name
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 8, "{checked}");
}
