#![allow(clippy::unwrap_used)]

use super::log::read;
use super::row::{self, HEADER};
use super::series::ContainerSeries;
use super::*;
use atq_engine::{ContainerSample, CpuInterval, ResourceUsage, Role, Source, Target};
use proptest::prelude::*;

/// 2026-11-21 10:00:00 UTC.
const START: u64 = 1_795_255_200_000;
const MIB: u64 = 1 << 20;

fn target(role: Role, replica: u32) -> Target {
    Target {
        source: Source::new(role, replica),
        node: "n1".to_owned(),
        container: format!("{role}{replica}f00dcafe0123456789"),
        limit: None,
    }
}

fn cpu(used: f64) -> Option<CpuInterval> {
    Some(CpuInterval {
        used,
        processors: 4.0,
        seconds: 2.0,
    })
}

fn memory(used: u64) -> ResourceUsage {
    ResourceUsage {
        memory: Some(used),
        memory_limit: Some(512 * MIB),
        ..ResourceUsage::default()
    }
}

/// A sample that was taken this many seconds after the start.
fn at(second: u64) -> Timestamp {
    Timestamp(START + second * 1000)
}

fn add(log: &MetricsLog, second: u64, target: &Target, used: f64, usage: ResourceUsage) {
    let cpu = cpu(used);
    log.add(at(second), &ContainerSample { target, cpu, usage });
}

struct Fixture {
    dir: tempfile::TempDir,
    evidence: Evidence,
    task: TaskName,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            evidence: Evidence::new(dir.path()),
            dir,
            task: TaskName::parse("load").unwrap(),
        }
    }

    fn log(&self) -> MetricsLog {
        self.evidence.container_metrics_log(&self.task, "a1b2c3")
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir
            .path()
            .join("evidence/load/a1b2c3/container-metrics.csv")
    }

    async fn figures(&self, started: Option<Timestamp>) -> Vec<ContainerFigures> {
        let evidence = &self.evidence;
        let read = evidence.container_figures(&self.task, "a1b2c3", started);
        read.await.unwrap()
    }
}

#[tokio::test]
async fn samples_can_be_read_while_the_run_goes_on() {
    let fixture = Fixture::new();
    assert_eq!(fixture.figures(None).await, []);
    let (log, worker) = (fixture.log(), target(Role::Worker, 3));
    let traffic = |second: u64| ResourceUsage {
        received: Some(second * 100),
        sent: Some(second),
        ..memory(100 * MIB + second)
    };
    add(&log, 0, &worker, 1.0, traffic(0));
    log.flush().await.unwrap();
    add(&log, 2, &worker, 3.0, traffic(2));
    add(&log, 4, &worker, 2.0, traffic(4));
    log.flush().await.unwrap();
    let figures = fixture.figures(None).await;
    assert_eq!(figures.len(), 1);
    let one = &figures[0];
    assert_eq!((one.name.as_str(), one.node.as_str()), ("worker.3", "n1"));
    assert_eq!(one.id, "worker3f00dc");
    assert_eq!((one.cpu_mean, one.cpu_max), (Some(2.0), Some(3.0)));
    assert_eq!(one.cpu_limit, Some(4.0));
    assert_eq!(one.memory_max, Some(100 * MIB + 4));
    assert_eq!(one.memory_limit, Some(512 * MIB));
    assert_eq!((one.received_bytes, one.sent_bytes), (Some(400), Some(4)));
    assert_eq!((one.read_bytes, one.written_bytes), (None, None));
    let points = &one.series.points;
    assert_eq!((one.series.interval, points.len()), (2.0, 3));
    assert_eq!((points[1].at, points[1].cpu), (START + 2000, Some(3.0)));
    // The text is a plain table.
    let text = read(&fixture.path()).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows[0], HEADER.trim_end());
    assert_eq!(
        rows[2],
        format!(
            "{},2,worker.3,worker3f00dc,n1,2,3,3,4,104857602,536870912,200,2,,",
            START + 2000
        )
    );
}

#[tokio::test]
async fn a_restart_in_the_middle_neither_loses_nor_doubles_samples() {
    let (whole, restarted) = (Fixture::new(), Fixture::new());
    let (worker, master) = (target(Role::Worker, 1), target(Role::Master, 1));
    let log = whole.log();
    let mut other = restarted.log();
    for second in (0..600).step_by(2) {
        if second % 100 == 50 {
            // The earlier process is killed after its last flush, while it writes a row.
            other.flush().await.unwrap();
            let mut text = std::fs::read(restarted.path()).unwrap();
            text.extend(b"1795255200000,2,worker.1,worker1f00dc,n1,2,4,4,4,99999");
            std::fs::write(restarted.path(), text).unwrap();
            other = restarted.log();
        }
        for log in [&log, &other] {
            for target in [&worker, &master] {
                let used = (second % 7) as f64;
                add(log, second, target, used, memory(second * MIB));
            }
            log.flush().await.unwrap();
        }
    }
    log.finish().await.unwrap();
    other.finish().await.unwrap();
    let text = read(&whole.path()).unwrap();
    assert_eq!(text, read(&restarted.path()).unwrap());
    assert_eq!(text.lines().count(), 1 + 600);
    let figures = restarted.figures(None).await;
    assert_eq!(figures[0].memory_max, Some(598 * MIB));
    assert_eq!(figures, whole.figures(None).await);
}

