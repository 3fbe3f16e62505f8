//! Payloads of an exact size.

use bytes::Bytes;

/// A payload of exactly `size` bytes. If it fits, it is JSON with the number of the message (`n`), the time in milliseconds
/// since 1970 (`t`) and padding (`p`); otherwise it is padding only.
pub fn payload(size: usize, number: u32, time: u64) -> Bytes {
    let begin = format!("{{\"n\":{number},\"t\":{time},\"p\":\"");
    let end = "\"}";
    let Some(padding) = size.checked_sub(begin.len() + end.len()) else {
        return Bytes::from(vec![b'x'; size]);
    };
    let mut text = Vec::with_capacity(size);
    text.extend_from_slice(begin.as_bytes());
    text.resize(begin.len() + padding, b'x');
    text.extend_from_slice(end.as_bytes());
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_payload_has_the_exact_size(size in 0usize..5000, number: u32, time in 0u64..10_000_000_000_000) {
            prop_assert_eq!(payload(size, number, time).len(), size);
        }
    }

    #[test]
    fn a_payload_of_100_bytes_is_json() {
        let payload = payload(100, 3, 1_700_000_000_000);
        assert!(
            payload.starts_with(b"{\"n\":3,\"t\":1700000000000,\"p\":\"xxx"),
            "{payload:?}"
        );
        assert!(payload.ends_with(b"x\"}"));
    }
}
