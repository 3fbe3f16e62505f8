//! Splits XML into tags and text as a stream. The content of tags is parsed by
//! [`quick_xml`].
//!
//! Only the parts needed for result files are kept: comments and text, which may be whole
//! responses, are passed on in pieces and not collected.

use memchr::{memchr, memchr2, memmem};

/// Maximum length of a tag in bytes. The message of a failed sample may be long.
const MAX_TAG: usize = 4 * 1024 * 1024;

/// A piece of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The content between `<` and `>`.
    Tag(&'a [u8]),
    /// Text between tags, or a part of it.
    Text(&'a [u8]),
    /// CDATA text, or a part of it.
    Data(&'a [u8]),
    /// An incomplete tag: another one starts inside of it, or it is too long.
    BrokenTag,
}

/// The position of the next byte.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After `<`.
    Tag,
    Comment,
    Data,
    /// In a tag above the maximum length, whose rest is skipped.
    Skipping,
}

/// Splits bytes, pushed in chunks of any size, into pieces.
#[derive(Debug, Default)]
pub struct Tags {
    state: State,
    /// The open tag, or the bytes that may start the end of a comment or CDATA.
    kept: Vec<u8>,
    /// The open quote in the tag, and the position up to which the tag was scanned.
    quote: Option<u8>,
    seen: usize,
}

impl Tags {
    /// The bytes of memory for an incomplete tag.
    pub fn memory(&self) -> usize {
        self.kept.capacity()
    }

    /// Adds the next bytes, and calls `each` with each complete piece.
    pub fn push(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Text => self.text(bytes, each),
                State::Tag => self.tag(bytes, each),
                State::Comment => self.until(b"-->", bytes, &mut |_| {}),
                State::Data => self.until(b"]]>", bytes, &mut |data| each(Piece::Data(data))),
                State::Skipping => self.skip(bytes),
            };
        }
    }

    /// True if the file ends between two pieces.
    pub fn is_complete(&self) -> bool {
        self.state == State::Text
    }

    fn text<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let end = memchr(b'<', bytes).unwrap_or(bytes.len());
        if end > 0 {
            each(Piece::Text(&bytes[..end]));
        }
        match bytes.get(end + 1..) {
            Some(rest) => {
                self.begin(State::Tag);
                rest
            }
            None => &[],
        }
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.kept.clear();
        self.quote = None;
        self.seen = 0;
    }

    fn tag<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let room = MAX_TAG.saturating_sub(self.kept.len());
        let before = self.kept.len();
        // Only the tag is copied, unless there is a `>` inside quotes.
        let next = memchr(b'>', bytes).map_or(bytes.len(), |end| end + 1);
        let taken = next.min(room);
        self.kept.extend_from_slice(&bytes[..taken]);
        match self.find_end() {
            End::Tag(end) => {
                each(Piece::Tag(&self.kept[..end]));
                self.begin(State::Text);
                &bytes[end + 1 - before..]
            }
            End::Comment(begin) | End::Data(begin) => {
                let data = self.kept.starts_with(b"![");
                self.begin(if data { State::Data } else { State::Comment });
                // Its start may be in earlier bytes.
                &bytes[begin.saturating_sub(before)..]
            }
            End::Another(at) => {
                each(Piece::BrokenTag);
                self.begin(State::Tag);
                &bytes[at + 1 - before..]
            }
            End::Open if self.kept.len() >= MAX_TAG => {
                each(Piece::BrokenTag);
                self.begin(State::Skipping);
                &bytes[taken..]
            }
            End::Open => &bytes[taken..],
        }
    }

    /// Searches the unscanned bytes for the end of the tag.
    fn find_end(&mut self) -> End {
        const COMMENT: &[u8] = b"!--";
        const DATA: &[u8] = b"![CDATA[";
        if self.kept.starts_with(COMMENT) {
            return End::Comment(COMMENT.len());
        }
        if self.kept.starts_with(DATA) {
            return End::Data(DATA.len());
        }
        let may_be = |mark: &[u8]| mark.starts_with(&self.kept);
        if may_be(COMMENT) || may_be(DATA) {
            return End::Open;
        }
        while let Some(rest) = self.kept.get(self.seen..).filter(|rest| !rest.is_empty()) {
            let found = match self.quote {
                // `<` is invalid in a value: the file was truncated and another one follows.
                Some(quote) => memchr2(quote, b'<', rest),
                None => rest
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b'\'' | b'>' | b'<')),
            };
            let Some(at) = found.map(|at| self.seen + at) else {
                self.seen = self.kept.len();
                break;
            };
            self.seen = at + 1;
            match self.kept[at] {
                b'<' => return End::Another(at),
                b'>' => return End::Tag(at),
                quote if self.quote == Some(quote) => self.quote = None,
                quote => self.quote = Some(quote),
            }
        }
        End::Open
    }

    /// Skips bytes until an end mark, which may be split over several chunks.
    fn until<'a>(
        &mut self,
        mark: &[u8; 3],
        bytes: &'a [u8],
        each: &mut impl FnMut(&[u8]),
    ) -> &'a [u8] {
        let before = self.kept.len();
        if before > 0 {
            // The end mark may have started in earlier bytes.
            let some = bytes.len().min(2);
            self.kept.extend_from_slice(&bytes[..some]);
            if let Some(at) = memmem::find(&self.kept, mark) {
                each(&self.kept[..at]);
                let used = (at + mark.len()).saturating_sub(before);
                self.begin(State::Text);
                return &bytes[used..];
            }
            if bytes.len() <= 2 {
                let keep = self.kept.len().min(2);
                let passed = self.kept.len() - keep;
                each(&self.kept[..passed]);
                self.kept.drain(..passed);
                return &[];
            }
            each(&self.kept[..before]);
            self.kept.clear();
        }
        if let Some(at) = memmem::find(bytes, mark) {
            each(&bytes[..at]);
            self.begin(State::Text);
            return &bytes[at + mark.len()..];
        }
        let passed = bytes.len().saturating_sub(2);
        each(&bytes[..passed]);
        self.kept.extend_from_slice(&bytes[passed..]);
        &[]
    }

    fn skip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match memchr2(b'>', b'<', bytes) {
            Some(end) if bytes[end] == b'>' => {
                self.begin(State::Text);
                &bytes[end + 1..]
            }
            Some(end) => {
                self.begin(State::Tag);
                &bytes[end + 1..]
            }
            None => &[],
        }
    }
}

