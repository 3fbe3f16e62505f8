//! The figures at a moment of a run, as a value to be serialised.

use super::file::LiveFile;
use super::select::{Named, Selection};
use crate::histogram::{Distribution, to_f64};
use crate::recent::{Ring, SECONDS};
use crate::sample::{Sums, Unknown, figures, together};
use crate::samples::{Samples, series_missing};
use crate::summary::{self, History};
use crate::windows::{Buckets, Content};
use atq_api_spec::live::{CodeCount, LiveFigures, LiveGroup, LiveSource, SourceState, TimeBucket};
use atq_api_spec::report::{Figures, Series, SeriesPoint};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// Labels listed.
pub const MAX_LABELS: usize = 50;
/// Workers listed.
pub const MAX_WORKERS: usize = 200;
/// Files listed.
pub const MAX_SOURCES: usize = 200;
/// Response codes listed.
const MAX_CODES: usize = 50;
/// Bounds of the distribution of response times, in milliseconds.
const BOUNDS: [u64; 13] = [
    5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000,
];
const SECOND: u64 = 1_000_000;

/// Computes a snapshot without its series and sources.
pub fn of(selection: &Selection<'_>, at: u64) -> LiveFigures {
    let newest = selection.files.iter().filter_map(|(_, file)| file.newest());
    let snapshot = LiveFigures {
        at: at / 1000,
        newest: newest.max().map(|micros| micros / 1000),
        is_summarised: selection.is_summarised,
        doubts: selection.doubts.clone(),
        ..LiveFigures::default()
    };
    match selection.is_summarised {
        true => of_intervals(selection, snapshot),
        false => of_samples(selection, snapshot),
    }
}

/// The latest seconds of a part of a file.
type Latest<'a> = (&'a Ring, u64);

/// A set of samples in several files.
#[derive(Default)]
struct Part<'a> {
    sums: Vec<&'a Sums>,
    latest: Vec<Latest<'a>>,
}

impl Part<'_> {
    fn latest_samples(&self) -> u64 {
        let seconds = self.latest.iter().flat_map(|latest| seconds(*latest));
        seconds.map(|second| second.counts.samples).sum()
    }

    fn samples(&self) -> u64 {
        self.sums.iter().map(|sums| sums.counts.samples).sum()
    }
}

fn seconds((ring, end): Latest<'_>) -> impl Iterator<Item = &crate::windows::Second> {
    ring.between(end.saturating_sub(SECONDS), end)
}

/// How figures of the latest seconds are computed.
struct Recently {
    seconds: u64,
    buckets: Buckets,
}

impl Recently {
    fn of(selection: &Selection<'_>) -> Self {
        let ends = selection.files.iter();
        let end = ends.map(|(_, file)| selection.end(file)).max();
        let first = selection.first().map_or(u64::MAX, |first| first / SECOND);
        let mut buckets = Buckets::default();
        for (_, file) in &selection.files {
            if let Some(recent) = file.recent() {
                buckets.whole &= recent.buckets.whole;
            }
        }
        Self {
            seconds: end.unwrap_or_default().saturating_sub(first).min(SECONDS),
            buckets,
        }
    }

    fn figures(&self, part: &Part<'_>, unknown: Unknown) -> Figures {
        let mut content = Content::default();
        for second in part.latest.iter().flat_map(|latest| seconds(*latest)) {
            content.enter(second);
        }
        if content.samples == 0 || self.seconds == 0 {
            return Figures::default();
        }
        let mut sums = Sums {
            unknown: Unknown {
                // Bytes are counted since the start only.
                bytes: true,
                ..unknown
            },
            ..Sums::default()
        };
        let (shortest, longest) = content.span();
        sums.counts.samples = content.samples;
        sums.counts.errors = content.errors;
        sums.counts.elapsed = content.elapsed;
        sums.counts.shortest = Some(shortest);
        sums.counts.longest = longest;
        let rate = to_f64(content.samples) / to_f64(self.seconds);
        let mut figures = figures(&sums, &content.times(self.buckets));
        figures.missing.retain(|name| name != "throughput");
        Figures {
            throughput: rate,
            ..figures
        }
    }
}

