//! Gatling's text `simulation.log` of 3.0 to 3.12: a record per line, with columns separated by
//! tabs. Up to 3.3 some records have the number of the user as an additional column.

use super::detect::Detected;
use super::gatling::{self, Log, Request, extend_label, micros};
use super::lines::LineReader;
use super::numbers::{whole, without_mark};
use super::{BadRow, FileTally, Format};

/// The end time of a server message without a request: the minimum of Java's `long`.
const NO_END: &[u8] = b"-9223372036854775808";

/// Detects the log by its beginning; `None`: it is not Gatling's.
pub fn detect(head: &[u8], whole: bool) -> Option<Detected> {
    let mut rest = without_mark(head);
    let mut assertions = false;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest);
        // An incomplete line is undecided.
        if end.is_none() && !whole {
            return None;
        }
        let (line, next) = rest.split_at(end.unwrap_or(rest.len()));
        rest = next.get(1..).unwrap_or_default();
        let columns = columns(line);
        match columns.as_slice() {
            [b"ASSERTION", _] => assertions = true,
            [b"RUN", _, _, start, .., version] if columns.len() >= 6 && time(start).is_some() => {
                return run(version);
            }
            [b"RUN", ..] if assertions && rest.is_empty() => break,
            _ => return None,
        }
    }
    assertions.then_some(Detected::Results(Format::GatlingText))
}

fn run(version: &[u8]) -> Option<Detected> {
    let (major, _) = gatling::version(version)?;
    Some(match major {
        3 => Detected::Results(Format::GatlingText),
        _ => Detected::Unreadable(format!(
            "it was written by Gatling {}: logs of 3.0 to 3.15 are supported",
            String::from_utf8_lossy(version)
        )),
    })
}

fn columns(line: &[u8]) -> Vec<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.split(|byte| *byte == b'\t').collect()
}

/// Milliseconds since 1970.
fn time(text: &[u8]) -> Option<i64> {
    let millis = i64::try_from(whole(text)?).ok()?;
    micros(millis).map(|_| millis)
}

/// The records of a log.
#[derive(Debug, Default)]
pub struct Text {
    log: Log,
    /// True if records have the number of the user; `None`: not known yet.
    with_user: Option<bool>,
    label: Vec<u8>,
}

impl LineReader for Text {
    const ENDS_EVERY_LINE: bool = true;

    fn line(&mut self, line: &[u8], into: &mut FileTally) -> Result<(), BadRow> {
        let columns = columns(without_mark(line));
        match columns.as_slice() {
            [b"REQUEST", head @ .., start, end, status, message] => {
                self.request(head, [start, end, status, message], into)
            }
            [b"USER", .., event, at] if is_event(event) => {
                self.with_user = Some(false);
                self.user(event, at, into)
            }
            [b"USER", .., event, _, at] if is_event(event) => {
                self.with_user = Some(true);
                self.user(event, at, into)
            }
            [b"GROUP", _, .., b"OK" | b"KO"] | [b"ASSERTION", _] | [b""] => Ok(()),
            [b"ERROR", message, .., _] => {
                self.log.error(message);
                Ok(())
            }
            [b"RUN", .., version] => {
                let bad = || BadRow::value("gatlingVersion", version);
                gatling::version(version).ok_or_else(bad)?;
                self.log.active = 0;
                self.with_user = None;
                Ok(())
            }
            [b"REQUEST", ..] => Err(BadRow::Fields(columns.len(), 7)),
            [b"USER", ..] => Err(BadRow::Fields(columns.len(), 4)),
            [b"GROUP", ..] => Err(BadRow::Fields(columns.len(), 6)),
            [kind, ..] => Err(BadRow::value("record", kind)),
            [] => Err(BadRow::Malformed),
        }
    }

    fn finish(&mut self, into: &mut FileTally) {
        self.log.finish(into);
    }
}

impl Text {
    fn request(
        &mut self,
        head: &[&[u8]],
        [start, end, status, message]: [&[u8]; 4],
        into: &mut FileTally,
    ) -> Result<(), BadRow> {
        let guessed = || head.len() == 3 && head.first().is_some_and(|id| whole(id).is_some());
        let with_user = self.with_user.unwrap_or_else(guessed);
        let fields = || BadRow::Fields(head.len() + 5, if with_user { 8 } else { 7 });
        let (groups, name) = match head {
            [_, groups, name @ ..] if with_user => (groups, name),
            [groups, name @ ..] if !with_user => (groups, name),
            _ => return Err(fields()),
        };
        if name.is_empty() {
            return Err(fields());
        }
        let failed = match status {
            b"OK" => false,
            b"KO" => true,
            _ => return Err(BadRow::value("status", status)),
        };
        let start = time(start).ok_or_else(|| BadRow::value("start", start))?;
        if end == NO_END {
            self.log.unmatched += 1;
            return Ok(());
        }
        self.label(groups, name);
        let request = Request {
            label: &self.label,
            start,
            end: time(end).ok_or_else(|| BadRow::value("end", end))?,
            failed,
            message: message.trim_ascii(),
        };
        Log::request(&request, into)
    }

    /// Gatling replaces commas in the name of a group by blanks, but not tabs in that of a request.
    fn label(&mut self, groups: &[u8], name: &[&[u8]]) {
        self.label.clear();
        if !groups.is_empty() {
            for group in groups.split(|byte| *byte == b',') {
                extend_label(&mut self.label, group);
            }
        }
        match name {
            [name] => extend_label(&mut self.label, name),
            parts => extend_label(&mut self.label, &parts.join(&b' ')),
        }
    }

    fn user(&mut self, event: &[u8], at: &[u8], into: &mut FileTally) -> Result<(), BadRow> {
        let millis = time(at).ok_or_else(|| BadRow::value("timestamp", at))?;
        self.log.user(event == b"START", millis, into)
    }
}

fn is_event(text: &[u8]) -> bool {
    matches!(text, b"START" | b"END")
}
