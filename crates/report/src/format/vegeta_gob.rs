//! Vegeta's results from `vegeta attack`: a stream in Go's gob encoding.
//!
//! A gob is a series of messages with their lengths. Some define types, the others are values. Types
//! and fields have numbers that depend on the version of Go and of Vegeta, so the fields are found by name in the
//! definitions. Fields are decoded one by one as a stream: bodies, which may have any
//! length, are skipped. Headers are the last field of a result, and are skipped with the rest of the message.

use super::vegeta::{Hit, nanos};
use super::{BadRow, Decoder, FileTally};
use std::collections::HashMap;

/// Maximum number of bytes kept of a text.
const MAX_TEXT: usize = 4096;
/// Maximum size of a definition in bytes; Vegeta's have about 150.
const MAX_DEFINITION: usize = 64 * 1024;
/// Maximum number of types in a stream; Vegeta defines four.
const MAX_TYPES: usize = 256;
/// Seconds from the year 1, Go's epoch, to 1970.
const TO_1970: i64 = 62_135_596_800;
/// The bytes after the length and the number of the first definition.
const FIRST_TYPE: &[u8] = b"\x03\x01\x01\x06Result";

/// True if a file starts with the definition of Vegeta's result.
pub fn is_gob(head: &[u8]) -> bool {
    let mut reader = Reader::new(head);
    let is_definition = reader.uint().is_ok() && reader.int().is_ok_and(|id| id < 0);
    is_definition && reader.rest.starts_with(FIRST_TYPE)
}

/// The reason why decoding stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// More bytes are needed.
    More,
    /// The bytes are not a gob of Vegeta.
    Broken,
}

type Outcome<T> = Result<T, Stop>;

/// Decodes the primitives of a gob.
#[derive(Debug)]
struct Reader<'a> {
    rest: &'a [u8],
    used: usize,
}

impl<'a> Reader<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest, used: 0 }
    }

    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let taken = self.rest.split_off(..length).ok_or(Stop::More)?;
        self.used += length;
        Ok(taken)
    }

    /// One byte below 128, or the negated number of the bytes that follow.
    fn uint(&mut self) -> Outcome<u64> {
        let first = self.take(1)?.first().copied().ok_or(Stop::More)?;
        if first < 128 {
            return Ok(u64::from(first));
        }
        let length = usize::from(first.wrapping_neg());
        if length > 8 {
            return Err(Stop::Broken);
        }
        let bytes = self.take(length)?.iter();
        Ok(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The lowest bit is the sign.
    fn int(&mut self) -> Outcome<i64> {
        let number = self.uint()?;
        let half = i64::try_from(number >> 1).map_err(|_| Stop::Broken)?;
        Ok(if number & 1 == 1 { !half } else { half })
    }

    fn length(&mut self) -> Outcome<usize> {
        usize::try_from(self.uint()?).map_err(|_| Stop::Broken)
    }

    fn text(&mut self) -> Outcome<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }
}

/// The supported fields of Vegeta's result.
const READ: [&[u8]; 9] = [
    b"Attack",
    b"Code",
    b"Timestamp",
    b"Latency",
    b"BytesOut",
    b"BytesIn",
    b"Error",
    b"Method",
    b"URL",
];

#[derive(Debug)]
struct Field {
    /// `None`: the field is skipped.
    name: Option<&'static [u8]>,
    /// The number of its type.
    kind: i64,
}

#[derive(Debug)]
enum Type {
    /// Vegeta's result: its fields, and their number up to the last supported one.
    Result(Vec<Field>, usize),
    /// Bytes encoded by the type itself, with a length prefix.
    Opaque,
    /// Lists, maps and other structures.
    Other,
}

type Types = HashMap<i64, Type>;

