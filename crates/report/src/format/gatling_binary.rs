//! Gatling's binary `simulation.log` of 3.13 to 3.15. Records have no length prefix,
//! so everything after an unreadable record is lost, and logs of other versions are not supported.

use super::detect::Detected;
use super::gatling::{self, Log, Request, extend_label, micros};
use super::{BadRow, Decoder, FileTally, Format};
use crate::labels::OTHER;

/// Maximum length of a string in bytes.
const MAX_STRING: usize = 1024 * 1024;
/// Maximum size of a record in bytes.
const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;
const TOO_LARGE: &str = "it is larger than 4 MiB";
/// Maximum depth of nested groups.
const MAX_GROUPS: u32 = 1000;
/// Maximum number of bytes kept of a string: labels and messages are truncated to this length.
const KEPT_BYTES: usize = 1000;
/// Maximum number of bytes kept of all strings.
const MAX_KEPT: usize = 16 * 1024 * 1024;
/// Memory overhead of a string in bytes.
const STRING_OVERHEAD: usize = 32;

/// Detects the log by its beginning; `None`: it is not Gatling's.
pub fn detect(name: &str, head: &[u8], whole: bool) -> Option<Detected> {
    if head.first() != Some(&0) {
        return None;
    }
    match Bytes(&head[1..]).string() {
        Ok(text) if !text.is_utf16 && gatling::is_version(text.bytes) => {
            Some(match is_known(text.bytes) {
                true => Detected::Results(Format::GatlingBinary),
                false => Detected::Unreadable(unknown(text.bytes)),
            })
        }
        Err(Stop::Short) if !whole => Some(Detected::Undecided),
        _ if gatling::is_named_as_log(name) => Some(Detected::Unreadable(
            "its name is that of a Gatling log and it is binary, but it does not start like a log of 3.13 to 3.15"
                .to_owned(),
        )),
        _ => None,
    }
}

fn is_known(version: &[u8]) -> bool {
    matches!(gatling::version(version), Some((3, 13..=15)))
}

fn unknown(version: &[u8]) -> String {
    format!(
        "it was written by Gatling {}: binary logs of 3.13 to 3.15 are supported",
        String::from_utf8_lossy(version)
    )
}

/// The reason why a record is not read.
#[derive(Debug)]
enum Stop {
    /// It is incomplete.
    Short,
    /// It is invalid for this reason.
    Bad(String),
}

fn bad<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Bad(why.into()))
}

/// Decodes the bytes of a record. Numbers are big-endian.
struct Bytes<'a>(&'a [u8]);

/// A string in Java's internal encoding: Latin-1, or UTF-16 in the byte order of the machine, which is little-endian
/// on all common ones.
struct Text<'a> {
    bytes: &'a [u8],
    is_utf16: bool,
}

/// A string that is written once and then referenced by its number.
enum Cached<'a> {
    New(u32, Text<'a>),
    Known(u32),
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        self.0.split_off(..count).ok_or(Stop::Short)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.take(N)?.try_into().map_err(|_| Stop::Short)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn int(&mut self) -> Result<i32, Stop> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn long(&mut self) -> Result<i64, Stop> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn count(&mut self, most: u32) -> Result<u32, Stop> {
        let int = self.int()?;
        match u32::try_from(int) {
            Ok(count) if count <= most => Ok(count),
            _ => bad(format!("`{int}` is not a count")),
        }
    }

    fn flag(&mut self) -> Result<bool, Stop> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => bad(format!("`{other}` is neither true nor false")),
        }
    }

    fn string(&mut self) -> Result<Text<'a>, Stop> {
        let int = self.int()?;
        let length = usize::try_from(int).ok();
        let Some(length) = length.filter(|length| *length <= MAX_STRING) else {
            return bad(format!("`{int}` is not the length of a string"));
        };
        let bytes = self.take(length)?;
        let is_utf16 = length > 0 && self.is_utf16(length)?;
        Ok(Text { bytes, is_utf16 })
    }

    /// The encoding and the bytes after the length of a non-empty string.
    fn is_utf16(&mut self, length: usize) -> Result<bool, Stop> {
        match self.byte()? {
            0 => Ok(false),
            1 if length.is_multiple_of(2) => Ok(true),
            other => bad(format!("`{other}` is not an encoding of a string")),
        }
    }

    fn cached(&mut self) -> Result<Cached<'a>, Stop> {
        let int = self.int()?;
        let number = int.unsigned_abs();
        match int {
            0 => bad("strings have no number 0"),
            1.. => Ok(Cached::New(number, self.string()?)),
            _ => Ok(Cached::Known(number)),
        }
    }

    fn groups(&mut self) -> Result<Vec<Cached<'a>>, Stop> {
        let count = self.count(MAX_GROUPS)?;
        (0..count).map(|_| self.cached()).collect()
    }
}

