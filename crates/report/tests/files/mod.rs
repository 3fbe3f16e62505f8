//! Reads fixtures, and checks properties of every format.
#![allow(dead_code, clippy::unwrap_used)]

use atq_api_spec::report::{Figures, Report};
use atq_report::{Options, ResultFile, SourceSummary, Tally};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use std::io::Write;
use std::path::Path;

pub fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

pub fn expected(name: &str) -> Value {
    serde_json::from_slice(&fixture(name)).unwrap()
}

/// Reads one file.
pub fn read(name: &str, bytes: &[u8]) -> (SourceSummary, Report) {
    let mut tally = Tally::new(Options::default());
    let source = tally.read(name, None, bytes).unwrap();
    (source, tally.finish("task", "run").report)
}

/// Reads a fixture without a problem.
pub fn sound(name: &str) -> (SourceSummary, Report) {
    let (source, report) = read(name, &fixture(name));
    assert_eq!(source.problem, None, "{name}");
    (source, report)
}

/// The report must not depend on the chunk size or on compression.
pub fn assert_same_in_portions_and_packed(name: &str) {
    let bytes = fixture(name);
    let (_, whole) = read(name, &bytes);
    for chunk in [1, 7, 1000] {
        let mut file = ResultFile::new(name, None, &[]);
        bytes.chunks(chunk).for_each(|bytes| file.push(bytes));
        let mut tally = Tally::new(Options::default());
        tally.add(file.finish(None));
        let report = tally.finish("task", "run").report;
        assert_eq!(report, whole, "{name} in portions of {chunk}");
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&bytes).unwrap();
    let (_, unpacked) = read(name, &packed.finish().unwrap());
    assert_eq!(unpacked, whole, "{name} packed");
}

/// A figure by its name in JSON.
pub fn figure(figures: &Figures, name: &str) -> f64 {
    serde_json::to_value(figures).unwrap()[name]
        .as_f64()
        .unwrap()
}

/// Checks figures up to a relative precision.
pub fn assert_figures(ours: &Figures, theirs: &Value, names: &[&str], precision: f64) {
    for name in names {
        let (ours, theirs) = (figure(ours, name), theirs[name].as_f64().unwrap());
        assert!(
            (ours - theirs).abs() <= precision * theirs.abs(),
            "{name}: {ours} here, {theirs} there"
        );
    }
}

/// Checks that exactly these figures are missing.
pub fn assert_missing(figures: &Figures, names: &[&str]) {
    let mut ours: Vec<&str> = figures.missing.iter().map(String::as_str).collect();
    let mut names = names.to_vec();
    ours.sort_unstable();
    names.sort_unstable();
    assert_eq!(ours, names);
}
