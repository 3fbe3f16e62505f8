//! Detects parts of requests among the rows of a JTL in CSV.
//!
//! After the row of a request that was redirected, or that loaded embedded resources, JMeter writes a
//! row for each part: `Login-0`, `Login-1`, or the URLs if it does not rename them. Parts lie within
//! the time of the request and belong to the same thread. JMeter's own summary does not count them, and
//! neither does the decoder of the XML format, where they are nested in the request.

use crate::sample::Sample;
use foldhash::fast::FixedState;
use std::hash::BuildHasher;

/// Number of stored requests. Rows of other threads may come in between.
const MAX_REQUESTS: usize = 2048;
const MILLI: u64 = 1000;
const SECOND: u64 = 1_000_000;

#[derive(Debug, Clone, Copy, Default)]
struct Request {
    thread: u64,
    label: u64,
    start: u64,
    elapsed: u64,
    received: u64,
    transaction: bool,
    /// Number of its parts so far, and their bytes.
    parts: u64,
    parts_received: u64,
}

/// The most recent requests of a file.
#[derive(Debug, Default)]
pub struct SubResults {
    requests: Vec<Request>,
    /// Position of the next request.
    next: usize,
}

fn hash(bytes: &[u8]) -> u64 {
    FixedState::with_seed(0).hash_one(bytes)
}

impl SubResults {
    /// True if a row is a part of an earlier request; otherwise it is stored as a request.
    pub fn takes(&mut self, sample: &Sample<'_>, host: &[u8]) -> bool {
        let thread = hash(sample.thread) ^ hash(host);
        let may_be = !sample.transaction && looks_like_part(sample.label);
        if may_be && let Some(request) = self.request_of(sample, thread) {
            request.parts += 1;
            request.parts_received = request.parts_received.saturating_add(sample.received);
            return true;
        }
        let request = Request {
            thread,
            label: hash(sample.label),
            start: sample.start.unwrap_or_default(),
            elapsed: sample.elapsed,
            received: sample.received,
            transaction: sample.transaction,
            ..Request::default()
        };
        match self.requests.get_mut(self.next) {
            Some(oldest) => *oldest = request,
            None => self.requests.push(request),
        }
        self.next = (self.next + 1) % MAX_REQUESTS;
        false
    }

    /// The request that the sample may be a part of: the last one of its thread, or of all
    /// threads if the file does not contain them.
    fn request_of(&mut self, sample: &Sample<'_>, thread: u64) -> Option<&mut Request> {
        let next = self.next.min(self.requests.len());
        let (newer, older) = self.requests.split_at_mut(next);
        let mut newest_first = newer.iter_mut().rev().chain(older.iter_mut().rev());
        if sample.thread.is_empty() {
            return newest_first.find(|request| request.has_part(sample));
        }
        let last = newest_first.find(|request| request.thread == thread)?;
        last.has_part(sample).then_some(last)
    }
}

/// True for labels like `Login-0`, or a URL.
fn looks_like_part(label: &[u8]) -> bool {
    split_number(label).is_some() || is_address(label)
}

fn is_address(label: &[u8]) -> bool {
    label.starts_with(b"http://") || label.starts_with(b"https://")
}

/// Splits `Login-12` into `Login` and 12.
fn split_number(label: &[u8]) -> Option<(&[u8], u64)> {
    if !label.last()?.is_ascii_digit() {
        return None;
    }
    let dash = memchr::memrchr(b'-', label)?;
    let number = super::numbers::whole(&label[dash + 1..])?;
    Some((&label[..dash], number))
}

impl Request {
    fn has_part(&self, sample: &Sample<'_>) -> bool {
        // Requests in a transaction are counted.
        let received = self.parts_received.saturating_add(sample.received);
        if self.transaction || !self.contains(sample) || sample.received > self.received {
            return false;
        }
        // With short durations or a resolution of seconds, consecutive requests look like parts; parts are smaller.
        let is_unclear = self.elapsed <= MILLI || self.is_coarse(sample);
        if is_unclear && (received > self.received || sample.received == self.received) {
            return false;
        }
        if is_address(sample.label) {
            return self.starts_with(sample) || self.parts > 0;
        }
        let Some((mut before, number)) = split_number(sample.label) else {
            return false;
        };
        if hash(before) == self.label {
            // Parts are numbered from zero, and the first one starts with the request. Parts of parts are counted
            // as well.
            return number <= self.parts && (number > 0 || self.starts_with(sample));
        }
        // A part of a part: `Login-1-0`.
        while let Some((shorter, _)) = split_number(before) {
            if hash(shorter) == self.label {
                return self.parts > 0;
            }
            before = shorter;
        }
        false
    }

