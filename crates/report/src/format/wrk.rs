//! The output of wrk and wrk2, saved in a file.
//!
//! A sample is a response, or a request that ended with a socket error. Failed samples are responses other than
//! 2xx and 3xx, socket errors and timeouts: everything that wrk counts as an error.

use super::detect::Detected;
use super::hdr_table::Table;
use super::numbers::{number, short, whole, without_mark};
use super::{FileTally, Format, KnownFigures, PercentilePoint, Summary, to_f64, to_u64};
use crate::histogram::at_percentile;

/// wrk's output is much smaller, but a script may print more.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Detects the output by its beginning; `None`: it is not wrk's.
pub fn detect(head: &[u8], is_whole: bool) -> Option<Detected> {
    let head = without_mark(head).trim_ascii_start();
    // autocannon prints the same first line.
    let ends = memchr::memchr_iter(b'\n', head)
        .take(2)
        .collect::<Vec<usize>>();
    let end = match ends.as_slice() {
        [_, second] => *second,
        [_] if is_whole => head.len(),
        _ => return None,
    };
    let mut lines = std::str::from_utf8(head.get(..end)?).ok()?.lines();
    let is_wrk = is_first(lines.next()?) && is_second(lines.next()?);
    is_wrk.then_some(Detected::Results(Format::Wrk))
}

fn is_first(line: &str) -> bool {
    line.starts_with("Running ") && line.contains(" test @ ")
}

fn is_second(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    matches!(words.as_slice(), [_, "threads", "and", _, "connections"])
}

/// Decodes the output.
pub fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    let mut output = Output::default();
    for line in String::from_utf8_lossy(text).lines() {
        output.line(line)?;
    }
    output.is_whole()?;
    output.note(into);
    for (message, count) in output.errors.named() {
        if count > 0 {
            into.summary_errors.add(b"", message.as_bytes(), count);
        }
    }
    let total = output.known().figures();
    into.summarise(Summary {
        form: "wrk",
        distribution: output.distribution(),
        duration: output.seconds,
        total,
        ..Summary::default()
    });
    Ok(())
}

/// The kinds of socket errors.
const SOCKETS: [&str; 4] = ["connect", "read", "write", "timeout"];

/// wrk's error counts.
#[derive(Debug, Default, Clone, Copy)]
struct Errors {
    status: u64,
    /// By [`SOCKETS`].
    sockets: [u64; 4],
}

impl Errors {
    fn named(self) -> impl Iterator<Item = (String, u64)> {
        let sockets = SOCKETS.map(|kind| format!("Socket errors: {kind}"));
        let status = ("Non-2xx or 3xx responses".to_owned(), self.status);
        [status]
            .into_iter()
            .chain(sockets.into_iter().zip(self.sockets))
    }

    /// Requests without a response. A request that timed out may still have received its response.
    fn without_response(self) -> u64 {
        let [connect, read, write, _] = self.sockets;
        connect.saturating_add(read).saturating_add(write)
    }
}

/// The current section of the output.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Part {
    #[default]
    Summary,
    /// Percentiles of the latency, one per line.
    Latency,
    /// wrk2's table of percentiles.
    Spectrum,
    /// wrk2's second table of percentiles, without the time that requests waited to be sent.
    Uncorrected,
}

/// The parsed output. Times in milliseconds.
#[derive(Debug, Default)]
struct Output {
    has_begun: bool,
    part: Part,
    is_calibrated: bool,
    has_uncorrected: bool,
    mean: Option<f64>,
    max: Option<f64>,
    percentiles: Vec<PercentilePoint>,
    spectrum: Option<Table>,
    responses: Option<u64>,
    seconds: Option<f64>,
    received: Option<u64>,
    errors: Errors,
    rate: Option<f64>,
    /// True after the last line.
    has_ended: bool,
}

