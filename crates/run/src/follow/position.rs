//! The position of a reader in a log. An engine returns lines from a given time on, and several lines may have the same
//! time. Repeated lines are therefore recognized by their number among the lines of that time. Standard output and
//! standard error are each ordered by time; lines of one may be out of order with lines of the other.

use atq_engine::{LogLine, LogStream};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Maximum age difference, in nanoseconds, between the last line and a later line of the other stream.
const MAX_DISORDER: u64 = 10_000_000_000;

/// The last line read from one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    /// Nanoseconds since the Unix epoch.
    at: u64,
    /// Number of lines read with exactly this time.
    count: u32,
}

/// One stream of a log.
#[derive(Debug, Default)]
struct Track {
    last: Option<Point>,
    /// The last line of the previous reading; `None` once the current reading has passed it.
    resume: Option<Point>,
    /// Number of lines of that time in the current reading.
    repeated: u32,
    /// The time of the first line if earlier lines were not requested.
    first: Option<u64>,
}

/// The position of a reader in a log.
#[derive(Debug, Default)]
pub struct LogPosition {
    stdout: Track,
    stderr: Track,
    /// Lines before this time were not requested.
    floor: Option<u64>,
}

impl LogPosition {
    /// Whether the line is new. Lines without a time always count as new.
    pub fn is_new(&mut self, line: &LogLine) -> bool {
        let Some(at) = nanos(&line.at) else {
            return true;
        };
        let floor = self.floor;
        let track = self.track(line.stream);
        let is_too_old = track.last.is_none() && floor.is_some_and(|floor| at < floor);
        !is_too_old && track.is_new(at)
    }

    /// Starts another reading, from [`LogPosition::since`] on.
    pub fn restart(&mut self) {
        for track in [&mut self.stdout, &mut self.stderr] {
            track.resume = track.last;
            track.repeated = 0;
        }
    }

    /// The time from which on there may be new lines; `None`: the beginning.
    pub fn since(&self) -> Option<u64> {
        let last = [&self.stdout, &self.stderr].map(|track| track.last.map(|point| point.at));
        let last = last.into_iter().flatten().max()?;
        let since = last.saturating_sub(MAX_DISORDER);
        Some(self.floor.map_or(since, |floor| floor.max(since)))
    }

    /// Marks `line` as requested. The log is read from the oldest such line on.
    pub fn start_at(&mut self, line: &LogLine) {
        let at = nanos(&line.at);
        self.floor = self.floor.into_iter().chain(at).min();
        let track = self.track(line.stream);
        track.first = track.first.or(at);
    }

    /// The time of the oldest requested line, if earlier lines were not requested. Unrequested lines may have the same
    /// time; a reading from there on, with [`LogPosition::count_same_time`] for each line, counts them.
    pub fn floor(&self) -> Option<u64> {
        self.floor
    }

    /// Counts a line with the time of the first one; `false` if no such line can follow.
    pub fn count_same_time(&mut self, line: &LogLine) -> bool {
        let (Some(floor), Some(at)) = (self.floor, nanos(&line.at)) else {
            return true;
        };
        let track = self.track(line.stream);
        if at == track.first.unwrap_or(floor) {
            track.repeated += 1;
            let count = track.repeated;
            match &mut track.last {
                Some(last) if last.at == at => last.count = last.count.max(count),
                Some(_) => {}
                none => *none = Some(Point { at, count }),
            }
        }
        at <= floor.saturating_add(MAX_DISORDER)
    }

    fn track(&mut self, stream: LogStream) -> &mut Track {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }
}

impl Track {
    fn is_new(&mut self, at: u64) -> bool {
        if let Some(resume) = self.resume {
            self.repeated += u32::from(at == resume.at);
            let is_known = at < resume.at || (at == resume.at && self.repeated <= resume.count);
            if is_known {
                return false;
            }
            self.resume = None;
        }
        let count = match self.last {
            Some(last) if last.at == at => last.count + 1,
            _ => 1,
        };
        self.last = Some(Point { at, count });
        true
    }
}

fn nanos(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn line(stream: LogStream, at: u64, text: String) -> LogLine {
        let at =
            OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_000_000_000 + i128::from(at));
        LogLine {
            at: at.unwrap().format(&Rfc3339).unwrap(),
            stream,
            text,
        }
    }

    /// A log of two interleaved streams with non-decreasing times.
    fn logs() -> impl Strategy<Value = Vec<LogLine>> {
        let step = (any::<bool>(), 0..3u64);
        prop::collection::vec(step, 0..40).prop_map(|steps| {
            let mut clocks = [0, 1];
            let steps = steps.into_iter().enumerate();
            steps
                .map(|(number, (is_error, step))| {
                    let clock = &mut clocks[usize::from(is_error)];
                    *clock += step;
                    let stream = match is_error {
                        true => LogStream::Stderr,
                        false => LogStream::Stdout,
                    };
                    line(stream, *clock, number.to_string())
                })
                .collect()
        })
    }

    /// The lines from a time on.
    fn since(log: &[LogLine], since: Option<u64>) -> impl Iterator<Item = &LogLine> {
        let late = move |line: &&LogLine| nanos(&line.at).unwrap() >= since.unwrap_or_default();
        log.iter().filter(late)
    }

    proptest! {
        #[test]
        fn each_line_is_new_once_however_often_reading_is_interrupted(log in logs(), cuts in prop::collection::vec(0..40usize, 0..6)) {
            let mut position = LogPosition::default();
            let mut lines = Vec::new();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                position.restart();
                let from = position.since();
                for line in since(&log, from).take(cut) {
                    if position.is_new(line) {
                        lines.push(line.text.clone());
                    }
                }
            }
            lines.sort_by_key(|text| text.parse::<usize>().unwrap());
            let all: Vec<String> = (0..log.len()).map(|number| number.to_string()).collect();
            prop_assert_eq!(lines, all);
        }

        #[test]
        fn only_new_lines_follow_the_requested_last_lines(log in logs(), existing in 0..40usize, tail in 1..5usize) {
            let existing = existing.min(log.len());
            let mut position = LogPosition::default();
            let mut lines = Vec::new();
            for line in &log[existing.saturating_sub(tail)..existing] {
                position.start_at(line);
                prop_assert!(position.is_new(line));
            }
            position.restart();
            for line in since(&log[..existing], position.floor()) {
                prop_assert!(position.count_same_time(line));
            }
            position.restart();
            let from = position.since();
            for line in since(&log, from) {
                if position.is_new(line) {
                    lines.push(line.text.clone());
                }
            }
            let floor = position.floor.unwrap_or_default();
            let late = log[existing..].iter().filter(|line| nanos(&line.at).unwrap() >= floor);
            let late: Vec<String> = late.map(|line| line.text.clone()).collect();
            // Earlier lines of the other stream with a later time may follow.
            lines.retain(|text| text.parse::<usize>().unwrap() >= existing.saturating_sub(tail));
            prop_assert_eq!(lines, late);
        }
    }
}
