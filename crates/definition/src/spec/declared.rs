//! What the wire types declare of their fields: names, bounds and defaults. The reader takes them from here, so that
//! the description of the API and the messages of faults cannot differ.

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::Value;
use std::ops::RangeInclusive;
use utoipa::ToSchema;

/// The largest whole number that JSON carries unharmed everywhere.
pub(super) const MAX_WHOLE: u64 = 1 << 53;

/// The fields of a wire type.
pub(super) struct Declared {
    /// In the order of their declaration.
    pub(super) names: Vec<&'static str>,
    /// Fields in which answers show something. They mean nothing in a definition, and are accepted so that an answer
    /// can be sent back as it was received.
    pub(super) shown: Vec<&'static str>,
    /// JSON Schema by name.
    schemas: Value,
}

impl Declared {
    pub(super) fn of<T: DeserializeOwned + ToSchema>() -> Self {
        let mut schema = serde_json::to_value(T::schema()).unwrap_or_default();
        let schemas = schema["properties"].take();
        let mut names = names_of::<T>().to_vec();
        // Serde lists aliases, too.
        names.retain(|name| schemas.get(name).is_some());
        let shown = Vec::new();
        Self {
            names,
            shown,
            schemas,
        }
    }

    /// Accepts the fields of the answer `A`, too.
    pub(super) fn shown_as<A: DeserializeOwned>(mut self) -> Self {
        self.shown = names_of::<A>().to_vec();
        self
    }

    pub(super) fn schema(&self, field: &str) -> &Value {
        &self.schemas[field]
    }

    /// Bounds of a whole number.
    pub(super) fn range(&self, field: &str) -> RangeInclusive<u64> {
        let bound = |keyword: &str| self.schema(field)[keyword].as_u64();
        bound("minimum").unwrap_or(0)..=bound("maximum").unwrap_or(MAX_WHOLE)
    }
}

/// The names of the fields of a struct, or of the variants of an enum, in the order of their declaration.
pub(super) fn names_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    // Always fails: there is nothing to read.
    let _ = T::deserialize(Names(&mut names));
    names
}

/// Reads nothing; keeps the names that a type expects.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("there is nothing to read"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = variants;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}
