//! Common parts of both forms of Gatling's `simulation.log`: the text of 3.0 to 3.12 and the binary
//! form of 3.13 and later.
//!
//! A request is a sample. Its label is the path of its groups and its name, joined by ` / ` as in
//! Gatling's own summary. As in Gatling, a followed redirect is a separate request. Records
//! of groups aggregate requests and are not samples. Neither form contains bytes or response codes.

use super::numbers::{EARLIEST, LATEST};
use super::{BadRow, FileTally, Sample};

/// Separator of groups and name in a label.
const SEPARATOR: &[u8] = b" / ";
/// Displayed length of a message in a note.
const SHOWN_CHARS: usize = 100;

/// A request in either form. Times in milliseconds since 1970.
pub struct Request<'a> {
    /// Its label, from [`label`].
    pub label: &'a [u8],
    pub start: i64,
    pub end: i64,
    pub failed: bool,
    pub message: &'a [u8],
}

/// Appends a group or the name of a request to a label.
pub fn extend_label(label: &mut Vec<u8>, part: &[u8]) {
    if !label.is_empty() {
        label.extend_from_slice(SEPARATOR);
    }
    label.extend_from_slice(part);
}

/// Counters in addition to the requests.
#[derive(Debug, Default)]
pub struct Log {
    /// Users that have started and not ended. A file may contain several runs.
    pub active: u32,
    /// Number of error records, and the message of the first.
    errors: u64,
    first_error: String,
    /// Number of server messages without a request: they have no response time.
    pub unmatched: u64,
}

impl Log {
    /// Adds a request.
    ///
    /// # Errors
    /// If its times are invalid.
    pub fn request(request: &Request<'_>, into: &mut FileTally) -> Result<(), BadRow> {
        let bad = |name, millis: i64| BadRow::value(name, millis.to_string().as_bytes());
        let start = micros(request.start).ok_or_else(|| bad("start", request.start))?;
        let end = micros(request.end).ok_or_else(|| bad("end", request.end))?;
        let elapsed = end.checked_sub(start);
        into.add(&Sample {
            start: Some(start),
            elapsed: elapsed.ok_or_else(|| bad("end", request.end))?,
            errors: Some(u64::from(request.failed)),
            label: request.label,
            message: request.message,
            no_bytes: true,
            ..Sample::default()
        });
        Ok(())
    }

    /// Records the start or end of a user, at milliseconds since 1970.
    ///
    /// # Errors
    /// If the time is invalid.
    pub fn user(&mut self, starts: bool, at: i64, into: &mut FileTally) -> Result<(), BadRow> {
        let bad = || BadRow::value("timestamp", at.to_string().as_bytes());
        let at = micros(at).ok_or_else(bad)?;
        self.active = match starts {
            true => self.active.saturating_add(1),
            false => self.active.saturating_sub(1),
        };
        into.active(at, self.active);
        Ok(())
    }

    /// Records an error without a request, such as a request that could not be built.
    pub fn error(&mut self, message: &[u8]) {
        if self.errors == 0 {
            let message = String::from_utf8_lossy(message);
            self.first_error = message.trim().chars().take(SHOWN_CHARS).collect();
        }
        self.errors += 1;
    }

    /// Ends the file.
    pub fn finish(&self, into: &mut FileTally) {
        if self.errors > 0 {
            into.note(format!(
                "Gatling's log contains {} errors without a request (the first: `{}`): they are not counted, as in Gatling's own number of failed requests",
                self.errors, self.first_error
            ));
        }
        if self.unmatched > 0 {
            into.note(format!(
                "Gatling's log contains {} server messages without a request: they have no response time and are not counted",
                self.unmatched
            ));
        }
        if self.active > 0 {
            into.note(format!(
                "Gatling's log ends while {} users are active: the run was stopped, or the end of the log is missing",
                self.active
            ));
        }
    }
}

/// Converts milliseconds since 1970 to microseconds; `None` for implausible times.
pub fn micros(millis: i64) -> Option<u64> {
    let micros = u64::try_from(millis).ok()?.checked_mul(1000)?;
    (EARLIEST..LATEST).contains(&micros).then_some(micros)
}

/// True if a text has the format of Gatling's versions: `3.9.5`, `3.15.0-M1`.
pub fn is_version(text: &[u8]) -> bool {
    let mut parts = text.splitn(3, |byte| *byte == b'.');
    let mut number = || {
        let part = parts.next().unwrap_or_default();
        !part.is_empty() && part.len() <= 4 && part.iter().all(u8::is_ascii_digit)
    };
    let begins = number() && number();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    begins && text.len() <= 40 && text.iter().all(plain)
}

/// The first two numbers of a version.
pub fn version(text: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| is_version(text.as_bytes()))?;
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// True if a file has the name of Gatling's log.
pub fn is_named_as_log(name: &str) -> bool {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    name.rsplit('/').next() == Some("simulation.log")
}