#[tokio::test]
async fn the_file_of_a_long_run_is_bounded_and_has_its_figures() {
    let fixture = Fixture::new();
    let log = fixture.log();
    let targets: Vec<Target> = (1..=4).map(|n| target(Role::Worker, n)).collect();
    let (mut largest, hours) = (0, 2);
    for second in (0..hours * 3600).step_by(2) {
        for target in &targets {
            // Half of the time 1 CPU, half of the time 3.
            let used = if second % 4 == 0 { 1.0 } else { 3.0 };
            let usage = ResourceUsage {
                written: Some(second),
                ..memory(if second == 3000 { 500 * MIB } else { MIB })
            };
            add(&log, second, target, used, usage);
        }
        if second % 60 == 0 {
            log.flush().await.unwrap();
            largest = largest.max(std::fs::metadata(fixture.path()).unwrap().len());
        }
    }
    log.finish().await.unwrap();
    assert!(largest < 1 << 20, "{largest}");
    let text = read(&fixture.path()).unwrap();
    let rows = text.lines().count() - 1;
    assert!((4 * 300..=4 * 600).contains(&rows), "{rows}");
    for one in fixture.figures(None).await {
        assert_eq!((one.cpu_mean, one.cpu_max), (Some(2.0), Some(3.0)));
        assert_eq!(one.memory_max, Some(500 * MIB));
        assert_eq!(one.written_bytes, Some(hours * 3600 - 2));
        let points = one.series.points.len();
        assert!((150..=300).contains(&points), "{points}");
    }
}

#[test]
fn many_containers_have_few_points_each() {
    let mut series = ContainerSeries::default();
    for second in (0..3600).step_by(20) {
        for replica in 1..=3100 {
            let target = &target(Role::Worker, replica);
            let (cpu, usage) = (cpu(1.0), memory(MIB));
            series.add(at(second), &ContainerSample { target, cpu, usage });
        }
    }
    assert_eq!(series.containers().len(), MAX_CONTAINERS);
    assert!(series.len() <= 60_000, "{}", series.len());
    let points: usize = figures::of(&series, None)
        .iter()
        .map(|one| one.series.points.len())
        .sum();
    assert!(points <= 9 * MAX_CONTAINERS, "{points}");
}

#[test]
fn the_last_attempts_of_the_wait_command_are_kept() {
    let mut series = ContainerSeries::default();
    for attempt in (1..=100).chain([3]) {
        let target = &target(Role::Wait, attempt);
        let (cpu, usage) = (None, memory(MIB));
        series.add(at(attempt.into()), &ContainerSample { target, cpu, usage });
    }
    let kept: Vec<u32> = series
        .containers()
        .keys()
        .map(|key| key.0.replica)
        .collect();
    assert_eq!(kept, (81..=100).collect::<Vec<u32>>());
}

#[test]
fn a_flood_of_reports_adds_no_samples() {
    let mut series = ContainerSeries::default();
    let (target, usage) = (&target(Role::Worker, 1), memory(MIB));
    let sample = |used| ContainerSample {
        target,
        cpu: cpu(used),
        usage,
    };
    let added = (0..10_000).filter(|millis| {
        let at = Timestamp(START + millis);
        series.add(at, &sample(1.0)).is_some()
    });
    assert_eq!(added.count(), 20);
    // The clock goes back.
    assert!(series.add(at(0), &sample(1.0)).is_some());
}

#[test]
fn figures_of_workers_begin_with_the_test_and_those_of_commands_earlier() {
    let mut series = ContainerSeries::default();
    for (second, role, used) in [
        (0, Role::Worker, 0.1),
        (0, Role::Wait, 0.5),
        (10, Role::Worker, 2.0),
        (12, Role::Worker, 3.0),
    ] {
        let target = &target(role, 1);
        let usage = ResourceUsage {
            sent: Some(second + 1),
            ..memory((100 - second) * MIB)
        };
        let cpu = cpu(used);
        series.add(at(second), &ContainerSample { target, cpu, usage });
    }
    let figures = figures::of(&series, Some(at(10)));
    let [worker, wait] = &figures[..] else {
        panic!("{figures:?}");
    };
    assert_eq!(
        (worker.cpu_mean, worker.memory_max),
        (Some(2.5), Some(90 * MIB))
    );
    assert_eq!(
        (worker.sent_bytes, worker.series.points.len()),
        (Some(13), 2)
    );
    assert_eq!((wait.name.as_str(), wait.cpu_mean), ("wait.1", Some(0.5)));
}

