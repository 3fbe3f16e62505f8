//! Numbers and times in the bytes of a row.

use crate::histogram::to_u64;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// The end of the year 9999, in microseconds since 1970.
pub const LATEST: u64 = 253_402_300_800_000_000;
/// Longer than any sample takes: three thousand years.
const MOST_MILLIS: u64 = 100_000_000_000_000;

/// Without the byte order mark that some programs put in front of UTF-8.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A whole number without a sign.
pub fn whole(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    let mut number = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    Some(number)
}

/// A number with or without a fraction.
pub fn number(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

/// Milliseconds, with or without a fraction, as microseconds.
pub fn millis(text: &[u8]) -> Option<u64> {
    if let Some(whole) = whole(text) {
        return (whole <= MOST_MILLIS).then(|| whole * 1000);
    }
    let number = number(text)?;
    (0.0..=1e14)
        .contains(&number)
        .then(|| to_u64((number * 1000.0).round()))
}

/// A time as microseconds since 1970: milliseconds since then, or `2024/01/31 12:00:00.123` with or
/// without a fraction, taken as UTC because the file does not tell its zone.
pub fn timestamp(text: &[u8]) -> Option<u64> {
    let micros = match millis(text) {
        Some(micros) => micros,
        None => date(std::str::from_utf8(text).ok()?)?,
    };
    (micros < LATEST).then_some(micros)
}

fn date(text: &str) -> Option<u64> {
    let format = format_description!(
        version = 2,
        "[year]/[month]/[day] [hour]:[minute]:[second][optional [.[subsecond digits:1+]]]"
    );
    let time = PrimitiveDateTime::parse(text, format).ok()?.assume_utc();
    micros(time)
}

/// Microseconds since 1970; none before.
pub fn micros(time: OffsetDateTime) -> Option<u64> {
    u64::try_from(time.unix_timestamp_nanos() / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form_that_is_documented() {
        assert_eq!(timestamp(b"1760000000123"), Some(1_760_000_000_123_000));
        assert_eq!(timestamp(b"1760000000123.5"), Some(1_760_000_000_123_500));
        assert_eq!(timestamp(b"1970/01/02 00:00:01"), Some(86_401_000_000));
        assert_eq!(timestamp(b"1970/01/02 00:00:01.250"), Some(86_401_250_000));
        for bad in [
            "",
            "-1",
            "x",
            "1e300",
            "NaN",
            "99999999999999999",
            "1969/01/01 00:00:00",
        ] {
            assert_eq!(timestamp(bad.as_bytes()), None, "{bad}");
        }
    }
}
