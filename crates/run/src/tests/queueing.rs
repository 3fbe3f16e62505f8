//! Several tasks, some of which wait in the queue or for an exclusive claim.

use super::simulation::{Director, Simulation, name, simple};
use atq_task::spec::TaskName;
use atq_task::state::{Desired, Outcome, Step};
use serde_json::{Value, json};

fn claiming(name: &str, exclusive: &str) -> Value {
    let mut task = simple(name);
    task["exclusive"] = json!(exclusive);
    task
}

fn positions(director: &Director, names: &[&str]) -> Vec<Option<u32>> {
    let position = |text: &&str| director.view(&name(text)).queue_position;
    names.iter().map(position).collect()
}

/// The time from the first step of a task to its end, in milliseconds.
fn active(director: &Director, name: &TaskName) -> (u64, u64) {
    let history = director.history(name);
    let begun = history.iter().find(|record| record.seq == 2).unwrap().at;
    (begun.0, history.last().unwrap().at.0)
}

#[test]
fn tasks_run_concurrently_in_order_up_to_the_limit() {
    let mut simulation = Simulation::new();
    simulation.settings.max_concurrent_tasks = 2;
    simulation.run(|director| async move {
        let mut names = Vec::new();
        for index in 1..=4 {
            names.push(director.accepted(&simple(&format!("task-{index}"))).await);
        }
        director.wait_for_step(&names[1], Step::Network).await;
        assert_eq!(director.view(&names[2]).queue_position, Some(1));
        assert_eq!(director.view(&names[3]).queue_position, Some(2));
        let mut subnets = Vec::new();
        for name in &names {
            let state = director.wait_done_with_others(name).await;
            assert_eq!(state.outcome, Some(Outcome::Finished));
            subnets.push(state.subnet.unwrap());
        }
        subnets.sort();
        subnets.dedup();
        assert_eq!(subnets.len(), 4);
        director.wait_done(&names[3]).await;
    });
}

#[test]
fn a_task_stopped_in_the_queue_does_not_block_the_next() {
    let mut simulation = Simulation::new();
    simulation.settings.max_concurrent_tasks = 1;
    simulation.run(|director| async move {
        let first = director.accepted(&simple("first")).await;
        let second = director.accepted(&simple("second")).await;
        let third = director.accepted(&simple("third")).await;
        director.wait_for_step(&first, Step::Running).await;
        director.orchestrator.stop(&second).await.unwrap();
        assert_eq!(
            director.wait_done_with_others(&second).await.outcome,
            Some(Outcome::Stopped)
        );
        assert_eq!(
            director.wait_done(&third).await.outcome,
            Some(Outcome::Finished)
        );
    });
}

#[test]
fn a_task_stopped_before_a_restart_does_not_block_the_queue() {
    let mut simulation = Simulation::new();
    simulation.settings.max_concurrent_tasks = 1;
    simulation.run(|director| async move {
        director.accepted(&simple("first")).await;
        let second = director.accepted(&simple("second")).await;
        director.accepted(&simple("third")).await;
        director
            .orchestrator
            .shared()
            .store
            .set_desired(&second, Desired::Stopped)
            .await
            .unwrap();
    });
    simulation.run(|director| async move {
        assert_eq!(
            director.wait_done_with_others(&name("third")).await.outcome,
            Some(Outcome::Finished)
        );
        assert_eq!(
            director.wait_done(&name("second")).await.outcome,
            Some(Outcome::Stopped)
        );
    });
}

#[test]
fn two_tasks_with_the_same_claim_never_run_at_the_same_time() {
    Simulation::new().run(|director| async move {
        let first = director.accepted(&claiming("first", "shop")).await;
        let second = director.accepted(&claiming("second", "shop")).await;
        let other = director.accepted(&claiming("other", "bank")).await;
        let free = director.accepted(&simple("free")).await;
        // Tasks with no claim or another one overtake it.
        director.wait_for_step(&free, Step::Running).await;
        assert_eq!(director.state(&second).step, Step::Queued);
        assert_eq!(director.view(&second).queue_position, Some(1));
        for name in [&first, &second, &other, &free] {
            let state = director.wait_done_with_others(name).await;
            assert_eq!(state.outcome, Some(Outcome::Finished));
        }
        let (one, two) = (active(&director, &first), active(&director, &second));
        assert!(one.1 <= two.0, "{one:?} {two:?}");
    });
}

#[test]
fn claims_and_order_of_the_queue_survive_a_restart() {
    let mut simulation = Simulation::new();
    simulation.settings.max_concurrent_tasks = 2;
    let names = ["second", "third", "fourth", "fifth"];
    simulation.run(|director| async move {
        let first = director.accepted(&claiming("first", "shop")).await;
        for text in &names[..2] {
            director.accepted(&claiming(text, "shop")).await;
        }
        let filler = director.accepted(&simple("filler")).await;
        for text in &names[2..] {
            director.accepted(&simple(text)).await;
        }
        director.wait_for_step(&first, Step::Running).await;
        director.wait_for_step(&filler, Step::Network).await;
        assert_eq!(
            positions(&director, &names),
            [Some(1), Some(2), Some(3), Some(4)]
        );
    });
    simulation.run(|director| async move {
        assert_eq!(
            positions(&director, &names),
            [Some(1), Some(2), Some(3), Some(4)]
        );
        let first = name("first");
        director.wait_done_with_others(&first).await;
        let mut claims = vec![active(&director, &first)];
        for text in names {
            let state = director.wait_done_with_others(&name(text)).await;
            assert_eq!(state.outcome, Some(Outcome::Finished));
        }
        claims.extend(names[..2].iter().map(|text| active(&director, &name(text))));
        assert!(
            claims.windows(2).all(|pair| pair[0].1 <= pair[1].0),
            "{claims:?}"
        );
        let (fourth, fifth) = (
            active(&director, &name("fourth")),
            active(&director, &name("fifth")),
        );
        assert!(fourth.0 <= fifth.0);
    });
}

#[test]
fn a_definition_that_arrives_before_recovery_takes_no_claim_of_earlier_tasks() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .exits(0)
        .after(std::time::Duration::from_secs(60));
    simulation.run(|director| async move {
        let first = director.accepted(&claiming("first", "db")).await;
        director.wait_for_step(&first, Step::Running).await;
    });
    simulation.run_without_recovery(|director| async move {
        let second = director.accepted(&claiming("second", "db")).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(director.state(&second).step, Step::Queued);
        director.orchestrator.recover().await.unwrap();
        let first = name("first");
        director.wait_done_with_others(&first).await;
        director.wait_done(&second).await;
        let (ended, begun) = (active(&director, &first).1, active(&director, &second).0);
        assert!(ended <= begun, "{ended} {begun}");
    });
}
