//! One result file: from bytes as they come to figures.
//!
//! ```text
//! bytes -> unpacked (gzip) -> UTF-8 -> what format? -> decoder -> FileTally
//! ```

use crate::errors::Errors;
use crate::fingerprint::{Fingerprint, Growing};
use crate::format::{Decoder, Detected, Format, HEAD, detect};
use crate::found::Found;
use crate::sample::Sample;
use crate::samples::Samples;
use crate::summary::{History, Summary};
use crate::text::ToUtf8;
use crate::unpack::Unpack;
use crate::windows::Window;

/// What one file has told so far.
#[derive(Debug)]
pub struct FileTally {
    worker: String,
    pub(crate) samples: Samples,
    pub(crate) found: Found,
    pub(crate) summary: Option<Summary>,
    pub(crate) summary_errors: Errors,
    pub(crate) history: History,
    pub(crate) notes: Vec<String>,
    fingerprint: Growing,
    /// Whether its times count from the start of the test instead of 1970.
    pub(crate) has_relative_times: bool,
}

impl FileTally {
    fn new(worker: &str, windows: &[Window]) -> Self {
        Self {
            worker: worker.to_owned(),
            samples: Samples::new(windows),
            found: Found::default(),
            summary: None,
            summary_errors: Errors::default(),
            history: History::default(),
            notes: Vec::new(),
            fingerprint: Growing::default(),
            has_relative_times: false,
        }
    }

    /// The worker whose file it is; may be empty.
    pub(crate) fn worker(&self) -> &str {
        &self.worker
    }

    /// Adds a sample; one without a worker is of the worker whose file it is.
    pub(crate) fn add(&mut self, sample: &Sample<'_>) {
        let worker = match sample.worker {
            b"" => self.worker.as_bytes(),
            named => named,
        };
        self.found.samples += sample.samples;
        self.found.rows += 1;
        let label = self.samples.add(&Sample { worker, ..*sample });
        // A copy has the same samples whatever container it is in.
        self.fingerprint.add(sample, label);
    }

    /// Notes how many users were active at a time, in microseconds since 1970.
    pub(crate) fn active(&mut self, at: u64, users: u32) {
        self.samples.active(at, self.worker.as_bytes(), users);
    }

    /// An empty one for other samples of the same file.
    pub(crate) fn alike(&self) -> Self {
        Self::new(&self.worker, self.samples.windows())
    }

    /// Takes over the samples of another one.
    pub(crate) fn take_samples(&mut self, other: Self) {
        self.found.samples += other.found.samples;
        self.samples.merge(&other.samples);
        self.fingerprint = other.fingerprint;
    }

    /// Adds a note, once.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }
}

/// A result file that is read as its bytes come.
///
/// The figures do not depend on how the bytes are split.
#[derive(Debug)]
pub struct ResultFile {
    name: String,
    unpack: Unpack,
    to_utf8: ToUtf8,
    stage: Stage,
    tally: FileTally,
}

#[derive(Debug)]
enum Stage {
    /// The beginning, of which the format is not known yet.
    Head(Vec<u8>),
    /// Results.
    Reading(Format, Box<dyn Decoder>),
    /// It is something else.
    Other,
}

/// A file that was read to its end.
#[derive(Debug)]
pub struct FinishedFile {
    /// How the report calls it.
    pub(crate) name: String,
    /// None: it is something else, or cannot be read.
    pub(crate) format: Option<Format>,
    pub(crate) tally: FileTally,
    pub(crate) fingerprint: Fingerprint,
    /// Why its figures are in doubt.
    pub(crate) problem: Option<String>,
}

impl ResultFile {
    /// A file that the report calls `name`; `worker` names the worker whose file it is, for rows that do
    /// not say so themselves.
    pub fn new(name: &str, worker: Option<&str>, windows: &[Window]) -> Self {
        Self {
            name: name.to_owned(),
            unpack: Unpack::default(),
            to_utf8: ToUtf8::default(),
            stage: Stage::Head(Vec::new()),
            tally: FileTally::new(worker.unwrap_or_default(), windows),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self {
            name,
            unpack,
            to_utf8,
            stage,
            tally,
        } = self;
        unpack.push(bytes, &mut |bytes| {
            to_utf8.push(bytes, &mut |text| stage.push(text, name, tally));
        });
    }

    /// Whether the rest of the file need not be read.
    pub fn is_other(&self) -> bool {
        matches!(self.stage, Stage::Other)
    }

    /// How many samples were read so far.
    pub fn samples(&self) -> u64 {
        self.tally.found.samples
    }

    /// The file is over; `failed`: it could not be read to its end, for this reason.
    pub fn finish(mut self, failed: Option<&str>) -> FinishedFile {
        let Self {
            name,
            unpack,
            to_utf8,
            stage,
            tally,
        } = &mut self;
        let packed = unpack.finish(&mut |bytes| {
            to_utf8.push(bytes, &mut |text| stage.push(text, name, tally));
        });
        to_utf8.finish(&mut |text| stage.push(text, name, tally));
        stage.finish(name, tally);
        let format = match stage {
            Stage::Reading(format, _) => Some(*format),
            _ => None,
        };
        self.finished(format, packed.err(), failed)
    }

    fn finished(
        mut self,
        format: Option<Format>,
        packed: Option<String>,
        failed: Option<&str>,
    ) -> FinishedFile {
        let found = &self.tally.found;
        // What is no result file may be packed as it likes.
        let packed = packed.filter(|_| format.is_some() || found.wrong.is_some());
        let failed =
            failed.map(|why| format!("reading ended after {} samples: {why}", found.samples));
        let problems: Vec<String> = [failed, packed, found.problem()]
            .into_iter()
            .flatten()
            .collect();
        self.tally.samples.compact();
        FinishedFile {
            name: self.name,
            format,
            fingerprint: std::mem::take(&mut self.tally.fingerprint).finish(),
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
            tally: self.tally,
        }
    }
}

impl Stage {
    fn push(&mut self, text: &[u8], name: &str, tally: &mut FileTally) {
        match self {
            Self::Other => {}
            Self::Reading(_, decoder) => decoder.push(text, tally),
            Self::Head(head) => {
                // The answer must not depend on how much comes at once.
                let room = HEAD.saturating_sub(head.len()).min(text.len());
                let (text, rest) = text.split_at(room);
                head.extend_from_slice(text);
                self.detect(name, false, tally);
                if !rest.is_empty() {
                    self.push(rest, name, tally);
                }
            }
        }
    }

    fn detect(&mut self, name: &str, whole: bool, tally: &mut FileTally) {
        let Self::Head(head) = self else { return };
        *self = match detect(name, head, whole) {
            Detected::Undecided => return,
            Detected::Other => Self::Other,
            Detected::Unreadable(why) => {
                tally.found.wrong = Some(why);
                Self::Other
            }
            Detected::Results(format) => {
                let mut decoder = format.decoder(head);
                decoder.push(head, tally);
                Self::Reading(format, decoder)
            }
        };
    }

    fn finish(&mut self, name: &str, tally: &mut FileTally) {
        self.detect(name, true, tally);
        if let Self::Reading(_, decoder) = self {
            decoder.finish(tally);
        }
    }
}
