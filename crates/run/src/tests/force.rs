//! Ends by force: containers are killed without their grace period, and what they left is kept all the same.

use super::stage::{CARRIER, Director, Stage, name, simple};
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
    key: None,
    force: true,
};
/// Much less than the hour of grace that everything here has.
const SOON: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Images that ignore SIGTERM for longer than their grace period.
fn stage() -> Stage {
    let stage = Stage::new();
    for image in ["stubborn:1", "tool:1"] {
        stage
            .fake
            .image(image)
            .prints(&["hello"])
            .writes_result("results.jtl", b"a,b\n")
            .on_sigterm(&["too late"], 2 * HOUR, 0);
    }
    stage
}

fn stubborn() -> Value {
    let mut task = simple("load");
    task["master"]["image"] = json!("stubborn:1");
    task["worker"]["replicas"] = json!(2);
    for role in ["master", "worker"] {
        task[role]["stopGracePeriod"] = json!(HOUR.as_secs());
    }
    task
}

async fn running(director: &Director) -> TaskName {
    let name = director.accepted(&stubborn()).await;
    director.until_step(&name, Step::Running).await;
    name
}

fn forced(director: &Director, name: &TaskName) -> usize {
    let events = director.events(name);
    events.iter().filter(|one| **one == Event::Forced).count()
}

/// The end, which must come soon, with everything that was there to be kept.
async fn ends_soon(director: &Director, name: &TaskName) -> State {
    let begun = Instant::now();
    let state = director.ended(name).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(state.outcome, Some(Outcome::Stopped));
    assert_eq!(forced(director, name), 1);
    let codes = state.workers.iter().map(|worker| worker.exit_code);
    assert_eq!(codes.collect::<Vec<_>>(), [Some(137), Some(137)]);
    assert_eq!(state.exit_code, Some(137));
    let evidence = &director.it.shared().evidence;
    assert_eq!(evidence.logs(name, &state.run).await.unwrap().len(), 3);
    let results = evidence.results(name, &state.run).await.unwrap();
    assert!(results.iter().all(|kept| kept.files == 1), "{results:?}");
    state
}

#[test]
fn a_stop_by_force_waits_for_no_grace_period_and_keeps_logs_and_results() {
    stage().life(|director| async move {
        let name = running(&director).await;
        director.it.stop_by(&name, &FORCE).await.unwrap();
        let state = ends_soon(&director, &name).await;
        let results = director.it.shared().evidence.results(&name, &state.run);
        assert_eq!(results.await.unwrap().len(), 3);
    });
}

#[test]
fn force_hastens_a_stop_that_is_under_way() {
    stage().life(|director| async move {
        let name = running(&director).await;
        director.it.stop(&name).await.unwrap();
        director.until_step(&name, Step::Collect).await;
        tokio::time::sleep(SOON).await;
        // Asked again without force, nothing changes.
        director.it.stop(&name).await.unwrap();
        tokio::time::sleep(SOON).await;
        assert_eq!(director.state(&name).step, Step::Collect);
        for _ in 0..2 {
            director.it.stop_by(&name, &FORCE).await.unwrap();
        }
        ends_soon(&director, &name).await;
    });
}

#[test]
fn force_hastens_workers_that_take_their_time_after_a_test_that_ended_by_itself() {
    stage().life(|director| async move {
        let mut task = stubborn();
        task["master"]["image"] = json!("boss:1");
        let name = director.accepted(&task).await;
        director.until_step(&name, Step::Report).await;
        tokio::time::sleep(SOON).await;
        let begun = Instant::now();
        director.it.stop_by(&name, &FORCE).await.unwrap();
        let state = director.ended(&name).await;
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        // How the test ended stays as it is.
        assert_eq!(state.outcome, Some(Outcome::Finished));
        assert_eq!((state.exit_code, state.lost), (Some(0), Vec::new()));
        // At the end there is nothing to hasten.
        director.it.stop_by(&name, &FORCE).await.unwrap();
        assert_eq!(forced(&director, &name), 1);
    });
}

