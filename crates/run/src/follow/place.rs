//! Where in a log somebody is. An engine can be asked for lines from a time on, and several lines may have
//! the same time: so what is read again is told by its position among the lines of that time. Standard
//! output and standard error each keep their order; between the two, times may be out of it.

use atq_engine::{LogLine, LogStream};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How much older than the last line one of the other stream may be that came after it, in nanoseconds.
const DISORDER: u64 = 10_000_000_000;

/// How far one stream was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    /// Nanoseconds since the Unix epoch.
    at: u64,
    /// How many lines of this very time there were.
    count: u32,
}

/// One stream of a log.
#[derive(Debug, Default)]
struct Track {
    last: Option<Point>,
    /// The last line of the reading before; none once this one has come past it.
    resume: Option<Point>,
    /// How many lines of that time this reading has brought.
    again: u32,
    /// The time of the first line, if it was not the beginning of the log.
    first: Option<u64>,
}

/// How far a log was read.
#[derive(Debug, Default)]
pub struct Place {
    stdout: Track,
    stderr: Track,
    /// What is older was not asked for.
    floor: Option<u64>,
}

impl Place {
    /// Whether the line was not seen in an earlier reading. Lines without a time always count as new.
    pub fn passes(&mut self, line: &LogLine) -> bool {
        let Some(at) = nanos(&line.at) else {
            return true;
        };
        let floor = self.floor;
        let track = self.track(line.stream);
        let is_too_old = track.last.is_none() && floor.is_some_and(|floor| at < floor);
        !is_too_old && track.passes(at)
    }

    /// The log is read once more, from [`Place::since`] on.
    pub fn begin_again(&mut self) {
        for track in [&mut self.stdout, &mut self.stderr] {
            track.resume = track.last;
            track.again = 0;
        }
    }

    /// The time from which on there may be unseen lines; none: from the beginning.
    pub fn since(&self) -> Option<u64> {
        let last = [&self.stdout, &self.stderr].map(|track| track.last.map(|point| point.at));
        let last = last.into_iter().flatten().max()?;
        let since = last.saturating_sub(DISORDER);
        Some(self.floor.map_or(since, |floor| floor.max(since)))
    }

    /// The log is read from `line` on, or from an older one on that this is told of too.
    pub fn begin_at(&mut self, line: &LogLine) {
        let at = nanos(&line.at);
        self.floor = self.floor.into_iter().chain(at).min();
        let track = self.track(line.stream);
        track.first = track.first.or(at);
    }

    /// The time of the oldest line, if it was not the beginning of the log. Other lines may have had the
    /// same time; what tells that is a reading from there on, line by line for [`Place::also_at`].
    pub fn floor(&self) -> Option<u64> {
        self.floor
    }

    /// Counts a line that has the time of the first one; `false` when no such line can follow.
    pub fn also_at(&mut self, line: &LogLine) -> bool {
        let (Some(floor), Some(at)) = (self.floor, nanos(&line.at)) else {
            return true;
        };
        let track = self.track(line.stream);
        if at == track.first.unwrap_or(floor) {
            track.again += 1;
            let count = track.again;
            match &mut track.last {
                Some(last) if last.at == at => last.count = last.count.max(count),
                Some(_) => {}
                none => *none = Some(Point { at, count }),
            }
        }
        at <= floor.saturating_add(DISORDER)
    }

    fn track(&mut self, stream: LogStream) -> &mut Track {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }
}

impl Track {
    fn passes(&mut self, at: u64) -> bool {
        if let Some(resume) = self.resume {
            self.again += u32::from(at == resume.at);
            let known = at < resume.at || (at == resume.at && self.again <= resume.count);
            if known {
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

    /// A log of two streams, each with times that never go back, mixed.
    fn logs() -> impl Strategy<Value = Vec<LogLine>> {
        let step = (any::<bool>(), 0..3u64);
        prop::collection::vec(step, 0..40).prop_map(|steps| {
            let mut clocks = [0, 1];
            let steps = steps.into_iter().enumerate();
            steps
                .map(|(number, (is_error, later))| {
                    let clock = &mut clocks[usize::from(is_error)];
                    *clock += later;
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
        fn however_often_it_is_cut_off_each_line_is_seen_once(log in logs(), cuts in prop::collection::vec(0..40usize, 0..6)) {
            let mut place = Place::default();
            let mut seen = Vec::new();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                place.begin_again();
                let from = place.since();
                for line in since(&log, from).take(cut) {
                    if place.passes(line) {
                        seen.push(line.text.clone());
                    }
                }
            }
            seen.sort_by_key(|text| text.parse::<usize>().unwrap());
            let all: Vec<String> = (0..log.len()).map(|number| number.to_string()).collect();
            prop_assert_eq!(seen, all);
        }

        #[test]
        fn after_the_last_lines_come_only_those_that_were_not_there(log in logs(), there in 0..40usize, tail in 1..5usize) {
            let there = there.min(log.len());
            let mut place = Place::default();
            let mut seen = Vec::new();
            for line in &log[there.saturating_sub(tail)..there] {
                place.begin_at(line);
                prop_assert!(place.passes(line));
            }
            place.begin_again();
            for line in since(&log[..there], place.floor()) {
                prop_assert!(place.also_at(line));
            }
            place.begin_again();
            let from = place.since();
            for line in since(&log, from) {
                if place.passes(line) {
                    seen.push(line.text.clone());
                }
            }
            let floor = place.floor.unwrap_or_default();
            let late = log[there..].iter().filter(|line| nanos(&line.at).unwrap() >= floor);
            let late: Vec<String> = late.map(|line| line.text.clone()).collect();
            // Lines of the other stream that came before, with a later time, may come after.
            seen.retain(|text| text.parse::<usize>().unwrap() >= there.saturating_sub(tail));
            prop_assert_eq!(seen, late);
        }
    }
}
