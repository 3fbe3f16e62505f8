//! Splits a JSON object into its members, and one list in it into its entries, as a stream, so
//! that documents of any length can be read.

/// Maximum length of a member or entry in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The name of the list to be split.
const LIST: &[u8] = b"details";

/// A part of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The name of a member, and its value as JSON.
    Member(&'a [u8], &'a [u8]),
    /// An entry of the list as JSON.
    Entry(&'a [u8]),
    /// An entry of the list above the maximum length.
    LongEntry,
    /// The name of a member above the maximum length.
    LongMember(&'a [u8]),
}

/// Splits a document into members.
#[derive(Debug, Default)]
pub struct Members {
    name: Vec<u8>,
    value: Vec<u8>,
    is_long: bool,
    /// Number of open braces and brackets.
    depth: usize,
    in_list: bool,
    in_string: bool,
    escaped: bool,
    has_name: bool,
    /// True if the document is complete.
    pub is_complete: bool,
    /// True if content follows the document.
    pub has_more: bool,
}

impl Members {
    /// Adds the next bytes, and calls `each` with each complete piece.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Piece<'_>)) {
        for byte in bytes {
            self.take(*byte, &mut each);
        }
    }

    /// True if the bytes ended within an entry of the list.
    pub fn is_in_entry(&self) -> bool {
        self.in_list && (!self.value.is_empty() || self.is_long)
    }

    fn take(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) {
        if self.in_string {
            self.keep(byte);
            let escaped = std::mem::replace(&mut self.escaped, false);
            match byte {
                b'\\' if !escaped => self.escaped = true,
                b'"' if !escaped => self.in_string = false,
                _ => {}
            }
            return;
        }
        if byte.is_ascii_whitespace() {
            return;
        }
        if self.is_complete {
            self.has_more = true;
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.keep(byte);
            }
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => self.close(byte, each),
            b',' if self.is_between() => self.pass_on(each),
            b':' if self.depth == 1 && !self.has_name => self.end_name(),
            _ => self.keep(byte),
        }
    }

    /// True between members, or between entries of the list.
    fn is_between(&self) -> bool {
        self.depth == if self.in_list { 2 } else { 1 }
    }

    fn keep(&mut self, byte: u8) {
        // Bytes before the document are ignored.
        if self.depth == 0 || self.is_long {
            return;
        }
        if self.value.len() >= MAX_BYTES {
            self.is_long = true;
            self.value = Vec::new();
            return;
        }
        self.value.push(byte);
    }

    fn open(&mut self, byte: u8) {
        let is_list = byte == b'[' && self.depth == 1 && self.has_name && self.value.is_empty();
        if is_list && self.name == LIST {
            self.in_list = true;
        } else {
            self.keep(byte);
        }
        self.depth += 1;
    }

    fn close(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) {
        if self.is_between() {
            self.pass_on(each);
        } else {
            self.keep(byte);
        }
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 1 && self.in_list {
            self.in_list = false;
            self.has_name = false;
        }
        self.is_complete = self.depth == 0;
    }

    fn end_name(&mut self) {
        let name = self.value.strip_prefix(b"\"").unwrap_or(&self.value);
        let name = name.strip_suffix(b"\"").unwrap_or(name);
        self.name = name.to_vec();
        self.value.clear();
        self.is_long = false;
        self.has_name = true;
    }

    fn pass_on(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        let is_long = std::mem::take(&mut self.is_long);
        match (self.in_list, is_long, self.value.is_empty()) {
            (true, true, _) => each(Piece::LongEntry),
            (false, true, _) => each(Piece::LongMember(&self.name)),
            (_, false, true) => {}
            (true, false, false) => each(Piece::Entry(&self.value)),
            (false, false, false) => each(Piece::Member(&self.name, &self.value)),
        }
        self.value.clear();
        self.has_name &= self.in_list;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, portion: usize) -> (Vec<String>, bool) {
        let (mut members, mut found) = (Members::default(), Vec::new());
        for bytes in text.as_bytes().chunks(portion) {
            members.push(bytes, |piece| {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                found.push(match piece {
                    Piece::Member(name, value) => format!("{}={}", text(name), text(value)),
                    Piece::Entry(value) => text(value),
                    Piece::LongEntry => "long".to_owned(),
                    Piece::LongMember(name) => format!("{} is long", text(name)),
                });
            });
        }
        (found, members.is_complete)
    }

    #[test]
    fn members_and_entries_are_found_in_chunks_of_any_size() {
        let text = "{ \"a\": 1, \"b\":{\"details\":[1,{\"x\":\"}],\\\"\"}]},\n \"details\" : [ {\"t\": [1, 2]}, \"a,b\", 3 ], \"c\":null, \"d\":[1,2]}\n";
        let wanted = [
            "a=1",
            "b={\"details\":[1,{\"x\":\"}],\\\"\"}]}",
            "{\"t\":[1,2]}",
            "\"a,b\"",
            "3",
            "c=null",
            "d=[1,2]",
        ];
        for portion in [1, 2, 7, 1000] {
            let (found, complete) = pieces(text, portion);
            assert_eq!(found, wanted);
            assert!(complete);
        }
        assert!(!pieces(&text[..text.len() - 3], 3).1);
        assert_eq!(pieces("{\"details\":[],\"a\":1}", 1).0, ["a=1"]);
        assert_eq!(pieces("{\"details\":null}", 1).0, ["details=null"]);
    }

    #[test]
    fn long_values_are_skipped() {
        let long = "x".repeat(MAX_BYTES);
        let text = format!("{{\"a\":\"{long}\",\"details\":[\"{long}\",1],\"b\":2}}");
        assert_eq!(pieces(&text, 1000).0, ["a is long", "long", "1", "b=2"]);
    }
}
