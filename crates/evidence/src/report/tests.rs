//! Selection of files, reported problems, and values for criteria.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::Source;
use atq_definition::examples::{parse, payload};
use atq_task::rules::Reading;
use atq_task::timestamp::Timestamp;
use serde_json::{Value, json};

const RUN: &str = "0a1b2c3d";
/// 10 samples of `Login` of 100, 200, ... 1000 ms, one each second; the last one failed.
fn jtl() -> String {
    jtl_at(0)
}

/// The same, some milliseconds later.
fn jtl_at(millis: u64) -> String {
    let rows = (1..=10u64).map(|number| {
        format!(
            "{},{},Login,200,OK,t,{},10\n",
            1_700_000_000_000 + number * 1000 + millis,
            number * 100,
            number < 10
        )
    });
    let head = "timeStamp,elapsed,label,responseCode,responseMessage,threadName,success,bytes\n";
    std::iter::once(head.to_owned()).chain(rows).collect()
}

struct Fixture {
    dir: tempfile::TempDir,
    evidence: Evidence,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            evidence: Evidence::new(dir.path()),
            dir,
        }
    }

    /// Adds a container with these result files.
    fn with_results(self, role: Role, replica: u32, files: &[(&str, &str)]) -> Self {
        self.with_partial_results(role, replica, files, None)
    }

    fn with_partial_results(
        self,
        role: Role,
        replica: u32,
        files: &[(&str, &str)],
        problem: Option<&str>,
    ) -> Self {
        let source = Source { role, replica };
        let run = self.dir.path().join("evidence/load").join(RUN);
        let dir = run.join("results").join(source.to_string());
        for (path, content) in files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let note = json!({
            "source": source, "files": files.len(), "bytes": 1, "problem": problem,
        });
        std::fs::create_dir_all(run.join("kept")).unwrap();
        std::fs::write(run.join(format!("kept/{source}.json")), note.to_string()).unwrap();
        self
    }

    async fn figures(&self, changes: &[(&str, Value)]) -> (Report, Measured) {
        let spec = parse(&payload(changes)).unwrap();
        self.evidence.figures(&spec, RUN).await.unwrap()
    }
}

fn sources(report: &Report) -> Vec<&str> {
    report
        .sources
        .iter()
        .map(|source| source.path.as_str())
        .collect()
}

#[tokio::test]
async fn the_masters_samples_cover_all_workers() {
    let fixture = Fixture::new()
        .with_results(
            Role::Master,
            1,
            &[("results.jtl", &jtl()), ("jmeter.log", "hello\n")],
        )
        .with_results(Role::Worker, 1, &[("results.jtl", &jtl())]);
    let (report, measured) = fixture.figures(&[]).await;
    assert_eq!(sources(&report), ["master.1/results.jtl"]);
    assert_eq!(
        (measured.samples, measured.files, measured.of_master),
        (10, 1, true)
    );
    assert_eq!((report.total.errors, report.total.max), (1, 1000.0));
    assert_eq!(
        measured.dates,
        Some((Timestamp(1_700_000_001_000), Timestamp(1_700_000_011_000)))
    );
    assert!(measured.gaps.is_empty(), "{:?}", measured.gaps);
}

#[tokio::test]
async fn without_samples_of_the_master_those_of_all_workers_are_added_up() {
    let fixture = Fixture::new()
        .with_results(Role::Master, 1, &[("jmeter.log", "hello\n")])
        .with_results(Role::Worker, 1, &[("a/results.jtl", &jtl())])
        .with_results(Role::Worker, 2, &[("results.jtl", &jtl_at(7))]);
    let (report, measured) = fixture.figures(&[("/worker/replicas", json!(3))]).await;
    assert_eq!(
        sources(&report),
        ["worker.1/a/results.jtl", "worker.2/results.jtl"]
    );
    assert_eq!((measured.samples, measured.of_master), (20, false));
    let workers: Vec<&str> = report
        .workers
        .iter()
        .map(|worker| worker.name.as_str())
        .collect();
    assert_eq!(workers, ["worker.1", "worker.2"]);
    assert_eq!(measured.gaps, ["no samples from `worker.3`"]);
}

#[tokio::test]
async fn patterns_select_the_files() {
    let fixture = Fixture::new().with_results(
        Role::Master,
        1,
        &[
            ("run/a.jtl", &jtl()),
            ("b.jtl", &jtl_at(1)),
            ("c.txt", "no samples\n"),
        ],
    );
    let (report, measured) = fixture
        .figures(&[("/resultFiles", json!(["run/*", "*.txt"]))])
        .await;
    assert_eq!(sources(&report), ["master.1/c.txt", "master.1/run/a.jtl"]);
    assert_eq!(measured.samples, 10);
    assert_eq!(
        measured.gaps,
        [
            "the result file `master.1/c.txt` matches `resultFiles`, but its format is not recognised"
        ]
    );
}