enum End {
    /// The tag ends at this byte.
    Tag(usize),
    /// A comment that starts at this byte.
    Comment(usize),
    /// CDATA that starts at this byte.
    Data(usize),
    /// Another tag starts at this byte.
    Another(usize),
    /// More bytes are needed.
    Open,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(portions: &[&[u8]]) -> Vec<(char, String)> {
        let mut tags = Tags::default();
        let mut found: Vec<(char, String)> = Vec::new();
        for portion in portions {
            tags.push(portion, &mut |piece| {
                let (kind, text) = match piece {
                    Piece::Tag(text) => ('<', text),
                    Piece::Text(text) => ('t', text),
                    Piece::Data(text) => ('d', text),
                    Piece::BrokenTag => ('!', &b""[..]),
                };
                let text = String::from_utf8_lossy(text).into_owned();
                match found.last_mut() {
                    // Text may be split.
                    Some((last, before)) if *last == kind && "td".contains(kind) => {
                        before.push_str(&text)
                    }
                    _ if text.is_empty() && "td".contains(kind) => {}
                    _ => found.push((kind, text)),
                }
            });
        }
        found
    }

    #[test]
    fn tags_comments_and_data_are_distinguished() {
        let text = b"<a b=\"x>y\">t<!-- <c> -- --><![CDATA[<d>]]]]><e/>u<f g=\"h<i j='k'>";
        let found = pieces(&[text]);
        let found: Vec<(char, &str)> = found
            .iter()
            .map(|(kind, text)| (*kind, text.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ('<', "a b=\"x>y\""),
                ('t', "t"),
                ('d', "<d>]]"),
                ('<', "e/"),
                ('t', "u"),
                ('!', ""),
                ('<', "i j='k'"),
            ]
        );
    }

    proptest! {
        #[test]
        fn pieces_do_not_depend_on_how_the_bytes_are_split(
            parts in prop::collection::vec(
                prop::sample::select(vec!["<a>", "<b c=\"d\"/>", "<!--", "-->", "<![CDATA[", "]]>", "-", "]", "<!", "x", "<", ">", "\"", "<!-", "<![CD"]),
                0..30,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let text = parts.concat();
            let text = text.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let portions: Vec<&[u8]> = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(pieces(&portions), pieces(&[text]));
        }
    }
}
