//! Converts names of result files to text. Containers may use any bytes; names in a zip are UTF-8 and, for unpacking,
//! at most 255 bytes long. Different names stay different.

use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// Maximum length of a name in bytes.
const MAX_NAME_BYTES: usize = 255;
/// Maximum length of an extension that is preserved when a name is shortened.
const MAX_EXTENSION_BYTES: usize = 16;

/// Returns a UTF-8 name unchanged. In other names each invalid byte becomes `%` and two hexadecimal digits, always at
/// least `%80`. An existing `%` before such digits or before `25` is escaped as `%25`, so that the mapping is injective.
pub fn text(name: &OsStr) -> String {
    let bytes = name.as_bytes();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        escape_percent(chunk.valid(), &mut text);
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    shortened(text, bytes)
}

fn escape_percent(valid: &str, text: &mut String) {
    for (at, c) in valid.char_indices() {
        text.push(c);
        let rest = valid.as_bytes().get(at + 1..at + 3);
        if c == '%' && rest.is_some_and(is_escape) {
            text.push_str("25");
        }
    }
}

fn is_escape(digits: &[u8]) -> bool {
    digits == b"25"
        || matches!(
            digits,
            [b'8'..=b'9' | b'A'..=b'F', b'0'..=b'9' | b'A'..=b'F']
        )
}

/// Joins the beginning of the name, a digest of the whole name, and the extension.
fn shortened(text: String, name: &[u8]) -> String {
    if text.len() <= MAX_NAME_BYTES {
        return text;
    }
    let extension = text.rsplit_once('.').map(|(_, extension)| extension);
    let extension = extension.filter(|extension| extension.len() <= MAX_EXTENSION_BYTES);
    let digest = format!("{:x}", Sha256::digest(name));
    let mut end = format!("~{digest:.16}");
    if let Some(extension) = extension {
        end.push('.');
        end.push_str(extension);
    }
    let mut kept = MAX_NAME_BYTES - end.len();
    while !text.is_char_boundary(kept) {
        kept -= 1;
    }
    format!("{}{end}", text.get(..kept).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn of(bytes: &[u8]) -> String {
        text(OsStr::from_bytes(bytes))
    }

    #[test]
    fn valid_names_are_unchanged() {
        for name in [
            "results.jtl",
            "100%.csv",
            "a%20b",
            "ä ]]>\\\n",
            &"x".repeat(255),
        ] {
            assert_eq!(of(name.as_bytes()), name);
        }
    }

    #[test]
    fn invalid_bytes_and_texts_like_escapes_are_escaped() {
        assert_eq!(of(b"caf\xe9.csv"), "caf%E9.csv");
        assert_eq!(of(b"caf%E9.csv"), "caf%25E9.csv");
        assert_eq!(of(b"caf%25E9.csv"), "caf%2525E9.csv");
        assert_eq!(of("caf\u{fffd}.csv".as_bytes()), "caf\u{fffd}.csv");
    }

    #[test]
    fn long_names_are_shortened_and_stay_different() {
        let one = of(&[&[0xe9; 250][..], b"1.csv"].concat());
        let two = of(&[&[0xe9; 250][..], b"2.csv"].concat());
        assert_ne!(one, two);
        for name in [one, two] {
            assert!(
                name.len() <= MAX_NAME_BYTES && name.ends_with(".csv"),
                "{name}"
            );
        }
    }

    /// Decodes a name that was not shortened.
    fn name_of(text: &str) -> Vec<u8> {
        let (bytes, mut name, mut at) = (text.as_bytes(), Vec::new(), 0);
        while at < bytes.len() {
            let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
            match digits.filter(|digits| is_escape(digits)) {
                Some(digits) => {
                    let digits = std::str::from_utf8(digits).unwrap();
                    name.push(u8::from_str_radix(digits, 16).unwrap());
                    at += 3;
                }
                None => {
                    name.push(bytes[at]);
                    at += 1;
                }
            }
        }
        name
    }

    proptest! {
        #[test]
        fn different_names_have_different_texts(name in proptest::collection::vec(
            prop_oneof![Just(b'%'), Just(b'2'), Just(b'5'), Just(b'E'), Just(0xe9), Just(b'9'), any::<u8>()], 1..30
        )) {
            prop_assert_eq!(name_of(&of(&name)), name);
        }
    }
}
