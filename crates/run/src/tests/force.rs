//! Forced stops and deletes: containers are killed without grace period; their logs and results are kept.

use super::simulation::{CARRIER, Director, Simulation, name, simple};
use crate::stop_and_delete::StopOptions;
use atq_engine::Role;
use atq_engine_swarm::SwarmError;
use atq_task::event::Event;
use atq_task::spec::TaskName;
use atq_task::state::{Outcome, State, Step};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const FORCE: StopOptions = StopOptions {
    by: None,
    key: None,
    force: true,
};
/// Much shorter than the grace period of one hour.
const SOON: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Images that ignore SIGTERM for longer than their grace period.
fn simulation() -> Simulation {
    let simulation = Simulation::new();
    for image in ["ignores-sigterm:1", "tool:1"] {
        simulation
            .fake
            .image(image)
            .prints(&["hello"])
            .writes_result("results.jtl", b"a,b\n")
            .on_sigterm(&["too late"], 2 * HOUR, 0);
    }
    simulation
}

fn ignoring_sigterm() -> Value {
    let mut task = simple("load");
    task["master"]["image"] = json!("ignores-sigterm:1");
    task["worker"]["replicas"] = json!(2);
    for role in ["master", "worker"] {
        task[role]["stopGracePeriod"] = json!(HOUR.as_secs());
    }
    task
}

async fn running(director: &Director) -> TaskName {
    let name = director.accepted(&ignoring_sigterm()).await;
    director.wait_for_step(&name, Step::Running).await;
    name
}

fn forced(director: &Director, name: &TaskName) -> usize {
    let events = director.events(name);
    events.iter().filter(|one| **one == Event::Forced).count()
}

/// Waits for the end, which must come soon, and checks that all evidence is kept.
async fn ends_soon(director: &Director, name: &TaskName) -> State {
    let begun = Instant::now();
    let state = director.wait_done(name).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(state.outcome, Some(Outcome::Stopped));
    assert_eq!(forced(director, name), 1);
    let codes = state.workers.iter().map(|worker| worker.exit_code);
    assert_eq!(codes.collect::<Vec<_>>(), [Some(137), Some(137)]);
    assert_eq!(state.exit_code, Some(137));
    let evidence = &director.orchestrator.shared().evidence;
    assert_eq!(evidence.logs(name, &state.run).await.unwrap().len(), 3);
    let results = evidence.results(name, &state.run).await.unwrap();
    assert!(results.iter().all(|kept| kept.files == 1), "{results:?}");
    state
}

#[test]
fn a_forced_stop_skips_grace_periods_and_keeps_logs_and_results() {
    simulation().run(|director| async move {
        let name = running(&director).await;
        director
            .orchestrator
            .stop_with(&name, &FORCE)
            .await
            .unwrap();
        let state = ends_soon(&director, &name).await;
        let results = director
            .orchestrator
            .shared()
            .evidence
            .results(&name, &state.run);
        assert_eq!(results.await.unwrap().len(), 3);
    });
}

#[test]
fn force_speeds_up_a_stop_in_progress() {
    simulation().run(|director| async move {
        let name = running(&director).await;
        director.orchestrator.stop(&name).await.unwrap();
        director.wait_for_step(&name, Step::Collect).await;
        tokio::time::sleep(SOON).await;
        // A repeated stop without force changes nothing.
        director.orchestrator.stop(&name).await.unwrap();
        tokio::time::sleep(SOON).await;
        assert_eq!(director.state(&name).step, Step::Collect);
        for _ in 0..2 {
            director
                .orchestrator
                .stop_with(&name, &FORCE)
                .await
                .unwrap();
        }
        ends_soon(&director, &name).await;
    });
}

#[test]
fn force_skips_the_grace_period_of_workers_after_a_test_that_ended_by_itself() {
    simulation().run(|director| async move {
        let mut task = ignoring_sigterm();
        task["master"]["image"] = json!("boss:1");
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Report).await;
        tokio::time::sleep(SOON).await;
        let begun = Instant::now();
        director
            .orchestrator
            .stop_with(&name, &FORCE)
            .await
            .unwrap();
        let state = director.wait_done(&name).await;
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        // The outcome does not change.
        assert_eq!(state.outcome, Some(Outcome::Finished));
        assert_eq!((state.exit_code, state.lost), (Some(0), Vec::new()));
        // A forced stop of a complete run has no effect.
        director
            .orchestrator
            .stop_with(&name, &FORCE)
            .await
            .unwrap();
        assert_eq!(forced(&director, &name), 1);
    });
}

