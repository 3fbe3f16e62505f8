//! Files that are read when all of them is there: documents in JSON, which tools write at their end.

use super::{Decoder, numbers};
use crate::file_tally::FileTally;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// No document is larger that a tool writes at its end: it has some lines per label and interval.
pub const LARGEST: usize = 16 * 1024 * 1024;

/// A reader of a document.
pub type Read = fn(&[u8], &mut FileTally) -> Result<(), String>;

/// Collects a document of at most so many bytes, and reads it at its end.
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
                "it is larger than {most} MiB, which is the most that is read of such a document"
            ));
            return;
        }
        let text = std::mem::take(&mut self.text);
        if let Err(wrong) = (self.read)(numbers::without_mark(&text), into) {
            into.found.wrong = Some(wrong);
        }
    }
}

/// Hands on the entries of a list in JSON, one after the other: a list of many entries needs the memory
/// of one.
///
/// # Errors
/// When the text is not such a list, or goes on after it.
pub fn each<'de, T: Deserialize<'de>>(
    text: &'de [u8],
    take: impl FnMut(T),
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(text);
    json.deserialize_seq(List(take, PhantomData))?;
    json.end()
}

/// Hands on the entries of an object in JSON, one after the other.
///
/// # Errors
/// When the text is not such an object, or goes on after it.
pub fn each_named<'de, T: Deserialize<'de>>(
    text: &'de [u8],
    take: impl FnMut(&str, T),
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(text);
    json.deserialize_map(Object(take, PhantomData))?;
    json.end()
}

/// A number. Anything else, and nothing at all, is none.
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
