//! Throughput and errors, parsed from the output of test tools while they run.

/// Throughput and errors so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Throughput {
    /// Current requests per second.
    pub rate: f64,
    /// Samples so far.
    pub samples: u64,
    /// Failed samples; `None` when the tool does not report them.
    pub errors: Option<u64>,
}

/// The figures of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reading {
    /// Since the previous line.
    Interval(Throughput),
    /// Since the start, with the current rate.
    Current(Throughput),
    /// Since the start, with the average rate.
    Total(Throughput),
}

impl Throughput {
    /// Updates the figures from a line of a tool. Returns whether the line has figures.
    pub fn update(&mut self, line: &str) -> bool {
        let reading = jmeter(line).or_else(|| locust(line)).or_else(|| k6(line));
        match reading {
            Some(Reading::Interval(part)) => {
                self.rate = part.rate;
                self.samples += part.samples;
                self.errors = Some(self.errors.unwrap_or(0) + part.errors.unwrap_or(0));
            }
            Some(Reading::Current(all)) => *self = all,
            Some(Reading::Total(all)) => {
                let rate = match self.rate > 0.0 {
                    true => self.rate,
                    false => all.rate,
                };
                *self = Self { rate, ..all };
            }
            None => return false,
        }
        true
    }

    /// The figures as text.
    pub fn text(&self) -> String {
        let rate = format!("{:.1}/s", self.rate);
        let samples = self.samples;
        match self.errors {
            None => format!("{rate}, {samples} samples"),
            Some(errors) => {
                let percent = errors as f64 * 100.0 / samples.max(1) as f64;
                format!("{rate}, {errors} of {samples} failed ({percent:.2} %)")
            }
        }
    }
}

/// JMeter's summariser, 2.13 to 5.6:
/// `summary +    197 in 00:00:01 =  319.3/s Avg:     2 Min:     1 Max:    14 Err:     0 (0.00%) ...`.
/// `+` is the time since the last line, `=` the whole test.
fn jmeter(line: &str) -> Option<Reading> {
    let mut words = line.split_whitespace().skip(1);
    let sign = words.next()?;
    let samples = words.next()?.parse().ok()?;
    let (within, _time, equals) = (words.next()?, words.next()?, words.next()?);
    if within != "in" || equals != "=" {
        return None;
    }
    let rate = words.next()?.strip_suffix("/s")?.parse().ok()?;
    let errors = words.skip_while(|word| *word != "Err:").nth(1)?;
    let throughput = Throughput {
        rate,
        samples,
        errors: Some(errors.parse().ok()?),
    };
    match sign {
        "+" => Some(Reading::Interval(throughput)),
        "=" => Some(Reading::Total(throughput)),
        _ => None,
    }
}

/// The last row of Locust's table:
/// `         Aggregated      1176     0(0.00%) |     12       3      54     10 |   78.50        0.00`.
fn locust(line: &str) -> Option<Reading> {
    let row = line.trim_start().strip_prefix("Aggregated")?;
    let mut parts = row.split('|');
    let (counts, _times, rates) = (parts.next()?, parts.next()?, parts.next()?);
    let (samples, errors) = counts.trim().split_once(char::is_whitespace)?;
    let (errors, _percent) = errors.split_once('(')?;
    Some(Reading::Current(Throughput {
        rate: rates.split_whitespace().next()?.parse().ok()?,
        samples: samples.parse().ok()?,
        errors: Some(errors.trim().parse().ok()?),
    }))
}

/// k6 without a terminal:
/// `running (0m05.0s), 10/10 VUs, 45 complete and 0 interrupted iterations`.
fn k6(line: &str) -> Option<Reading> {
    let (time, rest) = line.trim().strip_prefix("running (")?.split_once("),")?;
    let (before, _) = rest.split_once(" complete and ")?;
    let samples: u64 = before.rsplit(' ').next()?.parse().ok()?;
    let seconds = k6_seconds(time)?;
    (seconds > 0.0).then(|| {
        Reading::Current(Throughput {
            rate: samples as f64 / seconds,
            samples,
            errors: None,
        })
    })
}