#[test]
fn the_container_of_a_replica_may_change() {
    let mut series = ContainerSeries::default();
    let (first, mut second) = (target(Role::Worker, 1), target(Role::Worker, 1));
    second.container = "other".to_owned();
    for (second, target, sent) in [(0, &first, 1000), (2, &second, 10)] {
        let usage = ResourceUsage {
            sent: Some(sent),
            ..ResourceUsage::default()
        };
        series.add(
            at(second),
            &ContainerSample {
                target,
                cpu: None,
                usage,
            },
        );
    }
    let figures = figures::of(&series, None);
    let sent: Vec<Option<u64>> = figures.iter().map(|one| one.sent_bytes).collect();
    assert_eq!(sent, [Some(10), Some(1000)]);
    assert_eq!((figures[0].cpu_mean, figures[0].memory_max), (None, None));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_written_later() {
    let fixture = Fixture::new();
    let (log, worker) = (fixture.log(), target(Role::Worker, 1));
    let blocked = fixture.dir.path().join("evidence");
    std::fs::write(&blocked, "").unwrap();
    add(&log, 0, &worker, 1.0, memory(MIB));
    log.flush().await.unwrap_err();
    std::fs::remove_file(&blocked).unwrap();
    add(&log, 2, &worker, 3.0, memory(MIB));
    log.flush().await.unwrap();
    std::fs::remove_file(fixture.path()).unwrap();
    add(&log, 4, &worker, 2.0, memory(MIB));
    log.flush().await.unwrap_err();
    log.flush().await.unwrap();
    let figures = fixture.figures(None).await;
    assert_eq!(figures[0].series.points.len(), 3);
    assert_eq!(figures[0].cpu_mean, Some(2.0));
}

#[tokio::test]
async fn without_samples_there_is_no_file() {
    let fixture = Fixture::new();
    let log = fixture.log();
    log.flush().await.unwrap();
    log.finish().await.unwrap();
    assert!(!fixture.path().exists());
}

fn number() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(0..1u64 << 53)
}

prop_compose! {
    fn any_row()(
        at in 0..1u64 << 48,
        doublings in 0u32..8,
        replica in 1u32..3,
        cpu in proptest::option::of((0.1..1e3, 0.0..1e3, 0.0..1e3, 0.1..1e3)),
        (memory, memory_limit, received) in (number(), number(), number()),
        (sent, read, written) in (number(), number(), number()),
    ) -> row::Row {
        let rounded = |number: f64| (number * 1e4).round() / 1e4;
        row::Row {
            at,
            interval: 2000 << doublings,
            source: Source::new(Role::Worker, replica),
            id: "4f1d".to_owned(),
            node: "n1".to_owned(),
            point: point::Point {
                cpu: cpu.map(|(sampled, mean, max, limit)| point::CpuPoint {
                    sampled: rounded(sampled),
                    mean: rounded(mean),
                    max: rounded(max),
                    limit: rounded(limit),
                }),
                usage: ResourceUsage { memory, memory_limit, received, sent, read, written },
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_row_survives_a_round_trip(row in any_row()) {
        let read: Vec<row::Row> = row::parse(&row.to_string()).collect();
        prop_assert_eq!(read, [row]);
    }

    #[test]
    fn any_text_can_be_read(text in "[0-9.,a-zA-Z\n-]{0,200}", rows in proptest::collection::vec(any_row(), 0..4)) {
        let text = rows.iter().fold(text, |text, row| format!("{text}{row}"));
        let mut series = ContainerSeries::default();
        row::parse(&text).for_each(|row| series.merge(row));
        figures::of(&series, None);
    }

    /// The numbers of points and intervals stay within their bounds, whatever the times.
    #[test]
    fn points_are_bounded(rows in proptest::collection::vec(any_row(), 1..1000)) {
        let mut series = ContainerSeries::default();
        let memory = rows.iter().filter_map(|row| row.point.usage.memory).max();
        rows.into_iter().for_each(|row| series.merge(row));
        for container in series.containers().values() {
            prop_assert!(container.points.len() <= 600);
        }
        let figures = figures::of(&series, None);
        prop_assert_eq!(figures.iter().filter_map(|one| one.memory_max).max(), memory);
        for one in figures {
            prop_assert!(one.series.points.len() <= 301);
        }
    }
}
