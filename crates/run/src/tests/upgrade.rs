//! Starts on the data directory of an earlier version: its tasks are listed, reported, completed and deleted.

use super::simulation::{Simulation, name};
use atq_task::machine;
use atq_task::state::{Outcome, Step};
use atq_task::verdict::Verdict;
use std::process::Command;

const TASKS: [(&str, Step, Option<Outcome>); 6] = [
    ("queued", Step::Queued, None),
    ("also", Step::Running, None),
    ("under-way", Step::Running, None),
    ("stopped", Step::Done, Some(Outcome::Stopped)),
    ("failed", Step::Done, Some(Outcome::Errored)),
    ("measured", Step::Done, Some(Outcome::Finished)),
];

/// A Director with the data of version 0.1 (`tests/data/README.md`).
fn simulation() -> Simulation {
    let simulation = Simulation::new();
    let unpacked = Command::new("tar")
        .args(["-xzf", "tests/data/datadir-0.1.tar.gz", "-C"])
        .arg(simulation.data().parent().unwrap())
        .status();
    assert!(unpacked.unwrap().success());
    simulation.fake.image("atq-testload:dev");
    simulation
}

#[test]
fn every_history_of_version_0_1_folds_to_its_state() {
    simulation().run_without_recovery(|director| async move {
        let listed = director.listed().await;
        assert_eq!(listed, TASKS.map(|(task, _, _)| name(task)));
        for (task, step, outcome) in TASKS {
            let state = director.state(&name(task));
            assert_eq!((state.step, state.outcome), (step, outcome), "{task}");
            let folded = machine::fold(&director.history(&name(task))).unwrap();
            assert_eq!(folded, state, "{task}");
        }
    });
}

#[test]
fn a_report_of_version_0_1_is_read() {
    simulation().run(|director| async move {
        let (task, shared) = (name("measured"), director.orchestrator.shared().clone());
        let state = director.state(&task);
        assert_eq!(state.judgement.unwrap().verdict, Verdict::Invalid);
        let report = shared.evidence.report(&task, &state.run).await.unwrap();
        assert!(report.unwrap().sources.is_empty());
        let logs = shared.evidence.logs(&task, &state.run).await.unwrap();
        let logs: Vec<String> = logs.iter().map(ToString::to_string).collect();
        assert_eq!(logs, ["worker.1", "worker.2", "wait.1", "master.1"]);
        let results = shared.evidence.results(&task, &state.run).await.unwrap();
        assert_eq!(results.len(), 3);
    });
}

#[test]
fn tasks_of_version_0_1_complete_and_can_be_deleted() {
    simulation().run(|director| async move {
        for task in ["also", "under-way"] {
            // Their containers do not exist in this Swarm.
            let failure = director
                .wait_until(&name(task), |state| state.is_done())
                .await;
            assert_eq!(failure.outcome, Some(Outcome::Errored), "{failure:#?}");
        }
        for (task, _, _) in TASKS {
            director.orchestrator.delete(&name(task)).await.unwrap();
        }
        assert!(director.listed().await.is_empty());
    });
}
