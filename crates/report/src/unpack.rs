//! Decompresses gzip files as a stream.

use flate2::write::MultiGzDecoder;
use std::io::Write;

const MAGIC: &[u8] = b"\x1f\x8b";
/// Compressed bytes per step: they may expand a thousandfold.
const CHUNK_BYTES: usize = 1024;

/// Decompresses gzip, and passes on other data unchanged.
#[derive(Debug)]
pub enum Unpack {
    /// Not enough bytes to decide.
    Unknown(Vec<u8>),
    /// Not compressed.
    Plain,
    /// Compressed.
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// Decompression failed for this reason.
    Broken(String),
}

impl Default for Unpack {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

impl Unpack {
    /// Adds the next bytes of the file, and passes on the decompressed ones.
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
                for portion in bytes.chunks(CHUNK_BYTES) {
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

    /// Ends the file.
    ///
    /// # Errors
    /// The reason why the file could not be decompressed completely.
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
                ended.map_err(|error| format!("its gzip data is truncated: {error}"))
            }
        }
    }
}