#[test]
fn a_delete_by_force_is_over_soon_in_every_step() {
    for step in [Step::Resolve, Step::Running, Step::Collect, Step::Cleanup] {
        stage().life(|director| async move {
            let name = director.accepted(&stubborn()).await;
            director.until_step(&name, step.min(Step::Running)).await;
            if step == Step::Collect {
                director.it.stop(&name).await.unwrap();
                director.until_step(&name, Step::Collect).await;
            }
            if step == Step::Cleanup {
                let begun = director.it.delete(&name);
                tokio::time::timeout(SOON, begun).await.unwrap_err();
                assert_eq!(director.state(&name).step, Step::Cleanup);
            }
            let begun = Instant::now();
            director.it.delete_by(&name, &FORCE).await.unwrap();
            assert!(begun.elapsed() < SOON, "{step:?}: {:?}", begun.elapsed());
            assert!(director.it.get(&name).await.unwrap().is_none());
            assert_eq!(director.fake.leftovers(), Default::default());
        });
    }
}

#[test]
fn what_clean_up_has_left_at_the_end_is_deleted_by_force_too() {
    let stage = stage();
    let what = "the end of a service".to_owned();
    let reason = "not today".to_owned();
    stage
        .fake
        .refuse("end_service", SwarmError::Rejected { what, reason });
    stage.life(|director| async move {
        let name = running(&director).await;
        director.it.stop(&name).await.unwrap();
        let state = director.until(&name, State::is_done).await;
        assert_ne!(state.leftovers, Vec::<String>::new());
        let begun = Instant::now();
        director.it.delete_by(&name, &FORCE).await.unwrap();
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert_eq!(director.fake.leftovers(), Default::default());
    });
}

#[test]
fn force_survives_the_death_of_the_director() {
    let stage = stage();
    stage.life(|director| async move {
        let name = running(&director).await;
        director.it.stop_by(&name, &FORCE).await.unwrap();
        // A later wish does not take it back.
        let deleted = director.it.delete(&name);
        tokio::time::timeout(Duration::from_millis(1), deleted)
            .await
            .unwrap_err();
    });
    stage.life(|director| async move {
        tokio::time::sleep(SOON).await;
        assert!(director.it.get(&name("load")).await.unwrap().is_none());
        assert_eq!(director.fake.leftovers(), Default::default());
    });
}

/// Workers are on all three nodes, the master is on the first.
fn three_nodes() -> Stage {
    let mut stage = stage();
    stage.fake.add_node("node-2");
    stage.fake.add_node("node-3");
    stage.swarm.advertise_url = Some("http://director:1".to_owned());
    stage.fake.image(CARRIER).in_role(Role::Watcher);
    stage
}

fn spread() -> Value {
    let mut task = stubborn();
    task["worker"]["replicas"] = json!(3);
    task
}

#[test]
fn carriers_kill_on_other_nodes() {
    three_nodes().life(|director| async move {
        let name = director.accepted(&spread()).await;
        director.until_step(&name, Step::Running).await;
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
        director.it.stop_by(&name, &FORCE).await.unwrap();
        let begun = Instant::now();
        let state = director.ended(&name).await;
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        let codes = state.workers.iter().map(|worker| worker.exit_code);
        assert_eq!(codes.collect::<Vec<_>>(), [Some(137); 3]);
        // Once, and nowhere else: when the workers are looked for they have ended.
        assert_eq!(*sent.lock().unwrap(), [["node.id!=node-1"]]);
    });
}

#[test]
fn a_node_on_which_nothing_can_be_killed_has_its_grace_period_and_no_more() {
    let stage = three_nodes();
    stage
        .fake
        .image(CARRIER)
        .in_role(Role::Killer)
        .exits(0)
        .fails_on("node-2", "cannot reach Docker");
    stage.life(|director| async move {
        let mut task = spread();
        task["worker"]["stopGracePeriod"] = json!(300);
        let name = director.accepted(&task).await;
        director.until_step(&name, Step::Running).await;
        director.it.stop_by(&name, &FORCE).await.unwrap();
        let begun = Instant::now();
        let state = director.ended(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Stopped));
        let took = begun.elapsed();
        assert!(took > SOON && took < HOUR / 4, "{took:?}");
    });
}
