//! Figures while a test runs, and what is kept of the received files.

use super::simulation::{Director, Simulation, simple};
use crate::live::LiveResults;
use crate::live_updates::TaskUpdate;
use atq_engine::growing::GrowingFiles;
use atq_engine::{Role, Source};
use atq_evidence::results::KeptResults;
use atq_report::Report;
use atq_report::live::LiveFigures;
use atq_task::event::Event;
use atq_task::spec::TaskName;
use atq_task::state::{Outcome, State, Step};
use atq_task::verdict::Verdict;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

pub const FILE: &str = "results.csv";
const HEADER: &str = "timestamp,elapsed,label,success\n";

/// A worker.
pub fn worker(replica: u32) -> Source {
    Source::new(Role::Worker, replica)
}

/// A simulation of a test of this length whose workers write result files.
pub fn simulation(seconds: u64) -> (Simulation, GrowingFiles) {
    let mut simulation = Simulation::new();
    let files = GrowingFiles::default();
    simulation.files = Some(files.clone());
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(seconds));
    (simulation, files)
}

/// Writes result files of some workers.
pub struct Writer {
    files: GrowingFiles,
    workers: Vec<u32>,
    /// The file of the first worker.
    pub text: String,
}

impl Writer {
    pub fn new(files: &GrowingFiles, workers: &[u32]) -> Self {
        let mut writer = Self {
            files: files.clone(),
            workers: workers.to_vec(),
            text: String::new(),
        };
        writer.append(|_| HEADER.to_owned());
        writer
    }

    /// Appends a text to the file of each worker.
    pub fn append(&mut self, text: impl Fn(u32) -> String) {
        self.text.push_str(&text(self.workers[0]));
        for replica in &self.workers {
            self.files.append(worker(*replica), FILE, &text(*replica));
        }
    }

    /// Writes samples for some seconds, 10 in a second, of which some are errors.
    pub async fn write(&mut self, director: &Director, seconds: u64, errors: u64) {
        for _ in 0..seconds {
            for number in 0..10 {
                sleep(Duration::from_millis(100)).await;
                let end = director.orchestrator.shared().clock.now().0;
                let label = if number % 2 == 0 { "Login" } else { "Cart" };
                let success = number >= errors;
                self.append(|replica| {
                    let elapsed = 10 * u64::from(replica) + number;
                    format!("{},{elapsed},{label},{success}\n", end - elapsed)
                });
            }
        }
    }
}

/// A test that runs.
pub async fn running(director: &Director, task: &Value) -> TaskName {
    let name = director.accepted(task).await;
    director.wait_for_step(&name, Step::Running).await;
    name
}