/// The type defined by a definition.
fn definition(bytes: &[u8]) -> Outcome<Type> {
    let mut reader = Reader::new(bytes);
    // Exactly one field of `wireType` is set: an array, a list, a structure, a map, or a self-encoding type.
    match reader.uint()? {
        3 => structure(&mut reader),
        5..=7 => Ok(Type::Opaque),
        1..=4 => Ok(Type::Other),
        _ => Err(Stop::Broken),
    }
}

fn structure(reader: &mut Reader<'_>) -> Outcome<Type> {
    let (mut number, mut name, mut fields) = (0, Vec::new(), Vec::new());
    loop {
        match (number, reader.uint()?) {
            (_, 0) => break,
            (0, 1) => {
                name = named(reader)?.0;
                number = 1;
            }
            (0, 2) | (1, 1) => {
                for _ in 0..reader.uint()? {
                    let (name, kind) = named(reader)?;
                    let name = READ.into_iter().find(|read| *read == name);
                    fields.push(Field { name, kind });
                }
                number = 2;
            }
            _ => return Err(Stop::Broken),
        }
    }
    let has = |name: &[u8]| fields.iter().any(|field| field.name == Some(name));
    let is_result = name == b"Result" && has(b"Timestamp") && has(b"Latency");
    let last = fields.iter().rposition(|field| field.name.is_some());
    Ok(match is_result {
        true => Type::Result(fields, last.map_or(0, |last| last + 1)),
        false => Type::Other,
    })
}

/// A structure with a name and the number of a type.
fn named(reader: &mut Reader<'_>) -> Outcome<(Vec<u8>, i64)> {
    let (mut field, mut name, mut id) = (0_u64, Vec::new(), 0);
    loop {
        let delta = reader.uint()?;
        if delta == 0 {
            return Ok((name, id));
        }
        field = field.saturating_add(delta);
        match field {
            1 => name = reader.text()?.to_vec(),
            2 => id = reader.int()?,
            _ => return Err(Stop::Broken),
        }
    }
}

/// Decodes Go's time to microseconds since 1970.
fn time(bytes: &[u8]) -> Option<u64> {
    let [1 | 2, rest @ ..] = bytes else {
        return None;
    };
    let (seconds, rest) = rest.split_first_chunk()?;
    let (nanos, _) = rest.split_first_chunk()?;
    let seconds = i64::from_be_bytes(*seconds).checked_sub(TO_1970)?;
    let seconds = u64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
    seconds.checked_add(u64::from(u32::from_be_bytes(*nanos)) / 1000)
}

/// A result being decoded.
#[derive(Debug, Default)]
struct Value {
    /// The number of its type.
    id: i64,
    /// The number of the next field.
    next: usize,
    attack: Vec<u8>,
    code: u64,
    start: Option<u64>,
    latency: i64,
    sent: u64,
    received: u64,
    error: Vec<u8>,
    method: Vec<u8>,
    url: Vec<u8>,
}

impl Value {
    fn set_uint(&mut self, name: Option<&[u8]>, value: u64) {
        match name {
            Some(b"Code") => self.code = value,
            Some(b"BytesOut") => self.sent = value,
            Some(b"BytesIn") => self.received = value,
            _ => {}
        }
    }

    fn set_text(&mut self, name: &[u8], text: &[u8]) {
        let field = match name {
            b"Timestamp" => {
                self.start = time(text);
                return;
            }
            b"Attack" => &mut self.attack,
            b"Error" => &mut self.error,
            b"Method" => &mut self.method,
            b"URL" => &mut self.url,
            _ => return,
        };
        text.clone_into(field);
    }

    fn add(&self, into: &mut FileTally) -> Result<(), BadRow> {
        let hit = Hit {
            attack: &self.attack,
            method: &self.method,
            url: &self.url,
            code: self.code,
            start: self.start.ok_or_else(|| BadRow::value("timestamp", b""))?,
            latency: nanos(self.latency)?,
            sent: self.sent,
            received: self.received,
            error: &self.error,
        };
        hit.add(into)
    }
}

