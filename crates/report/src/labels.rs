//! Names that occur repeatedly: labels, workers, kinds of errors.

use encoding_rs::WINDOWS_1252;
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// The name under which names above the cap are counted.
pub const OTHER: &str = "(other)";
/// Maximum length; longer names are truncated, because a file may contain anything.
const MAX_BYTES: usize = 1000;

/// Numbers names in order of appearance: at most `CAP`, not counting [`OTHER`].
#[derive(Debug, Default)]
pub struct Names<const CAP: usize> {
    numbers: HashMap<Box<[u8]>, usize, RandomState>,
    names: Vec<Box<[u8]>>,
    last: usize,
    other: Option<usize>,
}

impl<const CAP: usize> Names<CAP> {
    /// The number of a name.
    pub fn number(&mut self, name: &[u8]) -> usize {
        let name = name.get(..MAX_BYTES).unwrap_or(name);
        // Consecutive rows often have the same name.
        let last = self.names.get(self.last);
        if last.is_some_and(|last| **last == *name) {
            return self.last;
        }
        self.last = match self.numbers.get(name) {
            Some(number) => *number,
            None => self.add(name),
        };
        self.last
    }

    fn add(&mut self, name: &[u8]) -> usize {
        if self.numbers.len() < CAP {
            let number = self.push(name);
            self.numbers.insert(name.into(), number);
            return number;
        }
        if let Some(other) = self.other {
            return other;
        }
        let other = self.push(OTHER.as_bytes());
        *self.other.insert(other)
    }

    fn push(&mut self, name: &[u8]) -> usize {
        self.names.push(name.into());
        self.names.len() - 1
    }

    /// The number of a known name.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// True if there were more names than the cap.
    pub fn overflowed(&self) -> bool {
        self.other.is_some()
    }

    /// The name of a number; empty if unknown.
    pub fn bytes(&self, number: usize) -> &[u8] {
        self.names.get(number).map_or(&b""[..], |name| name)
    }

    /// The name of a number as text. If it is not UTF-8, it is decoded as Windows-1252.
    pub fn name(&self, number: usize) -> String {
        let bytes = self.bytes(number);
        match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            // A name truncated within a character is not valid UTF-8.
            Err(_) if bytes.len() >= MAX_BYTES => String::from_utf8_lossy(bytes).into_owned(),
            Err(_) => {
                let (text, _) = WINDOWS_1252.decode_without_bom_handling(bytes);
                text.into_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_cap_share_one_number() {
        let mut names = Names::<2>::default();
        let numbers: Vec<usize> = ["a", "b", "a", "c", "d", "b", "c"]
            .iter()
            .map(|name| names.number(name.as_bytes()))
            .collect();
        assert_eq!(numbers, [0, 1, 0, 2, 2, 1, 2]);
        assert_eq!((names.name(1), names.name(2)), ("b".into(), OTHER.into()));
        assert!(names.overflowed());
    }

    #[test]
    fn long_names_are_cut_and_still_found() {
        let mut names = Names::<10>::default();
        let long = vec![b'x'; 5000];
        assert_eq!(names.number(&long), 0);
        names.number(b"y");
        assert_eq!(names.number(&long), 0);
        assert_eq!(names.name(0).len(), MAX_BYTES);
    }
}