    fn starts_with(&self, sample: &Sample<'_>) -> bool {
        sample.start.unwrap_or_default() == self.start
    }

    /// True if the file has no fractions of seconds.
    fn is_coarse(&self, sample: &Sample<'_>) -> bool {
        let start = sample.start.unwrap_or_default();
        self.start.is_multiple_of(SECOND) && start.is_multiple_of(SECOND)
    }

    /// True if the sample lies within the time of the request.
    fn contains(&self, sample: &Sample<'_>) -> bool {
        let start = sample.start.unwrap_or_default();
        let coarse = self.is_coarse(sample);
        let tolerance = if coarse { SECOND } else { MILLI };
        let end = self.start + self.elapsed;
        start + MILLI >= self.start
            && (start < end || sample.elapsed == 0 || coarse)
            && start + sample.elapsed <= end + tolerance
            && sample.elapsed <= self.elapsed + MILLI
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<'a>(thread: &'a str, label: &'a str, start: u64, elapsed: u64) -> Sample<'a> {
        Sample {
            thread: thread.as_bytes(),
            start: Some((1_760_000_000_000 + start) * MILLI),
            elapsed: elapsed * MILLI,
            label: label.as_bytes(),
            received: elapsed,
            ..Sample::default()
        }
    }

    fn parts(rows: &[(&str, &str, u64, u64)]) -> Vec<bool> {
        let mut found = SubResults::default();
        let rows = rows.iter();
        rows.map(|(thread, label, start, elapsed)| {
            found.takes(&sample(thread, label, *start, *elapsed), b"")
        })
        .collect()
    }

    #[test]
    fn parts_lie_within_their_request_and_belong_to_its_thread() {
        let found = parts(&[
            ("a", "Login", 1, 100),
            ("b", "Login", 2, 100),
            ("a", "Login-0", 1, 40),
            ("b", "Login-0", 2, 40),
            ("a", "Login-1", 41, 60),
            ("a", "Login-1-0", 41, 20),
            ("a", "Login-2", 101, 0),
            ("c", "Login-0", 2, 40),
        ]);
        assert_eq!(found, [false, false, true, true, true, true, true, false]);
    }

    #[test]
    fn requests_named_like_parts_are_counted() {
        let found = parts(&[
            ("a", "Login", 1, 3),
            ("a", "Login-0", 4, 3),
            ("a", "Login-1", 7, 3),
            ("a", "step-1", 10, 3),
            ("a", "step-2", 13, 3),
            ("a", "http://x/1", 16, 3),
            ("a", "http://x/2", 19, 3),
        ]);
        assert_eq!(found, [false; 7]);
    }

    #[test]
    fn requests_of_zero_duration_are_not_parts_of_each_other() {
        let found = parts(&[
            ("a", "Step", 1, 0),
            ("a", "Step-0", 1, 0),
            ("a", "Step-1", 1, 0),
            ("a", "Pair", 5, 1),
            ("a", "Pair-0", 6, 0),
            ("a", "Init", 9, 0),
            ("a", "http://x/1", 9, 0),
        ]);
        assert_eq!(found, [false; 7]);
    }

    #[test]
    fn without_threads_the_request_is_found_among_those_of_others() {
        let found = parts(&[
            ("", "Login", 1, 100),
            ("", "Home", 2, 100),
            ("", "Home-0", 2, 40),
            ("", "Login-0", 1, 40),
            ("", "http://x/", 300, 100),
        ]);
        assert_eq!(found, [false, false, true, true, false]);
    }

    #[test]
    fn parts_labelled_with_their_address_are_detected_too() {
        let found = parts(&[
            ("a", "Login", 1, 100),
            ("a", "http://x/login", 1, 40),
            ("a", "http://x/home", 41, 60),
        ]);
        assert_eq!(found, [false, true, true]);
    }
}
