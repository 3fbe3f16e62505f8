//! Failed samples by kind.

use crate::labels::{Names, OTHER};
use atq_api_spec::report::ErrorKind;

/// Kinds above this number are counted as one.
pub const MAX_KINDS: usize = 200;

/// Counts of errors by code and message.
#[derive(Debug, Default)]
pub struct Errors {
    kinds: Names<MAX_KINDS>,
    counts: Vec<u64>,
    scratch: Vec<u8>,
}

impl Errors {
    /// Counts errors of a kind.
    pub fn add(&mut self, code: &[u8], message: &[u8], count: u64) {
        let mut kind = std::mem::take(&mut self.scratch);
        kind.clear();
        kind.extend_from_slice(code);
        kind.push(0);
        kind.extend_from_slice(message);
        self.count(&kind, count);
        self.scratch = kind;
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        for (number, count) in other.counts.iter().enumerate() {
            self.count(other.kinds.bytes(number), *count);
        }
    }

    fn count(&mut self, kind: &[u8], count: u64) {
        let number = self.kinds.number(kind);
        if self.counts.len() <= number {
            self.counts.resize(number + 1, 0);
        }
        if let Some(counted) = self.counts.get_mut(number) {
            *counted += count;
        }
    }

    /// True if there were too many kinds.
    pub fn overflowed(&self) -> bool {
        self.kinds.overflowed()
    }

    /// The kinds, most frequent first.
    pub fn finish(self) -> Vec<ErrorKind> {
        let kinds = self.counts.iter().enumerate().map(|(number, count)| {
            let name = self.kinds.name(number);
            let (code, message) = name.split_once('\0').unwrap_or((OTHER, ""));
            ErrorKind {
                code: code.to_owned(),
                message: message.to_owned(),
                count: *count,
            }
        });
        let mut kinds: Vec<ErrorKind> = kinds.collect();
        kinds.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.code.cmp(&b.code)));
        kinds
    }
}