impl Output {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim();
        if is_first(line) && std::mem::replace(&mut self.has_begun, true) {
            return Err("it contains several runs of wrk: each needs a file of its own".to_owned());
        }
        // Further lines are printed by a script.
        if self.has_ended {
            return Ok(());
        }
        if let Some((name, value)) = line.split_once(':')
            && self.named(name, value.trim())?
        {
            return Ok(());
        }
        if line.starts_with("Latency Distribution") {
            self.has_uncorrected |= !self.percentiles.is_empty();
            self.part = match self.has_uncorrected {
                true => Part::Uncorrected,
                false => Part::Latency,
            };
            return Ok(());
        }
        if line.starts_with("----") {
            self.part = Part::Summary;
        }
        match (self.part, self.spectrum.as_mut()) {
            (Part::Spectrum, Some(spectrum)) => return spectrum.line(line),
            (Part::Uncorrected, _) => return Ok(()),
            _ => {}
        }
        self.words(&line.split_whitespace().collect::<Vec<&str>>())
    }

    /// Parses a line with a colon. Returns true if it is one of wrk's.
    fn named(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let bad = || format!("its `{name}` is `{}`", short(value));
        match name {
            "Thread calibration" => self.is_calibrated = true,
            "Detailed Percentile spectrum" if self.part == Part::Latency => {
                self.part = Part::Spectrum;
                self.spectrum = Some(Table::default());
            }
            "Socket errors" => {
                for part in value.split(',') {
                    let (kind, count) = part.trim().split_once(' ').ok_or_else(bad)?;
                    let count = whole(count.as_bytes()).ok_or_else(bad)?;
                    let kind = SOCKETS.iter().position(|known| *known == kind);
                    self.errors.sockets[kind.ok_or_else(bad)?] = count;
                }
            }
            "Non-2xx or 3xx responses" => {
                self.errors.status = whole(value.as_bytes()).ok_or_else(bad)?;
            }
            // A test that ended immediately has a rate of `-nan` or `inf`.
            "Requests/sec" => self.rate = number(value.as_bytes()),
            "Transfer/sec" => self.has_ended = value.ends_with('B'),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn words(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["Latency", mean, _, max, _] if self.mean.is_none() => {
                (self.mean, self.max) = (millis(mean), millis(max));
            }
            [count, "requests", "in", time, bytes, "read"] if self.responses.is_none() => {
                let bad = || format!("`{}` is not a count of requests", short(&words.join(" ")));
                self.part = Part::Summary;
                self.responses = Some(whole(count.as_bytes()).ok_or_else(bad)?);
                self.seconds = millis(time.trim_end_matches(',')).map(|millis| millis / 1000.0);
                self.received = bytes_of(bytes);
            }
            [percent, time] if self.part == Part::Latency => {
                let percentile = percent
                    .strip_suffix('%')
                    .map(str::as_bytes)
                    .and_then(number);
                let percentile = percentile.filter(|percent| (0.0..=100.0).contains(percent));
                if let (Some(percentile), Some(millis)) = (percentile, millis(time))
                    && self.percentiles.len() < 100
                {
                    self.percentiles
                        .push(PercentilePoint { percentile, millis });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks that the output is complete.
    fn is_whole(&self) -> Result<(), String> {
        let spectrum = self
            .spectrum
            .as_ref()
            .is_none_or(|spectrum| spectrum.has_ended);
        match self.has_ended && spectrum && self.responses.is_some() {
            true => Ok(()),
            false => Err("wrk's output is incomplete: the run was interrupted".to_owned()),
        }
    }

    fn samples(&self) -> u64 {
        let responses = self.responses.unwrap_or_default();
        responses.saturating_add(self.errors.without_response())
    }

    fn known(&self) -> KnownFigures {
        let samples = self.samples();
        let errors = self.errors.named().map(|(_, count)| count);
        let errors = errors.fold(0_u64, u64::saturating_add).min(samples);
        let spectrum = self.spectrum.as_ref();
        let spectrum = spectrum.filter(|spectrum| spectrum.samples() > 0);
        let times = match spectrum {
            Some(spectrum) => spectrum.known(),
            None => KnownFigures {
                mean: self.mean,
                max: self.max,
                ..KnownFigures::of_percentiles(|wanted| at_percentile(&self.percentiles, wanted))
            },
        };
        KnownFigures {
            samples,
            errors: Some(errors),
            throughput: self.rate,
            received: self.received.map(to_f64),
            ..times
        }
    }

    fn distribution(&self) -> Vec<PercentilePoint> {
        match &self.spectrum {
            Some(spectrum) => spectrum.distribution(),
            None => self.percentiles.clone(),
        }
    }

    fn note(&self, into: &mut FileTally) {
        into.note("times are wrk's own figures of all responses, and received bytes are rounded by it; it has no labels and no figures over time");
        let responses = self.responses.unwrap_or_default();
        if let Some(spectrum) = &self.spectrum {
            let timed = spectrum.samples();
            if self.is_calibrated {
                into.note(format!(
                    "wrk2 excludes the time of its calibration (the first ten seconds) from its response times: they cover {timed} of {responses} responses"
                ));
            } else if timed != responses {
                into.note(format!(
                    "response times of wrk2 cover {timed} of {responses} responses"
                ));
            }
        } else if self.is_calibrated {
            into.note("wrk2 excludes the time of its calibration (the first ten seconds) from its response times");
        }
        if self.percentiles.is_empty() {
            into.note("wrk prints percentiles only with `--latency`");
        }
        if self.has_uncorrected {
            into.note("of wrk2's two sets of response times the corrected ones are used, which are measured from the time at which a request should have been sent");
        }
        let without_response = self.errors.without_response();
        if without_response > 0 {
            into.note(format!(
                "{without_response} requests of wrk ended with a socket error: they are counted as failed samples, but have no response time and are not part of the throughput"
            ));
        }
        let [.., timeouts] = self.errors.sockets;
        if timeouts > 0 {
            into.note(format!(
                "wrk counted {timeouts} timeouts, which are counted as errors: a request may have several, and may still have received its response"
            ));
        }
    }
}

/// A number and its unit.
fn parts(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|sign: char| sign.is_ascii_alphabetic())?;
    let (value, unit) = text.split_at(end);
    let value = number(value.as_bytes()).filter(|value| *value >= 0.0)?;
    Some((value, unit))
}

/// `1.39ms`; `None` for `-nan`, which means no samples.
fn millis(text: &str) -> Option<f64> {
    let (value, unit) = parts(text)?;
    Some(match unit {
        "us" => value / 1000.0,
        "ms" => value,
        "s" => value * 1000.0,
        "m" => value * 60_000.0,
        "h" => value * 3_600_000.0,
        _ => return None,
    })
}

/// `2.27MB`: in powers of 1024.
fn bytes_of(text: &str) -> Option<u64> {
    let (value, unit) = parts(text)?;
    let units = ["B", "KB", "MB", "GB", "TB", "PB"];
    let power = units.iter().position(|known| *known == unit)?;
    let factor = to_f64(1 << (10 * power));
    Some(to_u64((value * factor).round()))
}
