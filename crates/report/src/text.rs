//! Converts text in other encodings to UTF-8 as a stream: UTF-16, as written by Windows PowerShell, and the encoding
//! declared by an XML file. Everything else is passed on unchanged, even if it is not text.

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_16BE, UTF_16LE};
use memchr::memmem;

/// Maximum position of the end of an XML declaration in bytes.
const MAX_DECLARATION: usize = 512;
/// Bytes of UTF-8 passed on at once.
const CHUNK_BYTES: usize = 32 * 1024;

/// Converts text to UTF-8.
#[derive(Debug)]
pub enum ToUtf8 {
    /// Not enough bytes to decide.
    Unknown(Vec<u8>),
    /// UTF-8, or not text.
    AsItIs,
    /// Another encoding.
    Other(Box<Other>),
}

/// Text in another encoding than UTF-8.
pub struct Other {
    decoder: Decoder,
    text: Vec<u8>,
}

impl std::fmt::Debug for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Other({})", self.decoder.encoding().name())
    }
}

impl Default for ToUtf8 {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

impl ToUtf8 {
    /// Adds the next bytes, and passes on the converted text.
    pub fn push(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) {
        match self {
            Self::AsItIs => each(bytes),
            Self::Other(other) => other.push(bytes, false, each),
            Self::Unknown(head) => {
                head.extend_from_slice(bytes);
                if is_enough(head) {
                    self.decide(each);
                }
            }
        }
    }

    /// Ends the file.
    pub fn finish(&mut self, each: &mut impl FnMut(&[u8])) {
        if matches!(self, Self::Unknown(_)) {
            self.decide(each);
        }
        if let Self::Other(other) = self {
            other.push(b"", true, each);
        }
    }

    fn decide(&mut self, each: &mut impl FnMut(&[u8])) {
        let Self::Unknown(head) = self else { return };
        let head = std::mem::take(head);
        *self = match encoding(&head) {
            None => Self::AsItIs,
            Some(encoding) => Self::Other(Box::new(Other {
                decoder: encoding.new_decoder_with_bom_removal(),
                text: vec![0; CHUNK_BYTES],
            })),
        };
        self.push(&head, each);
    }
}

impl Other {
    fn push(&mut self, mut bytes: &[u8], last: bool, each: &mut impl FnMut(&[u8])) {
        loop {
            let (result, read, written, _) =
                self.decoder.decode_to_utf8(bytes, &mut self.text, last);
            bytes = &bytes[read..];
            each(&self.text[..written]);
            if result == CoderResult::InputEmpty {
                return;
            }
        }
    }
}

fn is_enough(head: &[u8]) -> bool {
    let is_xml = head.starts_with(b"<?xml");
    let declared = memmem::find(head, b"?>").is_some() || head.len() >= MAX_DECLARATION;
    head.len() >= 5 && (!is_xml || declared)
}

/// The encoding of a file that starts with `head`; `None`: UTF-8, or not text.
fn encoding(head: &[u8]) -> Option<&'static Encoding> {
    match head {
        [0xff, 0xfe, ..] => Some(UTF_16LE),
        [0xfe, 0xff, ..] => Some(UTF_16BE),
        // Without a byte order mark: every second byte of ASCII text is zero.
        [a, 0, b, 0, ..] if is_plain(*a) && is_plain(*b) => Some(UTF_16LE),
        [0, a, 0, b, ..] if is_plain(*a) && is_plain(*b) => Some(UTF_16BE),
        _ => declared(head),
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// The encoding declared by `<?xml ... encoding="..."?>`.
fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let end = memmem::find(head, b"?>").filter(|_| head.starts_with(b"<?xml"))?;
    let declaration = &head[..end];
    let at = memmem::find(declaration, b"encoding=")?;
    let value = &declaration[at + b"encoding=".len()..];
    let (quote, value) = value.split_first()?;
    let label = value.split(|byte| byte == quote).next()?;
    Encoding::for_label(label)
        // A readable declaration rules out these encodings.
        .filter(|found| ![encoding_rs::UTF_8, UTF_16LE, UTF_16BE].contains(found))
}