/// The next part of a message.
#[derive(Debug)]
enum Part {
    /// The number of its type.
    Start,
    /// The definition of the type with this number.
    Definition(i64),
    /// A field of a result.
    Field(Box<Value>),
    /// The end of a result after its supported fields.
    End(Box<Value>),
    /// The end of a skipped message: an irrelevant definition or an unreadable value.
    Nothing,
}

/// Consumed bytes, and bytes after them to be skipped.
type Step = (usize, usize);

impl Part {
    /// Decodes the next part of a message of which `left` bytes remain, from the bytes that are available.
    fn step(&mut self, bytes: &[u8], left: usize, types: &mut Types) -> Outcome<Step> {
        let mut reader = Reader::new(bytes);
        match self {
            Self::Start => {
                let id = reader.int()?;
                *self = match types.get(&id) {
                    _ if id < 0 => Self::Definition(id.checked_neg().ok_or(Stop::Broken)?),
                    Some(Type::Result(..)) => Self::Field(Box::new(Value {
                        id,
                        ..Value::default()
                    })),
                    _ => return Err(Stop::Broken),
                };
                Ok((reader.used, 0))
            }
            Self::Definition(id) => {
                if left > MAX_DEFINITION || types.len() >= MAX_TYPES {
                    return Err(Stop::Broken);
                }
                types.insert(*id, definition(reader.take(left)?)?);
                *self = Self::Nothing;
                Ok((left, 0))
            }
            Self::Field(value) => {
                let skipped = field(value, &mut reader, left, types)?;
                if skipped.is_none() {
                    *self = Self::End(std::mem::take(value));
                }
                let rest = left.saturating_sub(reader.used);
                Ok((reader.used, skipped.unwrap_or(rest)))
            }
            Self::End(_) | Self::Nothing => Ok((0, left)),
        }
    }
}

/// Decodes a field of a result, and returns the number of bytes to be skipped after it; `None` if no further fields
/// are needed.
fn field(
    value: &mut Value,
    reader: &mut Reader<'_>,
    left: usize,
    types: &Types,
) -> Outcome<Option<usize>> {
    let Some(Type::Result(fields, read)) = types.get(&value.id) else {
        return Err(Stop::Broken);
    };
    let delta = reader.length()?;
    if delta == 0 {
        return match reader.used == left {
            true => Ok(None),
            false => Err(Stop::Broken),
        };
    }
    let number = value.next.checked_add(delta - 1).ok_or(Stop::Broken)?;
    let field = fields.get(number).ok_or(Stop::Broken)?;
    if number >= *read {
        return Ok(None);
    }
    let mut skipped = 0;
    // Numbers below 64 are Go's built-in types.
    match (field.kind, types.get(&field.kind)) {
        (1 | 3 | 4, _) => value.set_uint(field.name, reader.uint()?),
        (2, _) => {
            let number = reader.int()?;
            if field.name == Some(b"Latency") {
                value.latency = number;
            }
        }
        (5 | 6, _) | (_, Some(Type::Opaque)) => {
            skipped = reader.length()?;
            if skipped > left.saturating_sub(reader.used) {
                return Err(Stop::Broken);
            }
            if let Some(name) = field.name {
                let text = reader.take(skipped.min(MAX_TEXT))?;
                value.set_text(name, text);
                skipped -= text.len();
            }
        }
        // Vegeta has such a field only at the end.
        _ => return Err(Stop::Broken),
    }
    value.next = number + 1;
    Ok(Some(skipped))
}

#[derive(Debug)]
struct Message {
    part: Part,
    /// Bytes that were neither decoded nor skipped yet.
    left: usize,
}

/// The messages of a file.
#[derive(Debug, Default)]
pub struct Gob {
    /// Bytes that were not decoded yet.
    buffer: Vec<u8>,
    /// Bytes to be skipped.
    skip: usize,
    types: Types,
    message: Option<Message>,
    /// The number of the message, from one.
    number: u64,
    broken: bool,
}

