//! JMeter's results in XML. Samples within a sample belong to it and are not counted, as in the CSV.

use super::jtl_csv::{is_success, worker, wrong};
use super::numbers::{millis, timestamp, whole};
use super::{File, Found};
use crate::sample::Sample;
use crate::tally::Tally;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::io::{self, BufReader, Read};

const BUFFER: usize = 256 * 1024;
/// Of text between tags (data of responses) no more is passed on at a time.
const LONGEST_TEXT: usize = 64 * 1024;

/// What a sample says of itself.
#[derive(Debug, Default)]
struct Attributes {
    start: Option<u64>,
    elapsed: Option<u64>,
    success: Option<bool>,
    label: Vec<u8>,
    code: Vec<u8>,
    message: Vec<u8>,
    thread: Vec<u8>,
    host: Vec<u8>,
    failure: Vec<u8>,
    received: u64,
    sent: u64,
    active: Option<u32>,
}

/// Reads a file.
pub fn read(
    file: &File<'_>,
    reader: impl Read,
    tally: &mut Tally,
    found: &mut Found,
) -> io::Result<()> {
    let text = BufReader::with_capacity(BUFFER, ShortText::new(reader));
    let mut reader = Reader::from_reader(text);
    let mut content = Content {
        worker: file.worker.as_bytes(),
        tally,
        found,
        depth: 0,
        current: Attributes::default(),
        in_failure: false,
    };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) => break,
            Ok(event) => content.take(&event),
            Err(quick_xml::Error::Io(error)) => {
                return Err(io::Error::new(error.kind(), error.to_string()));
            }
            Err(error) => {
                let at = reader.error_position();
                content.found.wrong = Some(format!("no XML at byte {at}: {error}"));
                return Ok(());
            }
        }
    }
    if content.depth > 0 {
        content.found.wrong = Some("it ends before `</testResults>`".to_owned());
    }
    Ok(())
}

struct Content<'a> {
    worker: &'a [u8],
    tally: &'a mut Tally,
    found: &'a mut Found,
    /// Open elements: one is `testResults`, two a sample.
    depth: usize,
    current: Attributes,
    in_failure: bool,
}

impl Content<'_> {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Start(tag) => {
                self.open(tag);
                self.depth += 1;
            }
            Event::Empty(tag) => {
                self.open(tag);
                self.close_at(self.depth);
            }
            Event::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                self.close_at(self.depth);
            }
            Event::Text(text) if self.in_failure => {
                self.current.failure.extend_from_slice(text);
            }
            _ => {}
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>) {
        let name = tag.local_name();
        match (self.depth, name.as_ref()) {
            (1, b"httpSample" | b"sample") => self.current = attributes(tag),
            // `<assertionResult><failureMessage>` of the sample itself; the first one counts.
            (3, b"failureMessage") => self.in_failure = self.current.failure.is_empty(),
            _ => {}
        }
    }

    /// An element of this depth has ended.
    fn close_at(&mut self, depth: usize) {
        match depth {
            1 => self.count(),
            3 => self.in_failure = false,
            _ => {}
        }
    }

    fn count(&mut self) {
        let current = std::mem::take(&mut self.current);
        let (Some(start), Some(elapsed)) = (current.start, current.elapsed) else {
            self.found
                .bad_row(self.found.samples + self.found.bad + 1, false);
            return;
        };
        self.found.samples += 1;
        // Without the attribute, the code is all there is.
        let ok = current.success.unwrap_or_else(|| is_success(&current.code));
        let message = &current.message;
        let controller = message.starts_with(super::jtl_csv::TRANSACTION);
        if controller && super::jtl_csv::is_empty_transaction(message) {
            return;
        }
        self.tally.add(&Sample {
            start,
            elapsed,
            label: &current.label,
            ok,
            controller,
            code: &current.code,
            message: wrong(&current.code, message, &current.failure),
            received: current.received,
            sent: current.sent,
            active: current.active,
            worker: worker(&current.host, &current.thread, self.worker),
        });
    }
}

fn attributes(tag: &BytesStart<'_>) -> Attributes {
    let mut found = Attributes::default();
    for attribute in tag.attributes().with_checks(false).flatten() {
        let raw = &attribute.value;
        match attribute.key.as_ref() {
            b"ts" => found.start = timestamp(raw),
            b"t" => found.elapsed = millis(raw),
            b"s" => found.success = Some(raw.as_ref() == b"true"),
            b"lb" => found.label = text(raw),
            b"rc" => found.code = text(raw),
            b"rm" => found.message = text(raw),
            b"tn" => found.thread = text(raw),
            b"hn" => found.host = text(raw),
            b"by" => found.received = whole(raw).unwrap_or_default(),
            b"sby" => found.sent = whole(raw).unwrap_or_default(),
            b"na" => found.active = whole(raw).and_then(|active| active.try_into().ok()),
            _ => {}
        }
    }
    found
}

/// With its entities resolved; as it is when they are broken.
fn text(raw: &[u8]) -> Vec<u8> {
    let resolved = std::str::from_utf8(raw).ok();
    let resolved = resolved.and_then(|raw| quick_xml::escape::unescape(raw).ok());
    resolved.map_or_else(|| raw.to_vec(), |text| text.into_owned().into_bytes())
}

/// Leaves out what is too long between two tags, so that a response of any size takes no memory.
/// A tag that is too long is cut as well, and then no XML any more.
struct ShortText<R> {
    inner: R,
    /// Bytes since the last `<`.
    since: usize,
}

impl<R> ShortText<R> {
    fn new(inner: R) -> Self {
        Self { inner, since: 0 }
    }
}

impl<R: Read> Read for ShortText<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(buffer)?;
            let kept = self.shorten(buffer, read);
            // Nothing means the end to the caller.
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

impl<R> ShortText<R> {
    /// Moves what is kept to the front and gives its length.
    fn shorten(&mut self, buffer: &mut [u8], read: usize) -> usize {
        let (mut kept, mut at) = (0, 0);
        while at < read {
            let rest = &buffer[at..read];
            let length = memchr::memchr(b'<', rest).unwrap_or(rest.len());
            let room = LONGEST_TEXT.saturating_sub(self.since).min(length);
            buffer.copy_within(at..at + room, kept);
            kept += room;
            self.since += length;
            at += length;
            if at < read {
                buffer[kept] = b'<';
                kept += 1;
                at += 1;
                self.since = 0;
            }
        }
        kept
    }
}
