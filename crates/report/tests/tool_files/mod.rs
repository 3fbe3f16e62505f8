//! Common parts of the tests of several tools.
#![allow(clippy::unwrap_used, dead_code)]

use atq_api_spec::report::{Figures, Report, ReportSource};
use atq_report::{Options, ResultFile, Tally};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::Path;

/// The bytes of a fixture.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path.join("tests/fixtures").join(name)).unwrap()
}

/// The text of a fixture.
pub fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap()
}

/// Reads a file.
pub fn read(name: &str, bytes: &[u8]) -> (ReportSource, Report) {
    let mut tally = Tally::new(Options::default());
    let source = tally.read(name, None, bytes).unwrap();
    (source, tally.finish("task", "run").report)
}

/// Reads a file of this tool that must have no problem.
pub fn sound(format: &str, name: &str, bytes: &[u8]) -> Report {
    let (source, report) = read(name, bytes);
    assert_eq!(source.problem, None, "{name}");
    assert_eq!(source.format, format, "{name}");
    report
}

/// Reads a fixture at once, in chunks, and compressed; the results must be equal.
pub fn report(name: &str) -> Report {
    let bytes = fixture(name);
    let tool = name.split('/').next().unwrap();
    let report = sound(tool, name, &bytes);
    for chunk in [1, 7, 1000] {
        assert_eq!(in_chunks(name, &bytes, chunk), report, "{chunk}");
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&bytes).unwrap();
    assert_eq!(sound(tool, name, &packed.finish().unwrap()), report);
    report
}

fn in_chunks(name: &str, bytes: &[u8], chunk: usize) -> Report {
    let mut file = ResultFile::new(name, None, &[]);
    bytes.chunks(chunk).for_each(|bytes| file.push(bytes));
    let mut tally = Tally::new(Options::default());
    tally.add(file.finish(None));
    tally.finish("task", "run").report
}

/// The problem of a file.
pub fn problem(name: &str, bytes: &[u8]) -> String {
    let (source, _) = read(name, bytes);
    source.problem.unwrap_or_else(|| panic!("{name} is sound"))
}

/// Expected figures of a tool; times may differ by a microsecond or a thousandth.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'a> {
    pub samples: u64,
    pub errors: u64,
    pub throughput: f64,
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
    pub received: u64,
    pub sent: u64,
    pub missing: &'a [&'a str],
}

/// Compares every figure.
pub fn assert_figures(name: &str, ours: &Figures, wanted: &Expected<'_>) {
    assert_eq!(ours.samples, wanted.samples, "{name}");
    assert_eq!(ours.errors, wanted.errors, "{name}");
    assert_eq!(ours.received_bytes, wanted.received, "{name}");
    assert_eq!(ours.sent_bytes, wanted.sent, "{name}");
    assert_eq!(ours.missing, wanted.missing, "{name}");
    let percent = wanted.errors as f64 / wanted.samples as f64 * 100.0;
    for (figure, ours, wanted, precision) in [
        ("errorPercent", ours.error_percent, percent, 1e-9),
        ("throughput", ours.throughput, wanted.throughput, 1e-4),
        ("min", ours.min, wanted.min, 0.0),
        ("mean", ours.mean, wanted.mean, 1e-4),
        ("p50", ours.p50, wanted.p50, 1e-3),
        ("p90", ours.p90, wanted.p90, 1e-3),
        ("p95", ours.p95, wanted.p95, 1e-3),
        ("p99", ours.p99, wanted.p99, 1e-3),
        ("max", ours.max, wanted.max, 0.0),
    ] {
        assert!(
            (ours - wanted).abs() <= precision * wanted + 0.001,
            "{name} {figure}: {ours} instead of {wanted}"
        );
    }
}
