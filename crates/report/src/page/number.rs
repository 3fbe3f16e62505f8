//! Formats numbers and times for people. NaN and infinity become a dash.

use time::format_description::FormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// Placeholder for a missing figure.
pub(super) const NONE: &str = "–";

const DATE_TIME: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// `1,234,567`.
pub(super) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// `1 row`, `1,234 rows`.
pub(super) fn some(value: usize, one: &str, many: &str) -> String {
    let what = if value == 1 { one } else { many };
    format!("{} {what}", count(value as u64))
}

/// Formats with this number of decimals and with thousands separators: `1,234.5`.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let text = format!("{value:.decimals$}");
    let (sign, text) = match text.strip_prefix('-') {
        // No minus sign before zero.
        Some(rest) if rest.chars().any(|c| c.is_ascii_digit() && c != '0') => ("−", rest),
        Some(rest) => ("", rest),
        None => ("", text.as_str()),
    };
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    format!("{sign}{}{fraction}", grouped(whole))
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits, or more before the point: `0.123`, `4.5`, `45`, `1,234`.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size >= 99.95 || size == 0.0 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ if size >= 0.0995 => 3,
        _ => 4,
    };
    let text = fixed(value, decimals);
    if decimals > 0 && text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// `45 ms`, `1.23 s`; from milliseconds.
pub(super) fn millis(value: f64) -> String {
    if !value.is_finite() {
        NONE.to_owned()
    } else if value.abs() < 999.5 {
        format!("{} ms", short(value))
    } else {
        format!("{} s", short(value / 1000.0))
    }
}

/// The digits of `12.3 %`. A small share is never shown as 0, nor a large one as 100.
pub(super) fn percent_digits(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    if value == 0.0 || value == 100.0 {
        return fixed(value, 0);
    }
    let rest = value.abs().min((100.0 - value).abs());
    if value > 0.0 && value < 0.001 {
        return "< 0.001".to_owned();
    }
    if value > 99.999 && value < 100.0 {
        return "> 99.999".to_owned();
    }
    let decimals = match rest {
        _ if rest >= 0.95 => 1,
        _ if rest >= 0.095 => 2,
        _ => 3,
    };
    fixed(value, decimals)
}

/// `12.3 %`.
pub(super) fn percent(value: f64) -> String {
    match percent_digits(value) {
        none if none == NONE => none,
        digits => format!("{digits} %"),
    }
}

/// A change with its sign: `+12.3 %`, `−4.0 %`; large ones as a factor: `× 12.3`.
pub(super) fn change(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    if value >= 1000.0 {
        return format!("× {}", short(value / 100.0 + 1.0));
    }
    let text = fixed(value, 1);
    match value > 0.0 && text != "0.0" {
        true => format!("+{text} %"),
        false => format!("{text} %"),
    }
}

/// `4.5 MiB`.
#[allow(clippy::cast_precision_loss)]
pub(super) fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    let mut size = value as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{} {}", fixed(size, 1), UNITS[unit])
}

/// `45.3 s`, `5 min 12 s`, `1 h 02 min`, `2 d 03 h`; from seconds.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.to_owned();
    }
    if seconds < 59.5 {
        return format!("{} s", short(seconds));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds.round() as u64;
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, rest) = (whole / 60 % 60, whole % 60);
    if days > 0 {
        format!("{} d {hours:02} h", count(days))
    } else if hours > 0 {
        format!("{hours} h {minutes:02} min")
    } else {
        format!("{minutes} min {rest:02} s")
    }
}

/// Converts milliseconds since 1970, if they are in range.
pub(super) fn moment(millis: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()
}

/// `2026-11-21 10:00:00` in UTC.
pub(super) fn date_time(moment: OffsetDateTime) -> String {
    let utc = moment.to_offset(UtcOffset::UTC);
    utc.format(DATE_TIME).unwrap_or_else(|_| NONE.to_owned())
}

/// Formats an RFC 3339 time in the same way; other text is returned unchanged.
pub(super) fn utc(text: &str) -> String {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(moment) => format!("{} UTC", date_time(moment)),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators_of_thousands() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1234, "1,234"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn times_change_their_unit_at_a_second() {
        for (value, text) in [
            (0.0, "0 ms"),
            (0.0421, "0.0421 ms"),
            (4.5, "4.5 ms"),
            (45.0, "45 ms"),
            (45.34, "45.3 ms"),
            (99.96, "100 ms"),
            (999.4, "999 ms"),
            (999.6, "1 s"),
            (1234.0, "1.23 s"),
            (1_234_000.0, "1,234 s"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(millis(value), text);
        }
    }

    #[test]
    fn a_share_is_never_rounded_to_zero_or_all() {
        for (value, text) in [
            (0.0, "0 %"),
            (100.0, "100 %"),
            (12.34, "12.3 %"),
            (0.5, "0.50 %"),
            (0.004, "0.004 %"),
            (0.000_04, "< 0.001 %"),
            (99.97, "99.970 %"),
            (99.999_9, "> 99.999 %"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(percent(value), text);
        }
    }

    #[test]
    fn a_change_has_a_sign_unless_it_is_zero() {
        for (value, text) in [
            (12.34, "+12.3 %"),
            (-4.0, "−4.0 %"),
            (-0.01, "0.0 %"),
            (0.01, "0.0 %"),
            (1900.0, "× 20"),
        ] {
            assert_eq!(change(value), text);
        }
    }

    #[test]
    fn sizes_and_durations() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(4_718_592), "4.5 MiB");
        assert_eq!(bytes(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(duration(45.3), "45.3 s");
        assert_eq!(duration(59.7), "1 min 00 s");
        assert_eq!(duration(312.0), "5 min 12 s");
        assert_eq!(duration(3720.0), "1 h 02 min");
        assert_eq!(duration(183_600.0), "2 d 03 h");
        assert_eq!(duration(-1.0), "–");
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(utc("2026-11-21T12:00:00+02:00"), "2026-11-21 10:00:00 UTC");
        assert_eq!(utc("soon"), "soon");
        assert!(moment(u64::MAX).is_none());
    }
}