/// The growing results of a task.
pub async fn results(director: &Director, name: &TaskName) -> Arc<LiveResults> {
    loop {
        let live = director.orchestrator.live(name).unwrap();
        if let Some(results) = live.results() {
            return results;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn figures(director: &Director, name: &TaskName) -> LiveFigures {
    let snapshot = results(director, name).await.snapshot().await;
    snapshot.figures.clone().unwrap()
}

pub async fn report(director: &Director, name: &TaskName) -> Report {
    let run = director.state(name).run;
    let evidence = &director.orchestrator.shared().evidence;
    evidence.report(name, &run).await.unwrap().unwrap()
}

async fn kept(director: &Director, name: &TaskName) -> Vec<KeptResults> {
    let run = director.state(name).run;
    let evidence = &director.orchestrator.shared().evidence;
    let mut kept = evidence.results(name, &run).await.unwrap();
    kept.retain(|kept| kept.files > 0);
    kept
}

fn missing(director: &Director, name: &TaskName) -> Vec<String> {
    let events = director.events(name).into_iter().rev();
    let mut missing = events.filter_map(|event| match event {
        Event::EvidenceKept { missing, .. } => Some(missing),
        _ => None,
    });
    missing.next().unwrap()
}

/// Whether nothing is left of what was received while the test ran.
fn nothing_is_left(simulation: &Simulation, name: &TaskName, state: &State) {
    let dir = simulation.evidence(name.as_str()).join(&state.run);
    let names = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names
        .filter(|name| name == "live" || name == "incoming")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[track_caller]
fn assert_same(live: &LiveFigures, report: &Report) {
    // As the report: the text of a number may differ from it in the last digit.
    let text = serde_json::to_string(live).unwrap();
    let live: LiveFigures = serde_json::from_str(&text).unwrap();
    assert_eq!(live.total, report.total);
    assert_eq!(live.doubts, Vec::<String>::new());
    let mut labels: Vec<_> = live
        .labels
        .iter()
        .map(|label| (&label.name, &label.total))
        .collect();
    labels.sort_by_key(|(name, _)| (*name).clone());
    let reported: Vec<_> = report
        .labels
        .iter()
        .map(|label| (&label.name, &label.figures))
        .collect();
    assert_eq!(labels, reported);
    let workers: Vec<_> = live
        .workers
        .iter()
        .map(|worker| (&worker.name, &worker.total))
        .collect();
    let reported: Vec<_> = report
        .workers
        .iter()
        .map(|worker| (&worker.name, &worker.figures))
        .collect();
    assert_eq!(workers, reported);
    let sum =
        |points: &[atq_report::SeriesPoint]| points.iter().map(|point| point.samples).sum::<u64>();
    assert_eq!(sum(&live.series.points), report.total.samples);
    assert_eq!(sum(&report.series.points), report.total.samples);
}

#[test]
fn the_last_snapshot_equals_the_report() {
    let (simulation, files) = simulation(12);
    let simulation = &simulation;
    simulation.run(|director| async move {
        let name = running(&director, &simple("equal")).await;
        let mut writer = Writer::new(&files, &[1, 2, 3]);
        writer.write(&director, 5, 1).await;
        let live = results(&director, &name).await;
        let snapshot = live.snapshot().await;
        let middle = snapshot.figures.clone().unwrap();
        assert!(
            (140..=150).contains(&middle.total.samples),
            "{}",
            middle.total.samples
        );
        assert!(
            (25.0..=31.0).contains(&middle.last.throughput),
            "{:?}",
            middle.last
        );
        assert_eq!(middle.workers.len(), 3);
        assert_eq!(
            (snapshot.problem.as_deref(), snapshot.lag.unwrap() < 100),
            (None, true)
        );
        writer.write(&director, 5, 1).await;
        let state = director.wait_done(&name).await;
        let last = live.latest().figures.clone().unwrap();
        assert_eq!(last.total.samples, 300);
        assert_same(&last, &report(&director, &name).await);
        assert_eq!(files.follows(), (1, 1));
        assert!(director.orchestrator.live(&name).is_none());
        nothing_is_left(simulation, &name, &state);
    });
}

#[test]
fn a_restart_in_the_middle_loses_and_doubles_nothing() {
    let (simulation, files) = simulation(40);
    let simulation = &simulation;
    let mut writer = Writer::new(&files, &[1, 2, 3]);
    let task = simple("restarted");
    let (name, mut writer) = simulation.run(|director| async move {
        let name = running(&director, &task).await;
        writer.write(&director, 5, 1).await;
        (name, writer)
    });
    // Written while no Director ran.
    writer.append(|replica| format!("1750000010000,{replica},Login,true\n"));
    simulation.downtime(Duration::from_secs(5));
    simulation.run(|director| async move {
        writer.write(&director, 5, 1).await;
        let live = results(&director, &name).await;
        let middle = figures(&director, &name).await;
        assert!(
            (273..=303).contains(&middle.total.samples),
            "{}",
            middle.total.samples
        );
        let state = director.wait_done(&name).await;
        let last = live.latest().figures.clone().unwrap();
        assert_eq!(last.total.samples, 303);
        assert_same(&last, &report(&director, &name).await);
        // The first Director was killed.
        assert_eq!(files.follows(), (2, 1));
        nothing_is_left(simulation, &name, &state);
    });
}

#[test]
fn a_lost_worker_is_in_the_results_until_its_loss() {
    let (simulation, files) = simulation(20);
    simulation.fake.add_node("node-2");
    let simulation = &simulation;
    simulation.run(|director| async move {
        let mut task = simple("lost");
        task["worker"]["replicas"] = json!(1);
        task["worker"]["placement"] = json!({"constraints": ["node.id==node-2"]});
        let name = running(&director, &task).await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 5, 0).await;
        let received = writer.text.clone();
        sleep(Duration::from_millis(100)).await;
        director.fake.lose_node("node-2");
        files.disconnect(worker(1));
        writer.write(&director, 1, 0).await;
        director.wait_until(&name, |state| !state.lost.is_empty()).await;
        let snapshot = results(&director, &name).await.snapshot().await;
        let source = &snapshot.figures.as_ref().unwrap().sources[0];
        assert_eq!(source.state, atq_report::live::SourceState::Lost);
        assert_eq!(source.samples, 50);
        director.wait_for_step(&name, Step::Cleanup).await;
        director.fake.return_node("node-2");
        let state = director.wait_done(&name).await;
        let kept = kept(&director, &name).await;
        assert_eq!(kept.len(), 1);
        assert!(kept[0].partial && kept[0].source == worker(1), "{kept:?}");
        assert_eq!((kept[0].files, kept[0].bytes), (1, received.len() as u64));
        let dir = director.orchestrator.shared().evidence.results_dir(&name, &state.run, worker(1));
        assert_eq!(std::fs::read_to_string(dir.join(FILE)).unwrap(), received);
        let missing = missing(&director, &name);
        let text = "the results of worker.1 are incomplete: its node was lost; they are partial: received until ";
        assert!(missing.iter().any(|one| one.starts_with(text)), "{missing:?}");
        let report = report(&director, &name).await;
        assert_eq!(report.total.samples, 50);
        assert!(report.notes.iter().any(|note| note.starts_with(text)), "{:?}", report.notes);
        let judgement = state.judgement.clone().unwrap();
        assert_eq!(judgement.verdict, Verdict::Invalid, "{judgement:?}");
        nothing_is_left(simulation, &name, &state);
    });
}

#[test]
fn results_that_cannot_be_collected_are_taken_from_the_received_bytes_also_after_a_restart() {
    for step in [Step::Running, Step::Collect] {
        let (simulation, files) = simulation(8);
        files.refuse_collection("their container does not exist");
        let simulation = &simulation;
        let writer_files = files.clone();
        let name = simulation.run(|director| async move {
            let name = running(&director, &simple("refused")).await;
            let mut writer = Writer::new(&writer_files, &[1, 3]);
            writer.write(&director, 4, 0).await;
            sleep(Duration::from_millis(100)).await;
            director.wait_for_step(&name, step).await;
            name
        });
        simulation.run(|director| async move {
            let state = director.wait_done(&name).await;
            let kept = kept(&director, &name).await;
            assert!(kept.iter().all(|kept| kept.partial && kept.files == 1), "{kept:?}");
            assert_eq!(kept.len(), 2);
            assert_eq!(report(&director, &name).await.total.samples, 80);
            let missing = missing(&director, &name).join("\n");
            let text = "the results of worker.3 are incomplete: their container does not exist; they are partial";
            assert!(missing.contains(text), "{missing}");
            assert!(missing.contains("the results of worker.2 could not be read"), "{missing}");
            nothing_is_left(simulation, &name, &state);
        });
    }
}

#[test]
fn received_bytes_count_within_the_limit_of_results() {
    let (mut simulation, files) = simulation(10);
    simulation.settings.results.bytes = 1500;
    let simulation = &simulation;
    simulation.run(|director| async move {
        let mut task = simple("limited");
        task["worker"]["replicas"] = json!(1);
        task["stopWhen"] = json!(["throughput < 1/s for 2s"]);
        let name = running(&director, &task).await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 8, 0).await;
        let evidence = &director.orchestrator.shared().evidence;
        let run = director.state(&name).run;
        let received = evidence.live_files(&name, &run, director.orchestrator.shared().settings.results);
        let bytes: u64 = received.unwrap().files().map(|(_, received)| received.bytes).sum();
        assert!((1000..=1500).contains(&bytes), "{bytes}");
        let snapshot = results(&director, &name).await.snapshot().await;
        let text = "`worker.1/results.csv` is not read further until the end of the test: the files exceed 1500 bytes (`limits.resultsBytes`)";
        assert_eq!(snapshot.problem.as_deref(), Some(text));
        assert!(snapshot.figures.as_ref().unwrap().notes.contains(&text.to_owned()));
        assert_eq!(snapshot.conditions[0].seen, Err(text.to_owned()));
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        let note = format!("`stopWhen` was not evaluated until the end of the test: {text}");
        let notes = report(&director, &name).await.notes;
        assert!(notes.contains(&note), "{notes:?}");
        nothing_is_left(simulation, &name, &state);
    });
}

#[test]
fn a_file_beyond_the_limit_is_in_doubt_after_a_restart_too() {
    let (mut simulation, files) = simulation(20);
    simulation.settings.results.bytes = 1500;
    let simulation = &simulation;
    let writer_files = files.clone();
    let name = simulation.run(|director| async move {
        let mut task = simple("limited");
        task["worker"]["replicas"] = json!(1);
        task["stopWhen"] = json!(["throughput < 1/s for 2s"]);
        let name = running(&director, &task).await;
        let mut writer = Writer::new(&writer_files, &[1]);
        writer.write(&director, 8, 0).await;
        name
    });
    // The file is not sent again.
    files.disconnect(worker(1));
    simulation.run(|director| async move {
        let live = results(&director, &name).await;
        sleep(Duration::from_secs(2)).await;
        let snapshot = live.snapshot().await;
        let text = "`worker.1/results.csv` is not read further until the end of the test: the files exceed 1500 bytes (`limits.resultsBytes`)";
        assert_eq!(snapshot.problem.as_deref(), Some(text));
        assert_eq!(snapshot.conditions[0].seen, Err(text.to_owned()));
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
    });
}

#[test]
fn a_truncated_file_begins_anew() {
    let (simulation, files) = simulation(10);
    simulation.run(|director| async move {
        let name = running(&director, &simple("anew")).await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 2, 0).await;
        sleep(Duration::from_millis(100)).await;
        assert_eq!(figures(&director, &name).await.total.samples, 20);
        files.truncate(worker(1), FILE);
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 1, 0).await;
        sleep(Duration::from_millis(1100)).await;
        let figures = figures(&director, &name).await;
        assert_eq!(
            (figures.total.samples, figures.sources[0].restarts),
            (10, 1)
        );
        director.wait_done(&name).await;
    });
}