#[tokio::test]
async fn files_of_an_unknown_format_are_named_by_the_report_and_the_verdict() {
    let fixture = Fixture::new()
        .with_results(Role::Master, 1, &[("jmeter.log", "hello\n")])
        .with_results(
            Role::Worker,
            1,
            &[("x.txt", "hello\n"), ("y.csv", "a,b\n1,2\n")],
        );
    let (report, measured) = fixture.figures(&[]).await;
    assert!(report.sources.is_empty());
    let reason = "3 files in `/atq/results`, none in a known format: `master.1/jmeter.log`, `worker.1/x.txt`, `worker.1/y.csv`";
    assert_eq!(report.notes, [reason]);
    assert_eq!(measured.others.reason(false), reason);
    let patterns = [("/resultFiles", json!(["*.jtl"]))];
    let (report, _) = fixture.figures(&patterns).await;
    assert_eq!(
        report.notes,
        [
            "3 files in `/atq/results`, none matches `resultFiles`: `master.1/jmeter.log`, `worker.1/x.txt`, `worker.1/y.csv`"
        ]
    );
    let (report, _) = Fixture::new().figures(&[]).await;
    assert_eq!(
        report.notes,
        ["no result file was found in `/atq/results` of the master or a worker"]
    );
}

#[tokio::test]
async fn incomplete_results_are_reported() {
    let cut = jtl();
    let cut = &cut[..cut.len() - 9];
    let fixture = Fixture::new().with_partial_results(
        Role::Master,
        1,
        &[("results.jtl", cut)],
        Some("the results of the run exceed 5 bytes"),
    );
    let (_, measured) = fixture.figures(&[]).await;
    assert_eq!(measured.gaps.len(), 2, "{:?}", measured.gaps);
    assert_eq!(
        measured.gaps[1],
        "the results of `master.1` are incomplete: the results of the run exceed 5 bytes"
    );
}

