//! Names, bounds and defaults of fields, as declared by the wire types. The parser uses them, so that
//! the API description and the fault messages agree.

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::Value;
use std::ops::RangeInclusive;
use utoipa::ToSchema;

/// The largest whole number that JSON represents exactly everywhere.
pub(super) const MAX_WHOLE: u64 = 1 << 53;

/// The fields of a wire type.
pub(super) struct Declared {
    /// Names in the order of their declaration.
    pub(super) names: Vec<&'static str>,
    /// Fields that occur only in answers. They are ignored in a definition, but accepted so that an answer
    /// can be sent back unchanged.
    pub(super) shown: Vec<&'static str>,
    /// JSON Schema by field name.
    schemas: Value,
}

impl Declared {
    pub(super) fn of<T: DeserializeOwned + ToSchema>() -> Self {
        let mut schema = serde_json::to_value(T::schema()).unwrap_or_default();
        let schemas = schema["properties"].take();
        let mut names = names_of::<T>().to_vec();
        // Serde lists aliases as well.
        names.retain(|name| schemas.get(name).is_some());
        let shown = Vec::new();
        Self {
            names,
            shown,
            schemas,
        }
    }

    /// Also accepts the fields of the answer `A`.
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
pub fn names_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    // Always fails, because there is no input.
    let _ = T::deserialize(Names(&mut names));
    names
}

/// A deserializer without input that records the field names of a type.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no input"))
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
