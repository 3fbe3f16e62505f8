//! Common parts of the tests of summaries.
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

/// The report of one file that is read in chunks of this size.
pub fn read_in(name: &str, text: &[u8], chunk: usize) -> (ReportSource, Report) {
    let mut file = ResultFile::new(name, Some("w"), &[]);
    for bytes in text.chunks(chunk.min(text.len().max(1))) {
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

/// Reads a fixture at once, in chunks, and compressed; the results must be equal.
pub fn sound(name: &str) -> (ReportSource, Report) {
    let text = fixture(name);
    let whole = read(name, &text);
    assert_eq!(whole.0.problem, None, "{name}");
    for chunk in [1, 7, 1000] {
        assert_eq!(read_in(name, &text, chunk), whole, "{name} by {chunk}");
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&text).unwrap();
    assert_eq!(read(name, &gzip.finish().unwrap()), whole, "{name} packed");
    whole
}

/// Checks that a fixture truncated at any of these percentages has a problem.
pub fn assert_truncation_is_reported(name: &str, parts: &[usize]) {
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

/// Checks figures by their names in JSON, and that exactly the `missing` ones are missing.
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
    let mut unknown: Vec<&str> = ours.missing.iter().map(String::as_str).collect();
    unknown.sort_unstable();
    let mut missing = missing.to_vec();
    missing.sort_unstable();
    assert_eq!(unknown, missing, "{name}");
    for key in missing {
        assert_eq!(json[key], 0.0, "{name}: {key} is missing and has a value");
    }
}