#[test]
fn the_parts_of_a_rotated_file_add_up_to_the_report_and_survive_a_restart_and_a_loss() {
    for is_collected in [true, false] {
        let (simulation, files) = simulation(20);
        let simulation = &simulation;
        let mut task = simple("rotated");
        task["worker"]["replicas"] = json!(1);
        let writer_files = files.clone();
        let name = simulation.run(|director| async move {
            let name = running(&director, &task).await;
            let mut writer = Writer::new(&writer_files, &[1]);
            for rotations in 0..3_u64 {
                writer.write(&director, 2, 1).await;
                sleep(Duration::from_millis(100)).await;
                let all = figures(&director, &name).await.total.samples;
                assert_eq!(all, 20 * (rotations + 1));
                let paths = [("results-1.csv", "results-2.csv"), (FILE, "results-1.csv")];
                writer_files.rename(worker(1), &paths[usize::from(rotations == 0)..]);
                if rotations < 2 {
                    writer = Writer::new(&writer_files, &[1]);
                }
                sleep(Duration::from_millis(1100)).await;
                if rotations == 2 {
                    break;
                }
                assert_eq!(figures(&director, &name).await.total.samples, all);
            }
            name
        });
        if !is_collected {
            files.refuse_collection("its node was lost");
        }
        simulation.run(|director| async move {
            let live = results(&director, &name).await;
            sleep(Duration::from_millis(200)).await;
            let mut writer = Writer::new(&files, &[1]);
            writer.write(&director, 2, 1).await;
            let state = director.wait_done(&name).await;
            let last = live.latest().figures.clone().unwrap();
            // The oldest part was replaced by the third rotation.
            assert_eq!(last.total.samples, 60);
            assert_same(&last, &report(&director, &name).await);
            let kept = kept(&director, &name).await;
            assert_eq!((kept[0].files, kept[0].partial), (3, !is_collected));
            nothing_is_left(simulation, &name, &state);
        });
    }
}