fn of_samples(selection: &Selection<'_>, snapshot: LiveFigures) -> LiveFigures {
    let transactions = selection.has_transactions_only();
    let files: Vec<(&LiveFile, &Samples, u64)> = selection
        .files
        .iter()
        .filter_map(|(_, file)| Some((*file, &file.samples()?.samples, selection.end(file))))
        .collect();
    let mut workers: BTreeMap<String, Part<'_>> = BTreeMap::new();
    let mut labels: HashMap<&[u8], (String, Part<'_>)> = HashMap::new();
    let mut total = Part::default();
    for (_, samples, end) in &files {
        let recent = samples.recent.as_deref();
        let of_workers = recent.map(|recent| match transactions {
            true => &recent.transactions,
            false => &recent.requests,
        });
        for (number, sums) in samples.counted(transactions).by_worker.iter().enumerate() {
            let ring = of_workers.and_then(|rings| rings.get(number));
            let latest = ring.map(|ring| (ring, *end));
            let worker = workers.entry(samples.worker_name(number)).or_default();
            for part in [worker, &mut total] {
                part.sums.push(sums);
                part.latest.extend(latest);
            }
        }
        for (number, name, sums) in samples.labels() {
            let text = || (samples.label_name(number), Part::default());
            let (_, label) = labels.entry(name).or_insert_with(text);
            label.sums.extend(sums);
            let ring = recent.and_then(|recent| recent.labels.get(number));
            label.latest.extend(ring.map(|ring| (ring, *end)));
        }
    }
    workers.remove("");
    let labels = labels.into_values();
    let labels: Vec<(String, Part<'_>)> = labels.filter(|(_, part)| part.samples() > 0).collect();
    let labels_left_out = labels.len().saturating_sub(MAX_LABELS);
    let recently = Recently::of(selection);
    let (sums, times) = together(&total.sums);
    let mut all = figures(&sums, &times);
    for (file, ..) in &files {
        let (received, sent) = file.extra_bytes();
        all.received_bytes = all.received_bytes.saturating_add(received);
        all.sent_bytes = all.sent_bytes.saturating_add(sent);
    }
    let (relative, absolute) = selection.times();
    if relative && absolute {
        all.missing.push("throughput".to_owned());
        all.throughput = 0.0;
    }
    let has_others = files
        .iter()
        .any(|(_, samples, _)| samples.has_other_labels());
    let others = has_others.then(|| {
        let most = crate::samples::MAX_LABELS;
        format!("there are more than {most} labels; the others are counted as `(other)`")
    });
    LiveFigures {
        last: recently.figures(&total, sums.unknown),
        last_seconds: recently.seconds,
        total: all,
        active: active(&selection.files),
        workers_left_out: workers.len().saturating_sub(MAX_WORKERS),
        workers: named(workers.into_iter().take(MAX_WORKERS), &recently),
        labels: named(busiest(labels).into_iter(), &recently),
        labels_left_out,
        codes: codes(&files),
        response_times: match sums.unknown.times {
            true => Vec::new(),
            false => distribution(&times),
        },
        series: Series {
            missing: series_missing(&sums),
            ..Series::default()
        },
        notes: others.into_iter().collect(),
        ..snapshot
    }
}

/// The labels with the highest rates, and of equal ones those with most samples.
fn busiest(labels: Vec<(String, Part<'_>)>) -> Vec<(String, Part<'_>)> {
    let mut labels = labels;
    labels.sort_by_cached_key(|(name, part)| {
        (
            Reverse(part.latest_samples()),
            Reverse(part.samples()),
            name.clone(),
        )
    });
    labels.truncate(MAX_LABELS);
    labels
}

fn named<'a>(
    parts: impl Iterator<Item = (String, Part<'a>)>,
    recently: &Recently,
) -> Vec<LiveGroup> {
    let named = parts.map(|(name, part)| {
        let (sums, times) = together(&part.sums);
        LiveGroup {
            name,
            total: figures(&sums, &times),
            last: recently.figures(&part, sums.unknown),
        }
    });
    named.collect()
}

fn distribution(times: &Distribution) -> Vec<TimeBucket> {
    let mut before = 0;
    let bounds = BOUNDS.map(Some).into_iter().chain([None]);
    let buckets = bounds.map(|up_to| {
        let seen = up_to.map_or(times.samples(), |millis| times.up_to(millis));
        let count = seen - before;
        before = seen;
        TimeBucket { up_to, count }
    });
    buckets.collect()
}

fn codes(files: &[(&LiveFile, &Samples, u64)]) -> Vec<CodeCount> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let recent = files
        .iter()
        .filter_map(|(_, samples, _)| samples.recent.as_ref());
    for recent in recent {
        for (number, count) in recent.code_counts.iter().enumerate() {
            *counts.entry(recent.codes.name(number)).or_default() += count;
        }
    }
    let counts = counts.into_iter();
    let mut codes: Vec<CodeCount> = counts
        .map(|(code, count)| CodeCount { code, count })
        .collect();
    codes.sort_by_key(|code| Reverse(code.count));
    codes.truncate(MAX_CODES);
    codes
}

#[expect(clippy::cast_precision_loss)]
fn active(files: &[Named<'_>]) -> Option<f64> {
    let known = files.iter().filter_map(|(_, file)| file.active());
    known
        .map(|users| users as f64)
        .reduce(|one, other| one + other)
}

/// The figures of a tool's intervals.
fn of_intervals(selection: &Selection<'_>, snapshot: LiveFigures) -> LiveFigures {
    let histories = selection.histories();
    let totals = histories
        .iter()
        .filter_map(|history| history.total.as_ref());
    let seconds = Recently::of(selection).seconds;
    let mut last: Vec<SeriesPoint> = Vec::new();
    let mut users = None;
    for (_, file) in &selection.files {
        let Some(history) = file.history() else {
            continue;
        };
        let end = selection.end(file);
        last.push(history.latest_before(end, seconds));
        let active = history.latest.values().next_back();
        if let Some(active) = active.and_then(|point| point.active)
            && !file.is_over()
        {
            users = Some(users.unwrap_or_default() + active);
        }
    }
    LiveFigures {
        total: summary::merge(totals),
        last: of_points(&last, seconds),
        last_seconds: seconds,
        active: users,
        notes: vec![
            "figures are the tool's own of intervals; percentiles are of about the last ten seconds".to_owned(),
        ],
        ..snapshot
    }
}

/// Figures of the same seconds of several masters; of percentiles the highest, as an upper bound.
fn of_points(points: &[SeriesPoint], seconds: u64) -> Figures {
    let figures = points.iter().map(|point| Figures {
        samples: point.samples,
        errors: point.errors,
        throughput: to_f64(point.samples) / to_f64(seconds.max(1)),
        mean: point.mean,
        p50: point.p50,
        p90: point.p90,
        p95: point.p95,
        p99: point.p99,
        received_bytes: point.received_bytes,
        missing: ["min", "max", "sentBytes"].map(str::to_owned).into(),
        ..Figures::default()
    });
    summary::merge(&figures.collect::<Vec<_>>())
}

impl History {
    /// The sums of the seconds before `end`, with the latest percentiles.
    fn latest_before(&self, end: u64, seconds: u64) -> SeriesPoint {
        let mut sum = SeriesPoint::default();
        for point in self
            .latest
            .range(end.saturating_sub(seconds)..end)
            .map(|(_, point)| point)
        {
            let samples = sum.samples + point.samples;
            let elapsed = sum.mean * to_f64(sum.samples) + point.mean * to_f64(point.samples);
            sum = SeriesPoint {
                samples,
                errors: sum.errors + point.errors,
                mean: elapsed / to_f64(samples.max(1)),
                received_bytes: sum.received_bytes + point.received_bytes,
                ..point.clone()
            };
        }
        sum
    }
}

/// The files, those that are read first, and the number of others.
pub fn sources<'a>(
    files: impl Iterator<Item = (&'a String, &'a LiveFile)>,
    selection: &Selection<'_>,
) -> (Vec<LiveSource>, usize) {
    let mut sources: Vec<LiveSource> = files
        .map(|(path, file)| LiveSource {
            path: path.clone(),
            format: file.format().map_or("", |format| format.name()).to_owned(),
            state: file.state(),
            samples: file.samples().map_or(0, |tally| tally.found.samples),
            newest: file.newest().map(|micros| micros / 1000),
            restarts: file.restarts,
            ignored: selection.ignored.get(path.as_str()).cloned(),
            problem: file.problem(),
        })
        .collect();
    sources.sort_by_key(|source| source.state == SourceState::Skipped);
    let left_out = sources.len().saturating_sub(MAX_SOURCES);
    sources.truncate(MAX_SOURCES);
    (sources, left_out)
}
