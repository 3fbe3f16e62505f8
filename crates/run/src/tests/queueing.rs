//! Several tasks, of which some wait: for their turn, or for a name that another one has claimed.

use super::stage::{Director, Stage, name, simple};
use atq_task::spec::TaskName;
use atq_task::state::{Desired, Outcome, Step};
use serde_json::{Value, json};

fn claiming(name: &str, exclusive: &str) -> Value {
    let mut task = simple(name);
    task["exclusive"] = json!(exclusive);
    task
}

fn places(director: &Director, names: &[&str]) -> Vec<Option<u32>> {
    let place = |text: &&str| director.view(&name(text)).queue_position;
    names.iter().map(place).collect()
}

/// When something of the task could run: from its first step to its end, in milliseconds.
fn active(director: &Director, name: &TaskName) -> (u64, u64) {
    let history = director.history(name);
    let begun = history.iter().find(|record| record.seq == 2).unwrap().at;
    (begun.0, history.last().unwrap().at.0)
}

#[test]
fn tasks_run_side_by_side_as_many_as_configured_and_in_turn() {
    let mut stage = Stage::new();
    stage.settings.max_concurrent_tasks = 2;
    stage.life(|director| async move {
        let mut names = Vec::new();
        for index in 1..=4 {
            names.push(director.accepted(&simple(&format!("task-{index}"))).await);
        }
        director.until_step(&names[1], Step::Network).await;
        assert_eq!(director.view(&names[2]).queue_position, Some(1));
        assert_eq!(director.view(&names[3]).queue_position, Some(2));
        let mut subnets = Vec::new();
        for name in &names {
            let state = director.ended_by_itself(name).await;
            assert_eq!(state.outcome, Some(Outcome::Finished));
            subnets.push(state.subnet.unwrap());
        }
        subnets.sort();
        subnets.dedup();
        assert_eq!(subnets.len(), 4);
        director.ended(&names[3]).await;
    });
}

#[test]
fn a_task_that_is_stopped_while_it_waits_lets_the_next_one_pass() {
    let mut stage = Stage::new();
    stage.settings.max_concurrent_tasks = 1;
    stage.life(|director| async move {
        let first = director.accepted(&simple("first")).await;
        let second = director.accepted(&simple("second")).await;
        let third = director.accepted(&simple("third")).await;
        director.until_step(&first, Step::Running).await;
        director.it.stop(&second).await.unwrap();
        assert_eq!(
            director.ended_by_itself(&second).await.outcome,
            Some(Outcome::Stopped)
        );
        assert_eq!(
            director.ended(&third).await.outcome,
            Some(Outcome::Finished)
        );
    });
}

#[test]
fn a_task_that_was_stopped_before_a_restart_does_not_hold_up_the_queue() {
    let mut stage = Stage::new();
    stage.settings.max_concurrent_tasks = 1;
    stage.life(|director| async move {
        director.accepted(&simple("first")).await;
        let second = director.accepted(&simple("second")).await;
        director.accepted(&simple("third")).await;
        director
            .it
            .shared()
            .store
            .wish(&second, Desired::Stopped)
            .await
            .unwrap();
    });
    stage.life(|director| async move {
        assert_eq!(
            director.ended_by_itself(&name("third")).await.outcome,
            Some(Outcome::Finished)
        );
        assert_eq!(
            director.ended(&name("second")).await.outcome,
            Some(Outcome::Stopped)
        );
    });
}

#[test]
fn two_tasks_that_claim_one_name_never_run_at_the_same_time() {
    Stage::new().life(|director| async move {
        let first = director.accepted(&claiming("first", "shop")).await;
        let second = director.accepted(&claiming("second", "shop")).await;
        let other = director.accepted(&claiming("other", "bank")).await;
        let free = director.accepted(&simple("free")).await;
        // Those that claim nothing, or something else, pass.
        director.until_step(&free, Step::Running).await;
        assert_eq!(director.state(&second).step, Step::Queued);
        assert_eq!(director.view(&second).queue_position, Some(1));
        for name in [&first, &second, &other, &free] {
            let state = director.ended_by_itself(name).await;
            assert_eq!(state.outcome, Some(Outcome::Finished));
        }
        let (one, two) = (active(&director, &first), active(&director, &second));
        assert!(one.1 <= two.0, "{one:?} {two:?}");
    });
}

#[test]
fn a_claim_outlives_a_restart_and_so_does_the_order_of_the_queue() {
    let mut stage = Stage::new();
    stage.settings.max_concurrent_tasks = 2;
    let names = ["second", "third", "fourth", "fifth"];
    stage.life(|director| async move {
        let first = director.accepted(&claiming("first", "shop")).await;
        for text in &names[..2] {
            director.accepted(&claiming(text, "shop")).await;
        }
        let filler = director.accepted(&simple("filler")).await;
        for text in &names[2..] {
            director.accepted(&simple(text)).await;
        }
        director.until_step(&first, Step::Running).await;
        director.until_step(&filler, Step::Network).await;
        assert_eq!(
            places(&director, &names),
            [Some(1), Some(2), Some(3), Some(4)]
        );
    });
    stage.life(|director| async move {
        assert_eq!(
            places(&director, &names),
            [Some(1), Some(2), Some(3), Some(4)]
        );
        let first = name("first");
        director.ended_by_itself(&first).await;
        let mut claims = vec![active(&director, &first)];
        for text in names {
            let state = director.ended_by_itself(&name(text)).await;
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
fn a_definition_that_comes_before_the_earlier_tasks_are_taken_up_takes_nobodys_claim() {
    let stage = Stage::new();
    stage
        .fake
        .image("boss:1")
        .exits(0)
        .after(std::time::Duration::from_secs(60));
    stage.life(|director| async move {
        let first = director.accepted(&claiming("first", "db")).await;
        director.until_step(&first, Step::Running).await;
    });
    stage.life_from_the_start(|director| async move {
        let second = director.accepted(&claiming("second", "db")).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(director.state(&second).step, Step::Queued);
        director.it.recover().await.unwrap();
        let first = name("first");
        director.ended_by_itself(&first).await;
        director.ended(&second).await;
        let (ended, begun) = (active(&director, &first).1, active(&director, &second).0);
        assert!(ended <= begun, "{ended} {begun}");
    });
}
