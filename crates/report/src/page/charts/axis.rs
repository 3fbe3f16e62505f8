//! Axes: positions and labels of ticks.

use super::super::number::{self, fixed};

/// A tick: its position on the axis, from 0 to 1, and its label.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
    /// True if it is hidden on narrow screens.
    pub(super) minor: bool,
}

/// An axis of values that starts at zero.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) top: f64,
    pub(super) ticks: Vec<Tick>,
}

/// An axis up to `largest`, with ticks at 1, 2 or 5 times a power of ten. `label` gets a value and the
/// number of decimals that distinguishes ticks.
pub(super) fn values(largest: f64, label: impl Fn(f64, usize) -> String) -> Values {
    let largest = match largest.is_finite() && largest > 0.0 {
        true => largest.clamp(1e-6, 1e15),
        false => 1.0,
    };
    let step = nice(largest / 4.0);
    let count = (largest / step - 1e-9).ceil().max(1.0);
    let top = step * count;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let (count, decimals) = (count as u32, (-step.log10().floor()).max(0.0) as usize);
    let ticks = (0..=count)
        .map(|n| Tick {
            at: f64::from(n) / f64::from(count),
            label: label(step * f64::from(n), decimals),
            minor: false,
        })
        .collect();
    Values { top, ticks }
}

/// An axis of milliseconds, labelled in seconds for large values.
pub(super) fn millis(largest: f64) -> Values {
    if largest >= 5000.0 {
        let mut axis = values(largest / 1000.0, |value, decimals| {
            format!("{} s", fixed(value, decimals))
        });
        axis.top *= 1000.0;
        return axis;
    }
    values(largest, |value, decimals| {
        format!("{} ms", fixed(value, decimals))
    })
}