impl Gob {
    fn read(&mut self, into: &mut FileTally) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = buffer.as_slice();
        loop {
            let skipped = self.skip.min(rest.len());
            rest = &rest[skipped..];
            self.skip -= skipped;
            if self.skip > 0 {
                break;
            }
            match self.step(rest, into) {
                Ok(used) => rest = rest.get(used..).unwrap_or_default(),
                Err(Stop::More) => break,
                Err(Stop::Broken) => {
                    self.broken = true;
                    into.found.wrong = Some(format!(
                        "its gob data is damaged after message {}: the rest was not read",
                        self.number
                    ));
                    return;
                }
            }
        }
        let used = buffer.len() - rest.len();
        self.buffer = buffer;
        self.buffer.drain(..used);
    }

    fn step(&mut self, bytes: &[u8], into: &mut FileTally) -> Outcome<usize> {
        let Some(message) = &mut self.message else {
            let mut reader = Reader::new(bytes);
            let left = reader.length()?;
            if left == 0 {
                return Err(Stop::Broken);
            }
            self.number += 1;
            self.message = Some(Message {
                part: Part::Start,
                left,
            });
            return Ok(reader.used);
        };
        if message.left == 0 {
            let read = match &message.part {
                Part::End(value) => value.add(into),
                Part::Nothing => Ok(()),
                _ => Err(BadRow::Malformed),
            };
            self.message = None;
            into.found.record(self.number, read);
            return Ok(0);
        }
        let bytes = &bytes[..message.left.min(bytes.len())];
        let is_all = bytes.len() == message.left;
        match message.part.step(bytes, message.left, &mut self.types) {
            Ok((used, skipped)) => {
                self.skip = skipped;
                message.left = message.left.saturating_sub(used + skipped);
                Ok(used)
            }
            Err(Stop::More) if !is_all => Err(Stop::More),
            Err(_) => {
                into.found.record(self.number, Err(BadRow::Malformed));
                message.part = Part::Nothing;
                self.skip = std::mem::take(&mut message.left);
                Ok(0)
            }
        }
    }
}

impl Decoder for Gob {
    fn push(&mut self, bytes: &[u8], into: &mut FileTally) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
            self.read(into);
        }
    }

    fn finish(&mut self, into: &mut FileTally) {
        let is_cut = self.message.is_some() || self.skip > 0 || !self.buffer.is_empty();
        if is_cut && !self.broken {
            into.found
                .bad_row(self.number, BadRow::Malformed, true, false);
        }
    }

    fn memory(&self) -> usize {
        self.buffer.capacity()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn numbers_are_read_as_go_writes_them() {
        for (bytes, number) in [
            (&b"\x7f"[..], 127),
            (b"\xff\x80", 128),
            (b"\xfe\x01\x2e", 302),
            (b"\xf8\xff\xff\xff\xff\xff\xff\xff\xff", u64::MAX),
        ] {
            assert_eq!(Reader::new(bytes).uint(), Ok(number));
        }
        assert_eq!(Reader::new(b"\xfd\xdf\xfe\x72").int(), Ok(7_339_833));
        assert_eq!(Reader::new(b"\x01").int(), Ok(-1));
        assert_eq!(Reader::new(b"\xf7").uint(), Err(Stop::Broken));
        assert_eq!(Reader::new(b"\xfe\x01").uint(), Err(Stop::More));
    }

    #[test]
    fn a_zone_does_not_change_a_time() {
        let mut bytes = b"\x01\0\0\0\x0e\xe2\x9c\xe0\x42\x11\xf5\x9c\x44\0\0".to_vec();
        assert_eq!(time(&bytes), Some(1_795_877_186_301_308));
        bytes.splice(13.., [0x01, 0x4a]);
        assert_eq!(time(&bytes), Some(1_795_877_186_301_308));
        assert_eq!(time(&bytes[..12]), None);
        assert_eq!(time(b""), None);
    }
}