#[test]
fn a_file_that_becomes_a_result_file_by_its_name_counts_from_then_on() {
    let (simulation, files) = simulation(10);
    simulation.run(|director| async move {
        let mut task = simple("published");
        task["worker"]["replicas"] = json!(1);
        task["resultFiles"] = json!(["*.csv"]);
        let name = running(&director, &task).await;
        let mut writer = Writer::new(&files, &[1]);
        files.rename(worker(1), &[(FILE, "results.tmp")]);
        sleep(Duration::from_millis(1100)).await;
        let live = results(&director, &name).await;
        assert!(live.snapshot().await.figures.is_none());
        files.rename(worker(1), &[("results.tmp", FILE)]);
        writer.write(&director, 2, 0).await;
        sleep(Duration::from_millis(1100)).await;
        assert_eq!(figures(&director, &name).await.total.samples, 20);
        director.wait_done(&name).await;
    });
}

#[test]
fn a_problem_of_the_engine_is_shown_until_it_is_over() {
    let (simulation, files) = simulation(10);
    simulation.run(|director| async move {
        files.fail(Some("no node reaches the Director"));
        let name = running(&director, &simple("unread")).await;
        let live = results(&director, &name).await;
        sleep(Duration::from_millis(100)).await;
        let snapshot = live.snapshot().await;
        let text = "the results of worker.1, worker.2, worker.3 and 1 more are not read: no node reaches the Director";
        assert_eq!(snapshot.problem.as_deref(), Some(text));
        assert_eq!((&snapshot.figures, snapshot.lag), (&None, None));
        files.fail(None);
        let mut writer = Writer::new(&files, &[2]);
        writer.write(&director, 2, 0).await;
        let snapshot = live.snapshot().await;
        assert_eq!(snapshot.problem, None);
        assert!(snapshot.lag.is_some());
        director.wait_done(&name).await;
    });
}