/// `1h02m03.5s` in seconds.
fn k6_seconds(time: &str) -> Option<f64> {
    let (mut sum, mut rest) = (0.0, time.trim());
    for (unit, seconds) in [('h', 3600.0), ('m', 60.0), ('s', 1.0)] {
        if let Some((number, more)) = rest.split_once(unit) {
            sum += number.parse::<f64>().ok()? * seconds;
            rest = more;
        }
    }
    rest.is_empty().then_some(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(lines: &[&str]) -> Throughput {
        let mut throughput = Throughput::default();
        for line in lines {
            assert!(throughput.update(line), "{line}");
        }
        throughput
    }

    #[test]
    fn jmeter_lines_are_parsed() {
        let first = "summary +    197 in 00:00:01 =  319.3/s Avg:     2 Min:     1 Max:    14 Err:     2 (1.02%) Active: 0 Started: 4 Finished: 4";
        let second = "summary +      3 in 00:00:06 =    0.5/s Avg:    40 Min:     1 Max:   113 Err:     1 (33.33%) Active: 0 Started: 4 Finished: 4";
        let whole = "summary =    200 in 00:00:07 =   30.1/s Avg:     3 Min:     1 Max:   113 Err:     3 (1.50%)";
        assert_eq!(parsed(&[first]).text(), "319.3/s, 2 of 197 failed (1.02 %)");
        let load = parsed(&[first, second]);
        assert_eq!(
            (load.rate, load.samples, load.errors),
            (0.5, 200, Some(3)),
            "the sum of both"
        );
        assert_eq!(
            parsed(&[first, second, whole]),
            load,
            "the current rate, not the average"
        );
        let old = "summary =    300 in   7.2s =   41.8/s Avg:     3 Min:     1 Max:   113 Err:     0 (0.00%)";
        assert_eq!(parsed(&[old]).text(), "41.8/s, 0 of 300 failed (0.00 %)");
    }

    #[test]
    fn locust_lines_are_parsed() {
        let begun = "         Aggregated                                                                        35     0(0.00%) |     77       3     288     45 |    0.00        0.00";
        let later = "         Aggregated                                                                        41     0(0.00%) |     98       3     288     63 |   17.44        0.00";
        assert_eq!(parsed(&[begun]).text(), "0.0/s, 0 of 35 failed (0.00 %)");
        assert_eq!(
            parsed(&[begun, later]).text(),
            "17.4/s, 0 of 41 failed (0.00 %)",
            "not the sum"
        );
        let failing = later.replace(" 0(0.00%)", " 7(17.07%)");
        assert_eq!(parsed(&[&failing]).errors, Some(7));
    }

    #[test]
    fn k6_lines_are_parsed() {
        let line = "running (0m05.0s), 10/10 VUs, 45 complete and 0 interrupted iterations";
        assert_eq!(parsed(&[line]).text(), "9.0/s, 45 samples");
        let line = "running (1h01m00.0s), 00/10 VUs, 3660 complete and 1 interrupted iterations";
        assert_eq!(parsed(&[line]).text(), "1.0/s, 3660 samples");
    }

    #[test]
    fn other_lines_are_ignored() {
        for line in [
            "",
            "master done",
            "worker 10.0.24.3 answered 1/3f2a",
            "Configuring remote engine: 10.224.0.4",
            "summary report written",
            "summary * 1 in 1s = 2/s Err: 0 (0%)",
            "summary + 1 in 00:00:01 = fast",
            "         Aggregated                                                                             63    140    180    200    220    230    290    290    290    290    290     41",
            "GET      /       12     0(0.00%) |      3       1      10      3 |    1.20        0.00",
            "running (0m00.0s), 00/10 VUs, 0 complete and 0 interrupted iterations",
            "running (soon), 10 complete and 0 interrupted iterations",
        ] {
            let mut throughput = Throughput::default();
            assert!(!throughput.update(line), "{line}");
            assert_eq!(throughput, Throughput::default());
        }
    }
}
