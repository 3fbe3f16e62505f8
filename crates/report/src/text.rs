//! Text in other encodings to UTF-8, as its bytes come: UTF-16, which Windows PowerShell writes, and what
//! an XML file declares. Everything else is passed on as it is, also what is no text.

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_16BE, UTF_16LE};
use memchr::memmem;

/// Bytes in which the declaration of an XML file ends.
const DECLARATION: usize = 512;
/// UTF-8 that is handed on at once, in bytes.
const PORTION: usize = 32 * 1024;

/// Turns text into UTF-8.
#[derive(Debug)]
pub enum ToUtf8 {
    /// Too little was seen.
    Unknown(Vec<u8>),
    /// It is UTF-8, or no text.
    AsItIs,
    /// It is in another encoding.
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
    /// Takes the next bytes, and hands on their text.
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

    /// The file is over.
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
                text: vec![0; PORTION],
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
    let declared = memmem::find(head, b"?>").is_some() || head.len() >= DECLARATION;
    head.len() >= 5 && (!is_xml || declared)
}

/// The encoding of a file that begins like this; none: UTF-8, or no text.
fn encoding(head: &[u8]) -> Option<&'static Encoding> {
    match head {
        [0xff, 0xfe, ..] => Some(UTF_16LE),
        [0xfe, 0xff, ..] => Some(UTF_16BE),
        // Without a mark: every second byte of plain characters is zero.
        [a, 0, b, 0, ..] if is_plain(*a) && is_plain(*b) => Some(UTF_16LE),
        [0, a, 0, b, ..] if is_plain(*a) && is_plain(*b) => Some(UTF_16BE),
        _ => declared(head),
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// What `<?xml ... encoding="..."?>` says.
fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let end = memmem::find(head, b"?>").filter(|_| head.starts_with(b"<?xml"))?;
    let declaration = &head[..end];
    let at = memmem::find(declaration, b"encoding=")?;
    let value = &declaration[at + b"encoding=".len()..];
    let (quote, value) = value.split_first()?;
    let label = value.split(|byte| byte == quote).next()?;
    Encoding::for_label(label)
        // A file that can be read up to here is in none of these.
        .filter(|found| ![encoding_rs::UTF_8, UTF_16LE, UTF_16BE].contains(found))
}
