//! Decodes files that must be read completely: JSON documents, which tools write at their end.

use super::{Decoder, FileTally, numbers};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Maximum size of a document: such documents have a few lines per label and interval.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Decodes a document.
pub type Read = fn(&[u8], &mut FileTally) -> Result<(), String>;

/// Collects a document of at most `largest` bytes, and decodes it at its end.
pub fn decoder(largest: usize, read: Read) -> Box<dyn Decoder> {
    Box::new(Whole {
        text: Vec::new(),
        largest,
        too_large: false,
        read,
    })
}

#[derive(Debug)]
struct Whole {
    text: Vec<u8>,
    largest: usize,
    too_large: bool,
    read: Read,
}

impl Decoder for Whole {
    fn push(&mut self, bytes: &[u8], _: &mut FileTally) {
        self.too_large |= self.text.len() + bytes.len() > self.largest;
        if self.too_large {
            self.text = Vec::new();
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self, into: &mut FileTally) {
        if self.too_large {
            let most = self.largest / (1024 * 1024);
            into.found.wrong = Some(format!(
                "it is larger than {most} MiB, the maximum for such a document"
            ));
            return;
        }
        let text = std::mem::take(&mut self.text);
        if let Err(wrong) = (self.read)(numbers::without_mark(&text), into) {
            into.found.wrong = Some(wrong);
        }
    }
}

/// Calls a function for each entry of a JSON list. Only one entry at a time is in
/// memory.
///
/// # Errors
/// If the text is not such a list, or has trailing content.
pub fn each<'de, T: Deserialize<'de>>(
    text: &'de [u8],
    take: impl FnMut(T),
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(text);
    json.deserialize_seq(List(take, PhantomData))?;
    json.end()
}

/// Calls a function for each entry of a JSON object.
///
/// # Errors
/// If the text is not such an object, or has trailing content.
pub fn each_named<'de, T: Deserialize<'de>>(
    text: &'de [u8],
    take: impl FnMut(&str, T),
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(text);
    json.deserialize_map(Object(take, PhantomData))?;
    json.end()
}

/// A number; any other value becomes `None`.
#[derive(Debug, Default, Clone, Copy)]
pub struct Number(pub Option<f64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<serde_json::Value>::deserialize(deserializer)?;
        Ok(Self(value.and_then(|value| value.as_f64())))
    }
}

struct List<F, T>(F, PhantomData<T>);

impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for List<F, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element()? {
            (self.0)(entry);
        }
        Ok(())
    }
}

struct Object<F, T>(F, PhantomData<T>);

impl<'de, T: Deserialize<'de>, F: FnMut(&str, T)> Visitor<'de> for Object<F, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        while let Some((name, value)) = object.next_entry::<Cow<'_, str>, T>()? {
            (self.0)(&name, value);
        }
        Ok(())
    }
}
