//! What the tests of files that a tool has summed up have in common.
#![allow(dead_code)]

use atq_api_spec::report::{Figures, Report, ReportSource};
use atq_report::{Options, ResultFile, Tally};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::io::Write;
use std::path::Path;

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The report on one file.
pub fn read(name: &str, text: &[u8]) -> (ReportSource, Report) {
    read_in(name, text, usize::MAX)
}

/// The report on one file that comes in portions of so many bytes.
pub fn read_in(name: &str, text: &[u8], portion: usize) -> (ReportSource, Report) {
    let mut file = ResultFile::new(name, Some("w"), &[]);
    for bytes in text.chunks(portion.min(text.len().max(1))) {
        file.push(bytes);
    }
    let mut tally = Tally::new(Options::default());
    let source = tally.add(file.finish(None));
    (source, tally.finish("task", "run").report)
}

/// The report on several files of one container.
pub fn read_all(files: &[(&str, &[u8])]) -> Report {
    let mut tally = Tally::new(Options::default());
    for (name, text) in files {
        let source = tally.read(name, Some("w"), *text).unwrap();
        assert_eq!(source.problem, None, "{name}");
    }
    tally.finish("task", "run").report
}

/// Reads a fixture whole, in portions, and packed; all must tell the same.
pub fn sound(name: &str) -> (ReportSource, Report) {
    let text = fixture(name);
    let whole = read(name, &text);
    assert_eq!(whole.0.problem, None, "{name}");
    for portion in [1, 7, 1000] {
        assert_eq!(read_in(name, &text, portion), whole, "{name} by {portion}");
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&text).unwrap();
    assert_eq!(read(name, &gzip.finish().unwrap()), whole, "{name} packed");
    whole
}

/// A fixture that is cut off at any of these parts of a hundred must have a problem.
pub fn cut_is_told(name: &str, parts: &[usize]) {
    let text = fixture(name);
    for part in parts {
        let (source, _) = read(name, &text[..text.len() * part / 100]);
        assert!(source.problem.is_some(), "{name} at {part} %");
    }
}

/// The figures of a label.
pub fn label<'a>(report: &'a Report, name: &str) -> &'a Figures {
    let found = report.labels.iter().find(|label| label.name == name);
    &found.unwrap_or_else(|| panic!("no `{name}`")).figures
}

/// Checks figures by the names that they have in JSON, and that exactly these others are missing.
pub fn assert_figures(name: &str, ours: &Figures, wanted: &Value, missing: &[&str]) {
    let json = serde_json::to_value(ours).unwrap();
    for (key, wanted) in wanted.as_object().unwrap() {
        let (ours, wanted) = (json[key].as_f64(), wanted.as_f64());
        let (Some(ours), Some(wanted)) = (ours, wanted) else {
            panic!("{name}: {key} is {ours:?} instead of {wanted:?}");
        };
        assert!(
            (ours - wanted).abs() <= 1e-9 * wanted.abs().max(1.0),
            "{name}: {key} is {ours} instead of {wanted}"
        );
    }
    let mut told: Vec<&str> = ours.missing.iter().map(String::as_str).collect();
    told.sort_unstable();
    let mut missing = missing.to_vec();
    missing.sort_unstable();
    assert_eq!(told, missing, "{name}");
    for key in missing {
        assert_eq!(json[key], 0.0, "{name}: {key} is missing and has a value");
    }
}
