//! Parses numbers and times.

use super::to_u64;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// The end of the year 9999, in microseconds since 1970.
pub const LATEST: u64 = 253_402_300_800_000_000;
/// The year 2100. Larger numbers are not milliseconds but, for example, dates without separators.
const LATEST_SAMPLE: u64 = 4_102_444_800_000_000;
/// March 1973. Earlier times are seconds interpreted as milliseconds, or relative to the start of
/// the test.
pub const EARLIEST: u64 = 100_000_000_000_000;
/// Maximum duration of a sample: three thousand years.
const MAX_MILLIS: u64 = 100_000_000_000_000;

/// Removes the byte order mark that some programs write before UTF-8.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// The beginning of a text, for an error.
pub fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// An unsigned whole number.
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

/// An unsigned whole number that may need 64 bits, such as nanoseconds since 1970.
pub fn digits(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

/// Converts seconds to microseconds.
pub fn seconds_of(seconds: f64) -> Option<u64> {
    millis_of(seconds * 1000.0)
}

/// A number with an optional fraction. A comma is treated as a decimal comma.
pub fn number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let number: f64 = match text.parse() {
        Ok(number) => number,
        Err(_) => with_decimal_comma(text)?.parse().ok()?,
    };
    number.is_finite().then_some(number)
}

/// `12,5` as `12.5`. With a dot as well, or with several commas, it may separate thousands.
fn with_decimal_comma(text: &str) -> Option<String> {
    let (before, after) = text.split_once(',')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // `1,234` is ambiguous: 1234 or 1.234.
    let is_plain = digits(before.trim_start_matches('-')) && digits(after);
    (is_plain && (after.len() != 3 || before == "0" || before.len() > 3))
        .then(|| format!("{before}.{after}"))
}

/// A number of bytes, which data frames write with a fraction; zero if it is invalid.
pub fn bytes(text: &[u8]) -> u64 {
    whole(text).unwrap_or_else(|| to_u64(number(text).unwrap_or_default()))
}

/// Milliseconds with an optional fraction, as microseconds.
pub fn millis(text: &[u8]) -> Option<u64> {
    if let Some(whole) = whole(text) {
        return (whole <= MAX_MILLIS).then(|| whole * 1000);
    }
    millis_of(number(text)?)
}

/// As [`millis`], but a comma is always a decimal comma if fields have another separator.
pub fn millis_between(text: &[u8], delimiter: u8) -> Option<u64> {
    millis(text).or_else(|| {
        let text = std::str::from_utf8(text).ok()?;
        let is_decimal = delimiter != b',' && !text.contains('.') && text.matches(',').count() == 1;
        is_decimal.then(|| millis(text.replace(',', ".").as_bytes()))?
    })
}

/// Converts milliseconds to microseconds.
pub fn millis_of(millis: f64) -> Option<u64> {
    (0.0..=1e14)
        .contains(&millis)
        .then(|| to_u64((millis * 1000.0).round()))
}

/// A time as microseconds since 1970: milliseconds since then, or a date in one of the formats that
/// JMeter writes or reads, with an optional fraction, interpreted as UTC because the file has no
/// time zone: `2024/01/31 12:00:00.123`, `2024-01-31 12:00:00`, `2024-01-31T12:00:00.123Z`, `01/31/24 12:00:00`.
pub fn timestamp(text: &[u8]) -> Option<u64> {
    let micros = match whole(text) {
        Some(whole) => whole.checked_mul(1000)?,
        None if text.iter().any(|byte| matches!(byte, b':' | b'/')) => {
            date(std::str::from_utf8(text).ok()?.trim())?
        }
        None => millis(text)?,
    };
    (micros < LATEST_SAMPLE).then_some(micros)
}

fn date(text: &str) -> Option<u64> {
    let slashes = format_description!(
        version = 2,
        "[year]/[month]/[day] [hour]:[minute]:[second][optional [.[subsecond digits:1+]]]"
    );
    let dashes = format_description!(
        version = 2,
        "[year]-[month]-[day][first [ ][T]][hour]:[minute]:[second][optional [.[subsecond digits:1+]]]"
    );
    let american = format_description!(
        version = 2,
        "[month]/[day]/[year] [hour]:[minute]:[second][optional [.[subsecond digits:1+]]]"
    );
    let text = text.replacen(',', ".", 1);
    let parse = |text: &str, format| {
        let time = PrimitiveDateTime::parse(text, format).ok()?;
        micros(time.assume_utc())
    };
    // `MM/dd/yy HH:mm:ss`, JMeter's first default; years are in this century.
    let with_century = || {
        let (before, after) = text.split_at_checked(6)?;
        parse(&format!("{before}20{after}"), american)
    };
    parse(&text, slashes)
        .or_else(|| parse(&text, dashes))
        .or_else(|| rfc3339(&text))
        .or_else(|| parse(&text, american))
        .or_else(with_century)
}

/// A date with its zone, as microseconds since 1970.
pub fn rfc3339(text: &str) -> Option<u64> {
    let format = &time::format_description::well_known::Rfc3339;
    micros(OffsetDateTime::parse(text, format).ok()?)
}

/// Microseconds since 1970; `None` for earlier times.
pub fn micros(time: OffsetDateTime) -> Option<u64> {
    u64::try_from(time.unix_timestamp_nanos() / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_in_every_documented_format() {
        for (text, micros) in [
            ("1760000000123", 1_760_000_000_123_000),
            ("1760000000123.5", 1_760_000_000_123_500),
            ("1970/01/02 00:00:01", 86_401_000_000),
            ("1970/01/02 00:00:01.250", 86_401_250_000),
            ("2024/03/01 10:00:00.088", 1_709_287_200_088_000),
            ("2024-03-01 10:00:00.088", 1_709_287_200_088_000),
            ("2024-03-01 10:00:00,088", 1_709_287_200_088_000),
            ("2024-03-01 10:00:00", 1_709_287_200_000_000),
            ("2024-03-01T10:00:00.088Z", 1_709_287_200_088_000),
            ("2024-03-01T11:00:00.088+01:00", 1_709_287_200_088_000),
            ("03/01/24 10:00:00", 1_709_287_200_000_000),
            ("03/01/2024 10:00:00.5", 1_709_287_200_500_000),
        ] {
            assert_eq!(timestamp(text.as_bytes()), Some(micros), "{text}");
        }
        for bad in [
            "",
            "-1",
            "x",
            "1e300",
            "NaN",
            "99999999999999999",
            "1969/01/01 00:00:00",
            "31/12/24 10:00:00",
            "10:00:00",
            "/",
        ] {
            assert_eq!(timestamp(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_comma_is_decimal_only_if_it_cannot_separate_thousands() {
        for (text, value) in [
            ("12,5", Some(12.5)),
            ("0,125", Some(0.125)),
            ("1234,567", Some(1234.567)),
            ("1,234", None),
            ("1,2,3", None),
            ("1.234,5", None),
            ("12.5", Some(12.5)),
            (",5", None),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
    }
}
