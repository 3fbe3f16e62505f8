//! Throughput and errors, read from the lines that test tools write while they run.

/// What is known of the load so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Requests in a second, just now.
    pub rate: f64,
    /// Samples so far.
    pub samples: u64,
    /// Those that failed; `None` when the tool does not tell.
    pub errors: Option<u64>,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    /// About the time since the last such line.
    Since(Load),
    /// About everything so far; its rate is that of now.
    Now(Load),
    /// About everything so far; its rate is an average.
    Whole(Load),
}

impl Load {
    /// Takes a line of a tool in; gives whether it says something about the load.
    pub fn hear(&mut self, line: &str) -> bool {
        let said = jmeter(line).or_else(|| locust(line)).or_else(|| k6(line));
        match said {
            Some(Said::Since(part)) => {
                self.rate = part.rate;
                self.samples += part.samples;
                self.errors = Some(self.errors.unwrap_or(0) + part.errors.unwrap_or(0));
            }
            Some(Said::Now(all)) => *self = all,
            Some(Said::Whole(all)) => {
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

    /// In words.
    pub fn words(&self) -> String {
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
/// With `+` it speaks of the time since the last line, with `=` of the whole test.
fn jmeter(line: &str) -> Option<Said> {
    let mut words = line.split_whitespace().skip(1);
    let sign = words.next()?;
    let samples = words.next()?.parse().ok()?;
    let (within, _time, equals) = (words.next()?, words.next()?, words.next()?);
    if within != "in" || equals != "=" {
        return None;
    }
    let rate = words.next()?.strip_suffix("/s")?.parse().ok()?;
    let errors = words.skip_while(|word| *word != "Err:").nth(1)?;
    let load = Load {
        rate,
        samples,
        errors: Some(errors.parse().ok()?),
    };
    match sign {
        "+" => Some(Said::Since(load)),
        "=" => Some(Said::Whole(load)),
        _ => None,
    }
}

/// The last row of Locust's table:
/// `         Aggregated      1176     0(0.00%) |     12       3      54     10 |   78.50        0.00`.
fn locust(line: &str) -> Option<Said> {
    let row = line.trim_start().strip_prefix("Aggregated")?;
    let mut parts = row.split('|');
    let (counts, _times, rates) = (parts.next()?, parts.next()?, parts.next()?);
    let (samples, errors) = counts.trim().split_once(char::is_whitespace)?;
    let (errors, _percent) = errors.split_once('(')?;
    Some(Said::Now(Load {
        rate: rates.split_whitespace().next()?.parse().ok()?,
        samples: samples.parse().ok()?,
        errors: Some(errors.trim().parse().ok()?),
    }))
}

/// k6 where no terminal is:
/// `running (0m05.0s), 10/10 VUs, 45 complete and 0 interrupted iterations`.
fn k6(line: &str) -> Option<Said> {
    let (time, rest) = line.trim().strip_prefix("running (")?.split_once("),")?;
    let (before, _) = rest.split_once(" complete and ")?;
    let samples: u64 = before.rsplit(' ').next()?.parse().ok()?;
    let seconds = k6_seconds(time)?;
    (seconds > 0.0).then(|| {
        Said::Now(Load {
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

    fn heard(lines: &[&str]) -> Load {
        let mut load = Load::default();
        for line in lines {
            assert!(load.hear(line), "{line}");
        }
        load
    }

    #[test]
    fn jmeter_is_understood() {
        let first = "summary +    197 in 00:00:01 =  319.3/s Avg:     2 Min:     1 Max:    14 Err:     2 (1.02%) Active: 0 Started: 4 Finished: 4";
        let second = "summary +      3 in 00:00:06 =    0.5/s Avg:    40 Min:     1 Max:   113 Err:     1 (33.33%) Active: 0 Started: 4 Finished: 4";
        let whole = "summary =    200 in 00:00:07 =   30.1/s Avg:     3 Min:     1 Max:   113 Err:     3 (1.50%)";
        assert_eq!(heard(&[first]).words(), "319.3/s, 2 of 197 failed (1.02 %)");
        let load = heard(&[first, second]);
        assert_eq!(
            (load.rate, load.samples, load.errors),
            (0.5, 200, Some(3)),
            "the sum of both"
        );
        assert_eq!(
            heard(&[first, second, whole]),
            load,
            "the rate is that of now, not the average"
        );
        let old = "summary =    300 in   7.2s =   41.8/s Avg:     3 Min:     1 Max:   113 Err:     0 (0.00%)";
        assert_eq!(heard(&[old]).words(), "41.8/s, 0 of 300 failed (0.00 %)");
    }

    #[test]
    fn locust_is_understood() {
        let begun = "         Aggregated                                                                        35     0(0.00%) |     77       3     288     45 |    0.00        0.00";
        let later = "         Aggregated                                                                        41     0(0.00%) |     98       3     288     63 |   17.44        0.00";
        assert_eq!(heard(&[begun]).words(), "0.0/s, 0 of 35 failed (0.00 %)");
        assert_eq!(
            heard(&[begun, later]).words(),
            "17.4/s, 0 of 41 failed (0.00 %)",
            "not the sum"
        );
        let failing = later.replace(" 0(0.00%)", " 7(17.07%)");
        assert_eq!(heard(&[&failing]).errors, Some(7));
    }

    #[test]
    fn k6_is_understood() {
        let line = "running (0m05.0s), 10/10 VUs, 45 complete and 0 interrupted iterations";
        assert_eq!(heard(&[line]).words(), "9.0/s, 45 samples");
        let line = "running (1h01m00.0s), 00/10 VUs, 3660 complete and 1 interrupted iterations";
        assert_eq!(heard(&[line]).words(), "1.0/s, 3660 samples");
    }

    #[test]
    fn other_lines_say_nothing() {
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
            let mut load = Load::default();
            assert!(!load.hear(line), "{line}");
            assert_eq!(load, Load::default());
        }
    }
}