/// An axis of bytes, labelled in units with powers of 1024.
pub(super) fn bytes(largest: f64) -> Values {
    const UNITS: [(f64, &str); 4] = [
        (1_099_511_627_776.0, "TiB"),
        (1_073_741_824.0, "GiB"),
        (1_048_576.0, "MiB"),
        (1024.0, "KiB"),
    ];
    let fits = |(size, _): &(f64, &str)| largest >= size * 2.0;
    let (size, unit) = UNITS.into_iter().find(fits).unwrap_or((1024.0, "KiB"));
    let mut axis = values(largest / size, |value, decimals| {
        format!("{} {unit}", fixed(value, decimals))
    });
    axis.top *= size;
    axis
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `step`.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|times| times * power)
        .find(|nice| *nice >= step * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Lengths between two ticks: units with their multiples.
const STEPS: [(u64, &[u64]); 4] = [
    (1, &[100, 200, 500]),
    (SECOND, &[1, 2, 5, 10, 15, 30]),
    (MINUTE, &[1, 2, 5, 10, 15, 30]),
    (HOUR, &[1, 2, 3, 6, 12, 24, 48]),
];

/// Ticks at round times in UTC from `from` to `to`, both in milliseconds since 1970.
pub(super) fn moments(from: u64, to: u64) -> Vec<Tick> {
    let span = to.saturating_sub(from).max(1);
    // Long labels need more space.
    let most = match (4 * SECOND..=DAY).contains(&span) {
        true => 8,
        false => 5,
    };
    let mut steps = STEPS
        .into_iter()
        .flat_map(|(unit, by)| by.iter().map(move |by| by * unit));
    let step = steps.find(|step| span / step < most);
    let step = step.unwrap_or_else(|| (span / most / DAY + 1) * DAY);
    let first = from.div_ceil(step);
    (first..=to / step)
        .take(16)
        .filter_map(|n| moment(n * step, n, (from, span), step))
        .collect()
}

#[allow(clippy::cast_precision_loss)]
fn moment(at: u64, n: u64, (from, span): (u64, u64), step: u64) -> Option<Tick> {
    let text = number::date_time(number::moment(at)?);
    let (date, clock) = text.split_once(' ')?;
    let label = if step >= DAY {
        date.to_owned()
    } else if span > DAY {
        format!("{} {}", date.get(5..)?, clock.get(..5)?)
    } else if step >= MINUTE {
        clock.get(..5)?.to_owned()
    } else if step >= SECOND {
        clock.to_owned()
    } else {
        format!("{clock}.{}", at % SECOND / 100)
    };
    Some(Tick {
        at: (at - from) as f64 / span as f64,
        label,
        minor: n % 2 == 1,
    })
}

/// Position of a percentile, from 0 to 1, on a logarithmic axis for this number of samples: each additional nine has
/// the same width.
pub(in super::super) fn percentile_at(percentile: f64, samples: u64) -> f64 {
    let above = (1.0 - percentile / 100.0).max(f64::MIN_POSITIVE);
    (-above.log10() / decades(samples)).clamp(0.0, 1.0)
}

#[allow(clippy::cast_precision_loss)]
fn decades(samples: u64) -> f64 {
    (samples.max(1) as f64).log10().clamp(1.0, 9.0)
}

/// Ticks of the logarithmic axis of percentiles.
pub(super) fn percentiles(samples: u64) -> Vec<Tick> {
    const AT: [(f64, &str); 9] = [
        (0.0, "0 %"),
        (50.0, "50"),
        (90.0, "90"),
        (99.0, "99"),
        (99.9, "99.9"),
        (99.99, "99.99"),
        (99.999, "99.999"),
        (99.999_9, "99.9999"),
        (99.999_99, "99.99999"),
    ];
    let mut ticks: Vec<Tick> = AT
        .into_iter()
        .map(|(percentile, label)| Tick {
            at: percentile_at(percentile, samples),
            label: label.to_owned(),
            minor: percentile == 50.0 || percentile_at(percentile, samples) > 0.7,
        })
        // With many nines, the labels of 0 and 50 would overlap.
        .filter(|tick| tick.at < 0.93 && (tick.at == 0.0 || tick.at > 0.09))
        .collect();
    ticks.push(Tick {
        at: 1.0,
        label: "100 %".to_owned(),
        minor: false,
    });
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn values_have_ticks_at_round_steps() {
        for (largest, expected) in [
            (873.0, vec!["0 ms", "500 ms", "1,000 ms"]),
            (400.0, vec!["0 ms", "100 ms", "200 ms", "300 ms", "400 ms"]),
            (0.3, vec!["0.0 ms", "0.1 ms", "0.2 ms", "0.3 ms"]),
            (9000.0, vec!["0 s", "5 s", "10 s"]),
            (0.0, vec!["0.0 ms", "0.5 ms", "1.0 ms"]),
            (f64::NAN, vec!["0.0 ms", "0.5 ms", "1.0 ms"]),
        ] {
            assert_eq!(labels(&millis(largest).ticks), expected, "{largest}");
        }
        assert!((millis(9000.0).top - 10_000.0).abs() < 1e-6);
    }

    #[test]
    fn bytes_have_ticks_at_round_steps() {
        for (largest, expected) in [
            (
                350.0 * 1_048_576.0,
                vec!["0 MiB", "100 MiB", "200 MiB", "300 MiB", "400 MiB"],
            ),
            (
                1.5 * 1_073_741_824.0,
                vec!["0 MiB", "500 MiB", "1,000 MiB", "1,500 MiB", "2,000 MiB"],
            ),
            (
                4.0 * 1_073_741_824.0,
                vec!["0 GiB", "1 GiB", "2 GiB", "3 GiB", "4 GiB"],
            ),
            (0.0, vec!["0.0 KiB", "0.5 KiB", "1.0 KiB"]),
        ] {
            assert_eq!(labels(&bytes(largest).ticks), expected, "{largest}");
        }
        assert!((bytes(3e9).top - 3.0 * 1_073_741_824.0).abs() < 1.0);
    }

    #[test]
    fn ticks_of_time_are_round_in_utc() {
        let ten = 1_795_255_200_000; // 2026-11-21 10:00:00
        assert_eq!(
            labels(&moments(ten + 1, ten + 5 * MINUTE)),
            ["10:01", "10:02", "10:03", "10:04", "10:05"]
        );
        assert_eq!(
            labels(&moments(ten, ten + 3 * SECOND)),
            ["10:00:00", "10:00:01", "10:00:02", "10:00:03"]
        );
        assert_eq!(
            labels(&moments(ten, ten + 30 * HOUR)),
            ["11-21 12:00", "11-22 00:00", "11-22 12:00"]
        );
        assert!(moments(0, u64::MAX).len() <= 16);
        assert!(moments(ten, ten).len() <= 2);
    }

    #[test]
    fn every_additional_nine_has_the_same_width() {
        assert!((percentile_at(90.0, 10_000) - 0.25).abs() < 1e-9);
        assert!((percentile_at(99.0, 10_000) - 0.5).abs() < 1e-9);
        assert_eq!(percentile_at(100.0, 10_000), 1.0);
        assert_eq!(percentile_at(f64::NAN, 10).to_bits(), 1f64.to_bits());
        assert_eq!(
            labels(&percentiles(10_000)),
            ["0 %", "90", "99", "99.9", "100 %"]
        );
    }
}
