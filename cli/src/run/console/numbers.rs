//! Numbers in few characters, whatever their size.

use std::time::Duration;

/// A cell without a value.
const NO_VALUE: &str = "-";
/// Largest number that is shown with all its digits.
const MAX_DIGITS: u64 = 999_999_999;
const PREFIXES: [(f64, &str); 4] = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G")];

/// A number of samples.
pub fn count(number: u64) -> String {
    match number {
        0..=MAX_DIGITS => number.to_string(),
        large => scaled(large as f64, 0),
    }
}

/// Samples per second.
pub fn rate(rate: f64) -> String {
    scaled(rate, 1)
}

/// A percentage.
pub fn percent(percent: f64) -> String {
    match scaled(percent, 2) {
        text if text == NO_VALUE => text,
        text => text + "%",
    }
}

/// Milliseconds, without their unit, with a suitable number of digits.
pub fn millis(millis: f64) -> String {
    let digits = match millis {
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    scaled(millis, digits)
}

/// A number of users; whole numbers have no digits after the point.
pub fn users(users: f64) -> String {
    match users.fract() == 0.0 {
        true => scaled(users, 0),
        false => scaled(users, 1),
    }
}

/// `1:05`, `1:00:05`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Milliseconds as `1:05`.
pub fn time(millis: u64) -> String {
    clock(Duration::from_millis(millis))
}

/// A number with this number of digits after the point; a large one with a prefix.
fn scaled(number: f64, digits: usize) -> String {
    if !number.is_finite() || number < 0.0 {
        return NO_VALUE.to_owned();
    }
    if number >= 1e21 {
        return format!("{number:.1e}");
    }
    match PREFIXES.iter().find(|(unit, _)| number >= *unit) {
        Some((unit, prefix)) => format!("{:.2}{prefix}", number / unit),
        None => format!("{number:.digits$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_have_a_suitable_number_of_digits() {
        let seen = [0.0, 3.456, 9.996, 42.04, 99.97, 512.4, 123_456.0].map(millis);
        assert_eq!(
            seen,
            ["0.00", "3.46", "10.0", "42.0", "100", "512", "123456"]
        );
        assert_eq!(count(842_100), "842100");
        assert_eq!(rate(1231.44), "1231.4");
        assert_eq!(percent(0.125), "0.12%");
        assert_eq!(users(120.0), "120");
        assert_eq!(users(120.5), "120.5");
        assert_eq!(time(3_725_000), "1:02:05");
        for (seconds, expected) in [(0, "0:00"), (65, "1:05"), (3605, "1:00:05")] {
            assert_eq!(clock(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn huge_and_impossible_numbers_are_short() {
        assert_eq!(count(u64::MAX), "18.45E");
        assert_eq!(count(1_500_000_000), "1.50G");
        assert_eq!(rate(1e300), "1.0e300");
        for wrong in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(rate(wrong), "-");
            assert_eq!(percent(wrong), "-");
            assert_eq!(millis(wrong), "-");
            assert_eq!(users(wrong), "-");
        }
    }

    proptest! {
        #[test]
        fn every_number_fits_into_thirteen_columns(number: f64, whole: u64) {
            for text in [rate(number), percent(number), millis(number), users(number), count(whole)] {
                prop_assert!(text.len() <= 13, "{}", text);
            }
        }
    }
}
