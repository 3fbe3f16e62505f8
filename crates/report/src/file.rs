//! Reads one result file as a stream.
//!
//! ```text
//! bytes -> decompression (gzip) -> UTF-8 -> format detection -> decoder -> FileTally
//! ```

use crate::file_tally::FileTally;
use crate::fingerprint::Fingerprint;
use crate::format::{Decoder, Detected, Format, HEAD, detect};
use crate::text::ToUtf8;
use crate::unpack::Unpack;
use crate::windows::Window;

/// A result file, read as a stream.
///
/// The figures do not depend on how the bytes are split into chunks.
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
    /// The beginning; the format is not known yet.
    Head(Vec<u8>),
    /// A result file.
    Reading(Format, Box<dyn Decoder>),
    /// Not a result file.
    Other,
}

/// A completely read file.
#[derive(Debug)]
pub struct FinishedFile {
    /// Its name in the report.
    pub(crate) name: String,
    /// `None`: not a result file, or unreadable.
    pub(crate) format: Option<Format>,
    pub(crate) tally: FileTally,
    pub(crate) fingerprint: Fingerprint,
    /// The problem that makes its figures doubtful.
    pub(crate) problem: Option<String>,
}

impl ResultFile {
    /// A file with `name` in the report; `worker` is the default worker of
    /// its rows.
    pub fn new(name: &str, worker: Option<&str>, windows: &[Window]) -> Self {
        Self {
            name: name.to_owned(),
            unpack: Unpack::default(),
            to_utf8: ToUtf8::default(),
            stage: Stage::Head(Vec::new()),
            tally: FileTally::new(worker.unwrap_or_default(), windows),
        }
    }

    /// A file that is followed during a run.
    pub(crate) fn followed(name: &str, worker: Option<&str>, windows: &[Window]) -> Self {
        let mut file = Self::new(name, worker, windows);
        file.tally.follow();
        file
    }

    /// The format; `None`: not known yet, or not a result file.
    pub(crate) fn format(&self) -> Option<Format> {
        match self.stage {
            Stage::Reading(format, _) => Some(format),
            _ => None,
        }
    }

    /// The figures so far.
    pub(crate) fn tally(&self) -> &FileTally {
        &self.tally
    }

    pub(crate) fn tally_mut(&mut self) -> &mut FileTally {
        &mut self.tally
    }

    /// The samples that count so far, unless the rest of the file has better ones.
    pub(crate) fn so_far(&self) -> &FileTally {
        let provisional = match &self.stage {
            Stage::Reading(_, decoder) => decoder.provisional(),
            _ => None,
        };
        provisional.unwrap_or(&self.tally)
    }

    /// The problem of the part so far.
    pub(crate) fn problem(&self) -> Option<String> {
        let unpacked = match &self.unpack {
            Unpack::Broken(why) => Some(why.clone()),
            _ => None,
        };
        unpacked.or_else(|| self.tally.found.problem())
    }

    /// An estimate of its memory in bytes.
    pub(crate) fn memory(&self) -> usize {
        let reading = match &self.stage {
            Stage::Head(head) => head.capacity(),
            Stage::Reading(_, decoder) => {
                let provisional = decoder.provisional().map_or(0, FileTally::memory);
                decoder.memory() + provisional
            }
            Stage::Other => 0,
        };
        reading + self.tally.memory()
    }

    /// Adds the next bytes.
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

    /// True if the rest of the file need not be read.
    pub fn is_other(&self) -> bool {
        matches!(self.stage, Stage::Other)
    }

    /// The number of samples read so far.
    pub fn samples(&self) -> u64 {
        self.tally.found.samples
    }

    /// Ends the file; `failed` is the reason if it could not be read completely.
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
        // Decompression errors do not matter for other files.
        let packed = packed.filter(|_| format.is_some() || found.wrong.is_some());
        let samples = found.samples;
        let failed = failed.map(|why| format!("reading ended after {samples} samples: {why}"));
        let problems = [failed, packed, found.problem()].into_iter().flatten();
        let problems: Vec<String> = problems.collect();
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
                // Detection must not depend on the chunk size.
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
