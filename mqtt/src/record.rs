//! The file of results: one row for each sample, in the simple CSV of the Director.

use crate::clock::Clock;
use parking_lot::Mutex;
use std::borrow::Cow;
use std::fs::File;
use std::io::Error;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// What a sample measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// The first connection of a device, from the start of TCP to CONNACK.
    Connect,
    /// A later connection.
    Reconnect,
    /// A message, until it is acknowledged.
    Publish,
}

impl Label {
    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reconnect => "reconnect",
            Self::Publish => "publish",
        }
    }
}

/// Why a sample failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A short code: MQTT's return code, or the kind of the error.
    pub code: Cow<'static, str>,
    /// A sentence.
    pub message: String,
}

impl Failure {
    /// A failure with a fixed code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code: Cow::Borrowed(code),
            message: message.into(),
        }
    }
}

/// A sample.
#[derive(Debug)]
pub struct Sample<'a> {
    /// What it measures.
    pub label: Label,
    /// Its start.
    pub started: Instant,
    /// Its duration.
    pub elapsed: Duration,
    /// Its failure.
    pub failure: Option<&'a Failure>,
    /// Bytes of the packet that was sent.
    pub sent_bytes: usize,
    /// Number of connected devices.
    pub active: u32,
}

/// Size of the buffer in bytes.
const BUFFER: usize = 64 * 1024;

/// Writes samples through a buffer. An error is kept until the next [`Recorder::flush`].
#[derive(Debug)]
pub struct Recorder(Mutex<State>);

#[derive(Debug)]
struct State {
    writer: csv::Writer<File>,
    error: Option<Error>,
}

impl Recorder {
    /// Creates the file with its header. Its directory is created if it is missing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path) -> Result<Self, Error> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut writer = csv::WriterBuilder::new()
            .buffer_capacity(BUFFER)
            .from_writer(File::create(path)?);
        writer.write_record([
            "timestamp",
            "elapsed",
            "label",
            "success",
            "code",
            "message",
            "sent_bytes",
            "active",
        ])?;
        writer.flush()?;
        Ok(Self(Mutex::new(State {
            writer,
            error: None,
        })))
    }

    /// Adds a row.
    pub fn add(&self, clock: &Clock, sample: &Sample<'_>) {
        let (code, message) = match sample.failure {
            None => ("", ""),
            Some(failure) => (&*failure.code, failure.message.as_str()),
        };
        let fields: [&str; 8] = [
            &milliseconds(clock.since_epoch(sample.started)),
            &milliseconds(sample.elapsed),
            sample.label.name(),
            if sample.failure.is_none() {
                "true"
            } else {
                "false"
            },
            code,
            message,
            &sample.sent_bytes.to_string(),
            &sample.active.to_string(),
        ];
        let mut state = self.0.lock();
        if let Err(error) = state.writer.write_record(fields) {
            state.error.get_or_insert(error.into());
        }
    }

    /// Writes the buffer to the file.
    ///
    /// # Errors
    /// When this, or a write since the last call, failed.
    pub fn flush(&self) -> Result<(), Error> {
        let mut state = self.0.lock();
        match state.error.take() {
            Some(error) => Err(error),
            None => state.writer.flush(),
        }
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_millis(), time.subsec_micros() % 1000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rows_have_the_columns_of_the_simple_csv() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/mqtt.csv");
        let recorder = Recorder::create(&path).unwrap();
        let clock = Clock::start();
        let failure = Failure::new("Timeout", "no answer, \"really\"");
        for failure in [None, Some(&failure)] {
            let sample = Sample {
                label: Label::Publish,
                started: clock.publish_start(),
                elapsed: Duration::from_micros(1_234_567),
                failure,
                sent_bytes: 120,
                active: 5,
            };
            recorder.add(&clock, &sample);
        }
        recorder.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "timestamp,elapsed,label,success,code,message,sent_bytes,active"
        );
        assert!(
            lines[1].ends_with(",1234.567,publish,true,,,120,5"),
            "{text}"
        );
        assert!(
            lines[2]
                .ends_with(",1234.567,publish,false,Timeout,\"no answer, \"\"really\"\"\",120,5"),
            "{text}"
        );
    }

    #[test]
    fn a_full_disk_is_reported() {
        let recorder = Recorder::create(Path::new("/dev/full"));
        assert!(recorder.is_err());
    }
}