impl Text<'_> {
    /// The beginning of the string in UTF-8. As in Gatling's reports, blanks replace tabs and line ends.
    fn kept(&self) -> Box<[u8]> {
        let bytes = self.bytes;
        let text = if self.is_utf16 {
            let (units, _) = bytes.get(..KEPT_BYTES * 2).unwrap_or(bytes).as_chunks();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            String::from_utf16_lossy(&units)
        } else {
            let bytes = bytes.get(..KEPT_BYTES).unwrap_or(bytes);
            encoding_rs::mem::decode_latin1(bytes).into_owned()
        };
        let mut text = text.replace(['\t', '\n', '\r'], " ").into_bytes();
        text.truncate(KEPT_BYTES);
        text.into()
    }
}

/// The strings of a run by their number, from one.
#[derive(Debug, Default)]
struct Cache {
    strings: Vec<Box<[u8]>>,
    /// Number of strings, including those that are not kept.
    count: u32,
    kept: usize,
}

impl Cache {
    /// Resolves a string, and keeps it if it is new.
    fn resolve(&mut self, cached: &Cached<'_>) -> Result<&[u8], Stop> {
        let number = match cached {
            Cached::Known(number) => *number,
            Cached::New(number, text) => {
                if self.count.checked_add(1) != Some(*number) {
                    return bad(format!("string {number} follows string {}", self.count));
                }
                self.add(text);
                *number
            }
        };
        if number > self.count {
            return bad(format!("there is no string {number} yet"));
        }
        let index = usize::try_from(number)
            .unwrap_or(usize::MAX)
            .wrapping_sub(1);
        let string = self.strings.get(index);
        Ok(string.map_or(OTHER.as_bytes(), |string| string))
    }

    fn add(&mut self, text: &Text<'_>) {
        self.count += 1;
        if self.kept < MAX_KEPT {
            let string = text.kept();
            self.kept += string.len() + STRING_OVERHEAD;
            self.strings.push(string);
        }
    }

    fn is_full(&self) -> bool {
        self.kept >= MAX_KEPT
    }
}

