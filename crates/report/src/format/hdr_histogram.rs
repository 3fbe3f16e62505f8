//! Decodes a histogram in a line of HdrHistogram's log: Base64 of a compressed histogram, version 2.
//!
//! `hdrhistogram::serialization` would allocate the size declared in the header, up to
//! gigabytes, and needs further crates for logs. This decoder allocates nothing beyond the line
//! itself, because buckets are passed on while they are decompressed.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::ZlibDecoder;
use std::io::{BufRead, BufReader, Read};

/// The magic numbers of the compressed and of the uncompressed histogram, without the word size.
const PACKED: u32 = 0x1c84_9304;
const UNPACKED: u32 = 0x1c84_9303;
/// The bits of the word size, which version 2 does not use.
const WORDS: u32 = 0xf0;
/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// Maximum number of bits of a value.
const BITS: u32 = 63;

/// Samples of almost the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The lowest value of the bucket.
    pub low: u64,
    /// The highest value of the bucket.
    pub high: u64,
    pub count: u64,
}

/// Calls `each` with the buckets of a Base64 histogram, from the lowest value to the highest, and returns the
/// number of significant digits.
///
/// # Errors
/// The reason why it cannot be decoded, possibly after some buckets were passed on.
pub fn decode(text: &[u8], each: impl FnMut(Bucket)) -> Result<(), &'static str> {
    let bytes = BASE64.decode(text).map_err(|_| "it is not Base64")?;
    let (header, packed) = bytes.split_first_chunk::<8>().ok_or(SHORT)?;
    let [a, b, c, d, e, f, g, h] = *header;
    if u32::from_be_bytes([a, b, c, d]) & !WORDS != PACKED {
        return Err("its encoding is not version 2 with whole numbers");
    }
    let length = usize::try_from(u32::from_be_bytes([e, f, g, h])).unwrap_or(usize::MAX);
    let packed = packed.get(..length).ok_or(SHORT)?;
    let mut bytes = BufReader::new(ZlibDecoder::new(packed));
    let (layout, length) = header_of(&mut bytes)?;
    counts(&layout, &mut (&mut bytes).take(length), each)?;
    // Reading to the end verifies the checksum.
    match bytes.fill_buf() {
        Ok([]) => Ok(()),
        Ok(_) => Err("it is longer than its header states"),
        Err(_) => Err(DAMAGED),
    }
}

const SHORT: &str = "it ends early";
const DAMAGED: &str = "its packed bytes are damaged";

/// The mapping from indices to values.
struct Layout {
    /// The unit of values, as a power of two.
    unit: u32,
    /// The number of parts in the upper half of a bucket, as a power of two.
    half: u32,
}

fn header_of(bytes: &mut impl Read) -> Result<(Layout, u64), &'static str> {
    let mut int = || word(bytes).map(u32::from_be_bytes);
    let (cookie, length, offset, digits) = (int()?, int()?, int()?, int()?);
    let lowest = u64::from_be_bytes(word(bytes)?);
    let _highest = u64::from_be_bytes(word(bytes)?);
    let ratio = f64::from_be_bytes(word(bytes)?);
    if cookie & !WORDS != UNPACKED || offset != 0 || ratio.to_bits() != 1.0_f64.to_bits() {
        return Err("its encoding is not version 2 with whole numbers");
    }
    let unit = lowest.checked_ilog2().ok_or("its lowest value is 0")?;
    let parts = match digits {
        0..=5 => (2 * 10_u32.pow(digits)).next_power_of_two(),
        _ => return Err("it has more than 5 digits"),
    };
    let half = parts.ilog2() - 1;
    if unit + half + 1 >= BITS {
        return Err("its lowest value is too high");
    }
    Ok((Layout { unit, half }, u64::from(length)))
}

fn word<const N: usize>(bytes: &mut impl Read) -> Result<[u8; N], &'static str> {
    let mut word = [0; N];
    bytes.read_exact(&mut word).map_err(|_| SHORT)?;
    Ok(word)
}

impl Layout {
    /// The bucket of an index; `None` if its values are too high.
    fn bucket(&self, index: u64, count: u64) -> Option<Bucket> {
        let (row, part) = (index >> self.half, index & ((1 << self.half) - 1));
        // The first two rows have the same resolution.
        let (row, part) = match row.checked_sub(1) {
            Some(row) => (row, part + (1 << self.half)),
            None => (0, part),
        };
        let shift = u32::try_from(row).ok()?.checked_add(self.unit)?;
        if shift + self.half + 1 > BITS {
            return None;
        }
        Some(Bucket {
            low: part << shift,
            high: (part << shift) + ((1 << shift) - 1),
            count,
        })
    }
}

