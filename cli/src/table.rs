//! Tables, and the format of their cells.

use serde::Serialize;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// Between columns.
const GAP: &str = "  ";
/// Cell without a value.
pub const NO_VALUE: &str = "-";

/// The lines of a table, aligned to the left.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let head = head.map(str::to_owned);
    let rows: Vec<&[String]> = std::iter::once(&head)
        .chain(rows)
        .map(|row| &row[..])
        .collect();
    aligned(&rows, |_, cell, width| format!("{cell:width$}"))
}

/// Lines of padded cells. Columns are as wide as their widest cell; there is no trailing space. `pad` gets the column, the
/// cell and the width.
pub fn aligned<R: AsRef<[String]>>(
    rows: &[R],
    pad: impl Fn(usize, &str, usize) -> String,
) -> Vec<String> {
    let mut widths = Vec::new();
    for row in rows {
        for (column, cell) in row.as_ref().iter().enumerate() {
            widths.resize(widths.len().max(column + 1), 0);
            widths[column] = cell.chars().count().max(widths[column]);
        }
    }
    let line = |row: &R| {
        let cells = row.as_ref().iter().zip(&widths).enumerate();
        let padded: Vec<String> = cells
            .map(|(at, (cell, width))| pad(at, cell, *width))
            .collect();
        padded.join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The name of `value` in the API.
pub fn api_name(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => NO_VALUE.to_owned(),
    }
}

/// The age in a single unit; `at` is RFC 3339.
pub fn age(at: &str, now: OffsetDateTime) -> String {
    let Ok(at) = OffsetDateTime::parse(at, &Rfc3339) else {
        return NO_VALUE.to_owned();
    };
    span(now - at)
}

/// A duration in a single unit; zero if it is negative.
pub fn span(duration: Duration) -> String {
    let seconds = duration.whole_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A readable duration.
pub fn millis(millis: u64) -> String {
    match millis {
        0..=999 => format!("{millis} ms"),
        1000..=119_999 => format!("{:.1} s", millis as f64 / 1000.0),
        _ => {
            let seconds = std::time::Duration::from_secs(millis / 1000);
            humantime::format_duration(seconds).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["löad", "x", ""].map(str::to_owned),
            ["a", "long cell", "end"].map(str::to_owned),
        ];
        insta::assert_snapshot!(table(["NAME", "B", "C"], &rows).join("\n"), @"
        NAME  B          C
        löad  x
        a     long cell  end
        ");
    }

    #[test]
    fn ages_have_a_single_unit() {
        let now = OffsetDateTime::parse("2026-03-04T12:00:00Z", &Rfc3339).unwrap();
        for (at, expected) in [
            ("2026-03-04T12:00:05Z", "0 s"),
            ("2026-03-04T11:58:01.5Z", "118 s"),
            ("2026-03-04T11:58:00Z", "2 min"),
            ("2026-03-04T10:00:01Z", "119 min"),
            ("2026-03-04T10:00:00Z", "2 h"),
            ("2026-03-02T12:00:01Z", "47 h"),
            ("2026-03-02T12:00:00Z", "2 d"),
            ("yesterday", "-"),
        ] {
            assert_eq!(age(at, now), expected, "{at}");
        }
    }

    #[test]
    fn durations_have_a_suitable_precision() {
        let seen = [0, 999, 1000, 61_250, 120_000, 3_725_000].map(millis);
        assert_eq!(
            seen,
            ["0 ms", "999 ms", "1.0 s", "61.2 s", "2m", "1h 2m 5s"]
        );
    }

    #[test]
    fn names_are_those_of_the_api() {
        assert_eq!(
            api_name(&atq_api_spec::task::Step::WaitCommand),
            "waitCommand"
        );
        assert_eq!(api_name(&Some(atq_api_spec::report::Verdict::Pass)), "pass");
        assert_eq!(api_name(&None::<atq_api_spec::report::Verdict>), "-");
    }
}