#[test]
fn a_forced_delete_is_fast_in_every_step() {
    for step in [Step::Resolve, Step::Running, Step::Collect, Step::Cleanup] {
        simulation().run(|director| async move {
            let name = director.accepted(&ignoring_sigterm()).await;
            director.wait_for_step(&name, step.min(Step::Running)).await;
            if step == Step::Collect {
                director.orchestrator.stop(&name).await.unwrap();
                director.wait_for_step(&name, Step::Collect).await;
            }
            if step == Step::Cleanup {
                let begun = director.orchestrator.delete(&name);
                tokio::time::timeout(SOON, begun).await.unwrap_err();
                assert_eq!(director.state(&name).step, Step::Cleanup);
            }
            let begun = Instant::now();
            director
                .orchestrator
                .delete_with(&name, &FORCE)
                .await
                .unwrap();
            assert!(begun.elapsed() < SOON, "{step:?}: {:?}", begun.elapsed());
            assert!(director.orchestrator.get(&name).await.unwrap().is_none());
            assert_eq!(director.fake.leftovers(), Default::default());
        });
    }
}

#[test]
fn leftovers_of_clean_up_are_deleted_by_force() {
    let simulation = simulation();
    let what = "the end of a service".to_owned();
    let reason = "not today".to_owned();
    simulation
        .fake
        .refuse("end_service", SwarmError::Rejected { what, reason });
    simulation.run(|director| async move {
        let name = running(&director).await;
        director.orchestrator.stop(&name).await.unwrap();
        let state = director.wait_until(&name, State::is_done).await;
        assert_ne!(state.leftovers, Vec::<String>::new());
        let begun = Instant::now();
        director
            .orchestrator
            .delete_with(&name, &FORCE)
            .await
            .unwrap();
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert_eq!(director.fake.leftovers(), Default::default());
    });
}

#[test]
fn force_survives_a_restart() {
    let simulation = simulation();
    simulation.run(|director| async move {
        let name = running(&director).await;
        director
            .orchestrator
            .stop_with(&name, &FORCE)
            .await
            .unwrap();
        // A later request without force does not revoke it.
        let deleted = director.orchestrator.delete(&name);
        tokio::time::timeout(Duration::from_millis(1), deleted)
            .await
            .unwrap_err();
    });
    simulation.run(|director| async move {
        tokio::time::sleep(SOON).await;
        assert!(
            director
                .orchestrator
                .get(&name("load"))
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(director.fake.leftovers(), Default::default());
    });
}

/// Three nodes; workers run on all of them, the master on the first.
fn three_nodes() -> Simulation {
    let mut simulation = simulation();
    simulation.fake.add_node("node-2");
    simulation.fake.add_node("node-3");
    simulation.advertise("director");
    simulation.fake.image(CARRIER).in_role(Role::Watcher);
    simulation
}

fn on_three_nodes() -> Value {
    let mut task = ignoring_sigterm();
    task["worker"]["replicas"] = json!(3);
    task
}

#[test]
fn carriers_kill_containers_on_other_nodes() {
    three_nodes().run(|director| async move {
        let name = director.accepted(&on_three_nodes()).await;
        director.wait_for_step(&name, Step::Running).await;
        let sent = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (seen, fake) = (sent.clone(), director.fake.clone());
        director.fake.on_call(move |_, call| {
            let plans = fake.plans();
            let own = plans.into_iter().find(|plan| plan.name == call.object);
            let killer = own.filter(|plan| plan.role == Role::Killer);
            seen.lock()
                .unwrap()
                .extend(killer.map(|plan| plan.constraints));
        });
        director
            .orchestrator
            .stop_with(&name, &FORCE)
            .await
            .unwrap();
        let begun = Instant::now();
        let state = director.wait_done(&name).await;
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        let codes = state.workers.iter().map(|worker| worker.exit_code);
        assert_eq!(codes.collect::<Vec<_>>(), [Some(137); 3]);
        // Only once and only on other nodes: the workers have ended when they are to be stopped.
        assert_eq!(*sent.lock().unwrap(), [["node.id!=node-1"]]);
    });
}

#[test]
fn a_node_without_kill_keeps_its_grace_period() {
    let simulation = three_nodes();
    simulation
        .fake
        .image(CARRIER)
        .in_role(Role::Killer)
        .exits(0)
        .fails_on("node-2", "cannot reach Docker");
    simulation.run(|director| async move {
        let mut task = on_three_nodes();
        task["worker"]["stopGracePeriod"] = json!(300);
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Running).await;
        director
            .orchestrator
            .stop_with(&name, &FORCE)
            .await
            .unwrap();
        let begun = Instant::now();
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let took = begun.elapsed();
        assert!(took > SOON && took < HOUR / 4, "{took:?}");
    });
}