#[test]
fn snapshots_are_computed_only_for_readers_and_at_most_once_a_second() {
    let (simulation, files) = simulation(20);
    simulation.run(|director| async move {
        let name = running(&director, &simple("idle")).await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 3, 0).await;
        let live = results(&director, &name).await;
        assert_eq!(live.latest().id, 0);
        let (one, other) = tokio::join!(live.snapshot(), live.snapshot());
        assert_eq!(one.id, other.id);
        sleep(Duration::from_secs(3)).await;
        assert_eq!(live.latest().id, one.id);
        let mut reader = live.subscribe();
        let mut ids = vec![];
        for _ in 0..4 {
            reader.changed().await.unwrap();
            ids.push(reader.borrow_and_update().id);
            live.snapshot().await;
        }
        assert!(
            ids.windows(2).all(|pair| pair[1] - pair[0] >= 900),
            "{ids:?}"
        );
        director.wait_done(&name).await;
    });
}

#[test]
fn a_stream_of_updates_ends_with_the_final_state() {
    let (simulation, files) = simulation(6);
    simulation.run(|director| async move {
        let name = director.accepted(&simple("followed")).await;
        let run = director.state(&name).run;
        let mut writer = Writer::new(&files, &[1]);
        let mut updates = director.orchestrator.follow_live(&name, &run);
        let writing = director.clone();
        let written = tokio::spawn(async move { writer.write(&writing, 4, 0).await });
        let mut steps = Vec::new();
        let mut last = None;
        while let Some(update) = updates.next().await {
            let TaskUpdate::Live(update) = update.unwrap() else {
                panic!("the task was deleted");
            };
            steps.push(update.view.state.step);
            if let Some(snapshot) = &update.snapshot {
                assert!(!update.is_final());
                last = Some(Arc::clone(snapshot));
            } else if update.is_final() {
                last = None;
            }
        }
        written.await.unwrap();
        assert!(
            last.is_none() && steps.last() >= Some(&Step::Report),
            "{steps:?}"
        );
        assert!(
            steps.iter().filter(|step| **step == Step::Running).count() >= 5,
            "{steps:?}"
        );
        director.wait_done(&name).await;
        // Of a complete run, there is only the final state.
        let updates = director.orchestrator.follow_live(&name, &run);
        assert_eq!(updates.count().await, 1);
    });
}

#[test]
fn a_stream_of_updates_of_a_deleted_task_ends() {
    let (simulation, files) = simulation(60);
    let simulation = &simulation;
    simulation.run(|director| async move {
        let name = running(&director, &simple("deleted")).await;
        let mut writer = Writer::new(&files, &[1]);
        writer.write(&director, 2, 0).await;
        let run = director.state(&name).run;
        let updates = director.orchestrator.follow_live(&name, &run);
        let updates = tokio::spawn(updates.map(|update| update.unwrap()).collect::<Vec<_>>());
        director.orchestrator.delete(&name).await.unwrap();
        let updates = updates.await.unwrap();
        assert!(matches!(
            updates.last(),
            Some(TaskUpdate::Deleted) | Some(TaskUpdate::Live(_))
        ));
        assert!(!simulation.evidence("deleted").exists());
    });
}

#[test]
fn names_that_lead_out_of_the_results_are_ignored() {
    let (simulation, files) = simulation(5);
    let simulation = &simulation;
    simulation.run(|director| async move {
        let name = running(&director, &simple("hostile")).await;
        let long = "x/".repeat(600) + "y";
        for path in [
            "../evil",
            "/etc/passwd",
            "a//b",
            "./a",
            "a/..",
            "",
            "a\0b",
            long.as_str(),
        ] {
            files.append(
                worker(1),
                path,
                "timestamp,elapsed,label,success\n1,2,x,true\n",
            );
        }
        files.append(
            Source::new(Role::Worker, 9),
            FILE,
            "not a worker of this run",
        );
        sleep(Duration::from_secs(2)).await;
        let snapshot = results(&director, &name).await.snapshot().await;
        assert_eq!(snapshot.figures, None);
        let problem = snapshot.problem.clone().unwrap();
        assert!(
            problem.contains("and 7 more files are not read further"),
            "{problem}"
        );
        assert!(!simulation.evidence("hostile").join("evil").exists());
        let run = director.state(&name).run;
        assert!(
            !simulation
                .evidence("hostile")
                .join(run)
                .join("live")
                .exists()
        );
        director.wait_done(&name).await;
    });
}
