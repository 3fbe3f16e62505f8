//! Files that are packed by gzip, unpacked as their bytes come.

use flate2::write::MultiGzDecoder;
use std::io::Write;

const MAGIC: &[u8] = b"\x1f\x8b";
/// Packed bytes that are unpacked at once: they may become a thousand times as many.
const PORTION: usize = 1024;

/// Unpacks gzip, and passes on everything else as it is.
#[derive(Debug)]
pub enum Unpack {
    /// Too little was seen.
    Unknown(Vec<u8>),
    /// Not packed.
    Plain,
    /// Packed.
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// The packed bytes are not sound, for this reason.
    Broken(String),
}

impl Default for Unpack {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

impl Unpack {
    /// Takes the next bytes of the file, and hands on what they become.
    pub fn push(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) {
        match self {
            Self::Plain => each(bytes),
            Self::Broken(_) => {}
            Self::Unknown(head) => {
                head.extend_from_slice(bytes);
                if head.len() >= MAGIC.len() {
                    let head = std::mem::take(head);
                    *self = match head.starts_with(MAGIC) {
                        true => Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
                        false => Self::Plain,
                    };
                    self.push(&head, each);
                }
            }
            Self::Gzip(gzip) => {
                for portion in bytes.chunks(PORTION) {
                    let written = gzip.write_all(portion);
                    each(gzip.get_ref());
                    gzip.get_mut().clear();
                    if let Err(error) = written {
                        *self = Self::Broken(format!("its gzip data cannot be unpacked: {error}"));
                        return;
                    }
                }
            }
        }
    }

    /// The file is over.
    ///
    /// # Errors
    /// Why not all of it could be unpacked.
    pub fn finish(&mut self, each: &mut impl FnMut(&[u8])) -> Result<(), String> {
        match self {
            Self::Plain => Ok(()),
            Self::Broken(why) => Err(why.clone()),
            Self::Unknown(head) => {
                each(head);
                Ok(())
            }
            Self::Gzip(gzip) => {
                let ended = gzip.try_finish();
                each(gzip.get_ref());
                ended.map_err(|error| format!("its gzip data ends early: {error}"))
            }
        }
    }
}