/// Decodes counts of consecutive indices; a negative number -n stands for n zeros.
fn counts(
    layout: &Layout,
    bytes: &mut impl Read,
    mut each: impl FnMut(Bucket),
) -> Result<(), &'static str> {
    let mut index = 0_u64;
    while let Some(number) = zigzag(bytes)? {
        let count = u64::try_from(number).unwrap_or_default();
        // The index is checked for zeros, too, to limit the number of iterations.
        let bucket = layout.bucket(index, count);
        let bucket = bucket.ok_or("its values are too high")?;
        if count > 0 {
            each(bucket);
        }
        let step = if number < 0 { number.unsigned_abs() } else { 1 };
        index = index.checked_add(step).ok_or("its values are too high")?;
    }
    Ok(())
}

/// A variable-length number: up to 64 bits in up to nine bytes with seven bits each, eight in the ninth; `None` at the end.
fn zigzag(bytes: &mut impl Read) -> Result<Option<i64>, &'static str> {
    let mut number = 0_u64;
    for place in 0..9 {
        let mut byte = [0];
        match bytes.read(&mut byte) {
            Ok(0) if place == 0 => return Ok(None),
            Ok(0) => return Err(SHORT),
            Ok(_) => {}
            Err(_) => return Err(DAMAGED),
        }
        let byte = u64::from(byte[0]);
        let is_last = byte < 0x80 || place == 8;
        let bits = if place == 8 { byte } else { byte & 0x7f };
        number |= bits << (7 * place);
        if is_last {
            break;
        }
    }
    Ok(Some(
        (number >> 1).cast_signed() ^ -(number & 1).cast_signed(),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flate2::{Compression, write::ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn packed(digits: u32, lowest: u64, payload: &[u8]) -> String {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&(UNPACKED | 0x10).to_be_bytes()).unwrap();
        let length = u32::try_from(payload.len()).unwrap();
        zlib.write_all(&length.to_be_bytes()).unwrap();
        zlib.write_all(&[0; 4]).unwrap();
        zlib.write_all(&digits.to_be_bytes()).unwrap();
        zlib.write_all(&lowest.to_be_bytes()).unwrap();
        zlib.write_all(&1000_u64.to_be_bytes()).unwrap();
        zlib.write_all(&1.0_f64.to_be_bytes()).unwrap();
        zlib.write_all(payload).unwrap();
        let zlib = zlib.finish().unwrap();
        let mut bytes = (PACKED | 0x10).to_be_bytes().to_vec();
        bytes.extend(u32::try_from(zlib.len()).unwrap().to_be_bytes());
        bytes.extend(zlib);
        encode(&bytes)
    }

    fn encode(bytes: &[u8]) -> String {
        const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let at = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for place in 0..=three.len() {
                let sign = bits >> (18 - 6 * place) & 63;
                text.push(char::from(SIGNS[usize::try_from(sign).unwrap()]));
            }
        }
        text
    }

    fn buckets(text: &str) -> Result<Vec<Bucket>, &'static str> {
        let mut buckets = Vec::new();
        decode(text.as_bytes(), |bucket| buckets.push(bucket))?;
        Ok(buckets)
    }

    #[test]
    fn indices_become_ranges_of_values() {
        // Two at 0, then 2046 zeros, one at 2047 and one at 2048, which shares a bucket with 2049.
        let text = packed(3, 1, &[4, 0xfb, 0x1f, 2, 2]);
        let bucket = |low, high, count| Bucket { low, high, count };
        let all = [
            bucket(0, 0, 2),
            bucket(2047, 2047, 1),
            bucket(2048, 2049, 1),
        ];
        assert_eq!(buckets(&text).unwrap(), all);
        let all = [bucket(0, 1023, 1), bucket(1024, 2047, 1)];
        assert_eq!(buckets(&packed(3, 1024, &[2, 2])).unwrap(), all);
    }

    #[test]
    fn declared_sizes_cost_no_memory_and_no_time() {
        let far = [0xff; 9];
        let too_high = Err("its values are too high");
        assert_eq!(buckets(&packed(3, 1, &[&far[..], &[2]].concat())), too_high);
        assert_eq!(buckets(&packed(0, 1, &[0; 100_000])), too_high);
        assert!(buckets(&packed(6, 1, &[2])).is_err());
        assert!(buckets(&packed(3, 0, &[2])).is_err());
        assert!(buckets(&packed(3, u64::MAX, &[2])).is_err());
        assert_eq!(buckets("HISTFAAA"), Err(SHORT));
        assert!(buckets("DHISTwAA").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(
            digits in 0_u32..7,
            lowest in prop_oneof![0_u64..5, any::<u64>()],
            payload in prop::collection::vec(any::<u8>(), 0..100),
            cut in 0_usize..200,
        ) {
            let text = packed(digits, lowest, &payload);
            let _ = buckets(&text);
            let _ = buckets(&text[..cut.min(text.len())]);
        }
    }
}