/// A record; times are in milliseconds after the start of the run.
enum Record<'a> {
    Run {
        version: Text<'a>,
        start: i64,
    },
    Request {
        groups: Vec<Cached<'a>>,
        name: Cached<'a>,
        start: i32,
        end: i32,
        succeeded: bool,
        message: Cached<'a>,
    },
    User {
        starts: bool,
        at: i32,
    },
    Group(Vec<Cached<'a>>),
    Error(Cached<'a>),
}

impl<'a> Record<'a> {
    fn read(bytes: &mut Bytes<'a>) -> Result<Self, Stop> {
        match bytes.byte()? {
            0 => Self::run(bytes),
            1 => Ok(Self::Request {
                groups: bytes.groups()?,
                name: bytes.cached()?,
                start: bytes.int()?,
                end: bytes.int()?,
                succeeded: bytes.flag()?,
                message: bytes.cached()?,
            }),
            2 => {
                bytes.int()?;
                Ok(Self::User {
                    starts: bytes.flag()?,
                    at: bytes.int()?,
                })
            }
            3 => {
                let groups = bytes.groups()?;
                bytes.take(12)?;
                bytes.flag()?;
                Ok(Self::Group(groups))
            }
            4 => {
                let message = bytes.cached()?;
                bytes.int()?;
                Ok(Self::Error(message))
            }
            kind => bad(format!("`{kind}` is not a kind of record")),
        }
    }

    fn run(bytes: &mut Bytes<'a>) -> Result<Self, Stop> {
        // Each scenario takes some bytes, and the size of a record is limited.
        let most = u32::try_from(MAX_RECORD_BYTES).unwrap_or(u32::MAX);
        let version = bytes.string()?;
        bytes.string()?;
        let start = bytes.long()?;
        bytes.string()?;
        for _scenario in 0..bytes.count(most)? {
            bytes.string()?;
        }
        for _assertion in 0..bytes.count(most)? {
            let length = bytes.count(most)?;
            bytes.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        }
        Ok(Self::Run { version, start })
    }
}

/// A log.
#[derive(Debug, Default)]
pub struct Binary {
    /// The beginning of an incomplete record.
    rest: Vec<u8>,
    state: State,
    is_broken: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Number of decoded records.
    records: u64,
    /// Start of the run in milliseconds since 1970.
    start: i64,
    cache: Cache,
    log: Log,
    label: Vec<u8>,
}

impl State {
    /// Decodes all complete records, and returns the number of consumed bytes.
    fn read(&mut self, bytes: &[u8], into: &mut FileTally) -> Result<usize, String> {
        let mut rest = Bytes(bytes);
        loop {
            let left = rest.0.len();
            let read = Record::read(&mut rest).and_then(|record| self.record(&record, into));
            match read {
                // The limit must not depend on the chunk size.
                Ok(()) if left - rest.0.len() > MAX_RECORD_BYTES => {
                    return Err(TOO_LARGE.to_owned());
                }
                Ok(()) => self.records += 1,
                Err(Stop::Short) => return Ok(bytes.len() - left),
                Err(Stop::Bad(why)) => return Err(why),
            }
        }
    }

    fn record(&mut self, record: &Record<'_>, into: &mut FileTally) -> Result<(), Stop> {
        let outcome = match record {
            Record::Run { version, start } => return self.begin(version, *start),
            Record::Request {
                groups,
                name,
                start,
                end,
                succeeded,
                message,
            } => {
                self.name(groups, name)?;
                let message = self.cache.resolve(message)?;
                if *end == without_end(self.start) {
                    self.log.unmatched += 1;
                    return Ok(());
                }
                let request = Request {
                    label: &self.label,
                    start: self.start + i64::from(*start),
                    end: self.start + i64::from(*end),
                    failed: !succeeded,
                    message: message.trim_ascii(),
                };
                Log::request(&request, into)
            }
            Record::User { starts, at } => {
                let at = self.start + i64::from(*at);
                self.log.user(*starts, at, into)
            }
            Record::Group(groups) => {
                for group in groups {
                    self.cache.resolve(group)?;
                }
                Ok(())
            }
            Record::Error(message) => {
                let message = self.cache.resolve(message)?;
                self.log.error(message);
                Ok(())
            }
        };
        into.found.record(self.records + 1, outcome);
        Ok(())
    }

    fn begin(&mut self, version: &Text<'_>, start: i64) -> Result<(), Stop> {
        if version.is_utf16 || !gatling::is_version(version.bytes) {
            return bad("it has no version of Gatling");
        }
        if !is_known(version.bytes) {
            return bad(unknown(version.bytes));
        }
        if micros(start).is_none() {
            return bad(format!("`{start}` is not a valid start time of a run"));
        }
        self.start = start;
        self.cache = Cache::default();
        self.log.active = 0;
        Ok(())
    }

    fn name(&mut self, groups: &[Cached<'_>], name: &Cached<'_>) -> Result<(), Stop> {
        self.label.clear();
        for part in groups.iter().chain([name]) {
            let part = self.cache.resolve(part)?;
            // Longer labels are truncated later.
            if self.label.len() < KEPT_BYTES {
                extend_label(&mut self.label, part);
            }
        }
        Ok(())
    }
}

/// The end time that Gatling writes for a server message without a request: the minimum
/// `long` minus the start of the run, truncated to the lower half.
fn without_end(start: i64) -> i32 {
    let [_, _, _, _, a, b, c, d] = i64::MIN.wrapping_sub(start).to_be_bytes();
    i32::from_be_bytes([a, b, c, d])
}

impl Binary {
    fn broken(&mut self, why: &str, into: &mut FileTally) {
        self.is_broken = true;
        self.rest = Vec::new();
        let record = self.state.records + 1;
        into.found.wrong = Some(format!(
            "record {record} and all records after it cannot be read: {why}"
        ));
    }
}

impl Decoder for Binary {
    fn push(&mut self, bytes: &[u8], into: &mut FileTally) {
        // The parts must not depend on the chunk size.
        for part in bytes.chunks(MAX_RECORD_BYTES) {
            if self.is_broken {
                return;
            }
            self.rest.extend_from_slice(part);
            match self.state.read(&self.rest, into) {
                Ok(read) => drop(self.rest.drain(..read)),
                Err(why) => self.broken(&why, into),
            }
            if self.rest.len() > MAX_RECORD_BYTES {
                self.broken(TOO_LARGE, into);
            }
        }
    }

    fn finish(&mut self, into: &mut FileTally) {
        if !self.rest.is_empty() {
            let record = self.state.records + 1;
            into.found.bad_row(record, BadRow::Malformed, true, false);
        }
        if self.state.cache.is_full() {
            into.note(format!(
                "Gatling's log has more names and messages than can be kept; the others are counted as `{OTHER}`"
            ));
        }
        self.state.log.finish(into);
    }

    fn memory(&self) -> usize {
        self.rest.capacity()
    }
}
