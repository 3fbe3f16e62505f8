//! Names that come again and again in the rows: labels, workers, kinds of errors.

use encoding_rs::WINDOWS_1252;
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// What the names beyond the cap are counted under.
pub const OTHER: &str = "(other)";
/// Longer names are cut: a file may hold anything.
const LONGEST: usize = 1000;

/// Numbers names in the order of their appearance, up to a cap.
#[derive(Debug)]
pub struct Names {
    numbers: HashMap<Box<[u8]>, usize, RandomState>,
    names: Vec<Box<[u8]>>,
    cap: usize,
    last: usize,
    other: Option<usize>,
}

impl Names {
    /// At most `cap` names, not counting [`OTHER`].
    pub fn new(cap: usize) -> Self {
        Self {
            numbers: HashMap::default(),
            names: Vec::new(),
            cap,
            last: 0,
            other: None,
        }
    }

    /// The number of a name.
    pub fn number(&mut self, name: &[u8]) -> usize {
        let name = name.get(..LONGEST).unwrap_or(name);
        // Rows of the same name often follow each other.
        if self
            .names
            .get(self.last)
            .is_some_and(|last| **last == *name)
        {
            return self.last;
        }
        self.last = match self.numbers.get(name) {
            Some(number) => *number,
            None => self.add(name),
        };
        self.last
    }

    fn add(&mut self, name: &[u8]) -> usize {
        if self.numbers.len() < self.cap {
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

    /// The number of a name that was seen.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there were more than the cap.
    pub fn overflowed(&self) -> bool {
        self.other.is_some()
    }

    /// The name of a number; empty when there is none.
    pub fn bytes(&self, number: usize) -> &[u8] {
        self.names.get(number).map_or(&b""[..], |name| name)
    }

    /// The name of a number, as text. What is no UTF-8 is taken for the encoding of Western Windows.
    pub fn name(&self, number: usize) -> String {
        let bytes = self.bytes(number);
        match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            // A name that was cut within a character is none of these.
            Err(_) if bytes.len() >= LONGEST => String::from_utf8_lossy(bytes).into_owned(),
            Err(_) => WINDOWS_1252
                .decode_without_bom_handling(bytes)
                .0
                .into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_cap_share_one_number() {
        let mut names = Names::new(2);
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
        let mut names = Names::new(10);
        let long = vec![b'x'; 5000];
        assert_eq!(names.number(&long), 0);
        names.number(b"y");
        assert_eq!(names.number(&long), 0);
        assert_eq!(names.name(0).len(), LONGEST);
    }
}
