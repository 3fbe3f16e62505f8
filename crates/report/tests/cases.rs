//! Result files in various forms, each with the expected values.
#![allow(clippy::unwrap_used)]

use atq_api_spec::report::Report;
use atq_report::{Options, ResultFile, Tally};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Precision of percentiles and fractions of milliseconds.
const PRECISION: f64 = 1.1e-3;

struct Case {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    expected: Map<String, Value>,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases");
    let mut dirs: Vec<PathBuf> = entries(&root)
        .into_iter()
        .filter(|path| path.is_dir())
        .collect();
    dirs.sort();
    dirs.iter().map(|dir| case(dir)).collect()
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(cases);

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn case(dir: &Path) -> Case {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let files = entries(dir)
        .into_iter()
        .filter(|path| name(path) != "EXPECT.json");
    let files = files.map(|path| {
        (
            format!("master.1/{}", name(&path)),
            std::fs::read(&path).unwrap(),
        )
    });
    Case {
        name: name(dir),
        files: files.collect(),
        expected: serde_json::from_slice(&std::fs::read(dir.join("EXPECT.json")).unwrap()).unwrap(),
    }
}

fn report(files: &[(String, Vec<u8>)]) -> Report {
    let mut tally = Tally::new(Options::default());
    for (name, content) in files {
        tally.read(name, None, content.as_slice()).unwrap();
    }
    tally.finish("t", "r").report
}

/// The same, with the bytes in chunks of this size.
fn report_in_chunks(files: &[(String, Vec<u8>)], size: usize) -> Report {
    report_in(files, |content| content.chunks(size).collect())
}

/// The same, with the bytes in these chunks.
fn report_in(files: &[(String, Vec<u8>)], mut chunks: impl FnMut(&[u8]) -> Vec<&[u8]>) -> Report {
    let mut tally = Tally::new(Options::default());
    for (name, content) in files {
        let mut file = ResultFile::new(name, None, &[]);
        for chunk in chunks(content) {
            file.push(chunk);
        }
        tally.add(file.finish(None));
    }
    tally.finish("t", "r").report
}

/// The differences from the expected values.
fn faults(report: &Report, expected: &Map<String, Value>) -> Vec<String> {
    let json = serde_json::to_string(report).unwrap();
    let total = serde_json::to_value(&report.total).unwrap();
    let missing = |name: &str| report.total.missing.iter().any(|missing| missing == name);
    let mut faults = Vec::new();
    for (name, wanted) in expected {
        let seen = match name.as_str() {
            "labels" => json!(
                report
                    .labels
                    .iter()
                    .map(|label| &label.name)
                    .collect::<Vec<_>>()
            ),
            "workers" => json!(
                report
                    .workers
                    .iter()
                    .map(|worker| &worker.name)
                    .collect::<Vec<_>>()
            ),
            "active_max" => {
                let active = report.series.points.iter().filter_map(|point| point.active);
                json!(active.fold(0.0, f64::max))
            }
            "problem" => match report
                .sources
                .iter()
                .find_map(|source| source.problem.clone())
            {
                Some(_) if wanted == "*" => continue,
                problem => json!(problem),
            },
            "told" if json.contains(wanted.as_str().unwrap()) => continue,
            "told" => json!(json),
            figure if missing(figure) => json!("missing"),
            figure => total[figure].clone(),
        };
        let same = match (seen.as_f64(), wanted.as_f64()) {
            (Some(seen), Some(wanted)) if ["samples", "errors"].contains(&name.as_str()) => {
                (seen - wanted).abs() < 0.5
            }
            (Some(seen), Some(wanted)) => {
                (seen - wanted).abs() <= PRECISION * wanted.abs().max(1.0)
            }
            _ => seen == *wanted,
        };
        if !same {
            faults.push(format!("{name}: {seen} instead of {wanted}"));
        }
    }
    faults
}

#[test]
fn every_reported_file_gives_the_right_figures() {
    let mut wrong = String::new();
    let cases = cases();
    assert!(cases.len() > 70, "{} cases", cases.len());
    for case in &cases {
        for fault in faults(&report(&case.files), &case.expected) {
            let _ = writeln!(wrong, "{}: {fault}", case.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_figures_do_not_depend_on_the_chunk_size() {
    for case in cases() {
        let whole = report(&case.files);
        for size in [1, 7, 1000] {
            let portions = report_in_chunks(&case.files, size);
            assert_eq!(portions, whole, "{} in portions of {size}", case.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_figures(
        case in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let case = case.get(&CASES);
        let split = report_in(&case.files, |content| {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
            at.extend([0, content.len()]);
            at.sort_unstable();
            at.windows(2).map(|pair| &content[pair[0]..pair[1]]).collect()
        });
        prop_assert_eq!(split, report(&case.files), "{}", case.name);
    }
}

#[test]
fn a_field_of_a_megabyte_and_a_half_is_read() {
    let head = "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect\n";
    let page = "line, with \"\"quotes\"\"\n".repeat(75_000);
    let row = |number: u64, failure: &str| {
        let ok = failure.is_empty();
        format!(
            "{},{},Home,200,OK,Users 1-1,text,{ok},\"{failure}\",100,10,1,1,http://sut.test/,1,0,1\n",
            1_709_287_200_000 + number * 1000,
            number + 10
        )
    };
    let text = format!("{head}{}{}{}", row(1, ""), row(2, &page), row(3, ""));
    for size in [text.len(), 100_000] {
        let files = [("master.1/r.jtl".to_owned(), text.clone().into_bytes())];
        let report = report_in_chunks(&files, size);
        assert_eq!((report.total.samples, report.total.errors), (3, 1));
        assert_eq!(report.total.mean, 12.0);
        assert_eq!(report.sources[0].problem, None);
    }
}