#[tokio::test]
async fn every_criterion_gets_its_value() {
    let fixture = Fixture::new().with_results(Role::Master, 1, &[("results.jtl", &jtl())]);
    let criteria = [
        "p50 < 1s",
        "p33.3 of Login < 1s",
        "mean < 1s",
        "min > 1ms",
        "max of Login < 2s",
        "errors < 5%",
        "errors < 5",
        "samples >= 10",
        "throughput > 1/s",
        "mean < 1s for 5s",
        "throughput > 0.1/s for 2s",
        "mean < 1s for 1h",
        "errors of Login < 60% for 1s",
        "p95 of Logn < 1s",
    ];
    let (_, measured) = fixture.figures(&[("/criteria", json!(criteria))]).await;
    let values: Vec<String> = criteria
        .iter()
        .zip(&measured.readings)
        .map(|(criterion, reading)| match reading {
            Reading::Value { value, at } => {
                let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
                format!("{criterion:<30} {value:.2}{at}")
            }
            other => format!("{criterion:<30} {other:?}"),
        })
        .collect();
    insta::assert_snapshot!(values.join("\n"), @r#"
    p50 < 1s                       550.00
    p33.3 of Login < 1s            366.30
    mean < 1s                      550.00
    min > 1ms                      100.00
    max of Login < 2s              1000.00
    errors < 5%                    10.00
    errors < 5                     1.00
    samples >= 10                  10.00
    throughput > 1/s               1.00
    mean < 1s for 5s               850.00 at 2023-11-14T22:13:27Z
    throughput > 0.1/s for 2s      0.50 at 2023-11-14T22:13:29Z
    mean < 1s for 1h               550.00
    errors of Login < 60% for 1s   100.00 at 2023-11-14T22:13:31Z
    p95 of Logn < 1s               NoLabel(["Login"])
    "#);
}

#[tokio::test]
async fn a_report_is_kept_and_read_again() {
    let fixture = Fixture::new().with_results(Role::Master, 1, &[("results.jtl", &jtl())]);
    let (report, _) = fixture.figures(&[]).await;
    let name = TaskName::parse("load").unwrap();
    assert_eq!(fixture.evidence.report(&name, RUN).await.unwrap(), None);
    for _ in 0..2 {
        fixture
            .evidence
            .keep_report(&report, &name, RUN)
            .await
            .unwrap();
    }
    let read = fixture.evidence.report(&name, RUN).await.unwrap().unwrap();
    assert_eq!((read.total, read.sources), (report.total, report.sources));
}

#[test]
fn reading_ends_at_the_deadline_and_when_it_is_cancelled() {
    let mut into = [0; 8];
    let cancelled = AtomicBool::new(false);
    let mut bounded = Bounded {
        file: tempfile::tempfile().unwrap(),
        cancelled: &cancelled,
        deadline: Instant::now(),
    };
    let late = bounded.read(&mut into).unwrap_err().to_string();
    assert_eq!(late, "reading the results timed out after 15 minutes");
    bounded.deadline += READING_TIME;
    assert_eq!(bounded.read(&mut into).unwrap(), 0);
    cancelled.store(true, Ordering::Relaxed);
    assert!(bounded.read(&mut into).is_err());
}

#[tokio::test]
async fn a_worker_with_only_a_header_is_a_gap() {
    let head = jtl().lines().next().unwrap().to_owned() + "\n";
    let fixture = Fixture::new()
        .with_results(Role::Worker, 1, &[("a.jtl", &jtl())])
        .with_results(Role::Worker, 2, &[("a.jtl", &head)]);
    let (_, measured) = fixture.figures(&[("/worker/replicas", json!(2))]).await;
    assert_eq!(measured.gaps, ["no samples from `worker.2`"]);
}

#[tokio::test]
async fn an_empty_file_of_the_master_does_not_hide_the_workers_samples() {
    let fixture = Fixture::new()
        .with_partial_results(Role::Master, 1, &[("a.jtl", "")], Some("cut off"))
        .with_results(Role::Worker, 1, &[("a.jtl", &jtl())]);
    let (report, measured) = fixture.figures(&[]).await;
    assert_eq!(report.total.samples, 10);
    assert!(
        measured.gaps.iter().any(|gap| gap.contains("cut off")),
        "{:?}",
        measured.gaps
    );
}

#[tokio::test]
async fn an_unreadable_result_file_is_reported_even_without_criteria() {
    let fixture = Fixture::new()
        .with_results(
            Role::Master,
            1,
            &[
                ("a.jtl", "timeStamp,label,success\n1,x,true\n"),
                ("notes.txt", "hello\n"),
            ],
        )
        .with_results(Role::Worker, 1, &[("results.jtl", &jtl())]);
    let (report, measured) = fixture.figures(&[]).await;
    assert_eq!(report.total.samples, 10);
    assert_eq!(
        measured.doubts,
        ["the result file `master.1/a.jtl`: its header has no column `elapsed`"]
    );
    assert_eq!(sources(&report), ["worker.1/results.jtl", "master.1/a.jtl"]);
}

#[tokio::test]
async fn samples_in_several_files_are_counted_once() {
    let errors: String = jtl()
        .lines()
        .filter(|line| !line.contains(",true,"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let fixture = Fixture::new().with_results(
        Role::Master,
        1,
        &[("errors.jtl", &errors), ("results.jtl", &jtl())],
    );
    let (report, measured) = fixture.figures(&[]).await;
    assert_eq!((report.total.samples, report.total.errors), (10, 1));
    assert!(measured.doubts.is_empty(), "{:?}", measured.doubts);
    assert_eq!(
        report.sources[0].ignored.as_deref(),
        Some("its 1 samples are the failed ones of `master.1/results.jtl`")
    );
    // Two files with only half of their samples in common cause a doubt.
    let half: String = jtl_at(1)
        .lines()
        .take(6)
        .map(|line| line.to_owned() + "\n")
        .collect();
    let rest = jtl_at(4)
        .lines()
        .skip(6)
        .map(|line| line.to_owned() + "\n")
        .collect::<String>();
    let fixture = Fixture::new().with_results(
        Role::Master,
        1,
        &[("a.jtl", &(half + &rest)), ("b.jtl", &jtl_at(1))],
    );
    let (_, measured) = fixture.figures(&[]).await;
    assert_eq!(
        measured.doubts,
        [
            "`master.1/a.jtl` and `master.1/b.jtl` have some of the same samples (5 or more), which are counted twice: select files with `resultFiles`"
        ]
    );
}

#[tokio::test]
async fn results_that_ended_the_director_twice_are_not_read_again() {
    let fixture = Fixture::new().with_results(Role::Master, 1, &[("results.jtl", &jtl())]);
    let note = fixture
        .dir
        .path()
        .join("evidence/load")
        .join(RUN)
        .join("report.attempts");
    let spec = parse(&payload(&[])).unwrap();
    for (before, is_read) in [("1", true), ("2", false)] {
        std::fs::write(&note, before).unwrap();
        let figures = fixture.evidence.figures(&spec, RUN).await;
        assert_eq!(figures.is_ok(), is_read, "{figures:?}");
        // A reading that has ended leaves no marker file.
        assert_eq!(note.exists(), !is_read);
    }
}
