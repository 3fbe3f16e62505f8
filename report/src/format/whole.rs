//! Files that are read when all of them is there: documents in JSON, which tools write at their end.

use super::{Decoder, numbers};
use crate::file::FileTally;

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
